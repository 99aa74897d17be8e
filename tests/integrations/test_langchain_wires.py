"""LangChain on every wire: reasoning state survives messages and checkpoints."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core._api.beta_decorator import LangChainBetaWarning
from langchain_core.load import dumps, loads
from langchain_core.messages import (
    AIMessage,
    HumanMessage,
    ToolMessage,
    messages_from_dict,
    messages_to_dict,
)

from azinfer.core.endpoint_knowledge import forget_endpoints
from azinfer.langchain import ChatAzInfer
from raw_server import RawServer, chat, reply
from wire_bodies import ANSWERS, items_after_question, stream_of


def f(a: int) -> str:
    """Do it."""
    return str(a)


@pytest.fixture
def server() -> Iterator[RawServer]:
    forget_endpoints()
    server = RawServer().start()
    yield server
    server.stop()


def as_it_is(message: AIMessage) -> AIMessage:
    return message


def through_json(message: AIMessage) -> AIMessage:
    (other,) = messages_from_dict(json.loads(json.dumps(messages_to_dict([message]))))
    assert isinstance(other, AIMessage)
    return other


def through_load(message: AIMessage) -> AIMessage:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LangChainBetaWarning)
        other = loads(dumps(message), allowed_objects="core")
    assert isinstance(other, AIMessage)
    return other


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kept", [as_it_is, through_json, through_load])
@pytest.mark.parametrize("wire", ["responses", "messages"])
def test_a_tool_loop_gives_back_what_the_model_thought(
    server: RawServer, wire: str, kept: Any, is_streamed: bool
) -> None:
    server.will(stream_of(wire) if is_streamed else reply(ANSWERS[wire]), reply(ANSWERS[wire]))
    model = ChatAzInfer(
        endpoint=server.url, credential="a-key", model="m", model_kwargs={"wire": wire}
    ).bind_tools([f])
    question = HumanMessage("do it")
    if is_streamed:
        chunks = list(model.stream([question]))
        answer: Any = chunks[0]
        for chunk in chunks[1:]:
            answer += chunk
    else:
        answer = model.invoke([question])
    assert [(call["id"], call["args"]) for call in answer.tool_calls] == [("c1", {"a": 1})]
    failed = ToolMessage("no", tool_call_id="c1", status="error")
    model.invoke([question, kept(answer), failed])
    sent = server.received[-1].json
    assert sent["input" if wire == "responses" else "messages"][1:] == items_after_question(
        wire, "no", True
    )


@pytest.mark.parametrize(("model_id", "goes_back"), [("DeepSeek-V4-Pro", True), ("gpt-4.1", False)])
def test_reasoning_goes_back_to_models_that_want_it(
    server: RawServer, model_id: str, goes_back: bool
) -> None:
    server.will(reply(chat("4", message={"reasoning_content": "2 and 2"})))
    model = ChatAzInfer(endpoint=server.url, credential="a-key", model="m", model_id=model_id)
    answer = model.invoke("2 + 2?")
    model.invoke([HumanMessage("2 + 2?"), answer, HumanMessage("sure?")])
    message = server.received[-1].json["messages"][1]
    assert ("reasoning_content" in message) is goes_back
