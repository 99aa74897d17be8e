"""Embeddings: texts and images checked, routed, admitted and turned into vectors."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from azinfer.local.api.context import Asked
from azinfer.local.api.embeddings import response as vectors
from azinfer.local.api.embeddings.request import embedding_request, image_request
from azinfer.local.resource import model_families
from azinfer.local.resource.rate_limits import estimated
from azinfer.local.resource.state import Service
from azinfer.local.wire.body import EMBEDDINGS
from azinfer.local.wire.errors import too_many_tokens
from azinfer.local.wire.json import AsciiResponse
from azinfer.local.wire.surfaces import GITHUB

# "Prototyping with AI models" of GitHub Models, rate limits: the most tokens in a request.
_GITHUB_TOKENS = 64_000


async def embeddings(service: Service, asked: Asked) -> Response:
    """Answer `POST embeddings`."""
    body = await service.body(asked, EMBEDDINGS)
    deployment = service.deployment(asked, body.get("model"), "embeddings")
    request = embedding_request(body, asked.surface)
    model_families.check_embedding(body, deployment, asked.surface)
    if asked.surface == GITHUB and estimated(request.texts, 0) > _GITHUB_TOKENS:
        raise too_many_tokens(deployment.model_name, _GITHUB_TOKENS)
    admission = service.admit(asked, deployment, estimated(request.texts, 0))
    engine: Any = admission.deployment.engine
    tokens = None
    try:
        await service.behaviours.of(admission.deployment).wait()
        if hasattr(engine, "embed_request"):
            found, tokens = await engine.embed_request(body)
        else:
            found, tokens = await engine.embed(request.texts)
    finally:
        admission.over(tokens)
    asked.trace.usage = lambda: {"prompt_tokens": tokens}
    model_families.check_embedding(body, deployment, asked.surface, len(found[0]))
    answer = vectors.embeddings(
        found, deployment.model_name, tokens, request.dimensions, request.encoding, asked.id
    )
    return AsciiResponse(answer)


async def image_embeddings(service: Service, asked: Asked) -> Response:
    """Answer `POST images/embeddings`."""
    body = await service.body(asked, EMBEDDINGS)
    deployment = service.deployment(asked, body.get("model"), "imageEmbeddings")
    request = image_request(body, asked.surface)
    model_families.check_embedding(body, deployment, asked.surface)
    admission = service.admit(asked, deployment, len(request.images))
    engine: Any = admission.deployment.engine
    try:
        await service.behaviours.of(admission.deployment).wait()
        found = await engine.embed_images(request.images)
    finally:
        admission.over(None)
    model_families.check_embedding(body, deployment, asked.surface, len(found[0]))
    answer = vectors.embeddings(
        found,
        deployment.model_name,
        len(request.images),
        request.dimensions,
        request.encoding,
        asked.id,
    )
    return AsciiResponse(answer)
