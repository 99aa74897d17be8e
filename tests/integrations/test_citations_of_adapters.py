"""Sources that answers name, in each framework's own place for them, on every wire."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from ag2 import Agent
from agent_framework import AgentSession
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    messages_from_dict,
    messages_to_dict,
)
from llama_index.core.base.llms.types import ChatMessage
from semantic_kernel.contents import ChatHistory
from semantic_kernel.contents.annotation_content import AnnotationContent, CitationType
from semantic_kernel.contents.streaming_annotation_content import StreamingAnnotationContent

from agent_clients import both
from azinfer.ag2 import AzInferConfig
from azinfer.agent_framework import AzInferChatClient
from azinfer.core import AsyncInferenceClient, InferenceClient
from azinfer.core.endpoint_knowledge import forget_endpoints
from azinfer.core.surfaces import WireName
from azinfer.langchain import ChatAzInfer
from azinfer.llama_index import AzInferLLM
from azinfer.semantic_kernel import AzInferChatCompletion, AzInferChatPromptExecutionSettings
from cited_answers import PLACE, TEXT, URL, cited_replies
from raw_server import RawServer

pytestmark = pytest.mark.parametrize("wire", get_args(WireName))


@pytest.fixture
def server(wire: Any) -> Iterator[RawServer]:
    """A server that answers whole, then streamed, then without sources."""
    forget_endpoints()
    server = RawServer().start()
    server.will(*cited_replies(wire))
    yield server
    server.stop()


def client(server: RawServer, wire: Any) -> InferenceClient:
    return InferenceClient(server.url, "a-key", "m", wire=wire)


async def test_agent_framework_has_annotations(server: RawServer, wire: Any) -> None:
    chat_client = AzInferChatClient(client=client(server, wire))
    for answer in await both(chat_client):
        (content,) = [each for each in answer.messages[0].contents if each.type == "text"]
        assert content.text == TEXT
        first, second = content.annotations or ()
        assert (first["type"], first["title"], first["url"]) == ("citation", "A", URL)
        (region,) = first["annotated_regions"]
        assert (region["start_index"], region["end_index"]) == PLACE
        assert (second["title"], second["file_id"]) == ("B", "f-1")
        assert first.get("snippet") == ("Yes" if wire == "messages" else None)


async def test_an_agents_session_keeps_annotations(server: RawServer, wire: Any) -> None:
    agent = AzInferChatClient(client=client(server, wire)).as_agent()
    session = agent.create_session()
    await agent.run("hi", session=session)
    kept = AgentSession.from_dict(session.to_dict())
    await agent.run("and?", session=kept, stream=True).get_final_response()
    sent = server.received[-1].json["input" if wire == "responses" else "messages"]
    assert len(sent) == 3
    assert "annotated_regions" not in str(sent)


def test_langchain_has_annotations_of_its_text(server: RawServer, wire: Any) -> None:
    model = ChatAzInfer(client=client(server, wire))
    answer = model.invoke("hi")
    chunks = list(model.stream("hi"))
    streamed = sum(chunks[1:], chunks[0])
    assert isinstance(streamed, AIMessageChunk)
    (kept,) = messages_from_dict(messages_to_dict([answer]))
    for message in (answer, kept, streamed):
        assert (message.content, message.text) == (TEXT, TEXT)
        blocks: list[Any] = [*message.content_blocks]
        (block,) = blocks
        first, second = block["annotations"]
        assert (first["type"], first["title"], first["url"]) == ("citation", "A", URL)
        assert (first["start_index"], first["end_index"]) == PLACE
        assert (second["title"], second["extras"]) == ("B", {"file_id": "f-1"})
        assert message.additional_kwargs["citations"] == block["annotations"]
        assert first.get("cited_text") == ("Yes" if wire == "messages" else None)
    server.will(*cited_replies(wire))
    model.invoke([HumanMessage("hi"), answer, HumanMessage("and?")])
    assert "extras" not in server.received[-1].body.decode()


def test_llama_index_has_plain_data(server: RawServer, wire: Any) -> None:
    llm = AzInferLLM(client=client(server, wire))
    question = [ChatMessage(content="hi")]
    answer, streamed = llm.chat(question), list(llm.stream_chat(question))[-1]
    for message in (answer.message, streamed.message):
        kept = ChatMessage.model_validate_json(message.model_dump_json())
        assert kept.content == TEXT
        first, second = kept.additional_kwargs["citations"]
        assert (first["title"], first["url"], first["start"], first["end"]) == ("A", URL, *PLACE)
        assert (second["title"], second["file_id"]) == ("B", "f-1")


async def test_semantic_kernel_has_annotations(server: RawServer, wire: Any) -> None:
    service = AzInferChatCompletion(client=client(server, wire))
    settings = AzInferChatPromptExecutionSettings()
    history = ChatHistory()
    history.add_user_message("hi")
    (answer,) = await service.get_chat_message_contents(history, settings)
    parts = [
        part[0] async for part in service.get_streaming_chat_message_contents(history, settings)
    ]
    streamed = parts[0]
    for each in parts[1:]:
        streamed += each
    for message, kind in ((answer, AnnotationContent), (streamed, StreamingAnnotationContent)):
        assert str(message) == TEXT
        first, second = (each for each in message.items if isinstance(each, kind))
        assert (first.title, first.url) == ("A", URL)
        assert (first.start_index, first.end_index) == PLACE
        assert (second.title, second.file_id) == ("B", "f-1")
        assert first.citation_type is CitationType.URL_CITATION
        assert second.citation_type is CitationType.FILE_CITATION
        history.add_message(message)
    server.will(*cited_replies(wire))
    await service.get_chat_message_contents(history, settings)
    assert len(server.received) == 3


async def test_ag2_has_plain_data(server: RawServer, wire: Any) -> None:
    async with AsyncInferenceClient(server.url, "a-key", "m", wire=wire) as core_client:
        for is_streamed in (False, True):
            config = AzInferConfig(client=core_client, streaming=is_streamed)
            answer = await Agent("it", config=config).ask("hi")
            message = answer.response.message
            assert message is not None
            first, second = message.metadata["citations"]
            assert (first["url"], first["start"], first["end"]) == (URL, *PLACE)
            assert second["file_id"] == "f-1"


def test_langchain_reads_other_messages_as_before(server: RawServer, wire: Any) -> None:
    plain = AIMessage("hi", response_metadata={"model_provider": "azinfer"})
    assert plain.content_blocks == [{"type": "text", "text": "hi"}]
    only = {"citations": [{"type": "citation", "url": URL}]}
    silent = AIMessage("", additional_kwargs=only, response_metadata=plain.response_metadata)
    assert silent.content_blocks == []
