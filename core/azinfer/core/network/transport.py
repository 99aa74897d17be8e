"""Transport: bytes out, bytes in, one clear error."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from azinfer.core.deadline import Deadline
from azinfer.core.endpoints import origin
from azinfer.core.errors import (
    ConfigurationError,
    InferenceError,
)
from azinfer.core.network import pool as pools
from azinfer.core.network.body import BodyDecoder
from azinfer.core.network.exceptions import network_error
from azinfer.core.network.pool import Pool
from azinfer.core.network.request import Request

_LINGER = 0.1  # seconds; a new connection takes no longer


@dataclass(frozen=True, slots=True)
class OpenResponse:
    """An answer whose head is here; `parts` gives its body, decoded, and closes it at the end."""

    status: int
    headers: Mapping[str, str]
    connection: Any
    parts: Any
    deadline: Deadline

    def finish(self) -> None:
        """Read what comes after the last event, so that the connection serves again."""
        self.deadline.at = self.deadline.clock.monotonic() + _LINGER
        with suppress(InferenceError):
            deque(self.parts, 0)

    async def afinish(self) -> None:
        """The same for an answer of async code, and close it."""
        import asyncio

        with suppress(InferenceError, TimeoutError):
            async with asyncio.timeout(_LINGER):
                _ = [part async for part in self.parts]
        await self.aclose()

    async def aclose(self) -> None:
        """Close an answer of async code that is not to be read to its end."""
        if self.parts.ag_frame is None:
            return  # its connection serves another request
        # At the end of a loop asyncio closes all generators at once, and one that is closed
        # twice is an error: without its connection, this one has nothing more to wait for.
        await self.connection.release(self.deadline.clock.monotonic())
        if not self.parts.ag_running:
            await self.parts.aclose()


class Transport:
    """Sends requests of sync code.

    Args:
        http_client: The caller's own `httpx.Client` (or httpx2's), never closed here; None for
            the connections that all clients share.
        environ: Where the settings of TLS are read from.
    """

    def __init__(self, http_client: Any, environ: Mapping[str, str] | None) -> None:
        if http_client is not None and hasattr(http_client, "aclose"):
            raise ConfigurationError("http_client is async; InferenceClient takes httpx.Client")
        self._own = http_client
        self._environ = os.environ if environ is None else environ
        self._pools: dict[str, Pool] = {}
        self._generation = pools.generation

    def open(self, request: Request, deadline: Deadline) -> OpenResponse:
        """Send a request and wait for the head of its answer.

        Raises:
            APIConnectionError: None came.
            APITimeoutError: None came in time.
        """
        head: list[Any] = []
        parts = self._exchange(request, deadline, head)
        next(parts)
        status, headers, connection = head
        return OpenResponse(status, headers, connection, parts, deadline)

    def close(self) -> None:
        """Let go of the connections; those that nobody else uses close."""
        while self._pools:
            _, pool = self._pools.popitem()
            if pool.left_by_last(self):
                pools.close_all(pool.emptied())

    def _exchange(self, request: Request, deadline: Deadline, head: list[Any]) -> Iterator[bytes]:
        pool, connection = self._borrowed(request.url, deadline)
        failure = None
        try:
            try:
                status, headers = connection.send(request, deadline)
                body = BodyDecoder(request, status, headers)
                head += (status, headers, connection)
                yield b""
                while parts := connection.more(deadline):
                    for part in parts:
                        deadline.left()
                        yield from body.decoded(part)
                body.finish()
            except InferenceError:
                raise
            except Exception as error:
                failure = network_error(error, deadline)
            # Outside the except block: what httpx raises holds the request and so the key.
            if failure is not None:
                raise failure
        finally:
            now = deadline.clock.monotonic()
            connection.release(now)
            if pool is not None and (unused := pool.give_back(connection, now)):
                unused.close()

    def _borrowed(self, url: str, deadline: Deadline) -> tuple[Pool | None, Any]:
        from azinfer.core.network import address, httpx_connection
        from azinfer.core.network import connection as sockets  # with ssl, which takes long

        if self._own is not None:
            return None, httpx_connection.Through(self._own)
        if self._generation != pools.generation:
            self._pools, self._generation = {}, pools.generation
        host = origin(url)
        pool = self._pools.get(host)
        if pool is None:
            place = address.place_of(host, self._environ)
            made = pools.shared(place, partial(sockets.connection, place), self)
            pool = self._pools.setdefault(host, made)
        now = deadline.clock.monotonic()
        while (connection := pool.borrow()).is_stale(now):
            pool.connections.discard(connection)
            connection.close()
        return pool, connection


class AsyncTransport:
    """Sends requests of async code; each event loop has connections of its own.

    Args:
        http_client: The caller's own `httpx.AsyncClient` (or httpx2's), never closed here; None
            for the connections that all clients of a loop share.
        environ: Where the settings of TLS are read from.
    """

    def __init__(self, http_client: Any, environ: Mapping[str, str] | None) -> None:
        if http_client is not None and not hasattr(http_client, "aclose"):
            raise ConfigurationError(
                "http_client is not async; AsyncInferenceClient takes httpx.AsyncClient"
            )
        self._own = http_client
        self._environ = os.environ if environ is None else environ
        self._places: dict[str, Any] = {}

    async def open(self, request: Request, deadline: Deadline) -> OpenResponse:
        """Send a request and wait for the head of its answer.

        Raises:
            APIConnectionError: None came.
            APITimeoutError: None came in time.
        """
        head: list[Any] = []
        parts = self._exchange(request, deadline, head)
        await anext(parts)
        status, headers, connection = head
        return OpenResponse(status, headers, connection, parts, deadline)

    async def close(self) -> None:
        """Let go of the connections of this loop; those that nobody else uses close."""
        await pools.leave_loop(self)

    async def _exchange(
        self, request: Request, deadline: Deadline, head: list[Any]
    ) -> AsyncGenerator[bytes]:
        pool, connection = await self._borrowed(request.url, deadline)
        failure = None
        try:
            try:
                status, headers = await connection.send(request, deadline)
                body = BodyDecoder(request, status, headers)
                head += (status, headers, connection)
                yield b""
                while parts := await connection.more(deadline):
                    for part in parts:
                        deadline.left()
                        for piece in body.decoded(part):
                            yield piece
                body.finish()
            except InferenceError:
                raise
            except Exception as error:
                failure = network_error(error, deadline)
            if failure is not None:
                raise failure
        finally:
            now = deadline.clock.monotonic()
            try:
                await connection.release(now)
            finally:
                if pool is not None and (unused := pool.give_back(connection, now)):
                    await unused.close()

    async def _borrowed(self, url: str, deadline: Deadline) -> tuple[Pool | None, Any]:
        from azinfer.core.network import address, async_connection, httpx_connection

        if self._own is not None:
            return None, httpx_connection.AsyncThrough(self._own)
        host = origin(url)
        place = self._places.get(host)
        if place is None:
            place = self._places[host] = address.place_of(host, self._environ)
        pool = await pools.shared_in_loop(place, partial(async_connection.connection, place), self)
        now = deadline.clock.monotonic()
        while (connection := pool.borrow()).is_stale(now):
            pool.connections.discard(connection)
            await connection.close()
        return pool, connection
