"""Addresses: where an endpoint may listen, its socket, and its URL."""

from __future__ import annotations

import socket

from azinfer.core.errors import ConfigurationError, InferenceError

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
# The wildcard addresses, and the loopback address for each.
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def check(host: str, https: bool) -> None:
    """Raise if no certificate can be made for an address.

    Raises:
        ConfigurationError: It cannot be served over TLS.
    """
    if https and host not in (*_LOOPBACK, *_ANY):
        raise ConfigurationError(
            f"https works only for loopback addresses, not for host={host!r}; put a proxy "
            "with its own certificate in front of the endpoint"
        )


def listen(host: str, port: int) -> socket.socket:
    """Return a bound socket at an address.

    Raises:
        InferenceError: The address is in use, or not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches off the 40 ms wait of Nagle for sockets that say they are TCP.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise InferenceError(
            f"cannot listen on port {port} of {host}: {error.strerror}; choose another port, "
            "or 0 for any free one"
        ) from None
    return sock


def url(scheme: str, host: str, port: int) -> str:
    """Return the URL of an address."""
    host = _ANY.get(host, host)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
