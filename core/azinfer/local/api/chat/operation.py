"""`POST chat/completions`: read and check the request, then answer it by `completion.complete`."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from starlette.responses import Response

from azinfer.local.api import api_versions
from azinfer.local.api.admission import find_deployment
from azinfer.local.api.chat.completion import complete
from azinfer.local.api.chat.request import ChatRequest, parse_chat_request
from azinfer.local.api.chat.response import ChatWriter
from azinfer.local.api.context import RequestContext
from azinfer.local.resource import model_families
from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.wire.body import CHAT, OPENAI_CHAT, Json
from azinfer.local.wire.surfaces import DEPLOYMENTS, V1


async def chat(context: RequestContext) -> Response:
    """Answer `POST chat/completions`."""
    surface = context.surface
    body = await context.read_body(OPENAI_CHAT if surface in (V1, DEPLOYMENTS) else CHAT)
    deployment = find_deployment(context, body.get("model"), "chatCompletion")
    request = parse_chat_request(body, surface)
    model_families.check_chat(body, deployment, surface)
    if context.state.strict:
        api_versions.check_chat(body, deployment, context.api_version, surface)
    make_writer = partial(
        ChatWriter,
        id=f"chatcmpl-{context.id}",
        created=int(time.time()),
        model=deployment.model_name,
        include_usage=request.include_usage,
        openai=surface in (V1, DEPLOYMENTS),
        calls_whole=model_families.writes_calls_whole(deployment, surface),
        chunk_usage=_chunk_usage(context, deployment, request),
    )
    return await complete(context, deployment, [request], make_writer, body)


def _chunk_usage(
    context: RequestContext, deployment: LocalDeployment, request: ChatRequest
) -> Callable[[bool], Json | None] | None:
    """Return a function that reports the usage on chunks, if the model does so unasked."""
    when = model_families.reports_usage(deployment, context.surface)
    if when is None or request.include_usage:
        return None

    def usage(is_last: bool) -> Json | None:
        count = context.trace.usage if is_last or when == "each" else None
        return dict(count()) if count is not None else None

    return usage
