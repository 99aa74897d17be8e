"""Completion: the steps that chats, legacy completions and responses have in common.

Filter the prompt, admit the request, choose the engine of each prompt, generate the choices, and
write them as one body or as server-sent events.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any, Protocol, cast

from starlette.responses import Response, StreamingResponse
from starlette.types import Send

from azinfer.local.api.admission import admit
from azinfer.local.api.chat.generation import Generation
from azinfer.local.api.chat.request import ChatRequest, check_schemas
from azinfer.local.api.chat.response import GeneratedChoice, ResponseWriter, usage
from azinfer.local.api.chat.strict_schemas import check_strict, has_strict
from azinfer.local.api.chat.tool_selection import Similarity
from azinfer.local.api.client_departure import stop_when_client_leaves
from azinfer.local.api.context import RequestContext
from azinfer.local.engines.base import (
    EmbeddingEngine,
    EngineError,
    capabilities_of,
    last_text,
)
from azinfer.local.engines.schema.budget import run_in_thread
from azinfer.local.resource.content_filter import ContentFilter, is_blocked
from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.resource.rate_limits import estimate_tokens
from azinfer.local.resource.registry import Registry
from azinfer.local.wire import errors
from azinfer.local.wire.body import Json
from azinfer.local.wire.json import AsciiResponse

_log = logging.getLogger("azinfer.local")


class WriterFactory(Protocol):
    """Creates the writer of a response."""

    def __call__(self, *, prompt_results: Json) -> ResponseWriter:
        """Return a writer that reports what the content filter found in the prompt."""
        ...


async def complete(
    context: RequestContext,
    deployment: LocalDeployment,
    requests: Sequence[ChatRequest],
    make_writer: WriterFactory,
    body: Json | None = None,
) -> Response:
    """Answer one or more prompts, as one body or as events.

    Args:
        context: The HTTP request.
        deployment: The deployment that answers.
        requests: One request for each prompt; they differ only in their messages.
        make_writer: Creates the writer of the response.
        body: The body of a chat completion, for engines that get the whole request.

    Raises:
        ErrorResponse: The content filter or a limit refuses the request.
    """
    texts = [last_text([message]) for request in requests for message in request.messages]
    writer = make_writer(prompt_results=_filter_prompt(deployment.filter, "\n".join(texts)))
    admission = admit(context, deployment, estimate_tokens(texts, requests[0].max_tokens))
    try:
        # The admission may be by the spillover deployment.
        generations = await _start_generations(context, admission.deployment, requests, body)
        context.trace.usage = partial(_usage, generations)
        if requests[0].stream:
            events = _events(generations, writer)
            # Errors before the first token are HTTP errors, as with the service.
            first = await anext(events)
            rest = _finish_events(
                first, events, writer, lambda: admission.over(_usage(generations)["total_tokens"])
            )
            return EventStream(
                rest,
                media_type="text/event-stream",
                headers={"cache-control": "no-cache"},
            )
        work = _generate_all(generations, requests[0].n)
        choices = await stop_when_client_leaves(context, work)
    except BaseException:
        admission.over(None)
        raise
    admission.over(_usage(generations)["total_tokens"])
    return AsciiResponse(writer.whole(choices))


def _filter_prompt(content_filter: ContentFilter, text: str) -> Json:
    """Return what the content filter finds in a prompt.

    Raises:
        ErrorResponse: The filter blocks the prompt.
    """
    results = content_filter.results(text, "prompt")
    if is_blocked(results):
        raise errors.filtered_prompt(content_filter.spelling, results)
    return results


async def _start_generations(
    context: RequestContext,
    deployment: LocalDeployment,
    requests: Sequence[ChatRequest],
    body: Json | None,
) -> list[Generation]:
    """Return the generation of each prompt.

    Raises:
        EngineError: The script has no answer to a prompt, or the engine cannot conform to a
            schema.
    """
    overrides = context.state.overrides.of(deployment)
    # Only tools need it, and there may be thousands of deployments.
    has_tools = any(request.tools for request in requests)
    similarity = _similarity(context.state.registry) if has_tools else None
    generations = []
    for at, request in enumerate(requests):
        engine = overrides.chat_engine(request.messages)
        # An engine that gets the whole request knows better which schemas it supports.
        if not capabilities_of(engine).passes_requests_through:
            await check_schemas(request)
            # Messages have rules of their own, and models of others have none.
            wire = context.trace.wire
            if deployment.facts.maker in ("", "OpenAI") and wire != "messages":
                await _check_strict(request, wire)
        generations.append(
            Generation(
                request,
                engine,
                deployment.filter,
                similarity=similarity,
                start=at * request.n,
                seed=context.state.seed,
                body=body,
            )
        )
    return generations


async def _check_strict(request: ChatRequest, wire: str | None) -> None:
    if has_strict(request):
        await run_in_thread(check_strict, request, wire)


async def _events(
    generations: Sequence[Generation], writer: ResponseWriter
) -> AsyncGenerator[bytes]:
    if first := writer.first():
        yield first
    for generation in generations:
        async with contextlib.aclosing(generation.events(writer)) as events:
            async for event in events:
                if event:
                    yield event
    yield writer.last([choice for generation in generations for choice in generation.choices])


async def _finish_events(
    first: bytes,
    events: AsyncGenerator[bytes],
    writer: ResponseWriter,
    finish: Callable[[], None],
) -> AsyncIterator[bytes]:
    """Yield the first event and the others; errors become an event, as the status is sent."""
    try:
        yield first
        async for event in events:
            yield event
    except EngineError as error:
        yield writer.error_events(error)
    except Exception:
        _log.exception("a stream failed")
        message = "The server had an error while it answered."
        yield writer.error_events(EngineError(message, "InternalServerError", status=500))
    finally:
        finish()
        await events.aclose()


async def _generate_all(generations: Sequence[Generation], n: int) -> Sequence[GeneratedChoice]:
    if len(generations) == n == 1:
        return [await generations[0].generate(0)]
    return await asyncio.gather(
        *(generation.generate(at) for generation in generations for at in range(n))
    )


class EventStream(StreamingResponse):
    """Server-sent events whose generation stops at once when the client leaves."""

    async def stream_response(self, send: Send) -> None:
        """Send the events."""
        body: Any = self.body_iterator
        async with contextlib.aclosing(body):
            await super().stream_response(send)


def _usage(generations: Sequence[Generation]) -> dict[str, int]:
    """Return the usage so far; each prompt counts once."""
    usages = [usage(generation.choices) for generation in generations]
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    if len(usages) == 1:
        (counts,) = usages
        return {name: counts[name] for name in names}
    return {name: sum(each[name] for each in usages) for name in names}


def _similarity(registry: Registry) -> Similarity | None:
    """Return the similarity of texts by an embedding model that is deployed here, if one is."""
    for deployment in registry:
        if deployment.engine_capabilities.semantic_embeddings:
            return _similarity_by(cast(EmbeddingEngine, deployment.engine))
    return None


def _similarity_by(engine: EmbeddingEngine) -> Similarity:
    async def similarity(text: str, descriptions: Sequence[str]) -> list[float]:
        (vector, *others), _ = await engine.embed([text, *descriptions])
        return [sum(a * b for a, b in zip(vector, other, strict=True)) for other in others]

    return similarity
