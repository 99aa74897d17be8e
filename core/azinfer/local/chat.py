"""Chat completions: a request checked, routed, admitted, filtered, written and answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any

from starlette.responses import JSONResponse, Response, StreamingResponse

from azinfer.local import refusals, tools
from azinfer.local.answers import DONE, Frame, event, usage
from azinfer.local.engines import EngineError, last_text
from azinfer.local.filters import ContentFilter, is_blocked
from azinfer.local.limits import estimated
from azinfer.local.requests import Json, chat_request
from azinfer.local.service import Asked, Service, named
from azinfer.local.writing import Writing


async def chat(service: Service, asked: Asked) -> Response:
    """Answer `POST chat/completions`."""
    body = await service.body(asked, "chat")
    deployment = service.deployment(asked, body.get("model"), "chatCompletion")
    request = chat_request(body, asked.surface)
    limits = service.limits(deployment)
    texts = [last_text([message]) for message in request.messages]
    prompt_results = _prompt_results(deployment.filter, "\n".join(texts))
    admission = limits.admit(estimated(texts, request.max_tokens), asked.surface)
    writing = Writing(request, deployment.engine, deployment.filter, _likeness(service))
    frame = Frame(f"chatcmpl-{asked.id}", int(time.time()), deployment.model_name, prompt_results)
    headers = {**named(deployment), **limits.headers()}
    try:
        if request.stream:
            events = writing.events(frame)
            # Errors before the first token are HTTP errors, as with the service.
            first = await anext(events)
            return StreamingResponse(
                _with_first(first, events, lambda: admission.over(writing.tokens())),
                media_type="text/event-stream",
                headers={"cache-control": "no-cache", **headers},
            )
        choices = await asyncio.gather(*(writing.written(at) for at in range(request.n)))
    except BaseException:
        admission.over(None)
        raise
    admission.over(usage(choices)["total_tokens"])
    return JSONResponse(frame.completion(choices), headers=headers)


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


async def _with_first(
    first: bytes, events: AsyncGenerator[bytes], over: Callable[[], None]
) -> AsyncIterator[bytes]:
    try:
        yield first
        async for each in events:
            yield each
    except EngineError as error:
        yield event(refusals.malformed(str(error)).body)
        yield DONE
    finally:
        over()
        await events.aclose()


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
