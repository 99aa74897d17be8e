"""AzInferRerank: every rerank deployment of an endpoint as a node postprocessor of LlamaIndex."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llama_index.core.bridge.pydantic import Field
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle
from typing_extensions import override

from azinfer.llama_index.connection import DeploymentConnection

_dispatcher = get_dispatcher(__name__)


class AzInferRerank(DeploymentConnection, BaseNodePostprocessor):
    """The nodes that answer a query best, best first, each with a score from 0 to 1.

    Example:
        >>> from azinfer.llama_index import AzInferRerank
        >>> reranker = AzInferRerank(
        ...     endpoint="https://contoso.services.ai.azure.com",
        ...     credential="a-key",
        ...     model="cohere-rerank",
        ...     top_n=3,
        ... )
        >>> reranker.postprocess_nodes([], query_str="Where is the tower?")
        []
    """

    top_n: int | None = Field(default=None, gt=0)
    """The most nodes to keep; by default all of them."""
    additional_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further options, sent as they are: `{"max_tokens_per_doc": 512}`."""

    @classmethod
    @override
    def class_name(cls) -> str:
        return "AzInferRerank"

    @override
    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if not nodes:
            return []
        return _rank(nodes, self.sync_client.rerank(**self._request(nodes, query_bundle)))

    @override
    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if not nodes:
            return []
        return _rank(nodes, await self.async_client.rerank(**self._request(nodes, query_bundle)))

    def _request(self, nodes: list[NodeWithScore], query: QueryBundle | None) -> dict[str, Any]:
        """Return the arguments for the core client; texts are those that would be embedded."""
        if query is None:
            raise ValueError("AzInferRerank needs the query: pass query_bundle= or query_str=")
        top_n, name = self.top_n or len(nodes), self.model or self.core_client.model or "unknown"
        start = ReRankStartEvent(query=query, nodes=nodes, top_n=top_n, model_name=name)
        _dispatcher.event(start)
        texts = [each.node.get_content(metadata_mode=MetadataMode.EMBED) for each in nodes]
        request = {"query": query.query_str, "documents": texts}
        return {**request, "model": self.model, "top_n": self.top_n, **self.additional_kwargs}


def _rank(nodes: list[NodeWithScore], ranking: Iterable[Any]) -> list[NodeWithScore]:
    ranked = [NodeWithScore(node=nodes[each.index].node, score=each.score) for each in ranking]
    _dispatcher.event(ReRankEndEvent(nodes=ranked))
    return ranked
