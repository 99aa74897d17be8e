"""`POST embeddings` and `POST images/embeddings`: check, route, admit, embed and write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from starlette.responses import Response

from azinfer.local.api.admission import admit, find_deployment
from azinfer.local.api.context import RequestContext
from azinfer.local.api.embeddings.request import (
    EmbeddingRequest,
    parse_embedding_request,
    parse_image_request,
)
from azinfer.local.api.embeddings.response import embeddings_response
from azinfer.local.engines.base import EmbeddingEngine, ImageEngine, RequestEmbeddingEngine
from azinfer.local.resource import model_families
from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.resource.rate_limits import estimate_tokens
from azinfer.local.wire.body import EMBEDDINGS, Json


async def embeddings(context: RequestContext) -> Response:
    """Answer `POST embeddings`."""
    body = await context.read_body(EMBEDDINGS)
    deployment = find_deployment(context, body.get("model"), "embeddings")
    request = parse_embedding_request(body, context.surface)
    model_families.check_embedding(body, deployment, context.surface)
    admission = admit(context, deployment, estimate_tokens(request.texts, 0))
    tokens = None
    try:
        await context.state.overrides.of(admission.deployment).wait()
        vectors, tokens = await _embed(admission.deployment, request, body)
    finally:
        admission.over(tokens)
    context.trace.usage = lambda: {"prompt_tokens": tokens}
    model_families.check_embedding(body, deployment, context.surface, len(vectors[0]))
    return await embeddings_response(
        vectors,
        model=deployment.model_name,
        tokens=tokens,
        dimensions=request.dimensions,
        encoding=request.encoding,
        response_id=context.id,
    )


async def _embed(
    deployment: LocalDeployment, request: EmbeddingRequest, body: Json
) -> tuple[Sequence[Sequence[float]], int]:
    """Return the vectors of an engine and the tokens that it read."""
    if deployment.engine_capabilities.embeds_requests:
        return await cast(RequestEmbeddingEngine, deployment.engine).embed_request(body)
    return await cast(EmbeddingEngine, deployment.engine).embed(request.texts)


async def image_embeddings(context: RequestContext) -> Response:
    """Answer `POST images/embeddings`."""
    body = await context.read_body(EMBEDDINGS)
    deployment = find_deployment(context, body.get("model"), "imageEmbeddings")
    request = parse_image_request(body, context.surface)
    model_families.check_embedding(body, deployment, context.surface)
    admission = admit(context, deployment, len(request.images))
    engine = cast(ImageEngine, admission.deployment.engine)
    try:
        await context.state.overrides.of(admission.deployment).wait()
        vectors = await engine.embed_images(request.images)
    finally:
        admission.over(None)
    model_families.check_embedding(body, deployment, context.surface, len(vectors[0]))
    return await embeddings_response(
        vectors,
        model=deployment.model_name,
        tokens=len(request.images),
        dimensions=request.dimensions,
        encoding=request.encoding,
        response_id=context.id,
    )
