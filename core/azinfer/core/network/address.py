"""Addresses: what a URL means for the network, and how its origin is reached."""

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
_KEPT = "/%:@!$&'()*+,;=~[]?"  # characters of path and query that are not encoded


class Origin(NamedTuple):
    """A scheme with host and port, and how it is reached.

    Connections are shared by all requests to one origin.

    Attributes:
        url: Scheme, host and port, for example `"https://contoso.openai.azure.com"`.
        settings: The values of the variables that name certificates; None for plain HTTP on
            this machine, which needs neither TLS nor proxies.
    """

    url: str
    settings: tuple[str | None, ...] | None

    @classmethod
    def in_environment(cls, url: str, environ: Mapping[str, str]) -> Origin:
        """Return an origin with the settings that an environment has for it."""
        if is_loopback(url) and url.startswith("http:"):
            return cls(url, None)
        return cls(url, tuple(environ.get(variable) for variable in TLS_VARIABLES))


class Address(NamedTuple):
    """Where a request is sent, and what its first lines say.

    Attributes:
        host: The host's name as the network knows it, in ASCII.
        port: The port.
        target: Path and query, percent-encoded.
        name: The value of the Host header.
    """

    host: str
    port: int
    target: str
    name: str


@lru_cache(maxsize=512)
def parse_address(url: str) -> Address:
    """Return the address of a URL.

    Raises:
        ConfigurationError: The URL is not valid, or too long.
    """
    shown = repr(url.partition("?")[0][:200])  # keys may stand in a query
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError as error:
        raise ConfigurationError(f"the request cannot be sent: {shown}: {error}") from None
    if parts.scheme not in _PORTS or not host or len(url) > _LONGEST_URL:
        why = (
            f"is longer than {_LONGEST_URL} characters"
            if len(url) > _LONGEST_URL
            else "is not a valid http(s) URL"
        )
        raise ConfigurationError(f"the request cannot be sent: {shown} {why}")
    target = quote(f"{parts.path or '/'}{'?' * bool(parts.query)}{parts.query}", _KEPT)
    name = f"[{host}]" if ":" in host else host
    default = _PORTS[parts.scheme]
    port = default if port is None else port
    return Address(host, port, target, name if port == default else f"{name}:{port}")
