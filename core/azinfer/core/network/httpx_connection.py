"""Requests by httpx: through proxies, and with clients of the caller's own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.request import getproxies

from azinfer.core.deadline import Deadline
from azinfer.core.network.address import Place
from azinfer.core.network.pool import IDLE
from azinfer.core.network.request import Head, Request
from azinfer.core.network.tls import tls


class _Through:
    def __init__(self, client: Any) -> None:
        self._client = client
        self._response: Any = None
        self._parts: Any = None

    def is_stale(self, now: float) -> bool:
        """Never: connections are looked after by httpx."""
        return False

    def _send(self, request: Request, deadline: Deadline) -> Any:
        built = self._client.build_request(
            request.method,
            request.url,
            headers=request.headers,
            content=request.body,
            extensions=_time_outs(deadline),
        )
        return self._client.send(built, stream=True, auth=None, follow_redirects=False)

    def _head(self) -> Head:
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in self._response.headers.raw
        }
        return self._response.status_code, headers


class Through(_Through):
    """Sends by an `httpx.Client` (or httpx2's), one request after the other."""

    def send(self, request: Request, deadline: Deadline) -> Head:
        """Send a request and wait for status and headers of its answer."""
        self._response = self._send(request, deadline)
        self._parts = iter(self._response.stream)
        return self._head()

    def more(self, deadline: Deadline) -> list[bytes]:
        """A further part of the answer's body; none at its end."""
        part = next(self._parts, None)
        return [] if part is None else [part]

    def release(self, now: float) -> None:
        """End the request."""
        done, self._response = self._response, None
        if done is not None:
            left = _with_trailing_data(done)
            done.close()
            _expire(left)

    def close(self) -> None:
        """Close the client, which is no caller's: those are in no pool."""
        self._client.close()


class AsyncThrough(_Through):
    """The same by an `httpx.AsyncClient`."""

    async def send(self, request: Request, deadline: Deadline) -> Head:
        """Send a request and wait for status and headers of its answer."""
        self._response = await self._send(request, deadline)
        self._parts = aiter(self._response.stream)
        return self._head()

    async def more(self, deadline: Deadline) -> list[bytes]:
        """A further part of the answer's body; none at its end."""
        import asyncio

        # httpx bounds each part alone.
        async with asyncio.timeout(deadline.left()):
            part = await anext(self._parts, None)
        return [] if part is None else [part]

    async def release(self, now: float) -> None:
        """End the request."""
        done, self._response = self._response, None
        if done is not None:
            left = _with_trailing_data(done)
            await done.aclose()
            _expire(left)

    async def close(self) -> None:
        """Close the client, which is no caller's: those are in no pool."""
        await self._client.aclose()


def through(place: Place) -> Through | None:
    """What sends sync requests to a place through the environment's proxies, if it has any."""
    if place.settings is None or not getproxies():
        return None
    import httpx

    client = httpx.Client(**_arguments(place.settings))
    # httpx has no public way to give its pools a backend; where its insides differ, each
    # read is bounded but not all of them together.
    for transport in (client._transport, *client._mounts.values()):
        with suppress(AttributeError):
            transport._pool._network_backend = _backend()  # type: ignore[union-attr]
    return Through(client)


def async_through(place: Place) -> AsyncThrough | None:
    """The same for async requests, whose deadlines asyncio keeps."""
    if place.settings is None or not getproxies():
        return None
    import httpx

    return AsyncThrough(httpx.AsyncClient(**_arguments(place.settings)))


def _arguments(settings: tuple[str | None, ...]) -> dict[str, Any]:
    from http.cookiejar import CookieJar, DefaultCookiePolicy

    import httpx

    # Cookies would let one request change the next.
    cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
    limits = httpx.Limits(keepalive_expiry=IDLE)
    return {"verify": tls(settings), "limits": limits, "cookies": cookies}


class _Limit(float):
    """Seconds that one read may take, and how many are left for all of them."""

    left: Callable[[], float]


def _time_outs(deadline: Deadline) -> dict[str, Any]:
    """A deadline as httpx takes it for one request."""
    connect = deadline.within(deadline.timeout.connect)
    read = _Limit(deadline.within(deadline.timeout.read))
    read.left = deadline.left
    return {"timeout": {"connect": connect, "read": read, "write": read, "pool": connect}}


def _backend() -> Any:
    """Opens httpcore's connections so that their reads and writes all end in time."""
    import httpcore

    def limited(timeout: float | None) -> float | None:
        return min(timeout, timeout.left()) if isinstance(timeout, _Limit) else timeout

    class Stream(httpcore.NetworkStream):
        def __init__(self, stream: httpcore.NetworkStream) -> None:
            self._stream = stream
            self.close = stream.close  # type: ignore[method-assign]
            self.get_extra_info = stream.get_extra_info  # type: ignore[method-assign]

        def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            return self._stream.read(max_bytes, limited(timeout))

        def write(self, buffer: bytes, timeout: float | None = None) -> None:
            self._stream.write(buffer, limited(timeout))

        def start_tls(self, *args: Any, **named: Any) -> httpcore.NetworkStream:
            return Stream(self._stream.start_tls(*args, **named))

    class Backend(httpcore.SyncBackend):
        def connect_tcp(self, *args: Any, **named: Any) -> httpcore.NetworkStream:
            return Stream(super().connect_tcp(*args, **named))

    return Backend()


def _with_trailing_data(response: Any) -> Any:
    """The connection, if bytes stand on it after the answer that belong to no request.

    httpcore would read them as the answer to the next request. There is no public way to
    know; where its insides differ, nothing is found.
    """
    found = response.stream
    for inside in ("_stream", "_httpcore_stream", "_stream", "_connection"):
        found = getattr(found, inside, found)
    state = getattr(found, "_h11_state", None)
    return found if state is not None and state.trailing_data[0] else None


def _expire(connection: Any) -> None:
    if connection is not None:
        connection._expire_at = 0.0
