"""Retrieval over 200 real paragraphs, and answers from them, with the real small models."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import TextNode

from azinfer.llama_index import AzInferEmbedding, AzInferLLM
from azinfer.local import LocalDeployment, LocalEndpoint
from azinfer.local.engines import weights
from azinfer.local.engines.llama import GgufChat, GgufEmbeddings

SUPPORT = Path(__file__).parent.parent / "support"
FACTS = (SUPPORT / "facts.txt").read_text("utf-8").splitlines()
QUESTIONS = dict(
    line.split("\t") for line in (SUPPORT / "questions.txt").read_text("utf-8").splitlines()
)
pytestmark = pytest.mark.usefixtures("own_loop")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    """The real small models behind an endpoint."""
    chat, embed = (weights.pull(each, weights.cache()) for each in weights.GGUF)
    deployments = [
        LocalDeployment("chat", engine=GgufChat(chat, threads=2)),
        LocalDeployment("embed", engine=GgufEmbeddings(embed, threads=2)),
    ]
    with LocalEndpoint(deployments) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def index(endpoint: LocalEndpoint) -> VectorStoreIndex:
    """An index of all paragraphs."""
    embedding = AzInferEmbedding(
        endpoint=endpoint.url, credential=endpoint.key, model="embed", timeout=120
    )
    return VectorStoreIndex([TextNode(text=fact) for fact in FACTS], embed_model=embedding)


@pytest.fixture
def llm(endpoint: LocalEndpoint) -> AzInferLLM:
    """The small chat model."""
    return AzInferLLM(
        endpoint=endpoint.url,
        credential=endpoint.key,
        model="chat",
        context_window=2048,
        temperature=0,
        max_tokens=60,
        timeout=120,
    )


def test_there_are_200_paragraphs_and_each_question_has_its_own() -> None:
    assert len(set(FACTS)) == 200
    assert len(QUESTIONS) == 10
    for start in QUESTIONS.values():
        assert len([fact for fact in FACTS if fact.startswith(start)]) == 1


def test_the_right_paragraph_is_among_the_first_three(index: VectorStoreIndex) -> None:
    retriever = index.as_retriever(similarity_top_k=3)
    results = {
        question: any(node.text.startswith(start) for node in retriever.retrieve(question))
        for question, start in QUESTIONS.items()
    }
    assert sum(results.values()) >= 8, results


def test_an_answer_streams_with_its_sources(index: VectorStoreIndex, llm: AzInferLLM) -> None:
    engine = index.as_query_engine(llm=llm, similarity_top_k=2, streaming=True)
    question = "Why does bread dough get bigger?"
    result: Any = engine.query(question)
    pieces = list(result.response_gen)
    assert len(pieces) > 5
    assert "yeast" in "".join(pieces)
    assert result.source_nodes[0].text.startswith(QUESTIONS[question])

    async def run_calls() -> str:
        again: Any = await engine.aquery(question)
        return "".join([piece async for piece in again.async_response_gen()])

    assert "yeast" in asyncio.run(run_calls())
