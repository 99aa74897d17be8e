"""Places on the network: where a URL leads, and with which certificates."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from azinfer.core.endpoints import is_loopback
from azinfer.core.errors import ConfigurationError

TLS_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR")
_PORTS = {"http": 80, "https": 443}
_LONGEST_URL = 65_536  # characters, as httpx has it
_KEPT = "/%:@!$&'()*+,;=~[]?"  # of a URL's path and query, what is sent as it is


class Place(NamedTuple):
    """An origin, and the settings that decide how it is reached; None for this machine."""

    origin: str
    settings: tuple[str | None, ...] | None


class Way(NamedTuple):
    """A URL as it is sent.

    Attributes:
        host: The host's name for the network.
        port: Its port.
        target: Path and query.
        name: What the Host header says.
    """

    host: str
    port: int
    target: str
    name: str


def place_of(origin: str, environ: Mapping[str, str]) -> Place:
    """How an origin is reached."""
    if is_loopback(origin) and origin.startswith("http:"):
        return Place(origin, None)
    return Place(origin, tuple(environ.get(variable) for variable in TLS_VARIABLES))


@lru_cache(maxsize=512)
def way_to(url: str) -> Way:
    """How a URL is sent.

    Raises:
        ConfigurationError: There is no such URL.
    """
    shown = repr(url.partition("?")[0][:200])  # keys may stand in a query
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError as error:
        raise ConfigurationError(f"the request cannot be sent: {shown}: {error}") from None
    if parts.scheme not in _PORTS or not host or len(url) > _LONGEST_URL:
        why = f"is longer than {_LONGEST_URL}" if len(url) > _LONGEST_URL else "is no http(s) URL"
        raise ConfigurationError(f"the request cannot be sent: {shown} {why}")
    target = quote(f"{parts.path or '/'}{'?' * bool(parts.query)}{parts.query}", _KEPT)
    name = f"[{host}]" if ":" in host else host
    usual = _PORTS[parts.scheme]
    port = usual if port is None else port
    return Way(host, port, target, name if port == usual else f"{name}:{port}")
