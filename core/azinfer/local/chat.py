"""Chat completions: a request checked, routed, admitted, filtered, written and answered."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

from starlette.responses import JSONResponse, Response, StreamingResponse

from azinfer.local import families, refusals, tools, versions
from azinfer.local.answers import Form, Frame, usage
from azinfer.local.deployments import LocalDeployment
from azinfer.local.engines import EngineError, last_text
from azinfer.local.filters import ContentFilter, is_blocked
from azinfer.local.limits import estimated
from azinfer.local.refusals import DEPLOYMENTS, GITHUB, V1
from azinfer.local.requests import CHAT, ChatRequest, Json, chat_request
from azinfer.local.service import Asked, Service, named
from azinfer.local.writing import Writing

# "Prototyping with AI models" of GitHub Models: the most tokens a request to the tier "low" has.
_GITHUB_TOKENS = 8_000
Forming = Callable[[Json], Form]


async def chat(service: Service, asked: Asked) -> Response:
    """Answer `POST chat/completions`."""
    body = await service.body(asked, CHAT)
    deployment = service.deployment(asked, body.get("model"), "chatCompletion")
    request = chat_request(body, asked.surface)
    families.check_chat(body, deployment, asked.surface)
    if service.strict:
        version = asked.http.query_params.get("api-version")
        versions.check_chat(body, deployment, version, asked.surface)
    head = (f"chatcmpl-{asked.id}", int(time.time()), deployment.model_name)
    openai = asked.surface in (V1, DEPLOYMENTS)
    forming = partial(Frame, *head, request.include_usage, openai)
    return await answered(service, asked, deployment, [request], forming)


async def answered(
    service: Service,
    asked: Asked,
    deployment: LocalDeployment,
    requests: Sequence[ChatRequest],
    forming: Forming,
) -> Response:
    """Filter, admit and write what was asked, whole or in events.

    Args:
        service: The deployments and their limits.
        asked: The HTTP request.
        deployment: What answers.
        requests: One for each prompt; alike but for their messages.
        forming: Makes the wire form of the answer of what the filter found in the prompt.

    Raises:
        Refusal: The filter or a limit refuses it.
    """
    limits = service.limits(deployment)
    texts = [last_text([message]) for each in requests for message in each.messages]
    if asked.surface == GITHUB and estimated(texts, 0) > _GITHUB_TOKENS:
        raise refusals.too_many_tokens(deployment.model_name, _GITHUB_TOKENS)
    form = forming(_prompt_results(deployment.filter, "\n".join(texts)))
    admission = limits.admit(estimated(texts, requests[0].max_tokens), asked.surface)
    likeness, n = _likeness(service), requests[0].n
    writings = [
        Writing(request, deployment.engine, deployment.filter, likeness, at * n)
        for at, request in enumerate(requests)
    ]
    headers = {**named(deployment), **limits.headers()}
    try:
        if requests[0].stream:
            events = _events(writings, form)
            # Errors before the first token are HTTP errors, as with the service.
            first = await anext(events)
            return StreamingResponse(
                _with_first(first, events, form, lambda: admission.over(_tokens(writings))),
                media_type="text/event-stream",
                headers={"cache-control": "no-cache", **headers},
            )
        choices = await asyncio.gather(*(each.written(at) for each in writings for at in range(n)))
    except BaseException:
        admission.over(None)
        raise
    admission.over(sum(each.prompt_tokens + each.completion_tokens for each in choices))
    return JSONResponse(form.whole(choices), headers=headers)


def _prompt_results(content_filter: ContentFilter, text: str) -> Json:
    """What the filter finds in a prompt.

    Raises:
        Refusal: It blocks the prompt.
    """
    if not content_filter.active:
        return {}
    results = content_filter.results(text)
    if is_blocked(results):
        raise refusals.filtered(content_filter.spelling, results)
    return results


async def _events(writings: Sequence[Writing], form: Form) -> AsyncGenerator[bytes]:
    if first := form.first():
        yield first
    for writing in writings:
        async with contextlib.aclosing(writing.events(form)) as events:
            async for each in events:
                if each:
                    yield each
    yield form.last([choice for writing in writings for choice in writing.choices])


async def _with_first(
    first: bytes, events: AsyncGenerator[bytes], form: Form, over: Callable[[], None]
) -> AsyncIterator[bytes]:
    try:
        yield first
        async for each in events:
            yield each
    except EngineError as error:
        yield form.failed(str(error), error.code)
    finally:
        over()
        await events.aclose()


def _tokens(writings: Sequence[Writing]) -> int:
    return sum(int(usage(writing.choices)["total_tokens"]) for writing in writings)


def _likeness(service: Service) -> tools.Likeness | None:
    """Likeness of texts by a real embedding model, where one is deployed here."""
    for deployment in service.registry:
        engine: Any = deployment.engine
        if getattr(engine, "understands", False) and hasattr(engine, "embed"):
            return _likeness_of(engine)
    return None


def _likeness_of(engine: Any) -> tools.Likeness:
    async def likeness(text: str, descriptions: Sequence[str]) -> list[float]:
        (asked, *told), _ = await engine.embed([text, *descriptions])
        return [sum(a * b for a, b in zip(asked, each, strict=True)) for each in told]

    return likeness
