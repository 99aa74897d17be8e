"""Reranking: documents in the order of how well they answer a query.

Source: "Rerank" (v2) of Cohere's API reference, which Foundry serves below `/providers/cohere`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from azinfer.core.arguments import refuse
from azinfer.core.calls import Call, Target
from azinfer.core.completions import Json
from azinfer.core.decoding import decode_json, invalid_response
from azinfer.core.errors import ConfigurationError
from azinfer.core.routing import Routing


@dataclass(frozen=True, slots=True)
class RerankResult:
    """One document.

    Attributes:
        index: Its place among the documents that were sent.
        score: How well it answers the query, from 0 to 1.
        document: The document itself.
    """

    index: int
    score: float
    document: str


@dataclass(frozen=True, slots=True)
class Reranking:
    """Documents by their score, best first; iterates over its results.

    Attributes:
        results: The documents, `top_n` of them at most.
        search_units: What the service bills; None where it does not say.
        routing: Where the request went.
        raw: The body as the service sent it.
    """

    results: tuple[RerankResult, ...]
    search_units: float | None = None
    routing: Routing | None = field(default=None, compare=False)
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    def __iter__(self) -> Iterator[RerankResult]:
        return iter(self.results)


def reranking(
    target: Target, query: Any, documents: Any, options: Mapping[str, Any]
) -> Call[Reranking]:
    """Return the call that ranks documents.

    Raises:
        ConfigurationError: There are no documents, or no deployment is named.
    """
    if not isinstance(query, str):
        refuse("query", query, "a text")
    if isinstance(documents, str) or not isinstance(documents, Sequence) or not documents:
        raise ConfigurationError("documents must be a list with at least one text")
    for position, document in enumerate(documents):
        if not isinstance(document, str | Mapping):
            refuse(f"documents[{position}]", document, "texts")
    if not target.model and target.endpoint.surface.routes:
        raise ConfigurationError(
            "the name of the deployment is missing: pass model= to the call or the client"
        )
    body = {"model": target.model, "query": query, "documents": list(documents), **options}

    def read(data: bytes, headers: Mapping[str, str], routing: Routing) -> Reranking:
        raw = decode_json(data, headers)
        listed = raw.get("results") if isinstance(raw, dict) else None
        if not isinstance(listed, list):
            raise invalid_response("no results", raw)
        units = ((raw.get("meta") or {}).get("billed_units") or {}).get("search_units")
        return Reranking(tuple(_result(each, documents) for each in listed), units, routing, raw)

    return Call(target, {key: value for key, value in body.items() if value is not None}, read)


def _result(raw: Any, documents: Sequence[str]) -> RerankResult:
    index = raw.get("index") if isinstance(raw, dict) else None
    if not isinstance(index, int) or not 0 <= index < len(documents):
        raise invalid_response(f"a result that is not one of {len(documents)} documents", raw)
    return RerankResult(index, float(raw.get("relevance_score") or 0), documents[index])
