"""Tool calls of LlamaIndex, on each of the three main surfaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage

from azinfer.local import LocalEndpoint
from llama_index_calls import call_method, on_chat, ping, tool
from raw_server import (
    RawServer,
    events,
    part,
    stream,
)

Make = Callable[..., Any]
QUESTION = "What is the weather in New York?"
pytestmark = pytest.mark.usefixtures("own_loop")


def fragments(*calls: tuple[int, str, str, str]) -> dict[str, Any]:
    """A chunk with parts of tool calls: index, id, name and arguments of each."""
    return part(
        tool_calls=[
            {
                "index": at,
                **({"id": call_id, "type": "function"} if call_id else {}),
                "function": {**({"name": name} if name else {}), "arguments": arguments},
            }
            for at, call_id, name, arguments in calls
        ]
    )


def test_a_tool_is_called_with_its_arguments(llm: Make, kind: str) -> None:
    model = llm()
    for method in ("chat_with_tools", "stream_chat_with_tools"):
        response = call_method(model, kind, method, [tool()], QUESTION)
        last = response[-1] if isinstance(response, list) else response
        (called,) = model.get_tool_calls_from_response(last)
        assert (called.tool_name, called.tool_kwargs) == ("get_weather", {"city": "New York"})
        assert called.tool_id


def test_tools_are_called_in_parallel(llm: Make, kind: str) -> None:
    model, both = llm(), "Call get_weather and ping for New York."
    for method in ("chat_with_tools", "stream_chat_with_tools"):
        response = call_method(
            model, kind, method, [tool(), tool(ping)], both, allow_parallel_tool_calls=True
        )
        last = response[-1] if isinstance(response, list) else response
        called = model.get_tool_calls_from_response(last)
        assert [each.tool_name for each in called] == ["get_weather", "ping"]
        assert len({each.tool_id for each in called}) == 2


def test_part_of_a_call_is_accepted(component: Make, server: RawServer, kind: str) -> None:
    pieces = [fragments((0, "c1", "get_weather", '{"ci')), fragments((0, "", "", 'ty": "De'))]
    pieces += [fragments((0, "", "", 'lft"}')), part(None, "tool_calls")]
    server.will(stream(events(*pieces)))
    model = component()
    response = call_method(model, kind, "stream_chat_with_tools", [tool()], QUESTION)
    seen = [model.get_tool_calls_from_response(each)[0].tool_kwargs for each in response]
    assert seen[-1] == {"city": "Delft"}
    assert all(isinstance(each, dict) for each in seen)


@on_chat
def test_a_named_choice_forces_that_tool(
    llm: Make, llama_endpoint: LocalEndpoint, kind: str
) -> None:
    model = llm()
    response = call_method(
        model, kind, "chat_with_tools", [tool(), tool(ping)], QUESTION, tool_choice="ping"
    )
    assert model.get_tool_calls_from_response(response)[0].tool_name == "ping"
    assert llama_endpoint.requests[-1].body["tool_choice"]["function"]["name"] == "ping"


def test_the_callers_history_is_not_changed(llm: Make, kind: str) -> None:
    history = [ChatMessage("before")]
    for method in ("chat_with_tools", "stream_chat_with_tools", "predict_and_call"):
        call_method(llm(), kind, method, [tool()], user_msg=QUESTION, chat_history=history)
    assert history == [ChatMessage("before")]


def test_without_tools_no_tool_options_are_sent(
    llm: Make, llama_endpoint: LocalEndpoint, kind: str
) -> None:
    for named in ({}, {"tool_required": True}, {"tool_choice": "auto"}):
        call_method(llm(), kind, "chat_with_tools", [], "hi", **named)
        assert (
            not {"tools", "tool_choice", "parallel_tool_calls"}
            & llama_endpoint.requests[-1].body.keys()
        )


def test_a_tool_may_have_no_arguments(llm: Make, kind: str) -> None:
    result = call_method(llm(), kind, "predict_and_call", [tool(ping)], "ping", tool_required=True)
    assert result.response == "pong"
