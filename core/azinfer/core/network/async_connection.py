"""Connections of async code: one socket each, for one request at a time in one event loop.

The twin of `connection.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from azinfer.core.deadline import Deadline
from azinfer.core.errors import InferenceError
from azinfer.core.interruptions import is_interruption
from azinfer.core.network import httpx_connection, pool
from azinfer.core.network.address import Origin, parse_address
from azinfer.core.network.connection import PIECE, connect_error, send_error
from azinfer.core.network.dialing import dial_async
from azinfer.core.network.http1 import ResponseParser, encode_request
from azinfer.core.network.pool import IDLE
from azinfer.core.network.request import Head, Request
from azinfer.core.network.tls import context_of
from azinfer.core.network.upload import next_piece
from azinfer.core.network.waiter import Waiter

_LARGEST_BACKLOG = 1024 * 1024  # bytes that may wait for the caller before reading pauses


def connection(origin: Origin) -> Any:
    """Return a connection to an origin: a socket, or httpx if the environment sets a proxy."""
    return httpx_connection.async_proxy_connection(origin) or AsyncConnection(origin)


class AsyncConnection(asyncio.Protocol):
    """A socket of one event loop that is opened when it is first used."""

    def __init__(self, origin: Origin) -> None:
        self._tls = context_of(origin)
        self._parser = ResponseParser()
        self._transport: asyncio.Transport | None = None
        self._waiter: Waiter | None = None
        self._failure: BaseException | None = None
        self._event: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._late_at = 0.0
        self._backlog = 0
        self._paused = False
        self._full = False
        self._writing = False
        self._closed = False
        self._free_since = 0.0
        self._generation = pool.generation

    def is_stale(self, now: float) -> bool:
        """Return True if the connection cannot be used again; an unused one can."""
        if self._transport is None:
            return self._closed
        if not self._parser.reusable or self._transport.is_closing():
            return True
        if self._waiter is None:
            self._waiter = Waiter(self._transport.get_extra_info("socket"))
        return now - self._free_since > IDLE or self._waiter.is_readable()

    async def send(self, request: Request, deadline: Deadline) -> Head:
        """Send a request and wait for the status and headers of its response."""
        address = parse_address(request.url)
        data = encode_request(request, address.target, address.name)
        if self._transport is None:
            self._transport = await self._open(address.host, address.port, deadline)
        self._parser.expect()
        await self._write(data, deadline)
        if not isinstance(request.body, bytes):
            pieces = iter(request.body)
            while piece := await _read_piece(pieces, deadline):
                await self._write(piece, deadline)
        while not self._parser.status:
            await self._next_event(deadline)
        return self._parser.status, self._parser.headers

    async def read(self, deadline: Deadline) -> list[bytes]:
        """Wait for further parts of the body; return an empty list at its end."""
        while not self._parser.parts and not self._parser.ended:
            await self._next_event(deadline)
        if self._backlog > _LARGEST_BACKLOG and self._transport is not None:
            self._transport.resume_reading()
        self._backlog = 0
        return self._parser.take_parts()

    async def release(self, now: float) -> None:
        """End the request; close the connection if request or response is not complete.

        It is closed too if reading was paused, since bytes may wait inside TLS.
        """
        self._free_since = now
        if self._paused or self._writing or not self._parser.reusable:
            await self.close()

    async def close(self) -> None:
        """Close the socket at once."""
        self._closed = True
        if self._generation != pool.generation:
            return  # in a forked child, whose selector would change that of the parent's loop
        transport, self._transport = self._transport, None
        self._stop_timer()
        if transport is not None:
            with suppress(RuntimeError):  # its loop is closed
                transport.abort()

    async def _open(self, host: str, port: int, deadline: Deadline) -> asyncio.Transport:
        loop = asyncio.get_running_loop()
        name = host if self._tls else None
        try:
            async with asyncio.timeout(deadline.limit(deadline.timeout.connect)):
                sock = await dial_async(host, port)
                transport, _ = await loop.create_connection(
                    lambda: self, sock=sock, ssl=self._tls, server_hostname=name
                )
                return transport
        except OSError as error:
            if is_interruption(error):
                raise
            raise connect_error(error, deadline) from None

    async def _write(self, data: bytes, deadline: Deadline) -> None:
        """Write a request; stop if a response comes before all of it is written."""
        self._writing = True
        # TLS reports only between pieces that its buffer is full.
        size = PIECE if self._tls else len(data)
        for at in range(0, len(data), size):
            if self._parser.status or self._transport is None or self._transport.is_closing():
                return
            self._transport.write(data[at : at + size])
            while self._full and not self._parser.status:
                await self._wait_for_progress(deadline)
        self._writing = self._full

    async def _wait_for_progress(self, deadline: Deadline) -> None:
        """Wait for a response, or until the network has accepted some bytes."""
        before = self._unsent()
        try:
            await self._next_event(deadline)
        except TimeoutError as error:
            if is_interruption(error):
                raise
            if self._unsent() >= before:
                raise send_error(deadline) from None

    def _unsent(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    async def _next_event(self, deadline: Deadline) -> None:
        if self._failure is not None:
            raise self._failure
        loop = asyncio.get_running_loop()
        self._event = loop.create_future()
        self._late_at = loop.time() + deadline.limit(deadline.timeout.read)
        self._set_timer(loop)
        try:
            await self._event
        finally:
            self._event = None

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        """See to it that a wait ends when it is late.

        The timer outlives the wait: a new one for each takes longer than the rest of a wait.
        """
        if self._timer is None or self._timer.when() > self._late_at:
            self._stop_timer()
            self._timer = loop.call_at(self._late_at, self._check_time, loop)

    def _check_time(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._event is None or self._event.done():
            return
        if loop.time() < self._late_at:
            self._set_timer(loop)
        else:
            self._event.set_exception(TimeoutError("the service sent nothing"))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def data_received(self, data: bytes) -> None:
        """Handle received bytes."""
        try:
            self._parser.feed(data)
        except InferenceError as error:
            self._failure = error
        was_small = self._backlog <= _LARGEST_BACKLOG
        self._backlog += len(data)
        if was_small and self._backlog > _LARGEST_BACKLOG and self._transport is not None:
            self._transport.pause_reading()
            self._paused = True
        self._wake()

    def eof_received(self) -> None:
        """Handle the end of the bytes."""
        try:
            self._parser.eof()
        except InferenceError as error:
            self._failure = error
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        """Handle the end of the connection."""
        self._transport, self._closed = None, True
        self._stop_timer()
        closed = ConnectionResetError("the connection was closed meanwhile")
        self._failure = self._failure or error or closed
        self._wake()

    def pause_writing(self) -> None:
        """Stop writing: the buffer is full."""
        self._full = True

    def resume_writing(self) -> None:
        """Go on writing."""
        self._full = False
        self._wake()

    def _wake(self) -> None:
        if self._event is not None and not self._event.done():
            self._event.set_result(None)


async def _read_piece(pieces: Iterator[bytes], deadline: Deadline) -> bytes:
    """Return the next piece of an upload while there is time."""
    async with asyncio.timeout(deadline.remaining()):
        return await next_piece(pieces)
