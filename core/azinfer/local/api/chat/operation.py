"""Chat completions: a request checked, routed, admitted, filtered, written and answered."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

from starlette.responses import Response, StreamingResponse
from starlette.types import Send

from azinfer.local.api import api_versions
from azinfer.local.api.chat import tool_selection
from azinfer.local.api.chat.generation import Writing
from azinfer.local.api.chat.request import ChatRequest, chat_request
from azinfer.local.api.chat.response import Form, Frame, Written, usage
from azinfer.local.api.context import Asked
from azinfer.local.engines.base import EngineError, last_text
from azinfer.local.engines.schema import validation
from azinfer.local.resource import model_families
from azinfer.local.resource.content_filter import ContentFilter, is_blocked
from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.resource.rate_limits import estimated
from azinfer.local.resource.state import Service
from azinfer.local.wire import errors
from azinfer.local.wire.body import CHAT, Json
from azinfer.local.wire.json import AsciiResponse
from azinfer.local.wire.surfaces import DEPLOYMENTS, GITHUB, V1

# "Prototyping with AI models" of GitHub Models: the most tokens a request to the tier "low" has.
_GITHUB_TOKENS = 8_000
Forming = Callable[[Json], Form]
_log = logging.getLogger("azinfer.local")


async def chat(service: Service, asked: Asked) -> Response:
    """Answer `POST chat/completions`."""
    body = await service.body(asked, CHAT)
    deployment = service.deployment(asked, body.get("model"), "chatCompletion")
    request = chat_request(body, asked.surface)
    model_families.check_chat(body, deployment, asked.surface)
    if service.strict:
        version = asked.http.query_params.get("api-version")
        api_versions.check_chat(body, deployment, version, asked.surface)
    head = (f"chatcmpl-{asked.id}", int(time.time()), deployment.model_name)
    openai = asked.surface in (V1, DEPLOYMENTS)
    cost = _unasked(asked, deployment, request)
    forming = partial(Frame, *head, request.include_usage, openai, cost)
    return await answered(service, asked, deployment, [request], forming, body)


def _unasked(
    asked: Asked, deployment: LocalDeployment, request: ChatRequest
) -> Callable[[bool], Json | None] | None:
    """Tells on a chunk what a stream cost so far, where its model does that unasked."""
    when = model_families.tells_usage(deployment, asked.surface)
    if when is None or request.include_usage:
        return None

    def cost(ends: bool) -> Json | None:
        told = asked.trace.usage if ends or when == "each" else None
        return dict(told()) if told is not None else None

    return cost


def _text(message: Json) -> str:
    return last_text([message])


async def answered(
    service: Service,
    asked: Asked,
    deployment: LocalDeployment,
    requests: Sequence[ChatRequest],
    forming: Forming,
    body: Json | None = None,
) -> Response:
    """Filter, admit and write what was asked, whole or in events.

    Args:
        service: The deployments and their limits.
        asked: The HTTP request.
        deployment: What answers.
        requests: One for each prompt; alike but for their messages.
        forming: Makes the wire form of the answer of what the filter found in the prompt.
        body: The body of a chat completion, for engines that call tools themselves.

    Raises:
        Refusal: The filter or a limit refuses it.
    """
    texts = [_text(message) for each in requests for message in each.messages]
    if asked.surface == GITHUB and estimated(texts, 0) > _GITHUB_TOKENS:
        raise errors.too_many_tokens(deployment.model_name, _GITHUB_TOKENS)
    form = forming(_prompt_results(deployment.filter, "\n".join(texts)))
    admission = service.admit(asked, deployment, estimated(texts, requests[0].max_tokens))
    try:
        # A full deployment may have spilled over to another.
        writings = _writings(service, admission.deployment, requests, body)
        asked.trace.usage = partial(_usage, writings)
        if requests[0].stream:
            events = _events(writings, form)
            # Errors before the first token are HTTP errors, as with the service.
            first = await anext(events)
            rest = _with_first(
                first, events, form, lambda: admission.over(_usage(writings)["total_tokens"])
            )
            return EventStream(
                rest,
                media_type="text/event-stream",
                headers={"cache-control": "no-cache"},
            )
        choices = await _written(writings, requests[0].n)
    except BaseException:
        admission.over(None)
        raise
    admission.over(_usage(writings)["total_tokens"])
    return AsciiResponse(form.whole(choices))


def _writings(
    service: Service,
    deployment: LocalDeployment,
    requests: Sequence[ChatRequest],
    body: Json | None,
) -> list[Writing]:
    """What is to be written for each prompt.

    Raises:
        EngineError: A script has no answer to it, or nothing can be held to its schemas.
    """
    behaviour, likeness = service.behaviours.of(deployment), _likeness(service)
    writings = []
    for at, request in enumerate(requests):
        engine = behaviour.engine(request.messages)
        # An engine that takes requests whole knows better what it can be held to.
        if not getattr(engine, "calls_tools", False):
            validation.check_request(request)
        start = at * request.n
        writings.append(Writing(request, engine, deployment.filter, likeness, start, body))
    return writings


def _prompt_results(content_filter: ContentFilter, text: str) -> Json:
    """What the filter finds in a prompt.

    Raises:
        Refusal: It blocks the prompt.
    """
    results = content_filter.results(text, "prompt")
    if is_blocked(results):
        raise errors.filtered(content_filter.spelling, results)
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
    except Exception:
        # What began cannot be answered with a status any more.
        _log.exception("a stream failed")
        yield form.failed("The server had an error while it answered.", "InternalServerError")
    finally:
        over()
        await events.aclose()


async def _written(writings: Sequence[Writing], n: int) -> Sequence[Written]:
    if len(writings) == n == 1:
        return [await writings[0].written(0)]
    return await asyncio.gather(*(each.written(at) for each in writings for at in range(n)))


class EventStream(StreamingResponse):
    """Server-sent events, whose work ends at once when the client leaves."""

    async def stream_response(self, send: Send) -> None:
        """Send them."""
        body: Any = self.body_iterator
        async with contextlib.aclosing(body):
            await super().stream_response(send)


def _usage(writings: Sequence[Writing]) -> dict[str, int]:
    """What an answer cost so far; each prompt counts once."""
    told = [usage(writing.choices) for writing in writings]
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    return {name: sum(each[name] for each in told) for name in names}


def _likeness(service: Service) -> tool_selection.Likeness | None:
    """Likeness of texts by a real embedding model, where one is deployed here."""
    for deployment in service.registry:
        engine: Any = deployment.engine
        if getattr(engine, "understands", False) and hasattr(engine, "embed"):
            return _likeness_of(engine)
    return None


def _likeness_of(engine: Any) -> tool_selection.Likeness:
    async def likeness(text: str, descriptions: Sequence[str]) -> list[float]:
        (asked, *told), _ = await engine.embed([text, *descriptions])
        return [sum(a * b for a, b in zip(asked, each, strict=True)) for each in told]

    return likeness
