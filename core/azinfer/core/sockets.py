"""The only place that knows httpcore and httpx: one connection for one request at a time."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit
from urllib.request import getproxies

import certifi
import httpcore

from azinfer.core.endpoints import is_loopback
from azinfer.core.errors import ConfigurationError
from azinfer.core.pools import IDLE
from azinfer.core.requests import Deadline, Limit, Request

_TLS_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR")
_PORTS = {"http": 80, "https": 443}
_LONGEST_URL = 65_536  # characters, as httpx has it
_KEPT = "/%:@!$&'()*+,;=~[]?"  # of a URL's path and query, what is sent as it is


class Place(NamedTuple):
    """An origin, and the settings that decide how it is reached; None for this machine."""

    origin: str
    settings: tuple[str | None, ...] | None


def place_of(origin: str, environ: Mapping[str, str]) -> Place:
    """How an origin is reached."""
    if is_loopback(origin) and origin.startswith("http:"):
        return Place(origin, None)
    return Place(origin, tuple(environ.get(variable) for variable in _TLS_VARIABLES))


def connection(place: Place) -> Any:
    """A connection of sync code, made when it is first used."""
    if place.settings is not None and getproxies():
        import httpx

        client = httpx.Client(**_through_proxies(place.settings))
        # httpx has no public way to give its pools a backend; where its insides differ, each
        # read is bounded but not all of them together.
        for transport in (client._transport, *client._mounts.values()):
            with suppress(AttributeError):
                transport._pool._network_backend = Backend()  # type: ignore[union-attr]
        return Through(client)
    url, _ = _wire_url(place.origin)
    made = httpcore.HTTPConnection(
        url.origin,
        ssl_context=_tls_context(place),
        keepalive_expiry=IDLE,
        network_backend=Backend(),
    )
    return Direct(made, made.handle_request, made.close)


def async_connection(place: Place) -> Any:
    """The same for async code, whose deadlines asyncio keeps."""
    if place.settings is not None and getproxies():
        import httpx

        return Through(httpx.AsyncClient(**_through_proxies(place.settings)))
    url, _ = _wire_url(place.origin)
    made = httpcore.AsyncHTTPConnection(
        url.origin, ssl_context=_tls_context(place), keepalive_expiry=IDLE
    )
    return Direct(made, made.handle_async_request, made.aclose)


class Direct:
    """A connection by httpcore, sync or async."""

    def __init__(self, connection: Any, handle: Any, close: Any) -> None:
        self._connection = connection
        self._handle = handle
        self.close = close

    def send(self, request: Request, deadline: Deadline) -> Any:
        """What httpcore answers: a response whose head is here, or a coroutine for it."""
        url, host = _wire_url(request.url)
        headers = request.headers
        if request.body:
            headers = [("Content-Length", str(len(request.body))), *headers]
        if not any(name.lower() == "host" for name, _ in headers):
            headers = [("Host", host), *headers]
        return self._handle(
            httpcore.Request(
                request.method,
                url,
                headers=headers,
                content=request.body,
                extensions=deadline.extensions(),
            )
        )

    def is_stale(self) -> bool:
        """Whether it is closed, at the other end perhaps, and so cannot be used."""
        return bool(self._connection.is_closed() or self._connection.has_expired())


class Through:
    """An httpx client, the caller's or one that knows proxies, sync or async."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.close = client.aclose if hasattr(client, "aclose") else client.close

    def send(self, request: Request, deadline: Deadline) -> Any:
        """What httpx answers: a response whose head is here, or a coroutine for it."""
        built = self._client.build_request(
            request.method,
            request.url,
            headers=request.headers,
            content=request.body,
            extensions=deadline.extensions(),
        )
        return self._client.send(built, stream=True, auth=None, follow_redirects=False)

    def is_stale(self) -> bool:
        """Never: its connections are looked after by httpx."""
        return False


@lru_cache(maxsize=512)
def _wire_url(url: str) -> tuple[httpcore.URL, str]:
    """A URL as it is sent, and what the Host header says of it.

    Raises:
        ConfigurationError: There is no such URL.
    """
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").encode("idna"), parts.port
    except ValueError as error:
        raise ConfigurationError(f"the request cannot be sent: {url[:200]!r}: {error}") from None
    if parts.scheme not in _PORTS or not host or len(url) > _LONGEST_URL:
        why = f"is longer than {_LONGEST_URL}" if len(url) > _LONGEST_URL else "is no http(s) URL"
        raise ConfigurationError(f"the request cannot be sent: {url[:200]!r} {why}")
    target = quote(f"{parts.path or '/'}{'?' * bool(parts.query)}{parts.query}", _KEPT)
    name = f"[{host.decode()}]" if b":" in host else host.decode()
    usual = port in (None, _PORTS[parts.scheme])
    wire = httpcore.URL(scheme=parts.scheme.encode(), host=host, port=port, target=target.encode())
    return wire, name if usual else f"{name}:{port}"


def _through_proxies(settings: tuple[str | None, ...]) -> dict[str, Any]:
    from http.cookiejar import CookieJar, DefaultCookiePolicy

    import httpx

    # Cookies would let one request change the next.
    cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
    limits = httpx.Limits(keepalive_expiry=IDLE)
    return {"verify": _tls(settings), "limits": limits, "cookies": cookies}


def _tls_context(place: Place) -> ssl.SSLContext | None:
    if place.settings is None or not place.origin.startswith("https:"):
        return None
    return _tls(place.settings)


@lru_cache(maxsize=8)
def _tls(settings: tuple[str | None, ...]) -> ssl.SSLContext:
    # Reading the certificates takes 100 ms: once a process, and not at all for plain HTTP.
    *files, folder = settings
    file = next(filter(None, files), None) or folder
    if not file:
        return ssl.create_default_context(cafile=certifi.where())
    try:
        if file == folder:
            return ssl.create_default_context(capath=folder)
        return ssl.create_default_context(cafile=file)
    except OSError as error:
        raise ConfigurationError(
            f"the certificates in {file} (from {', '.join(_TLS_VARIABLES)}) cannot be read: {error}"
        ) from None


class Backend(httpcore.SyncBackend):
    """Opens connections whose reads and writes all end in time."""

    def connect_tcp(self, *args: Any, **named: Any) -> httpcore.NetworkStream:
        """Open a connection."""
        return _Stream(super().connect_tcp(*args, **named))


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        self.close = stream.close  # type: ignore[method-assign]
        self.get_extra_info = stream.get_extra_info  # type: ignore[method-assign]

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _limited(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _limited(timeout))

    def start_tls(self, *args: Any, **named: Any) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(*args, **named))


def _limited(timeout: float | None) -> float | None:
    return min(timeout, timeout.left()) if isinstance(timeout, Limit) else timeout
