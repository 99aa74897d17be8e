"""Agents and workflows of LlamaIndex, on each of the three main surfaces."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.agent.workflow import (
    AgentOutput,
    AgentStream,
    AgentWorkflow,
    FunctionAgent,
    ReActAgent,
    ToolCallResult,
)
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.memory import ChatMemoryBuffer, Memory
from llama_index.core.storage.chat_store import SimpleChatStore
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context
from sqlalchemy.ext.asyncio import create_async_engine

from azinfer.local import LocalEndpoint
from llama_index_calls import call_method, get_weather, on_chat, ping, tool
from raw_server import (
    RawServer,
)

Make = Callable[..., Any]
QUESTION = "What is the weather in New York?"
PNG = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\0\0\0\nIDATx\x9cc`\0\0"
    b"\0\x02\0\x01H\xaf\xa4q\0\0\0\0IEND\xaeB`\x82"
)
# LlamaIndex's agents look at attributes that pydantic and its own workflows have deprecated.
agents = pytest.mark.filterwarnings(
    "ignore:.* attribute.* deprecated", "ignore:is_running called from within a step"
)
pytestmark = pytest.mark.usefixtures("own_loop")


def bodies_of(server: RawServer) -> list[Any]:
    return [request.json for request in server.received]


async def run(agent: Any, question: str, **named: Any) -> tuple[Any, list[Any]]:
    """An agent's answer and the events on the way."""
    handler = agent.run(user_msg=question, **named)
    seen = [event async for event in handler.stream_events()]
    return await handler, seen


@agents
@pytest.mark.parametrize("streaming", [False, True])
def test_a_function_agent_calls_a_tool_and_answers(llm: Make, streaming: bool) -> None:
    agent = FunctionAgent(tools=[get_weather], llm=llm("prod"), streaming=streaming)
    response, seen = asyncio.run(run(agent, QUESTION))
    assert "sunny in New York" in str(response)
    (result,) = [each for each in seen if isinstance(each, ToolCallResult)]
    assert result.tool_output.content == "It is sunny in New York."
    reports = [each.delta for each in seen if isinstance(each, AgentStream) and each.delta]
    assert (len(reports) > 3) is streaming
    outputs = [each for each in seen if isinstance(each, AgentOutput)]
    assert all((each.raw or {})["usage"]["total_tokens"] > 0 for each in outputs)


@agents
def test_an_agent_calls_two_tools_in_one_turn(llm: Make) -> None:
    agent = FunctionAgent(tools=[get_weather, ping], llm=llm())
    _, seen = asyncio.run(run(agent, "Call get_weather and ping for New York."))
    called = {each.tool_name for each in seen if isinstance(each, ToolCallResult)}
    assert called == {"get_weather", "ping"}


@agents
def test_an_agent_forces_its_first_tool(llm: Make, llama_endpoint: LocalEndpoint) -> None:
    agent = FunctionAgent(tools=[get_weather, ping], llm=llm(), initial_tool_choice="ping")
    _, seen = asyncio.run(run(agent, QUESTION))
    first = next(each for each in seen if isinstance(each, ToolCallResult))
    assert first.tool_name == "ping"


@agents
def test_a_workflow_picks_function_calling_and_hands_off(llm: Make) -> None:
    workflow = AgentWorkflow.from_tools_or_functions([get_weather], llm=llm())
    assert all(isinstance(agent, FunctionAgent) for agent in workflow.agents.values())
    response, _ = asyncio.run(run(workflow, QUESTION))
    assert "sunny in New York" in str(response)


@on_chat
@agents
def test_the_state_of_an_agent_is_kept_and_taken_up(
    llm: Make, llama_endpoint: LocalEndpoint
) -> None:
    agent = FunctionAgent(tools=[get_weather], llm=llm())

    async def twice() -> Any:
        context = Context(agent)
        await run(agent, QUESTION, ctx=context)
        kept = json.loads(json.dumps(context.to_dict()))
        return await run(agent, "Thank you!", ctx=Context.from_dict(agent, kept))

    asyncio.run(twice())
    roles = [message["role"] for message in llama_endpoint.requests[-1].body["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant", "user"]


@on_chat
def test_a_memory_with_a_call_is_stored_and_sent_again(
    llm: Make, llama_endpoint: LocalEndpoint, tmp_path: Path, kind: str
) -> None:
    model, store = llm(), SimpleChatStore()
    memory = ChatMemoryBuffer.from_defaults(chat_store=store, chat_store_key="me")
    called = call_method(model, kind, "chat_with_tools", [tool()], QUESTION)
    (call,) = model.get_tool_calls_from_response(called)
    kept = {"tool_call_id": call.tool_id}
    result = ChatMessage(role="tool", content="sunny", additional_kwargs=kept)
    for message in (ChatMessage(QUESTION), called.message, result):
        memory.put(message)
    store.persist(str(tmp_path / "store.json"))
    again = SimpleChatStore.from_persist_path(str(tmp_path / "store.json"))
    memory = ChatMemoryBuffer.from_defaults(chat_store=again, chat_store_key="me")
    call_method(model, kind, "chat", memory.get())
    messages = llama_endpoint.requests[-1].body["messages"]
    (sent,) = messages[1]["tool_calls"]
    assert sent["id"] == messages[2]["tool_call_id"]  # short, as models of Mistral want it
    assert json.loads(sent["function"]["arguments"]) == {"city": "New York"}


@on_chat
@agents
def test_an_agent_remembers(llm: Make, llama_endpoint: LocalEndpoint, tmp_path: Path) -> None:
    agent = FunctionAgent(tools=[get_weather], llm=llm())

    async def twice() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/memory.db")
        memory = Memory.from_defaults(session_id="me", token_limit=4000, async_engine=engine)
        await agent.run(user_msg=QUESTION, memory=memory)
        await agent.run(user_msg="Thank you!", memory=memory)
        await engine.dispose()

    asyncio.run(twice())
    assert len(llama_endpoint.requests[-1].body["messages"]) == 5


@agents
def test_a_react_agent_comes_to_its_answer(llm: Make) -> None:
    agent = ReActAgent(tools=[get_weather], llm=llm("thinker"))
    response, _ = asyncio.run(run(agent, "The capital of France?"))
    assert str(response) == "Paris."


@on_chat
@agents
def test_an_image_of_a_tool_can_be_shown_to_the_model(
    llm: Make, llama_endpoint: LocalEndpoint
) -> None:
    def draw(city: str) -> Any:
        """Draw the weather in a city."""
        return [TextBlock(text="here"), ImageBlock(image=PNG)]

    agent = FunctionAgent(tools=[FunctionTool.from_defaults(draw)], llm=llm())
    asyncio.run(run(agent, "Draw the weather in New York."))
    messages = llama_endpoint.requests[-1].body["messages"]
    assert [message["role"] for message in messages[:4]] == ["user", "assistant", "tool", "user"]
    assert messages[2]["content"] == "here"
    assert messages[3]["content"][0]["type"] == "image_url"
