"""Connections: the only place that knows httpx; bytes out, bytes in, one clear error.

Connections are shared by all clients of a process that reach the same network settings, are
never shared between processes or event loops, and close by themselves: those of sync code with
the last client, those of an event loop with the loop.
"""

from __future__ import annotations

import os
import ssl
import threading
import weakref
import zlib
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.request import getproxies

import httpx

from azinfer.core.clock import Clock
from azinfer.core.endpoints import is_loopback
from azinfer.core.errors import (
    APIConnectionError,
    APITimeoutError,
    ConfigurationError,
    InferenceError,
    InvalidResponseError,
)
from azinfer.core.retries import Timeout

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

_Settings: TypeAlias = tuple[str | None, ...] | None
_IDLE = 60.0  # seconds
_LINGER = 0.1  # seconds; a new connection takes no longer
# 2,048 vectors of 3,072 floats in JSON are 80 to 125 MB. Nothing that a service sends is
# packed more than 50 to 1; what is packed to fill a memory is, up to 1,030 to 1.
_LARGEST_BODY = 128 * 1024 * 1024
_SUSPICIOUS_BODY, _LARGEST_RATIO = 16 * 1024 * 1024, 100
_STEP = 1024 * 1024
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=_IDLE)
_TLS_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR")


@dataclass(frozen=True, slots=True)
class Request:
    """One request, ready to be sent."""

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: bytes
    request_id: str


@dataclass(slots=True)
class Deadline:
    """When an attempt must have ended, by the clock's monotonic seconds.

    Attributes:
        at: That time; of a stream, when it must have begun, and after that its end.
    """

    clock: Clock
    at: float
    timeout: Timeout

    def left(self) -> float:
        """Seconds that are left.

        Raises:
            APITimeoutError: None are.
        """
        left = self.at - self.clock.monotonic()
        if left <= 0:
            raise self.passed()
        return left

    def passed(self) -> APITimeoutError:
        """The error of an attempt that took too long."""
        limit = self.timeout.attempt or self.timeout.total
        return APITimeoutError(f"no whole answer came within {limit:g} seconds")

    def extensions(self) -> dict[str, Any]:
        """The time-outs as httpx takes them for one request."""
        left, timeout = self.left(), self.timeout
        connect, read = min(timeout.connect, left), Limit(min(timeout.read, left))
        read.left = self.left
        limits = {"connect": connect, "read": read, "write": read, "pool": connect}
        return {"timeout": limits}


class Limit(float):
    """Seconds that one read may take, and how many are left for all of them."""

    left: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Opened:
    """An answer whose head is here; `parts` gives its body, decoded, and closes it at the end."""

    status: int
    headers: Mapping[str, str]
    response: Any
    parts: Any
    deadline: Deadline | None

    def finish(self) -> None:
        """Read what comes after the last event, so that the connection serves again."""
        if self.deadline is not None:
            self.deadline.at = self.deadline.clock.monotonic() + _LINGER
            with suppress(InferenceError):
                deque(self.parts, 0)

    async def afinish(self) -> None:
        """The same for an answer of async code, and close it."""
        import asyncio

        with suppress(InferenceError, TimeoutError):
            async with asyncio.timeout(_LINGER):
                async for _ in self.parts:
                    pass
        await self.aclose()

    async def aclose(self) -> None:
        """Close an answer of async code that is not to be read to its end."""
        # At the end of a loop asyncio closes all generators at once, and one that is closed
        # twice is an error: with its response closed, this one has nothing more to wait for.
        await self.response.aclose()
        if not self.parts.ag_running:
            await self.parts.aclose()


class Connections:
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
        self._environ = environ
        self._shared: _Pool | None = None
        self._generation = _generation

    def open(self, request: Request, deadline: Deadline) -> Opened:
        """Send a request and wait for the head of its answer.

        Raises:
            APIConnectionError: None came.
            APITimeoutError: None came in time.
        """
        head: list[Any] = []
        parts = self._exchange(request, deadline, head)
        next(parts)
        status, headers, response = head
        # Only on sockets of our own does a read that has begun heed a new deadline.
        heeded = deadline if self._own is None else None
        return Opened(status, headers, response, parts, heeded)

    def close(self) -> None:
        """Let go of the connections; those that nobody else uses close."""
        shared, self._shared = self._shared, None
        if shared is not None and shared.left_by_last(self):
            _close_all(shared.emptied())

    def _exchange(self, request: Request, deadline: Deadline, head: list[Any]) -> Iterator[bytes]:
        shared = self._pool(request.url) if self._own is None else None
        client = self._own if shared is None else shared.borrow()
        response = failure = None
        try:
            try:
                response = _sent(client, _built(request, deadline, self._own))
                headers = _headers(response)
                body = _Body(request, response.status_code, headers, deadline)
                head += (response.status_code, headers, response)
                yield b""
                for part in response.stream:
                    yield from body.decoded(part)
                body.finish()
            except InferenceError:
                raise
            except Exception as error:
                failure = _failure_of(error, deadline)
            # Outside the except block: what httpx raises holds the request and so the key.
            if failure is not None:
                raise failure
        finally:
            if response is not None:
                connection = _with_trailing_data(response)
                response.close()
                _expire(connection)
            if shared is not None and (idle := shared.give_back(client, deadline.clock)):
                idle.close()

    def _pool(self, url: str) -> _Pool:
        with _registry_lock:  # many threads may make the first call at once
            if self._shared is None or self._generation != _generation:
                self._generation = _generation
                self._shared = _shared_pool(_settings_for(url, self._environ))
                self._shared.users.add(self)
            return self._shared


class AsyncConnections:
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
        self._environ = environ
        self._settings: Any = _UNREAD

    async def open(self, request: Request, deadline: Deadline) -> Opened:
        """Send a request and wait for the head of its answer.

        Raises:
            APIConnectionError: None came.
            APITimeoutError: None came in time.
        """
        head: list[Any] = []
        parts = self._exchange(request, deadline, head)
        await anext(parts)
        status, headers, response = head
        return Opened(status, headers, response, parts, deadline)

    async def close(self) -> None:
        """Let go of the connections of this loop; those that nobody else uses close."""
        import asyncio

        shared = _of_loops.get((asyncio.get_running_loop(), self._settings))
        if shared is not None and shared.left_by_last(self):
            await shared.closer.aclose()

    async def _exchange(
        self, request: Request, deadline: Deadline, head: list[Any]
    ) -> AsyncGenerator[bytes]:
        shared = await self._pool(request.url) if self._own is None else None
        client = self._own if shared is None else shared.borrow()
        response = failure = None
        try:
            try:
                response = await _asent(client, _built(request, deadline, self._own))
                headers = _headers(response)
                body = _Body(request, response.status_code, headers, deadline)
                head += (response.status_code, headers, response)
                yield b""
                async for part in response.stream:
                    for piece in body.decoded(part):
                        yield piece
                body.finish()
            except InferenceError:
                raise
            except Exception as error:
                failure = _failure_of(error, deadline)
            if failure is not None:
                raise failure
        finally:
            try:
                if response is not None:
                    connection = _with_trailing_data(response)
                    await response.aclose()
                    _expire(connection)
            finally:
                if shared is not None and (idle := shared.give_back(client, deadline.clock)):
                    await idle.aclose()

    async def _pool(self, url: str) -> _Pool:
        import asyncio

        if self._settings is _UNREAD:
            self._settings = _settings_for(url, self._environ)
        key = (asyncio.get_running_loop(), settings := self._settings)
        shared = _of_loops.get(key)
        if shared is None:
            for left in [other for other in list(_of_loops) if other[0].is_closed()]:
                del _of_loops[left]  # that loop was closed without its hooks
            shared = _of_loops[key] = _Pool(lambda: _async_client(settings))
            shared.closer = _closing(key, shared)
            await anext(shared.closer)
        shared.users.add(self)
        return shared


class _Pool:
    """As many httpx clients as there are requests at once: each serves one at a time.

    httpcore's bookkeeping grows with requests times connections: 512 at once in one pool take
    minutes, and 16 cost three times what they cost in 16 pools.

    Each step is a single one of a set or a deque, so that neither threads nor a stream that
    garbage collection closes in the middle of another step need a lock.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self.clients: set[Any] = set()
        self.closer: Any = None
        self.users: weakref.WeakSet[Any] = weakref.WeakSet()
        self._idle: deque[tuple[float, Any]] = deque()
        self._make = make

    def borrow(self) -> Any:
        """The client that was used last of those that are free, or a new one."""
        try:
            client = self._idle.pop()[1]
        except IndexError:
            client = self._make()
        self.clients.add(client)
        return client

    def give_back(self, client: Any, clock: Clock) -> Any:
        """Take a client back, and tell one that nobody needed for long, to be closed."""
        now = clock.monotonic()
        if client in self.clients:  # else it was closed meanwhile
            self._idle.append((now, client))
        with suppress(IndexError):
            if now - self._idle[0][0] > _IDLE:
                unused = self._idle.popleft()[1]
                self.clients.discard(unused)
                return unused
        return None

    def emptied(self) -> list[Any]:
        """Every client, those in use too, to be closed; none of them is lent again."""
        self._idle.clear()
        clients = list(self.clients)
        self.clients.clear()
        return clients

    def left_by_last(self, user: Any) -> bool:
        """Count one user less; whether there is none."""
        with _registry_lock:
            self.users.discard(user)
            return not self.users


_registry: weakref.WeakValueDictionary[_Settings, _Pool] = weakref.WeakValueDictionary()
_registry_lock = threading.Lock()
_generation = 0
# Kept here and not by clients: what is dropped while a loop runs is closed by a task, which the
# end of the loop cancels half-way.
_of_loops: dict[tuple[AbstractEventLoop, _Settings], _Pool] = {}
_left_to_parent: list[Any] = []
_UNREAD = object()


def _shared_pool(settings: _Settings) -> _Pool:
    """The pools of sync code for a network; the registry is locked."""
    shared = _registry.get(settings)
    if shared is None:
        shared = _registry[settings] = _Pool(lambda: _sync_client(settings))
        weakref.finalize(shared, _close_all, shared.clients)
    return shared


def _close_all(clients: Iterable[Any]) -> None:
    for client in clients:
        client.close()


async def _closing(key: Any, shared: _Pool) -> AsyncGenerator[None]:
    # asyncio closes the generators of a loop before the loop: the one hook it has for that.
    try:
        yield
    finally:
        _of_loops.pop(key, None)
        for client in shared.emptied():
            await client.aclose()


def _forget() -> None:
    """In a forked child, leave the parent's sockets alone and open one's own."""
    global _registry, _registry_lock, _generation, _of_loops
    _left_to_parent.extend((*_registry.values(), _of_loops))
    _of_loops = {}
    _registry = weakref.WeakValueDictionary()
    _registry_lock = threading.Lock()
    _generation += 1


if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(after_in_child=_forget)


def _sync_client(settings: _Settings) -> Any:
    """What sends for sync code: a transport, or a whole client where proxies are set."""
    from azinfer.core.sockets import Backend  # with httpcore, which httpx too imports late

    client: Any
    if settings is not None and getproxies():
        client = httpx.Client(**_proxied(settings))
        transports = [client._transport, *client._mounts.values()]
    else:
        verify = _tls_context(settings)
        client = httpx.HTTPTransport(verify=verify, limits=_LIMITS, trust_env=False)
        transports = [client]
    # httpx has no public way to give its pool a backend; where its insides differ, each read is
    # bounded but not all of them together.
    for transport in transports:
        with suppress(AttributeError):
            transport._pool._network_backend = Backend()
    return client


def _async_client(settings: _Settings) -> Any:
    """The same for async code, whose deadlines asyncio keeps."""
    if settings is not None and getproxies():
        return httpx.AsyncClient(**_proxied(settings))
    verify = _tls_context(settings)
    return httpx.AsyncHTTPTransport(verify=verify, limits=_LIMITS, trust_env=False)


def _sent(client: Any, request: Any) -> Any:
    # A transport does without what a client adds: cookies, redirects, netrc, a third of the time.
    if isinstance(client, httpx.BaseTransport):
        return client.handle_request(request)
    return client.send(request, **_SEND)


async def _asent(client: Any, request: Any) -> Any:
    if isinstance(client, httpx.AsyncBaseTransport):
        return await client.handle_async_request(request)
    return await client.send(request, **_SEND)


def _headers(response: Any) -> dict[str, str]:
    """The headers by their names in lower case."""
    return {
        name.decode("latin-1").lower(): value.decode("latin-1")
        for name, value in response.headers.raw
    }


_SEND: dict[str, Any] = {"stream": True, "auth": None, "follow_redirects": False}
_url = lru_cache(maxsize=512)(httpx.URL)


def _built(request: Request, deadline: Deadline, own: Any) -> Any:
    arguments: dict[str, Any] = {
        "method": request.method,
        "headers": request.headers,
        "content": request.body,
        "extensions": deadline.extensions(),
    }
    if own is not None:
        return own.build_request(url=request.url, **arguments)
    return httpx.Request(url=_url(request.url), **arguments)


def _settings_for(url: str, environ: Mapping[str, str] | None) -> _Settings:
    """What decides how connections are made; None for plain ones on this machine."""
    if is_loopback(url) and url.startswith("http:"):
        return None
    known = os.environ if environ is None else environ
    return tuple(known.get(variable) for variable in _TLS_VARIABLES)


def _proxied(settings: _Settings) -> dict[str, Any]:
    # Cookies would let one request change the next.
    cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
    return {"verify": _tls_context(settings), "limits": _LIMITS, "cookies": cookies}


@lru_cache(maxsize=8)
def _tls_context(settings: _Settings) -> ssl.SSLContext:
    # Reading the certificates takes 100 ms: once a process, and not at all for plain HTTP.
    if settings is None:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    *files, folder = settings
    if file := next(filter(None, files), None) or folder:
        try:
            if file == folder:
                return ssl.create_default_context(capath=folder)
            return ssl.create_default_context(cafile=file)
        except OSError as error:
            raise ConfigurationError(
                f"the certificates in {file} (from {', '.join(_TLS_VARIABLES)}) "
                f"cannot be read: {error}"
            ) from None
    return httpx.create_ssl_context()


class _Body:
    """What must hold of a body while it arrives: decoded, bounded, in time, and ours."""

    def __init__(
        self, request: Request, status: int, headers: Mapping[str, str], deadline: Deadline
    ) -> None:
        self._deadline = deadline
        self._size = self._received = 0
        self._status = status
        coding = headers.get("content-encoding", "identity").strip().lower()
        self._inflate = None
        if coding in ("gzip", "x-gzip", "deflate"):
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
        elif coding != "identity" and coding:
            raise InvalidResponseError(f"the answer comes in {coding!r}, which was not asked for")
        echoed = headers.get("x-ms-client-request-id", request.request_id)
        if echoed != request.request_id and echoed[:_ID_START] == request.request_id[:_ID_START]:
            raise APIConnectionError("the answer to another request came on this connection")

    def decoded(self, part: bytes) -> Iterable[bytes]:
        """What a further part of the body says."""
        if self._deadline.clock.monotonic() >= self._deadline.at:
            raise self._deadline.passed()
        self._received += len(part)
        if self._inflate is not None:
            return self._inflated(part, self._inflate)
        if self._received > _LARGEST_BODY:
            raise self._too_long()
        return (part,)

    def finish(self) -> None:
        """Look whether the body is whole."""
        if self._inflate is not None and not self._inflate.eof and self._status < 400:
            raise APIConnectionError("the compressed answer was cut off")

    def _inflated(self, part: bytes, inflate: Any) -> Iterator[bytes]:
        while part:
            try:
                inflated = inflate.decompress(part, _STEP)
            except zlib.error as error:
                if self._status >= 400:
                    return
                raise InvalidResponseError(f"the compressed answer is damaged: {error}") from None
            self._size += len(inflated)
            packed = self._size > _SUSPICIOUS_BODY and self._size > _LARGEST_RATIO * self._received
            if packed or self._size > _LARGEST_BODY:
                raise self._too_long()
            yield inflated
            part = inflate.unconsumed_tail

    def _too_long(self) -> InvalidResponseError:
        size = max(self._size, self._received)
        return InvalidResponseError(f"the answer is longer than {size - 1} bytes")


# The start of a request id is the same for all requests of this process, so that an answer
# to another one is known as such.
_ID_START = 18


def _failure_of(error: Exception, deadline: Deadline) -> InferenceError:
    """Our error for one of httpx, httpx2 or aiohttp, told by the names of its classes."""
    cause = error.__cause__
    if isinstance(cause, Exception) and type(cause).__module__.startswith("aiohttp."):
        error = cause  # httpx-aiohttp calls every broken connection a time-out
    names = {kind.__name__ for kind in type(error).__mro__}
    said = str(error) or type(error).__name__
    if names & {"UnsupportedProtocol", "InvalidURL"}:
        return ConfigurationError(f"the request cannot be sent: {said}")
    if isinstance(error, TimeoutError) or "TimeoutException" in names:
        kind = next((name for name in _SILENCES if name in names), "ReadTimeout")
        limits = {"ConnectTimeout": deadline.timeout.connect, "ReadTimeout": deadline.timeout.read}
        return APITimeoutError(
            f"{_SILENCES[kind]} within {limits.get(kind, limits['ReadTimeout']):g} seconds"
        )
    if "CERTIFICATE_VERIFY_FAILED" in said:
        said += "; for a company's own CA set SSL_CERT_FILE"
    elif names & {"ConnectError", "ClientConnectorError"}:
        said += "; is the endpoint right, and is there a network?"
    return APIConnectionError(f"the connection failed: {said}")


_SILENCES = {
    "ConnectTimeout": "no connection opened",
    "PoolTimeout": "no connection was free",
    "WriteTimeout": "the request could not be sent",
    "ReadTimeout": "the service sent nothing",
}


def _with_trailing_data(response: Any) -> Any:
    """The connection, if bytes stand on it after the answer that belong to no request.

    httpcore would read them as the answer to the next request. There is no public way to
    know; where its insides differ, nothing is found.
    """
    found = getattr(response.stream, "_stream", response.stream)
    for inside in ("_httpcore_stream", "_stream", "_connection"):
        found = getattr(found, inside, None)
    connection: Any = found
    state = getattr(connection, "_h11_state", None)
    return connection if state is not None and state.trailing_data[0] else None


def _expire(connection: Any) -> None:
    if connection is not None:
        connection._expire_at = 0.0
