"""Agents of LangChain and LangGraph on ChatAzInfer, over real HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    SummarizationMiddleware,
    wrap_model_call,
)
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, interrupt
from pydantic import BaseModel

from azinfer.langchain import ChatAzInfer
from azinfer.local import LocalDeployment, LocalEndpoint, SyntheticEngine
from client_driver import KEY
from raw_server import RawServer, chat, events, failure, part, reply, stream

QUESTION = "What is the weather in New York?"
ASKED: Any = {"messages": [HumanMessage(QUESTION)]}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    """Two deployments that answer differently."""
    deployments = [
        LocalDeployment("echo"),
        LocalDeployment("Paris", engine=SyntheticEngine("Paris.")),
    ]
    with LocalEndpoint(deployments) as endpoint:
        yield endpoint


@pytest.fixture
def model(address: str, endpoint: LocalEndpoint) -> ChatAzInfer:
    """The model of one deployment, on each of the main surfaces and wires."""
    url = endpoint.url + address
    return ChatAzInfer(endpoint=url, credential=endpoint.key, model="ECHO", model_id="gpt-4.1")


@pytest.fixture
def raw(server: RawServer) -> Callable[..., ChatAzInfer]:
    """Makes models of the raw server."""

    def make(**named: Any) -> ChatAzInfer:
        named = {"model": "gpt-4.1", "max_retries": 0, **named}
        return ChatAzInfer(endpoint=f"{server.url}/openai/v1", credential=KEY, **named)

    return make


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"Sunny in {city}"


@tool
def get_time(city: str) -> str:
    """What time it is in a city."""
    return f"Noon in {city}"


class Place(BaseModel):
    """Where it is."""

    city: str


def calls(*names: str, **arguments: Any) -> dict[str, Any]:
    """An answer that calls tools."""
    text = json.dumps(arguments or {"city": "Delft"})
    wire = [
        {"id": f"c{at}", "type": "function", "function": {"name": name, "arguments": text}}
        for at, name in enumerate(names)
    ]
    return chat(None, "tool_calls", message={"tool_calls": wire})


def last(state: Any) -> str:
    text: str = state["messages"][-1].text
    return text


def test_an_agent_calls_its_tool_and_answers(model: ChatAzInfer) -> None:
    agent = create_agent(model, [get_weather])
    state = agent.invoke(ASKED)
    kinds = [type(message) for message in state["messages"]]
    assert kinds == [HumanMessage, AIMessage, ToolMessage, AIMessage]
    assert state["messages"][1].tool_calls[0]["args"] == {"city": "New York"}
    assert "Sunny in New York" in last(state)


def react(model: ChatAzInfer, tools: list[Any], checkpointer: Any = None) -> Any:
    """The agent of the textbooks, built by hand on a graph."""
    bound = model.bind_tools(tools)

    def think(state: MessagesState) -> Any:
        return {"messages": [bound.invoke(state["messages"])]}

    def onward(state: MessagesState) -> str:
        message: Any = state["messages"][-1]
        return "tools" if message.tool_calls else END

    graph = StateGraph(MessagesState)
    graph.add_node("think", think)
    graph.add_node("tools", ToolNode(tools))
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", onward)
    graph.add_edge("tools", "think")
    return graph.compile(checkpointer=checkpointer)


def test_a_react_loop_on_a_graph_runs(model: ChatAzInfer) -> None:
    assert "Sunny in New York" in last(react(model, [get_weather]).invoke(ASKED))


@pytest.mark.filterwarnings("ignore:create_react_agent has been moved")
def test_the_prebuilt_react_agent_runs(model: ChatAzInfer) -> None:
    from langgraph.prebuilt import create_react_agent

    assert "Sunny in New York" in last(create_react_agent(model, [get_weather]).invoke(ASKED))


def test_an_agent_runs_async(model: ChatAzInfer) -> None:
    agent = create_agent(model, [get_weather])
    assert "Sunny in New York" in last(asyncio.run(agent.ainvoke(ASKED)))
    assert "Sunny in New York" in last(asyncio.run(agent.ainvoke(ASKED)))


def test_several_tools_are_called_at_once(
    raw: Callable[..., ChatAzInfer], server: RawServer
) -> None:
    server.will(reply(calls("get_weather", "get_time")), reply(chat("Sunny at noon.")))
    state = create_agent(raw(), [get_weather, get_time]).invoke(ASKED)
    answers = [message.text for message in state["messages"] if isinstance(message, ToolMessage)]
    assert answers == ["Sunny in Delft", "Noon in Delft"]
    sent = server.received[1].json["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "tool"]
    assert [message.get("tool_call_id") for message in sent[2:]] == ["c0", "c1"]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_conversation_goes_on_from_its_checkpoint(
    model: ChatAzInfer, endpoint: LocalEndpoint, tmp_path: Path, kind: str
) -> None:
    config: Any = {"configurable": {"thread_id": "1"}}

    def both(saver: Any) -> None:
        create_agent(model, [get_weather], checkpointer=saver).invoke(ASKED, config)
        again = ChatAzInfer(endpoint=endpoint.url, credential=endpoint.key, model="paris")
        agent = create_agent(again, [get_weather], checkpointer=saver)
        state = agent.invoke({"messages": [HumanMessage("And the capital?")]}, config)
        assert len(state["messages"]) == 6
        assert last(state) == "Paris."

    if kind == "memory":
        both(InMemorySaver())
    else:
        with SqliteSaver.from_conn_string(str(tmp_path / "state.db")) as saver:
            both(saver)


def test_the_blocks_of_v1_go_through_the_checkpoint(
    raw: Callable[..., ChatAzInfer], server: RawServer
) -> None:
    thought = chat("4", message={"reasoning_content": "2+2"})
    server.will(reply(thought), reply(chat("5")))
    saver, config = InMemorySaver(), {"configurable": {"thread_id": "1"}}
    agent: Any = create_agent(raw(output_version="v1"), [get_weather], checkpointer=saver)
    state = agent.invoke({"messages": [HumanMessage("2+2?")]}, config)
    assert [block["type"] for block in state["messages"][-1].content] == ["reasoning", "text"]
    state = agent.invoke({"messages": [HumanMessage("plus 1?")]}, config)
    assert last(state) == "5"
    sent = server.received[1].json["messages"]
    assert sent[1] == {"role": "assistant", "content": "4"}


def test_messages_are_streamed_token_by_token(model: ChatAzInfer) -> None:
    agent = create_agent(model, [get_weather])
    parts = [part for part, _ in agent.stream(ASKED, stream_mode="messages")]
    texts = [each.text for each in parts if isinstance(each, AIMessageChunk) and each.text]
    assert len(texts) > 3
    assert "Sunny in New York" in "".join(texts)

    async def stream_parts() -> list[Any]:
        result = agent.astream(ASKED, stream_mode="messages")
        return [part async for part, _ in result if isinstance(part, AIMessageChunk)]

    texts = [each.text for each in asyncio.run(stream_parts())]
    assert "Sunny in New York" in "".join(texts)


def test_updates_are_streamed_step_by_step(model: ChatAzInfer) -> None:
    agent = create_agent(model, [get_weather])
    steps = [next(iter(each)) for each in agent.stream(ASKED, stream_mode="updates")]
    assert steps == ["model", "tools", "model"]


def test_every_message_of_a_streamed_run_has_usage(model: ChatAzInfer) -> None:
    agent = create_agent(model, [get_weather])
    state: Any
    *_, (_, state) = agent.stream(ASKED, stream_mode=["messages", "values"])
    answers = [each for each in state["messages"] if isinstance(each, AIMessage)]
    assert len(answers) == 2
    for answer in answers:
        assert answer.usage_metadata is not None
        assert answer.usage_metadata["total_tokens"] > 0


def test_reasoning_is_streamed_from_an_agent(
    raw: Callable[..., ChatAzInfer], server: RawServer
) -> None:
    server.will(stream(events(part("<think>2+2"), part("</think>4"), part(None, "stop"))))
    agent = create_agent(raw(model="DeepSeek-R1"), [])
    *streamed, (_, state) = list(agent.stream(ASKED, stream_mode=["messages", "values"]))
    parts: Any = [content[0] for mode, content in streamed if mode == "messages"]
    blocks = [block for part in parts for block in part.content_blocks]
    assert "".join(b["reasoning"] for b in blocks if b["type"] == "reasoning") == "2+2"
    assert "".join(b["text"] for b in blocks if b["type"] == "text") == "4"
    whole: Any = state
    assert whole["messages"][-1].content_blocks[0]["reasoning"] == "2+2"


def test_a_run_is_interrupted_and_resumed(model: ChatAzInfer) -> None:
    @tool
    def book(city: str) -> str:
        """Book a trip to a city."""
        return "booked" if interrupt({"city": city}) == "yes" else "not booked"

    agent = create_agent(model, [book], checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    requests: Any = {"messages": [HumanMessage("Book a trip to New York.")]}
    state: Any = agent.invoke(requests, config)
    assert state["__interrupt__"][0].value == {"city": "New York"}
    state = agent.invoke(Command(resume="yes"), config)
    assert state["messages"][-2].text == "booked"


@pytest.mark.parametrize("form", ["auto", "provider", "tool"])
def test_an_agent_answers_with_a_value(model: ChatAzInfer, form: str) -> None:
    wanted: Any = {"auto": Place, "provider": ProviderStrategy(Place), "tool": ToolStrategy(Place)}
    agent = create_agent(model, [], response_format=wanted[form])
    state = agent.invoke({"messages": [HumanMessage("I live in New York.")]})
    assert state["structured_response"] == Place(city="New York")


def test_native_structured_output_is_used_if_the_model_supports_it(
    raw: Callable[..., ChatAzInfer], server: RawServer
) -> None:
    server.will(reply(chat('{"city": "Delft"}')))
    agent: Any = create_agent(raw(model="prod", model_id="gpt-4.1"), [], response_format=Place)
    assert agent.invoke(ASKED)["structured_response"] == Place(city="Delft")
    assert server.received[0].json["response_format"]["type"] == "json_schema"
    assert "tools" not in server.received[0].json


def test_another_model_object_may_answer_a_step(
    model: ChatAzInfer, endpoint: LocalEndpoint
) -> None:
    other = ChatAzInfer(endpoint=endpoint.url, credential=endpoint.key, model="paris")

    @wrap_model_call
    def swap_model(request: Any, handler: Any) -> Any:
        return handler(request.override(model=other))

    assert last(create_agent(model, [], middleware=[swap_model]).invoke(ASKED)) == "Paris."


def test_another_deployment_may_answer_a_step(model: ChatAzInfer) -> None:
    @wrap_model_call
    def route_model(request: Any, handler: Any) -> Any:
        return handler(request.override(model_settings={"model": "PARIS"}))

    state = create_agent(model, [], middleware=[route_model]).invoke(ASKED)
    assert last(state) == "Paris."
    assert state["messages"][-1].response_metadata["deployment"] == "Paris"


def test_a_long_conversation_is_summarised(
    raw: Callable[..., ChatAzInfer], server: RawServer
) -> None:
    server.will(reply(chat("A summary.")), reply(chat("The answer.")))
    chatty = raw(model="prod", model_id="phi-4")
    middleware = SummarizationMiddleware(chatty, trigger=("fraction", 0.5), keep=("messages", 1))
    kinds: list[Any] = [HumanMessage, AIMessage] * 8
    long: Any = [*(kind("word " * 500) for kind in kinds), HumanMessage("And now?")]
    state: Any = create_agent(chatty, [], middleware=[middleware]).invoke({"messages": long})
    assert "A summary." in state["messages"][0].text
    assert last(state) == "The answer."
    assert len(json.dumps(server.received[1].json)) < 2000


def test_another_model_answers_when_the_first_fails(
    model: ChatAzInfer, endpoint: LocalEndpoint
) -> None:
    broken = ChatAzInfer(endpoint=endpoint.url, credential=endpoint.key, model="nope")
    agent = create_agent(broken, [get_weather], middleware=[ModelFallbackMiddleware(model)])
    assert "Sunny in New York" in last(agent.invoke(ASKED))


def test_a_transient_failure_is_retried_by_middleware(
    raw: Callable[..., ChatAzInfer], server: RawServer
) -> None:
    from langchain_core.exceptions import ModelRateLimitError

    server.will(reply(failure("429"), 429), reply(chat("At last.")))
    retry = ModelRetryMiddleware(
        max_retries=1, retry_on=(ModelRateLimitError,), initial_delay=0, jitter=False
    )
    assert last(create_agent(raw(), [], middleware=[retry]).invoke(ASKED)) == "At last."
    assert len(server.received) == 2
