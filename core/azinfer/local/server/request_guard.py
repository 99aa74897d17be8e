"""The guard before every request: its `Host` and `Origin`, and the headers of every response.

A web page on another site can make a browser send requests to this machine. With DNS rebinding
its requests even count as "same origin", but then their `Host` is the name of that site. So only
hosts that the endpoint serves are answered, and the admin API and the page refuse an `Origin`
of another site.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import socket
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from azinfer.core.errors import ConfigurationError
from azinfer.local.wire import errors
from azinfer.local.wire.errors import ErrorResponse

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::[0-9]{0,5})?", re.ASCII)
_WILDCARDS = ("0.0.0.0", "::")
_POLICY = b"content-security-policy"
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # With "no-referrer", browsers send the own page's form with `Origin: null`.
    (b"referrer-policy", b"same-origin"),
)
# Only the page may load anything; no response may be shown in a frame.
_DATA_HEADERS = (*_HEADERS, (_POLICY, b"default-src 'none'; frame-ancestors 'none'"))


class AllowedHosts:
    """The hosts that an endpoint serves.

    Loopback names and addresses are always served. An endpoint that listens on every address
    serves each of them, and the machine's own name.

    Args:
        host: The address that the endpoint listens on.
        more: Names and addresses beside it, without a port.

    Raises:
        ConfigurationError: One of `more` is not a host name or an address.
    """

    def __init__(self, host: str, more: Iterable[str] = ()) -> None:
        names = {host.casefold(), "localhost"}
        names |= {_host_name(name) for name in more}
        self._every_address = host in _WILDCARDS
        if self._every_address:
            names.add(socket.gethostname().casefold())
        self._names = frozenset(names)
        # A client sends the same header each time.
        self.serves = functools.lru_cache(maxsize=256)(self._serves)

    def _serves(self, header: str) -> bool:
        """Return whether a `Host` header names a host that is served."""
        match = _HOST.fullmatch(header.casefold())
        if match is None:
            return False
        name = (match[1] or match[2]).rstrip(".")
        if name in self._names or name.endswith(".localhost"):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or self._every_address


def _host_name(text: str) -> str:
    """Return an allowed host as `Host` has it, without brackets."""
    name = text.casefold().strip("[]").rstrip(".")
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        if re.fullmatch(r"[a-z0-9._-]+", name):
            return name
    raise ConfigurationError(
        f"{text!r} is not a host name; write it without scheme, port and path, for example "
        "azinfer.internal"
    )


class RequestGuard:
    """Refuses requests for other hosts or from other sites, before anything reads them.

    Args:
        app: The application behind it.
        hosts: The hosts that are served.
    """

    def __init__(self, app: ASGIApp, hosts: AllowedHosts) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, and add the security headers to its response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        page = _is_page(scope["path"])

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                own_policy = page and any(name == _POLICY for name, _ in headers)
                added = _HEADERS if own_policy else _DATA_HEADERS
                message = {**message, "headers": [*headers, *added]}
            await send(message)

        app: ASGIApp = self._app
        if error := self._refusal(scope, page):
            app = error.to_response()
        await app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope, page: bool) -> ErrorResponse | None:
        """Return the error for a request that must not be answered."""
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        # HTTP/1.0 has no Host; no browser speaks it.
        if len(hosts) != 1 and (hosts or scope["http_version"] != "1.0"):
            return errors.malformed_body("The request must have one Host header.")
        if hosts and not self._hosts.serves(hosts[0]):
            return errors.wrong_host(hosts[0])
        if page or _is_admin(scope["path"]):
            for name, value in scope["headers"]:
                if name == b"origin" and _site(value) not in hosts:
                    return errors.foreign_origin(value.decode("latin-1"))
        return None


def _site(origin: bytes) -> str:
    """Return host and port of an origin, as `Host` has them."""
    return origin.decode("latin-1").partition("://")[2]


def _is_page(path: str) -> bool:
    return not path.strip("/") or path.lower().lstrip("/").startswith("_azinfer/page")


def _is_admin(path: str) -> bool:
    return path.lower().lstrip("/").startswith("_azinfer")
