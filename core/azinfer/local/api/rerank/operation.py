"""`POST rerank` of Cohere's route: documents sorted by their similarity to a query.

Source: "Rerank" of Cohere's API reference, version 2. No engine reranks; vectors are compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

from starlette.responses import Response

from azinfer.local.api.admission import admit, find_deployment
from azinfer.local.api.context import RequestContext
from azinfer.local.engines.base import EmbeddingEngine
from azinfer.local.resource.rate_limits import estimate_tokens
from azinfer.local.wire.body import BodyReader, Json
from azinfer.local.wire.json import AsciiResponse

_FIELDS = frozenset(["documents", "max_tokens_per_doc", "model", "priority", "query", "top_n"])
_DOCUMENTS_PER_UNIT = 100


async def rerank(context: RequestContext) -> Response:
    """Answer `POST rerank`."""
    body = await context.read_body(_FIELDS)
    deployment = find_deployment(context, body.get("model"), "rerank")
    query, documents, top = _read(body, context.surface)
    admission = admit(context, deployment, estimate_tokens([query, *documents], 0))
    tokens = None
    try:
        await context.state.overrides.of(admission.deployment).wait()
        engine = cast(EmbeddingEngine, admission.deployment.engine)
        (vector, *others), tokens = await engine.embed([query, *documents])
    finally:
        admission.over(tokens)
    context.trace.usage = lambda: {"prompt_tokens": tokens}
    scores = [max(0.0, sum(a * b for a, b in zip(vector, each, strict=True))) for each in others]
    order = sorted(range(len(scores)), key=lambda at: (-scores[at], at))[:top]
    units = math.ceil(len(documents) / _DOCUMENTS_PER_UNIT)
    payload = {
        "id": context.id,
        "results": [{"index": at, "relevance_score": min(1.0, scores[at])} for at in order],
        "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": units}},
    }
    return AsciiResponse(payload)


def _read(body: Json, surface: str) -> tuple[str, list[str], int]:
    """Return the query, the documents and how many results are wanted.

    Raises:
        ErrorResponse: A field is not valid; the error names it.
    """
    fields = BodyReader(body, surface)
    query, documents = fields.text("query"), body.get("documents")
    if not query:
        raise fields.error("query", "invalid request: query must be a non-empty string")
    if not isinstance(documents, list) or not documents:
        raise fields.error("documents", "invalid request: list of documents must not be empty")
    texts = [_text(each) for each in documents]
    if None in texts:
        message = f"invalid type: parameter documents[{texts.index(None)}] must be a string"
        raise fields.error("documents", message)
    top = fields.whole("top_n", 1, 10**6)
    return query, cast("list[str]", texts), top or len(texts)


def _text(document: Any) -> str | None:
    text = document.get("text") if isinstance(document, Mapping) else document
    return text if isinstance(text, str) else None
