"""Transports: send a request, return an open response; every failure is an InferenceError."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from azinfer.core.deadline import Deadline
from azinfer.core.endpoints import origin_of
from azinfer.core.errors import (
    APIConnectionError,
    ConfigurationError,
    InferenceError,
)
from azinfer.core.network import pool as pools
from azinfer.core.network.body import BodyDecoder
from azinfer.core.network.exceptions import network_error
from azinfer.core.network.pool import Pool
from azinfer.core.network.request import Request

_LINGER = 0.1  # seconds to wait for the end of a response; a new connection takes no longer

_NO_POOL = (None, "", None)

WholeResponse: TypeAlias = tuple[int, dict[str, str], list[bytes]]  # status, headers, body


@dataclass(slots=True)
class OpenResponse:
    """A response whose head has come.

    Attributes:
        status: The HTTP status.
        headers: The headers, by their names in lower case.
        connection: The connection on which it comes.
        parts: An iterator, or async iterator, over its decoded body; its end frees the
            connection.
        deadline: By when it must be complete.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    connection: Any
    parts: Any
    deadline: Deadline

    def finish(self) -> None:
        """Read what comes after the last event, so that the connection can be used again."""
        self.deadline.at = self.deadline.clock.monotonic() + _LINGER
        with suppress(InferenceError):
            deque(self.parts, 0)

    async def afinish(self) -> None:
        """Do the same in async code, and close the response."""
        import asyncio

        with suppress(InferenceError, TimeoutError):
            async with asyncio.timeout(_LINGER):
                _ = [part async for part in self.parts]
        await self.aclose()

    async def aclose(self) -> None:
        """Close a response of async code without reading it to its end."""
        if self.parts.ag_frame is None:
            return  # its connection already serves another request
        # At the end of a loop asyncio closes all async generators at once, and closing one twice
        # is an error. Without its connection, this one does not wait for anything.
        await self.connection.release(self.deadline.clock.monotonic())
        if not self.parts.ag_running:
            await self.parts.aclose()


class Transport:
    """Sends requests of sync code.

    Args:
        http_client: An `httpx.Client` (or one of httpx2) of the caller, who closes it; None for
            the connections that all clients share.
        environ: The environment, for the settings of TLS.

    Raises:
        ConfigurationError: The `http_client` is async.
    """

    def __init__(self, http_client: Any, environ: Mapping[str, str] | None) -> None:
        if http_client is not None and hasattr(http_client, "aclose"):
            raise ConfigurationError("http_client is async; InferenceClient needs an httpx.Client")
        self._client = http_client
        self._environ = os.environ if environ is None else environ
        self._pools: dict[str, Pool] = {}
        self._generation = pools.generation

    def open(self, request: Request, deadline: Deadline) -> OpenResponse:
        """Send a request and wait for the head of its response.

        Raises:
            APIConnectionError: No response came.
            APITimeoutError: No response came in time.
        """
        head: list[Any] = []
        parts = self._exchange(request, deadline, head)
        next(parts)
        status, headers, connection = head
        return OpenResponse(status, headers, connection, parts, deadline)

    def exchange(self, request: Request, deadline: Deadline) -> WholeResponse:
        """Send a request and read the whole response.

        Raises:
            APIConnectionError: No complete response came.
            APITimeoutError: No complete response came in time.
        """
        pool, connection = self._borrow(request.url, deadline)
        failure, generation = None, pools.generation
        try:
            try:
                status, headers = connection.send(request, deadline)
                body = BodyDecoder(request, status, headers)
                # No variable has the body, which tracebacks may show.
                while body.add(connection.read(deadline)):
                    _check_process(generation)
                return status, headers, body.whole()
            except InferenceError:
                raise
            except Exception as error:
                failure = network_error(error, deadline)
            # Outside the except block: errors of httpx refer to the request, and so to the key.
            raise failure
        finally:
            _give_back(pool, connection, deadline)

    def close(self) -> None:
        """Stop using the shared connections; those without other users are closed."""
        while self._pools:
            _, pool = self._pools.popitem()
            if pool.remove_user(self):
                pools.close_all(pool.drain())

    def _exchange(self, request: Request, deadline: Deadline, head: list[Any]) -> Iterator[bytes]:
        pool, connection = self._borrow(request.url, deadline)
        failure, generation = None, pools.generation
        try:
            try:
                status, headers = connection.send(request, deadline)
                body = BodyDecoder(request, status, headers)
                head += (status, headers, connection)
                yield b""
                _check_process(generation)
                while parts := connection.read(deadline):
                    yield from body.decode(parts)
                    _check_process(generation)
                body.finish()
            except InferenceError:
                raise
            except Exception as error:
                failure = network_error(error, deadline)
            # Outside the except block: errors of httpx refer to the request, and so to the key.
            if failure is not None:
                raise failure
        finally:
            _give_back(pool, connection, deadline)

    def _borrow(self, url: str, deadline: Deadline) -> tuple[Pool | None, Any]:
        if self._client is not None:
            from azinfer.core.network import httpx_connection

            return None, httpx_connection.HttpxConnection(self._client)
        if self._generation != pools.generation:
            self._pools, self._generation = {}, pools.generation
        host = origin_of(url)
        pool = self._pools.get(host) or self._new_pool(host)
        connection = None
        try:
            now = deadline.clock.monotonic()
            while (connection := pool.borrow()).is_stale(now):
                pool.connections.discard(connection)
                connection.close()
        except BaseException:
            _drop(pool, connection)
            raise
        return pool, connection

    def _new_pool(self, host: str) -> Pool:
        from azinfer.core.network import address
        from azinfer.core.network import connection as sockets  # with ssl, which takes long

        origin = address.Origin.in_environment(host, self._environ)
        make = partial(sockets.connection, origin)
        return self._pools.setdefault(host, pools.shared_pool(origin, make, self))


class AsyncTransport:
    """Sends requests of async code; each event loop has connections of its own.

    Args:
        http_client: An `httpx.AsyncClient` (or one of httpx2) of the caller, who closes it; None
            for the connections that all clients of a loop share.
        environ: The environment, for the settings of TLS.

    Raises:
        ConfigurationError: The `http_client` is not async.
    """

    def __init__(self, http_client: Any, environ: Mapping[str, str] | None) -> None:
        if http_client is not None and not hasattr(http_client, "aclose"):
            raise ConfigurationError(
                "http_client is not async; AsyncInferenceClient needs an httpx.AsyncClient"
            )
        self._client = http_client
        self._environ = os.environ if environ is None else environ
        self._origins: dict[str, tuple[Any, Any]] = {}
        self._last: tuple[Any, str, Pool | None] = _NO_POOL

    async def open(self, request: Request, deadline: Deadline) -> OpenResponse:
        """Send a request and wait for the head of its response.

        Raises:
            APIConnectionError: No response came.
            APITimeoutError: No response came in time.
        """
        head: list[Any] = []
        parts = self._exchange(request, deadline, head)
        await anext(parts)
        status, headers, connection = head
        return OpenResponse(status, headers, connection, parts, deadline)

    async def exchange(self, request: Request, deadline: Deadline) -> WholeResponse:
        """Send a request and read the whole response.

        Raises:
            APIConnectionError: No complete response came.
            APITimeoutError: No complete response came in time.
        """
        pool, connection = await self._borrow(request.url, deadline)
        failure, generation = None, pools.generation
        try:
            try:
                status, headers = await connection.send(request, deadline)
                body = BodyDecoder(request, status, headers)
                while body.add(await connection.read(deadline)):
                    _check_process(generation)
                    deadline.remaining()
                return status, headers, body.whole()
            except InferenceError:
                raise
            except Exception as error:
                failure = network_error(error, deadline)
            raise failure
        finally:
            await _give_back_async(pool, connection, deadline)

    async def close(self) -> None:
        """Stop using the connections of this loop; those without other users are closed."""
        self._last = _NO_POOL
        await pools.close_loop_pools(self)

    async def _exchange(
        self, request: Request, deadline: Deadline, head: list[Any]
    ) -> AsyncGenerator[bytes]:
        pool, connection = await self._borrow(request.url, deadline)
        failure, generation = None, pools.generation
        try:
            try:
                status, headers = await connection.send(request, deadline)
                body = BodyDecoder(request, status, headers)
                head += (status, headers, connection)
                yield b""
                _check_process(generation)
                while parts := await connection.read(deadline):
                    deadline.remaining()  # parts that are there already come without a wait
                    for piece in body.decode(parts):
                        yield piece
                    _check_process(generation)
                body.finish()
            except InferenceError:
                raise
            except Exception as error:
                failure = network_error(error, deadline)
            if failure is not None:
                raise failure
        finally:
            await _give_back_async(pool, connection, deadline)

    async def _borrow(self, url: str, deadline: Deadline) -> tuple[Pool | None, Any]:
        if self._client is not None:
            from azinfer.core.network import httpx_connection

            return None, httpx_connection.AsyncHttpxConnection(self._client)
        pool = await self._pool_of(origin_of(url))
        now = deadline.clock.monotonic()
        while (connection := pool.borrow()).is_stale(now):
            pool.connections.discard(connection)
            await connection.close()
        return pool, connection

    async def _pool_of(self, host: str) -> Pool:
        import asyncio

        loop = asyncio.get_running_loop()
        last_loop, last_host, pool = self._last
        if pool is not None and loop is last_loop and host == last_host and not pool.is_drained:
            return pool
        origin, make = self._origins.get(host) or self._new_origin(host)
        pool = await pools.shared_loop_pool(origin, make, self)
        self._last = (loop, host, pool)
        return pool

    def _new_origin(self, host: str) -> tuple[Any, Any]:
        from azinfer.core.network import address
        from azinfer.core.network import async_connection as sockets

        origin = address.Origin.in_environment(host, self._environ)
        entry = self._origins[host] = (origin, partial(sockets.connection, origin))
        return entry


def _give_back(pool: Pool | None, connection: Any, deadline: Deadline) -> None:
    """End the use of a connection of sync code."""
    try:
        now = deadline.clock.monotonic()
        connection.release(now)
        if pool is not None and (unused := pool.give_back(connection, now)):
            unused.close()
    except BaseException:  # what a signal handler raises even here
        _drop(pool, connection)
        raise


async def _give_back_async(pool: Pool | None, connection: Any, deadline: Deadline) -> None:
    """End the use of a connection of async code."""
    now = deadline.clock.monotonic()
    try:
        await connection.release(now)
    finally:
        if pool is not None and (unused := pool.give_back(connection, now)):
            await unused.close()


def _drop(pool: Pool | None, connection: Any) -> None:
    """Close a connection of sync code whose use was interrupted; nobody else would."""
    if pool is not None and connection is not None:
        pool.connections.discard(connection)
        connection.release(0.0)
        connection.close()


def _check_process(generation: int) -> None:
    """Raise before the next read if the connection is the parent's, whose bytes it would take.

    Raises:
        APIConnectionError: This process was forked since the request was sent.
    """
    if generation != pools.generation:
        raise APIConnectionError("the response belongs to the process that this one is a fork of")
