"""Answers of ChatAzInfer that end early: refusals, half calls, and calls without arguments."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelFallbackMiddleware, ModelRefusalMiddleware
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.exceptions import ModelRefusalError
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from azinfer.langchain import ChatAzInfer
from client_driver import KEY
from raw_server import RawServer, chat, events, part, reply, stream
from tool_calls import NO_ARGUMENTS, answer_with_call, count_in_every_chunk, refuse

Make = Callable[..., ChatAzInfer]
REFUSAL = [{"type": "refusal", "refusal": "I won't."}]
QUESTION: Any = {"messages": [HumanMessage("hi")]}


@pytest.fixture
def make(url: str) -> Make:
    """Makes models of the raw server."""

    def model(**options: Any) -> ChatAzInfer:
        options = {"model": "gpt-4.1", "max_retries": 0, **options}
        return ChatAzInfer(endpoint=url, credential=KEY, **options)

    return model


class Person(BaseModel):
    """A person."""

    name: str


@tool
def ping() -> str:
    """Say whether the machine answers."""
    return "pong"


@tool
def get_weather(city: str = "nowhere") -> str:
    """Return the weather in a city."""
    return f"Sunny in {city}"


async def asum(model: ChatAzInfer) -> Any:
    chunks = [chunk async for chunk in model.astream("hi")]
    return sum(chunks[1:], chunks[0])


def messages_of(model: ChatAzInfer) -> dict[str, AIMessage]:
    """Ask in every way that LangChain has."""
    chunks = list(model.stream("hi"))
    streaming = model.model_copy(update={"streaming": True})
    return {
        "invoke": model.invoke("hi"),
        "ainvoke": asyncio.run(model.ainvoke("hi")),
        "stream": sum(chunks[1:], chunks[0]),
        "astream": asyncio.run(asum(model)),
        "streaming": streaming.invoke("hi"),
        "astreaming": asyncio.run(streaming.ainvoke("hi")),
    }


def run(agent: Any, kind: str) -> Any:
    return agent.invoke(QUESTION) if kind == "sync" else asyncio.run(agent.ainvoke(QUESTION))


@pytest.mark.parametrize("version", ["v0", "v1"])
def test_a_refusal_is_a_refusal_block(make: Make, server: RawServer, version: str) -> None:
    refuse(server)
    for way, message in messages_of(make(output_version=version)).items():
        blocks = [dict(block) for block in message.content_blocks]
        if version == "v1":  # LangChain numbers the blocks of streams there
            blocks = [{k: v for k, v in block.items() if k != "index"} for block in blocks]
        assert blocks == REFUSAL, way
        assert message.text == ""
        assert message.additional_kwargs.get("refusal") == "I won't."


def test_text_before_a_refusal_stays(make: Make, server: RawServer) -> None:
    whole = chat("So: ", message={"refusal": "no"})
    pieces = part("So: "), part(None, "stop", refusal="no")
    expected = [{"type": "text", "text": "So: "}, {"type": "refusal", "refusal": "no"}]
    server.will(reply(whole), stream(events(*pieces)))
    model = make()
    assert model.invoke("hi").content_blocks == expected
    chunks = list(model.stream("hi"))
    assert sum(chunks[1:], chunks[0]).content_blocks == expected


@pytest.mark.parametrize("streaming", [False, True])
def test_the_refusal_middleware_raises(
    make: Make, server: RawServer, kind: str, streaming: bool
) -> None:
    refuse(server)
    model = make(streaming=streaming)
    agent = create_agent(model, middleware=[ModelRefusalMiddleware()])
    with pytest.raises(ModelRefusalError, match=r"I won't\."):
        run(agent, kind)
    agent = create_agent(
        model, response_format=ProviderStrategy(Person), middleware=[ModelRefusalMiddleware()]
    )
    with pytest.raises(ModelRefusalError, match=r"I won't\."):
        run(agent, kind)


@pytest.mark.parametrize("streaming", [False, True])
def test_the_fallback_middleware_answers_after_a_refusal(
    make: Make, server: RawServer, kind: str, streaming: bool
) -> None:
    refuse(server)
    refusing = server.choose
    assert refusing is not None
    fine = {True: stream(events(part("fine", "stop"))), False: reply(chat("fine"))}
    server.choose = lambda request: (
        fine[streaming] if request.request_body["model"] == "other" else refusing(request)
    )
    other = make(model="other", streaming=streaming)
    agent = create_agent(
        make(streaming=streaming),
        middleware=[ModelFallbackMiddleware(other), ModelRefusalMiddleware()],
    )
    assert run(agent, kind)["messages"][-1].text == "fine"


def test_a_refusal_goes_back_as_text(make: Make, server: RawServer) -> None:
    refuse(server)
    model = make()
    for message in messages_of(model).values():
        model.invoke([HumanMessage("hi"), message, HumanMessage("Why?")])
        back = server.received[-1].json["messages"][1]
        assert back == {"role": "assistant", "content": "I won't."}


@pytest.mark.parametrize("finish", ["length", "content_filter"])
@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    "arguments",
    [*('{"city": "Par', '{"city": ["Par', '{"city": ["Par"', '{"city": "Par\\', '{"city":'), ""],
)
def test_an_agent_does_not_run_half_a_call(
    make: Make, server: RawServer, kind: str, streaming: bool, arguments: str, finish: str
) -> None:
    answer_with_call(server, "get_weather", arguments, finish)
    agent = create_agent(make(streaming=streaming), tools=[get_weather])
    messages = run(agent, kind)["messages"]
    assert not any(isinstance(message, ToolMessage) for message in messages)
    assert messages[-1].tool_calls == []
    (call,) = messages[-1].invalid_tool_calls
    assert (call["name"], call["id"]) == ("get_weather", "c")
    make().invoke([*messages, HumanMessage("go on")])
    (back,) = server.received[-1].json["messages"][1]["tool_calls"]
    assert back["function"]["arguments"] == (arguments or "{}")


def test_half_a_call_is_invalid_in_every_way(make: Make, server: RawServer) -> None:
    answer_with_call(server, "get_weather", '{"city": "Par', "length")
    for version in ("v0", "v1"):
        for way, message in messages_of(make(output_version=version)).items():
            assert (way, message.tool_calls) == (way, [])
            assert len(message.invalid_tool_calls) == 1


def test_a_whole_call_beside_half_a_call_stays_valid(make: Make, server: RawServer) -> None:
    calls = [
        {"index": at, "id": f"c{at}", "function": {"name": "get_weather", "arguments": text}}
        for at, text in enumerate(['{"city": "Rome"}', '{"city": "Par'])
    ]
    server.will(
        reply(chat(None, "length", message={"tool_calls": calls})),
        stream(events(part(tool_calls=calls), part(None, "length"))),
    )
    model = make()
    whole, chunks = model.invoke("hi"), list(model.stream("hi"))
    for message in (whole, sum(chunks[1:], chunks[0])):
        assert [call["args"] for call in message.tool_calls] == [{"city": "Rome"}]
        assert [call["id"] for call in message.invalid_tool_calls] == ["c1"]


@pytest.mark.parametrize("streaming", [False, True])
def test_a_tool_strategy_makes_no_value_of_half_a_call(
    make: Make, server: RawServer, kind: str, streaming: bool
) -> None:
    answer_with_call(server, "Person", '{"name": "A', "length")
    half = server.choose
    answer_with_call(server, "Person", '{"name": "Ada"}')
    whole = server.choose
    assert half
    assert whole
    server.choose = lambda request: (half if len(server.received) == 1 else whole)(request)
    agent = create_agent(make(streaming=streaming), response_format=ToolStrategy(Person))
    # LangChain asks again where a value is missing.
    assert run(agent, kind)["structured_response"] == Person(name="Ada")


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("arguments", NO_ARGUMENTS)
def test_a_tool_without_parameters_runs_without_arguments(
    make: Make, server: RawServer, kind: str, streaming: bool, arguments: Any
) -> None:
    answer_with_call(server, "ping", arguments)
    agent = create_agent(make(streaming=streaming), tools=[ping])
    _question, call, result, end = run(agent, kind)["messages"]
    assert [each["args"] for each in call.tool_calls] == [{}]
    assert (result.content, result.status, end.text) == ("pong", "success", "done")


def test_usage_in_every_chunk_is_the_last_one(make: Make, server: RawServer) -> None:
    count_in_every_chunk(server)
    chunks = list(make().stream("hi"))
    whole: Any = sum(chunks[1:], chunks[0])
    usage = whole.usage_metadata
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (3, 3, 6)
