"""Embeddings: texts and images checked, routed, admitted and turned into vectors."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

from azinfer.local import answers, families
from azinfer.local.limits import estimated
from azinfer.local.refusals import GITHUB, too_many_tokens
from azinfer.local.requests import EMBEDDINGS, embedding_request, image_request
from azinfer.local.service import Asked, Service, named

# "Prototyping with AI models" of GitHub Models, rate limits: the most tokens in a request.
_GITHUB_TOKENS = 64_000


async def embeddings(service: Service, asked: Asked) -> Response:
    """Answer `POST embeddings`."""
    body = await service.body(asked, EMBEDDINGS)
    deployment = service.deployment(asked, body.get("model"), "embeddings")
    request = embedding_request(body, asked.surface)
    families.check_embedding(body, deployment, asked.surface)
    if asked.surface == GITHUB and estimated(request.texts, 0) > _GITHUB_TOKENS:
        raise too_many_tokens(deployment.model_name, _GITHUB_TOKENS)
    engine: Any = deployment.engine
    limits = service.limits(deployment)
    admission = limits.admit(estimated(request.texts, 0), asked.surface)
    tokens = None
    try:
        vectors, tokens = await engine.embed(request.texts)
    finally:
        admission.over(tokens)
    families.check_embedding(body, deployment, asked.surface, len(vectors[0]))
    answer = answers.embeddings(
        vectors, deployment.model_name, tokens, request.dimensions, request.encoding, asked.id
    )
    return JSONResponse(answer, headers={**named(deployment), **limits.headers()})


async def image_embeddings(service: Service, asked: Asked) -> Response:
    """Answer `POST images/embeddings`."""
    body = await service.body(asked, EMBEDDINGS)
    deployment = service.deployment(asked, body.get("model"), "imageEmbeddings")
    request = image_request(body, asked.surface)
    engine: Any = deployment.engine
    families.check_embedding(body, deployment, asked.surface)
    vectors = await engine.embed_images(request.images)
    families.check_embedding(body, deployment, asked.surface, len(vectors[0]))
    answer = answers.embeddings(
        vectors,
        deployment.model_name,
        len(request.images),
        request.dimensions,
        request.encoding,
        asked.id,
    )
    return JSONResponse(answer, headers=named(deployment))
