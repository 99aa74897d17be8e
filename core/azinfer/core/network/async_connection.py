"""Transports: connections of async code, each for one request at a time in one event loop."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from azinfer.core.deadline import Deadline
from azinfer.core.errors import InferenceError
from azinfer.core.network import httpx_connection
from azinfer.core.network.address import Place, way_to
from azinfer.core.network.connection import PIECE, readable, unopened, unsent
from azinfer.core.network.http1 import Answers, written
from azinfer.core.network.pool import IDLE
from azinfer.core.network.request import Head, Request
from azinfer.core.network.tls import tls_of

_NEXT_ADDRESS = 0.25  # seconds until a host's next address is tried too, as RFC 8305 has it
_LARGEST_BACKLOG = 1024 * 1024  # bytes that wait to be taken before no more are read


def connection(place: Place) -> Any:
    """A connection to a place: a socket, or through httpx where there are proxies."""
    return httpx_connection.async_through(place) or AsyncConnection(place)


class AsyncConnection(asyncio.Protocol):
    """A socket of one event loop, opened when it is first used."""

    def __init__(self, place: Place) -> None:
        self._tls = tls_of(place)
        self._answers = Answers()
        self._transport: asyncio.Transport | None = None
        self._failure: BaseException | None = None
        self._event: asyncio.Future[None] | None = None
        self._backlog = 0
        self._paused = False
        self._full = False
        self._writing = False
        self._closed = False
        self._free_since = 0.0

    def is_stale(self, now: float) -> bool:
        """Whether it cannot serve again; one that was not used yet can."""
        if self._transport is None:
            return self._closed
        if not self._answers.reusable or self._transport.is_closing():
            return True
        return now - self._free_since > IDLE or readable(self._transport.get_extra_info("socket"))

    async def send(self, request: Request, deadline: Deadline) -> Head:
        """Send a request and wait for status and headers of its answer."""
        way = way_to(request.url)
        data = written(request, way.target, way.name)
        if self._transport is None:
            self._transport = await self._opened(way.host, way.port, deadline)
        self._answers.expect()
        await self._write(data, deadline)
        while not self._answers.status:
            await self._next_event(deadline)
        return self._answers.status, self._answers.headers

    async def more(self, deadline: Deadline) -> list[bytes]:
        """Further parts of the answer's body; none at its end."""
        while not self._answers.parts and not self._answers.ended:
            await self._next_event(deadline)
        if self._backlog > _LARGEST_BACKLOG and self._transport is not None:
            self._transport.resume_reading()
        self._backlog = 0
        return self._answers.taken()

    async def release(self, now: float) -> None:
        """End the request; without a whole answer to all of it the connection closes.

        So does one whose reading was paused: what came meanwhile may wait inside TLS.
        """
        self._free_since = now
        if self._paused or self._writing or not self._answers.reusable:
            await self.close()

    async def close(self) -> None:
        """Close it, at once."""
        left, self._transport, self._closed = self._transport, None, True
        if left is not None:
            with suppress(RuntimeError):  # its loop is closed
                left.abort()

    async def _opened(self, host: str, port: int, deadline: Deadline) -> asyncio.Transport:
        loop = asyncio.get_running_loop()
        named: dict[str, Any] = {"ssl": self._tls}
        if isinstance(loop, asyncio.BaseEventLoop):  # others do not know it
            named["happy_eyeballs_delay"] = _NEXT_ADDRESS
        try:
            async with asyncio.timeout(deadline.within(deadline.timeout.connect)):
                transport, _ = await loop.create_connection(lambda: self, host, port, **named)
                return transport
        except OSError as error:
            raise unopened(error, deadline) from None

    async def _write(self, data: bytes, deadline: Deadline) -> None:
        """Write a request, until an answer comes before it is whole."""
        self._writing = True
        # TLS tells only between pieces that it can take no more.
        size = PIECE if self._tls else len(data)
        for at in range(0, len(data), size):
            if self._answers.status or self._transport is None or self._transport.is_closing():
                return
            self._transport.write(data[at : at + size])
            while self._full and not self._answers.status:
                await self._taken(deadline)
        self._writing = self._full

    async def _taken(self, deadline: Deadline) -> None:
        """Wait for an answer, or until the network took something."""
        before = self._unsent()
        try:
            await self._next_event(deadline)
        except TimeoutError:
            if self._unsent() >= before:
                raise unsent(deadline) from None

    def _unsent(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    async def _next_event(self, deadline: Deadline) -> None:
        if self._failure is not None:
            raise self._failure
        self._event = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(deadline.within(deadline.timeout.read)):
                await self._event
        finally:
            self._event = None

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        try:
            self._answers.feed(data)
        except InferenceError as error:
            self._failure = error
        held = self._backlog <= _LARGEST_BACKLOG
        self._backlog += len(data)
        if held and self._backlog > _LARGEST_BACKLOG and self._transport is not None:
            self._transport.pause_reading()
            self._paused = True
        self._wake()

    def eof_received(self) -> None:
        """No more bytes come."""
        try:
            self._answers.eof()
        except InferenceError as error:
            self._failure = error
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        """It is closed."""
        self._transport, self._closed = None, True
        self._failure = self._failure or error or ConnectionResetError("it was closed meanwhile")
        self._wake()

    def pause_writing(self) -> None:
        """More waits to be sent than the network takes."""
        self._full = True

    def resume_writing(self) -> None:
        """What waited is sent."""
        self._full = False
        self._wake()

    def _wake(self) -> None:
        if self._event is not None and not self._event.done():
            self._event.set_result(None)
