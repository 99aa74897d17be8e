"""Answers of AzInferLLM that end early: refusals, half calls, and calls without arguments."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.agent.workflow import AgentStream, FunctionAgent, ToolCallResult
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.prompts import PromptTemplate

from azinfer.core import InvalidResponseError
from azinfer.llama_index import AzInferLLM
from client_driver import KEY
from llama_index_calls import Person, call_method, tool
from raw_server import RawServer
from tool_calls import (
    NO_ARGUMENTS,
    REFUSAL,
    answer_with_call,
    count_in_every_chunk,
    refuse,
)

Make = Callable[..., AzInferLLM]
# LlamaIndex reads fields of pydantic that are deprecated.
agents = pytest.mark.filterwarnings("ignore:.* attribute.* deprecated")
HALVES = ['{"city": "Par', '{"city": ["Par"', '{"city":', ""]


@pytest.fixture
def make(url: str) -> Make:
    """Makes models of the raw server."""

    def model(**options: Any) -> AzInferLLM:
        options = {"model": "gpt-4.1", "max_retries": 0, **options}
        return AzInferLLM(endpoint=url, credential=KEY, **options)

    return model


def ping() -> str:
    """Say whether the machine answers."""
    return "pong"


def get_weather(city: str = "nowhere") -> str:
    """Return the weather in a city."""
    return f"Sunny in {city}"


async def run(agent: FunctionAgent) -> tuple[Any, list[Any]]:
    handler = agent.run("hi")
    events = [event async for event in handler.stream_events()]
    return await handler, events


@agents
@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("finish", ["length", "content_filter"])
@pytest.mark.parametrize("arguments", HALVES)
def test_an_agent_does_not_run_half_a_call(
    make: Make, server: RawServer, streaming: bool, finish: str, arguments: str
) -> None:
    calls: list[str] = []

    def get_weather(city: str = "nowhere") -> str:
        """Return the weather in a city."""
        calls.append(city)
        return "Sunny"

    answer_with_call(server, "get_weather", arguments, finish)
    agent = FunctionAgent(tools=[get_weather], llm=make(), streaming=streaming)
    with pytest.raises(InvalidResponseError, match=r"get_weather was cut off .*raise max_tokens"):
        asyncio.run(run(agent))
    assert calls == []


@pytest.mark.parametrize("arguments", HALVES)
def test_half_a_predicted_call_is_an_error(
    make: Make, server: RawServer, kind: str, arguments: str
) -> None:
    answer_with_call(server, "get_weather", arguments, "length")
    with pytest.raises(InvalidResponseError, match="was cut off"):
        call_method(make(), kind, "predict_and_call", [tool(get_weather)], "hi")


def test_half_a_call_makes_no_value(make: Make, server: RawServer, kind: str) -> None:
    answer_with_call(server, "Person", '{"name": "A", "age": 3', "length")
    llm = make(model="gpt-4", model_id="gpt-4")
    with pytest.raises(InvalidResponseError, match="max_tokens"):
        call_method(llm, kind, "structured_predict", Person, PromptTemplate("hi"))


@agents
@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("arguments", NO_ARGUMENTS)
def test_a_tool_without_parameters_runs_without_arguments(
    make: Make, server: RawServer, streaming: bool, arguments: Any
) -> None:
    answer_with_call(server, "ping", arguments)
    answer, events = asyncio.run(run(FunctionAgent(tools=[ping], llm=make(), streaming=streaming)))
    (result,) = [event for event in events if isinstance(event, ToolCallResult)]
    assert (result.tool_kwargs, result.tool_output.content) == ({}, "pong")
    assert str(answer) == "done"


def test_a_refusal_is_the_text_and_goes_back_as_text(
    make: Make, server: RawServer, kind: str
) -> None:
    refuse(server)
    llm, question = make(), ChatMessage("hi")
    responses = [
        call_method(llm, kind, "chat", [question]),
        call_method(llm, kind, "stream_chat", [question])[-1],
    ]
    for response in responses:
        assert response.message.content == REFUSAL
        assert response.message.additional_kwargs["refusal"] == REFUSAL
        call_method(llm, kind, "chat", [question, response.message, ChatMessage("Why?")])
        back = server.received[-1].json["messages"][1]
        assert back == {"role": "assistant", "content": REFUSAL}


@agents
def test_an_agent_shows_a_refusal(make: Make, server: RawServer) -> None:
    refuse(server)
    for streaming in (False, True):
        agent = FunctionAgent(tools=[ping], llm=make(), streaming=streaming)
        answer, events = asyncio.run(run(agent))
        assert str(answer) == REFUSAL
        deltas = [event.delta for event in events if isinstance(event, AgentStream)]
        assert "".join(deltas) == (REFUSAL if streaming else "".join(deltas))


def test_usage_in_every_chunk_is_the_last_one(make: Make, server: RawServer, kind: str) -> None:
    count_in_every_chunk(server)
    last = call_method(make(), kind, "stream_chat", [ChatMessage("hi")])[-1]
    counts = ("prompt_tokens", "completion_tokens", "total_tokens")
    assert [last.additional_kwargs[name] for name in counts] == [3, 3, 6]
    assert last.raw["usage"]["total_tokens"] == 6
