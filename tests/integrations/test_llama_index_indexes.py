"""Indexes, query engines and chat engines of LlamaIndex, on each of the three main surfaces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import (
    Document,
    Settings,
    StorageContext,
    VectorStoreIndex,
    load_index_from_storage,
)
from llama_index.core.chat_engine.types import ChatMode
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.schema import BaseNode, TextNode

from azinfer.llama_index import AzInferEmbedding
from azinfer.local import LocalEndpoint
from llama_index_calls import FACTS, call_method, on_chat

Make = Callable[..., Any]
OLIVES = "In which month does the harvest of olives begin?"
pytestmark = pytest.mark.usefixtures("own_loop")


def test_a_query_engine_answers_from_the_right_node(
    llm: Make, index: VectorStoreIndex, llama_endpoint: LocalEndpoint, kind: str
) -> None:
    engine = index.as_query_engine(llm=llm(), similarity_top_k=1)
    response = call_method(engine, kind, "query", OLIVES)
    assert response.source_nodes[0].node.get_content() == FACTS[1]
    assert FACTS[1] in str(response)


def test_texts_are_embedded_in_one_request(
    llama_endpoint: LocalEndpoint, embedding: AzInferEmbedding, kind: str
) -> None:
    before = len(llama_endpoint.requests)
    nodes: list[BaseNode] = [TextNode(text=str(number)) for number in range(90)]
    if kind == "sync":
        VectorStoreIndex(nodes, embed_model=embedding)
    else:
        asyncio.run(embedding.acall(nodes))
    assert len(llama_endpoint.requests) - before == 1


def test_a_query_engine_streams_with_its_sources(llm: Make, index: VectorStoreIndex) -> None:
    engine = index.as_query_engine(llm=llm(), similarity_top_k=1, streaming=True)
    result: Any = engine.query(OLIVES)
    pieces = list(result.response_gen)
    assert len(pieces) > 5
    assert FACTS[1] in "".join(pieces)
    assert result.source_nodes[0].node.get_content() == FACTS[1]


def test_an_async_query_streams(llm: Make, embedding: AzInferEmbedding) -> None:
    async def run_calls() -> list[str]:
        index = VectorStoreIndex.from_documents(
            [Document(text=fact) for fact in FACTS], embed_model=embedding, use_async=False
        )
        engine = index.as_query_engine(llm=llm(), similarity_top_k=1, streaming=True)
        result: Any = await engine.aquery(OLIVES)
        return [each async for each in result.async_response_gen()]

    assert FACTS[1] in "".join(asyncio.run(run_calls()))


@on_chat
def test_a_chat_engine_keeps_a_conversation(
    llm: Make, index: VectorStoreIndex, llama_endpoint: LocalEndpoint
) -> None:
    memory = ChatMemoryBuffer.from_defaults()
    engine = index.as_chat_engine(
        ChatMode.CONDENSE_PLUS_CONTEXT, llm=llm(), similarity_top_k=1, memory=memory
    )
    first: Any = engine.stream_chat(OLIVES)
    assert OLIVES in "".join(first.response_gen)
    assert FACTS[1] in llama_endpoint.requests[-1].body["messages"][0]["content"]
    second: Any = engine.stream_chat("And of what is the lighthouse built?")
    assert "lighthouse" in "".join(second.response_gen)
    assert len(engine.chat_history) == 4
    message_lists = [
        each.body["messages"] for each in llama_endpoint.requests if "messages" in each.body
    ]
    assert len(message_lists) == 3
    assert OLIVES in message_lists[1][0]["content"]  # the condensed question contains the first one


def test_a_chat_engine_streams_async(llm: Make, index: VectorStoreIndex) -> None:
    memory = ChatMemoryBuffer.from_defaults()
    engine = index.as_chat_engine(ChatMode.CONTEXT, llm=llm(), similarity_top_k=1, memory=memory)

    async def run_calls() -> str:
        result: Any = await engine.astream_chat(OLIVES)
        return "".join([each async for each in result.async_response_gen()])

    assert OLIVES in asyncio.run(run_calls())


def test_an_index_is_stored_and_loaded(
    index: VectorStoreIndex, embedding: AzInferEmbedding, tmp_path: Path
) -> None:
    index.storage_context.persist(str(tmp_path))
    context = StorageContext.from_defaults(persist_dir=str(tmp_path))
    again: Any = load_index_from_storage(context, embed_model=embedding)
    (result,) = again.as_retriever(similarity_top_k=1).retrieve(OLIVES)
    assert result.text == FACTS[1]


def test_the_settings_are_used(
    llm: Make, embedding: AzInferEmbedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_llm", "_embed_model"):
        monkeypatch.setattr(Settings, name, getattr(Settings, name))
    Settings.llm, Settings.embed_model = llm("paris"), embedding
    index = VectorStoreIndex.from_documents([Document(text=FACTS[0])])
    assert str(index.as_query_engine().query("?")) == "Paris."
