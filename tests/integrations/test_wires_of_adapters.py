"""LlamaIndex, Semantic Kernel, AG2 and Agent Framework return a model's reasoning state to it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from ag2 import Agent, tool
from agent_framework import AgentSession
from langchain_core.messages import ToolMessage
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, MessageRole, TextBlock
from llama_index.core.tools import FunctionTool
from semantic_kernel.contents import ChatHistory, FunctionCallContent, FunctionResultContent
from semantic_kernel.contents.chat_message_content import ChatMessageContent
from semantic_kernel.contents.utils.author_role import AuthorRole

from azinfer.ag2 import AzInferConfig
from azinfer.agent_framework import AzInferChatClient
from azinfer.core import AsyncInferenceClient, InferenceClient
from azinfer.core.endpoint_knowledge import forget_endpoints
from azinfer.langchain import ChatAzInfer
from azinfer.llama_index import AzInferLLM
from azinfer.semantic_kernel import AzInferChatCompletion, AzInferChatPromptExecutionSettings
from pictures import PNG
from raw_server import RawServer, chat, events, reply, stream
from wire_bodies import ANSWERS, items_after_question, stream_of

WIRES = pytest.mark.parametrize("wire", ["responses", "messages"])
STREAMED = pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
Settings = AzInferChatPromptExecutionSettings

TEXT = {"type": "output_text", "text": "done"}
SAID_ON_RESPONSES = {"output": [{"type": "message", "content": [TEXT]}]}
SAID_ON_MESSAGES = {"content": [{"type": "text", "text": "done"}], "stop_reason": "end_turn"}


def f(a: int) -> str:
    """Do it."""
    return str(a)


@pytest.fixture
def server() -> Iterator[RawServer]:
    forget_endpoints()
    server = RawServer().start()
    yield server
    server.stop()


def rest_of_request(server: RawServer, wire: str) -> Any:
    """Return the items of the last request after the question."""
    return server.received[-1].json["input" if wire == "responses" else "messages"][1:]


@WIRES
@STREAMED
def test_llama_index_gives_back_what_the_model_thought(
    server: RawServer, wire: Any, is_streamed: bool
) -> None:
    server.will(stream_of(wire) if is_streamed else reply(ANSWERS[wire]), reply(ANSWERS[wire]))
    llm = AzInferLLM(client=InferenceClient(server.url, "a-key", "m", wire=wire))
    tools = [FunctionTool.from_defaults(f)]
    question = ChatMessage(role=MessageRole.USER, content="do it")
    if is_streamed:
        *_, answer = llm.stream_chat_with_tools(tools, chat_history=[question])
    else:
        answer = llm.chat_with_tools(tools, chat_history=[question])
    kept = ChatMessage.model_validate_json(answer.message.model_dump_json())
    more = {"tool_call_id": "c1"}
    result = ChatMessage(role=MessageRole.TOOL, content="yes", additional_kwargs=more)
    llm.chat([question, kept, result])
    assert rest_of_request(server, wire) == items_after_question(wire, "yes")


@STREAMED
def test_llama_index_has_the_texts_around_a_call_once_and_in_order(
    server: RawServer, is_streamed: bool
) -> None:
    def text(value: str) -> Any:
        content = [{"type": "output_text", "text": value, "annotations": []}]
        return {"type": "message", "role": "assistant", "content": content}

    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    output = [text("I look."), call, text("One moment.")]
    response = {"id": "r", "status": "completed", "output": output}
    parts: list[Any] = []
    for at, item in enumerate(output):
        parts.append({"type": "response.output_item.added", "output_index": at, "item": item})
        parts.append({"type": "response.output_item.done", "output_index": at, "item": item})
    ends = {"type": "response.completed", "response": response}
    parts_of_answer = stream(events(*parts, ends, done=False))
    server.will(parts_of_answer if is_streamed else reply(response), reply(SAID_ON_RESPONSES))
    llm = AzInferLLM(client=InferenceClient(server.url, "a-key", "m", wire="responses"))
    question = ChatMessage(role=MessageRole.USER, content="do it")
    tools = [FunctionTool.from_defaults(f)]
    if is_streamed:
        *_, answer = llm.stream_chat_with_tools(tools, chat_history=[question])
    else:
        answer = llm.chat_with_tools(tools, chat_history=[question])
    assert answer.message.content == "I look.\n\nOne moment."
    (selection,) = llm.get_tool_calls_from_response(answer)
    assert selection.tool_id == "c1"
    result = ChatMessage(
        role=MessageRole.TOOL, content="yes", additional_kwargs={"tool_call_id": "c1"}
    )
    llm.chat([question, answer.message, result])
    back = [item["type"] for item in rest_of_request(server, "responses")]
    assert back == ["message", "function_call", "message", "function_call_output"]
    assert rest_of_request(server, "responses")[:3] == output


@WIRES
@STREAMED
async def test_semantic_kernel_gives_back_what_the_model_thought(
    server: RawServer, wire: Any, is_streamed: bool
) -> None:
    server.will(stream_of(wire) if is_streamed else reply(ANSWERS[wire]), reply(ANSWERS[wire]))
    client = AsyncInferenceClient(server.url, "a-key", "m", wire=wire)
    service = AzInferChatCompletion(client=client)
    history = ChatHistory()
    history.add_user_message("do it")
    if is_streamed:
        parts = service.get_streaming_chat_message_contents(history, Settings())
        messages: Any = [part[0] async for part in parts]
        answer = messages[0]
        for message in messages[1:]:
            answer += message
    else:
        (answer,) = await service.get_chat_message_contents(history, Settings())
    history.add_message(
        ChatMessageContent(role=answer.role, items=answer.items, metadata=answer.metadata)
    )
    call = next(item for item in answer.items if isinstance(item, FunctionCallContent))
    result = FunctionResultContent(id=call.id, name="f", result="yes")
    history.add_message(ChatMessageContent(role=AuthorRole.TOOL, items=[result]))
    await service.get_chat_message_contents(history, Settings())
    assert rest_of_request(server, wire) == items_after_question(wire, "yes")
    await client.aclose()


@WIRES
@STREAMED
async def test_ag2_gives_back_what_the_model_thought(
    server: RawServer, wire: Any, is_streamed: bool
) -> None:
    ends = {"responses": SAID_ON_RESPONSES, "messages": SAID_ON_MESSAGES}[wire]
    server.will(stream_of(wire) if is_streamed else reply(ANSWERS[wire]), reply(ends))
    client = AsyncInferenceClient(server.url, "a-key", "m", wire=wire)
    agent = Agent("it", config=AzInferConfig(client=client, streaming=is_streamed), tools=[tool(f)])
    answer = await agent.ask("do it")
    assert answer.body == "done"
    assert rest_of_request(server, wire) == items_after_question(wire, "1")
    await client.aclose()


@WIRES
@STREAMED
async def test_agent_framework_gives_back_what_the_model_thought(
    server: RawServer, wire: Any, is_streamed: bool
) -> None:
    ends = {"responses": SAID_ON_RESPONSES, "messages": SAID_ON_MESSAGES}[wire]
    server.will(stream_of(wire) if is_streamed else reply(ANSWERS[wire]), reply(ends))
    client = AsyncInferenceClient(server.url, "a-key", "m", wire=wire)
    agent = AzInferChatClient(client=client).as_agent(tools=[f])
    session = agent.create_session()
    if is_streamed:
        parts = [part async for part in agent.run("do it", session=session, stream=True)]
        assert "".join(part.text for part in parts) == "done"
    else:
        assert (await agent.run("do it", session=session)).text == "done"
    assert rest_of_request(server, wire) == items_after_question(wire, "1")
    # The next turn, after the session was stored as JSON, has it all once more.
    again = AgentSession.from_dict(json.loads(json.dumps(session.to_dict())))
    server.will(reply(ends))
    await agent.run("again", session=again)
    assert rest_of_request(server, wire)[
        : len(items_after_question(wire, "1"))
    ] == items_after_question(wire, "1")
    await client.aclose()


async def test_ag2_gives_reasoning_back_to_models_that_want_it(server: RawServer) -> None:
    call = {"id": "c1", "function": {"name": "f", "arguments": '{"a": 1}'}}
    thought = {"reasoning_content": "2 and 2", "tool_calls": [call]}
    server.will(reply(chat(None, "tool_calls", message=thought)), reply(chat("done")))
    client = AsyncInferenceClient(server.url, "a-key", "m", model_id="DeepSeek-V4-Pro")
    agent = Agent("it", config=AzInferConfig(client=client), tools=[tool(f)])
    await agent.ask("do it")
    assert server.received[-1].json["messages"][1]["reasoning_content"] == "2 and 2"
    await client.aclose()


async def test_reasoning_goes_back_to_models_that_want_it(server: RawServer) -> None:
    server.will(reply(chat("4", message={"reasoning_content": "2 and 2"})))
    options: Any = {"model": "m", "model_id": "DeepSeek-V4-Pro"}
    llm = AzInferLLM(client=InferenceClient(server.url, "a-key", **options))
    question = ChatMessage(role=MessageRole.USER, content="2 + 2?")
    llm.chat([question, llm.chat([question]).message, question])
    assert server.received[-1].json["messages"][1]["reasoning_content"] == "2 and 2"
    async with AsyncInferenceClient(server.url, "a-key", **options) as client:
        service = AzInferChatCompletion(client=client)
        history = ChatHistory()
        history.add_user_message("2 + 2?")
        history.add_message((await service.get_chat_message_contents(history, Settings()))[0])
        await service.get_chat_message_contents(history, Settings())
    assert server.received[-1].json["messages"][1]["reasoning_content"] == "2 and 2"


@WIRES
def test_pictures_in_results_of_tools_stay_there(server: RawServer, wire: Any) -> None:
    server.will(reply({"responses": SAID_ON_RESPONSES, "messages": SAID_ON_MESSAGES}[wire]))
    core_client = InferenceClient(server.url, "a-key", "m", wire=wire)
    blocks = [TextBlock(text="A cat"), ImageBlock(image=PNG)]
    more = {"tool_call_id": "c1"}
    AzInferLLM(client=core_client).chat(
        [ChatMessage(role=MessageRole.TOOL, blocks=blocks, additional_kwargs=more)]
    )
    picture = "data:image/png;base64," + base64.b64encode(PNG).decode()
    parts: list[Any] = [
        {"type": "text", "text": "A cat"},
        {"type": "image_url", "image_url": {"url": picture}},
    ]
    ChatAzInfer(client=core_client).invoke([ToolMessage(parts, tool_call_id="c1")])
    name, kind = ("input", "input_image") if wire == "responses" else ("messages", "image")
    for request in server.received:
        (item,) = request.json[name]
        inner = item["output"] if wire == "responses" else item["content"][0]["content"]
        assert [each["type"] for each in inner][1] == kind
    assert len(server.received) == 2
