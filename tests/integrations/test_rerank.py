"""Rerank deployments in the retrievers and query engines of LangChain and LlamaIndex."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core import Document as LlamaDocument
from llama_index.core import VectorStoreIndex, instrumentation
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.schema import NodeWithScore, TextNode

from azinfer import core
from azinfer.langchain import AzInferEmbeddings
from azinfer.langchain import AzInferRerank as Compressor
from azinfer.llama_index import AzInferEmbedding, AzInferLLM
from azinfer.llama_index import AzInferRerank as Postprocessor
from azinfer.local import LocalDeployment, LocalEndpoint
from raw_server import RawServer, failure, reply

FACTS = ["Paris has a tower.", "Delft has a church.", "Rome has a wall.", "The tower is in Paris."]
QUERY = "Which city has a tower?"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    deployments = [LocalDeployment(name) for name in ("chat", "rank", "embed")]
    with LocalEndpoint(deployments) as endpoint:
        yield endpoint


def scores(server: RawServer) -> None:
    """Rank documents by length, the longest first, and return as many as requested."""

    def choose(request: Any) -> Any:
        texts = request.json["documents"]
        order = sorted(range(len(texts)), key=lambda at: -len(texts[at]))
        results = [{"index": at, "relevance_score": len(texts[at]) / 100} for at in order]
        return reply({"id": "1", "results": results[: request.json.get("top_n")]})

    server.choose = choose


Rank = Callable[[Any, list[str]], list[tuple[str, Any]]]


def compress(kind: str) -> Rank:
    def rank(compressor: Any, texts: list[str]) -> list[tuple[str, Any]]:
        documents = [Document(text, metadata={"at": at}) for at, text in enumerate(texts)]
        if kind == "sync":
            ranked = compressor.compress_documents(documents, QUERY)
        else:
            ranked = asyncio.run(compressor.acompress_documents(documents, QUERY))
        assert all("relevance_score" not in each.metadata for each in documents)
        assert all(texts[each.metadata["at"]] == each.page_content for each in ranked)
        return [(each.page_content, each.metadata["relevance_score"]) for each in ranked]

    return rank


def postprocess(kind: str) -> Rank:
    def rank(postprocessor: Any, texts: list[str]) -> list[tuple[str, Any]]:
        nodes = [NodeWithScore(node=TextNode(text=text), score=0.5) for text in texts]
        if kind == "sync":
            ranked = postprocessor.postprocess_nodes(nodes, query_str=QUERY)
        else:
            ranked = asyncio.run(postprocessor.apostprocess_nodes(nodes, query_str=QUERY))
        assert all(each.score == 0.5 for each in nodes)
        return [(each.node.get_content(), each.score) for each in ranked]

    return rank


RANKERS = [
    (Compressor, compress, "model_kwargs"),
    (Postprocessor, postprocess, "additional_kwargs"),
]


@pytest.mark.parametrize(("ranker", "by", "further"), RANKERS)
@pytest.mark.parametrize("kind", ["sync", "async"])
class TestRankers:
    def test_the_best_come_first_with_their_scores(
        self, server: RawServer, ranker: Any, by: Any, further: str, kind: str
    ) -> None:
        scores(server)
        named: dict[str, Any] = {further: {"max_tokens_per_doc": 512}}
        component = ranker(endpoint=server.url, credential="k", model="rank", top_n=2, **named)
        assert by(kind)(component, ["a", "abc", "ab"]) == [("abc", 0.03), ("ab", 0.02)]
        (request,) = server.received
        assert request.target == "/providers/cohere/v2/rerank"
        assert request.json == {
            "model": "rank",
            "query": QUERY,
            "documents": ["a", "abc", "ab"],
            "top_n": 2,
            "max_tokens_per_doc": 512,
        }

    def test_all_documents_are_returned_without_top_n(
        self, server: RawServer, ranker: Any, by: Any, further: str, kind: str
    ) -> None:
        scores(server)
        client = core.InferenceClient(server.url, "k", "rank")
        assert len(by(kind)(ranker(client=client), FACTS)) == len(FACTS)
        assert "top_n" not in server.received[0].json
        assert by(kind)(ranker(client=client), []) == []
        assert len(server.received) == 1
        with pytest.raises(ValueError, match="top_n"):
            ranker(client=client, top_n=0)

    def test_an_error_is_ours(
        self, server: RawServer, ranker: Any, by: Any, further: str, kind: str
    ) -> None:
        server.will(reply(failure("DeploymentNotFound", "The API deployment rank …"), 404))
        with pytest.raises(core.DeploymentNotFoundError, match="rank"):
            by(kind)(ranker(endpoint=server.url, credential="k", model="rank"), ["a"])


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_retriever_of_langchain_compresses_what_it_found(
    endpoint: LocalEndpoint, kind: str
) -> None:
    place: dict[str, Any] = {"endpoint": endpoint.url, "credential": endpoint.key}
    store = InMemoryVectorStore(AzInferEmbeddings(model="embed", **place))
    store.add_texts(FACTS)
    retriever = ContextualCompressionRetriever(
        base_compressor=Compressor(model="rank", top_n=2, **place),
        base_retriever=store.as_retriever(search_kwargs={"k": 4}),
    )
    ranked = retriever.invoke(QUERY) if kind == "sync" else asyncio.run(retriever.ainvoke(QUERY))
    assert len(ranked) == 2
    assert {each.page_content for each in ranked} <= set(FACTS)
    first, second = (each.metadata["relevance_score"] for each in ranked)
    assert first >= second


def test_a_query_engine_of_llama_index_reranks_its_nodes(endpoint: LocalEndpoint) -> None:
    place: dict[str, Any] = {"endpoint": endpoint.url, "credential": endpoint.key}
    embedding = AzInferEmbedding(model="embed", **place)
    index = VectorStoreIndex.from_documents(
        [LlamaDocument(text=fact) for fact in FACTS], embed_model=embedding
    )
    engine = index.as_query_engine(
        llm=AzInferLLM(model="chat", **place),
        similarity_top_k=4,
        node_postprocessors=[Postprocessor(model="rank", top_n=2, **place)],
    )
    for answer in (engine.query(QUERY), asyncio.run(engine.aquery(QUERY))):
        assert len(answer.source_nodes) == 2
        first, second = (each.score or 0 for each in answer.source_nodes)
        assert first >= second
        assert str(answer)


class _Events(BaseEventHandler):
    events: list[Any] = []  # noqa: RUF012

    def handle(self, event: Any, **kwargs: Any) -> None:
        self.events.append(event)


def test_reranking_is_an_event_of_llama_index(server: RawServer) -> None:
    scores(server)
    handler, dispatcher = _Events(), instrumentation.get_dispatcher()  # type: ignore[attr-defined]
    dispatcher.add_event_handler(handler)
    try:
        postprocess("sync")(
            Postprocessor(endpoint=server.url, credential="k", model="rank", top_n=1), FACTS
        )
    finally:
        dispatcher.event_handlers.remove(handler)
    kinds = (ReRankStartEvent, ReRankEndEvent)
    start, end = (each for each in handler.events if isinstance(each, kinds))
    assert isinstance(start, ReRankStartEvent)
    assert (start.model_name, start.top_n, len(start.nodes)) == ("rank", 1, 4)
    assert len(end.nodes) == 1


def test_a_postprocessor_needs_the_query() -> None:
    component = Postprocessor(
        endpoint="https://contoso.openai.azure.com", credential="k", model="r"
    )
    with pytest.raises(ValueError, match="needs the query: pass query_bundle="):
        component.postprocess_nodes([NodeWithScore(node=TextNode(text="a"))])


def test_a_dump_has_no_secret_and_is_enough_to_make_another() -> None:
    component = Postprocessor(
        endpoint="https://contoso.openai.azure.com", credential="secret", model="rank", top_n=3
    )
    assert "secret" not in repr(component) + str(component.to_dict())
    again = Postprocessor.from_dict(component.to_dict(), credential="other")
    assert (again.model, again.top_n, again.class_name()) == ("rank", 3, "AzInferRerank")
    compressor = Compressor(
        endpoint="https://contoso.openai.azure.com", credential="secret", model="rank"
    )
    assert "secret" not in repr(compressor) + compressor.model_dump_json()
