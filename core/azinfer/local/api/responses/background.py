"""Responses that are written in the background, while clients poll or follow them.

Source: "Background mode" of the Azure OpenAI Responses API.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace

from starlette.responses import Response

from azinfer.local.api.chat.completion import EventStream
from azinfer.local.api.chat.response import event
from azinfer.local.api.context import RequestContext
from azinfer.local.api.exchange_recorder import RequestTrace
from azinfer.local.engines.base import EngineError
from azinfer.local.resource.state import ResourceState
from azinfer.local.resource.storage.response_store import StoredResponse
from azinfer.local.wire.body import Json
from azinfer.local.wire.errors import ErrorResponse
from azinfer.local.wire.json import AsciiResponse

_log = logging.getLogger("azinfer.local")


def begin(
    context: RequestContext,
    stored: StoredResponse,
    run: Callable[[RequestContext], Awaitable[Response]],
) -> Response:
    """Write a response in the background, and answer at once.

    Args:
        context: The request.
        stored: The response as it is queued.
        run: Answers a request, as it would if the client waited.

    Returns:
        The queued response, or its events as they come.
    """
    state, response_id = context.state, stored.response["id"]
    # The request that began it has ended by then, with its own admission and log entry.
    apart = replace(context, admission=None, trace=RequestTrace(), has_client=False)
    work = _write(apart, response_id, run)
    task = state.tasks.begin(work, f"response {response_id}")
    state.responses.add(replace(stored, task=task))
    if stored.events is not None:
        return event_stream(stored.events.follow())
    return AsciiResponse(stored.response)


async def _write(
    context: RequestContext,
    response_id: str,
    run: Callable[[RequestContext], Awaitable[Response]],
) -> None:
    _change(context.state, response_id, status="in_progress")
    try:
        response = await run(context)
        if isinstance(response, EventStream):
            async with contextlib.aclosing(_events_of(response)) as events:
                async for _ in events:  # each is kept as it is written
                    pass
    except (ErrorResponse, EngineError) as error:
        code = "rate_limit_exceeded" if error.status == 429 else "server_error"
        _fail(context.state, response_id, code, _message_of(error))
    except Exception:
        _log.exception("response %s failed", response_id)
        _fail(context.state, response_id, "server_error", "The server had an error.")


def _events_of(response: EventStream) -> AsyncGenerator[bytes]:
    events: AsyncGenerator[bytes] = response.body_iterator  # type: ignore[assignment]
    return events


def _message_of(error: ErrorResponse | EngineError) -> str:
    body = error.body if isinstance(error, ErrorResponse) else None
    inner = body.get("error") if isinstance(body, dict) else None
    return str(inner.get("message")) if isinstance(inner, dict) else str(error)


def _fail(state: ResourceState, response_id: str, code: str, message: str) -> None:
    error = {"code": code, "message": message}
    stored = state.responses.get(response_id)
    if stored is not None and stored.events is not None:
        response = {**stored.response, "status": "failed", "error": error}
        head = {"type": "response.failed", "sequence_number": len(stored.events)}
        stored.events.add(b"event: response.failed\n" + event({**head, "response": response}))
    _change(state, response_id, status="failed", error=error)


def _change(state: ResourceState, response_id: str, **fields: object) -> Json | None:
    stored = state.responses.get(response_id)
    if stored is None:  # deleted while it was written
        return None
    changed = replace(stored, response={**stored.response, **fields})
    state.responses.add(changed)
    if fields["status"] != "in_progress" and stored.events is not None:
        stored.events.end()
    return changed.response


def cancel(state: ResourceState, stored: StoredResponse) -> Json:
    """Stop writing a response and return it; a response that has ended stays as it is."""
    response = stored.response
    if response["status"] not in ("queued", "in_progress"):
        return response
    if stored.task is not None:
        stored.task.cancel()
    return _change(state, response["id"], status="cancelled") or response


def task_of(state: ResourceState, response_id: str) -> asyncio.Task[None] | None:
    """Return the task that writes a response, or None."""
    stored = state.responses.get(response_id)
    return stored.task if stored else None


def event_stream(events: AsyncGenerator[bytes]) -> Response:
    """Return the response with the events of a stream."""
    headers = {"cache-control": "no-cache"}
    return EventStream(events, media_type="text/event-stream", headers=headers)
