"""Bodies of requests while they arrive: limited in size and time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from starlette.requests import ClientDisconnect, Request

from azinfer.local.wire import errors

# Where the ASGI scope may have a function that returns whether the whole body is there already.
HAS_WHOLE_BODY = "azinfer.has_whole_body"
# How long a body may be silent, in seconds, and how fast it must be after that, in bytes a second.
_SILENCE, _SLOWEST = 30.0, 1024


async def read_content(http: Request, limit: int) -> bytes:
    """Return the bytes of a request's body.

    Raises:
        ErrorResponse: The body has more than `limit` bytes, or arrives too slowly.
    """
    _check_length(http, limit)
    has_whole_body = http.scope.get("extensions", {}).get(HAS_WHOLE_BODY)
    if has_whole_body is not None and has_whole_body():
        return await _read_messages(http, limit, None)
    start = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout_at(_latest(start, start, 0)) as deadline:
            return await _read_messages(http, limit, deadline)
    except TimeoutError:
        raise errors.too_slow() from None


async def _read_messages(http: Request, limit: int, deadline: asyncio.Timeout | None) -> bytes:
    clock = asyncio.get_running_loop().time
    parts, size, start = [], 0, clock()
    while True:
        message = await http.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise errors.too_large(limit)
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)
        if deadline is not None:
            deadline.reschedule(_latest(clock(), start, size))


async def read_parts(http: Request, limit: int) -> AsyncGenerator[bytes]:
    """Yield the parts of a request's body as they arrive.

    Raises:
        ErrorResponse: The body has more than `limit` bytes, or arrives too slowly.
    """
    _check_length(http, limit)
    clock = asyncio.get_running_loop().time
    size, start = 0, clock()
    parts = http.stream()
    while True:
        try:
            async with asyncio.timeout_at(_latest(clock(), start, size)):
                part = await anext(parts, None)
        except TimeoutError:
            raise errors.too_slow() from None
        if part is None:
            return
        size += len(part)
        if size > limit:
            raise errors.too_large(limit)
        yield part


def _check_length(http: Request, limit: int) -> None:
    headers = http.scope["headers"]
    length = next((value for name, value in headers if name == b"content-length"), b"0")
    if length.isdigit() and int(length) > limit:
        raise errors.too_large(limit)


def _latest(now: float, start: float, size: int) -> float:
    """Return when the next part of a body must be there, of which `size` bytes are."""
    return min(now + _SILENCE, start + _SILENCE + size / _SLOWEST)
