"""Connections by httpx: through proxies, and with an httpx client of the caller.

The only module of core that knows httpx, which is imported when one of these is needed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from azinfer.core.deadline import Deadline
from azinfer.core.errors import ConfigurationError
from azinfer.core.network import pool
from azinfer.core.network.address import Origin
from azinfer.core.network.pool import IDLE
from azinfer.core.network.request import Head, Request
from azinfer.core.network.tls import tls_context
from azinfer.core.network.upload import Upload, next_piece
from azinfer.core.proxies import proxy_of

T = TypeVar("T")

_LONGEST_CLOSE = 5.0  # seconds


class _BaseHttpxConnection:
    def __init__(self, client: Any) -> None:
        self._client = client
        self._response: Any = None
        self._parts: Any = None
        self._generation = pool.generation

    def is_stale(self, now: float) -> bool:
        """Return False: httpx checks its connections itself."""
        return False

    def _send(self, request: Request, deadline: Deadline) -> Any:
        headers, content = request.header_pairs, request.body
        if not isinstance(content, bytes):
            # With a length given, httpx sends pieces without chunks around them.
            headers = [*headers, ("content-length", str(len(content)))]
            content = self._pieces(content)
        prepared = self._client.build_request(
            request.method,
            request.url,
            headers=headers,
            content=content,
            extensions=_timeouts(deadline),
        )
        return self._client.send(prepared, stream=True, auth=None, follow_redirects=False)

    def _pieces(self, upload: Upload) -> Any:
        return iter(upload)

    def _head(self) -> Head:
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in self._response.headers.raw
        }
        return self._response.status_code, headers


class HttpxConnection(_BaseHttpxConnection):
    """Sends through an `httpx.Client` (or one of httpx2), one request at a time."""

    def send(self, request: Request, deadline: Deadline) -> Head:
        """Send a request and wait for the status and headers of its response."""
        self._response = self._send(request, deadline)
        self._parts = iter(self._response.stream)
        return self._head()

    def read(self, deadline: Deadline) -> list[bytes]:
        """Wait for a further part of the body; return an empty list at its end."""
        part = next(self._parts, None)
        deadline.remaining()  # the timeouts of httpx limit each part, not all of them
        return [] if part is None else [part]

    def release(self, now: float) -> None:
        """End the request."""
        response, self._response = self._response, None
        if response is not None:
            dirty = _with_trailing_data(response)
            response.close()
            _expire(dirty)

    def close(self) -> None:
        """Close the client. It is ours: connections with a caller's client are in no pool."""
        self._client.close()


class AsyncHttpxConnection(_BaseHttpxConnection):
    """Sends through an `httpx.AsyncClient` (or one of httpx2), one request at a time."""

    async def _pieces(self, upload: Upload) -> AsyncIterator[bytes]:
        pieces = iter(upload)
        while piece := await next_piece(pieces):
            yield piece

    async def send(self, request: Request, deadline: Deadline) -> Head:
        """Send a request and wait for the status and headers of its response."""
        self._response = await _in_time(self._send(request, deadline), deadline)
        self._parts = aiter(self._response.stream)
        return self._head()

    async def read(self, deadline: Deadline) -> list[bytes]:
        """Wait for a further part of the body; return an empty list at its end."""
        part = await _in_time(anext(self._parts, None), deadline)
        return [] if part is None else [part]

    async def release(self, now: float) -> None:
        """End the request."""
        import asyncio

        response, self._response = self._response, None
        # In a forked child the response is that of the parent's loop.
        if response is not None and self._generation == pool.generation:
            dirty = _with_trailing_data(response)
            with suppress(TimeoutError):
                async with asyncio.timeout(_LONGEST_CLOSE):
                    await response.aclose()
            _expire(dirty)

    async def close(self) -> None:
        """Close the client. It is ours: connections with a caller's client are in no pool."""
        await self._client.aclose()


async def _in_time(work: Awaitable[T], deadline: Deadline) -> T:
    """Return what a step returns; the timeouts of httpx limit each part of one, not the whole."""
    import asyncio

    try:
        async with asyncio.timeout(deadline.remaining()) as limit:
            return await work
    except TimeoutError:
        if not limit.expired():
            raise
    raise deadline.expired_error()


def proxy_connection(origin: Origin) -> HttpxConnection | None:
    """Return a connection through the proxies of the environment, or None if it sets none."""
    if origin.settings is None or (proxy := proxy_of(origin.url)) is None:
        return None
    import httpx

    client = _with_proxy(httpx.Client, proxy, origin.settings)
    # httpx has no public way to give its pools a backend. With another version, whose
    # internals differ, each read is limited, but not all of them together.
    for transport in (client._transport, *client._mounts.values()):
        with suppress(AttributeError):
            transport._pool._network_backend = _backend()
    return HttpxConnection(client)


def async_proxy_connection(origin: Origin) -> AsyncHttpxConnection | None:
    """Return the same for async code, where asyncio limits the time of all parts together."""
    if origin.settings is None or (proxy := proxy_of(origin.url)) is None:
        return None
    import httpx

    return AsyncHttpxConnection(_with_proxy(httpx.AsyncClient, proxy, origin.settings))


def _with_proxy(kind: Callable[..., Any], proxy: str, settings: tuple[str | None, ...]) -> Any:
    """Return an httpx client that sends through a proxy.

    Raises:
        ConfigurationError: httpx cannot use the proxy.
    """
    try:
        return kind(proxy=proxy, trust_env=False, **_arguments(settings))
    except (ImportError, ValueError) as error:
        shown = proxy.rpartition("@")[2]
        raise ConfigurationError(f"the proxy {shown} cannot be used: {error}") from None


def _arguments(settings: tuple[str | None, ...]) -> dict[str, Any]:
    from http.cookiejar import CookieJar, DefaultCookiePolicy

    import httpx

    # Cookies would let one request change the next.
    cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
    limits = httpx.Limits(keepalive_expiry=IDLE)
    return {"verify": tls_context(settings), "limits": limits, "cookies": cookies}


class _Limit(float):
    """Seconds that one read may take, with the seconds that remain for all of them."""

    remaining: Callable[[], float]


def _timeouts(deadline: Deadline) -> dict[str, Any]:
    """Return a deadline as the timeouts of one httpx request."""
    connect = deadline.limit(deadline.timeout.connect)
    read = _Limit(deadline.limit(deadline.timeout.read))
    read.remaining = deadline.remaining
    return {"timeout": {"connect": connect, "read": read, "write": read, "pool": connect}}


def _backend() -> Any:
    """Return a backend for httpcore that limits the time of all reads and writes together."""
    import httpcore

    def limit_timeout(timeout: float | None) -> float | None:
        return min(timeout, timeout.remaining()) if isinstance(timeout, _Limit) else timeout

    class Stream(httpcore.NetworkStream):
        def __init__(self, stream: httpcore.NetworkStream) -> None:
            self._stream = stream
            self.close = stream.close  # type: ignore[method-assign]
            self.get_extra_info = stream.get_extra_info  # type: ignore[method-assign]

        def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            return self._stream.read(max_bytes, limit_timeout(timeout))

        def write(self, buffer: bytes, timeout: float | None = None) -> None:
            self._stream.write(buffer, limit_timeout(timeout))

        def start_tls(self, *args: Any, **named: Any) -> httpcore.NetworkStream:
            return Stream(self._stream.start_tls(*args, **named))

    class Backend(httpcore.SyncBackend):
        def connect_tcp(self, *args: Any, **named: Any) -> httpcore.NetworkStream:
            return Stream(super().connect_tcp(*args, **named))

    return Backend()


def _with_trailing_data(response: Any) -> Any:
    """Return the connection if it received bytes after the response, else None.

    httpcore would read them as the response to the next request. It has no public way to ask;
    with another version, whose internals differ, this returns None.
    """
    stream = response.stream
    for inside in ("_stream", "_httpcore_stream", "_stream", "_connection"):
        stream = getattr(stream, inside, stream)
    state = getattr(stream, "_h11_state", None)
    return stream if state is not None and state.trailing_data[0] else None


def _expire(connection: Any) -> None:
    if connection is not None:
        connection._expire_at = 0.0
