"""Addresses: where an endpoint may listen, the socket that does, and the URL that leads there."""

from __future__ import annotations

import socket

from azinfer.core.errors import ConfigurationError, InferenceError

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
# Every address of this machine, and the one of them that leads to it.
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def check(host: str, key: str | None, https: bool) -> None:
    """Refuse an address that would be open to others, or that no certificate is for.

    Raises:
        ConfigurationError: It needs a key of one's own, or cannot be served over TLS.
    """
    if host not in _LOOPBACK and key is None:
        raise ConfigurationError(f"host={host!r} is open to others: give a key of your own")
    if https and host not in (*_LOOPBACK, *_ANY):
        raise ConfigurationError(
            f"https is for this machine alone, and host={host!r} is another name; put a proxy "
            "with a certificate of its own before the endpoint"
        )


def listening(host: str, port: int) -> socket.socket:
    """A socket at an address, which waits to be served.

    Raises:
        InferenceError: The address is taken or not this machine's.
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
            f"port {port} of {host} cannot be listened on: {error.strerror}; choose another "
            "or 0 for any free one"
        ) from None
    return sock


def url(scheme: str, host: str, port: int) -> str:
    """The URL that leads to an address."""
    host = _ANY.get(host, host)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
