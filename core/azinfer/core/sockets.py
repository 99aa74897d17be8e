"""Sockets: connections of sync code, each for one request at a time."""

from __future__ import annotations

import select
import socket
from typing import Any

from azinfer.core import proxies
from azinfer.core.errors import APITimeoutError
from azinfer.core.http1 import Answers, written
from azinfer.core.places import Place, tls_of, way_to
from azinfer.core.pools import IDLE
from azinfer.core.requests import Deadline, Head, Request

_READ = 64 * 1024  # bytes at once


def connection(place: Place) -> Any:
    """A connection to a place: a socket, or through httpx where there are proxies."""
    return proxies.through(place) or Connection(place)


class ConnectFailedError(ConnectionError):
    """No connection opened."""


class Connection:
    """A socket of sync code, opened when it is first used."""

    def __init__(self, place: Place) -> None:
        self._tls = tls_of(place)
        self._answers = Answers()
        self._socket: socket.socket | None = None
        self._limit = 0.0
        self._closed = False
        self._free_since = 0.0

    def is_stale(self, now: float) -> bool:
        """Whether it served before and can serve no more."""
        if self._socket is None:
            return self._closed
        return now - self._free_since > IDLE or readable(self._socket)

    def send(self, request: Request, deadline: Deadline) -> Head:
        """Send a request and wait for status and headers of its answer."""
        way = way_to(request.url)
        data = written(request, way.target, way.name)
        if self._socket is None:
            self._socket = self._opened(way.host, way.port, deadline)
        self._answers.expect()
        self._write(data, deadline)
        while not self._answers.status:
            self._receive(deadline)
        return self._answers.status, self._answers.headers

    def more(self, deadline: Deadline) -> list[bytes]:
        """Further parts of the answer's body; none at its end."""
        while not self._answers.parts and not self._answers.ended:
            self._receive(deadline)
        return self._answers.taken()

    def release(self, now: float) -> None:
        """End the request; without a whole answer the connection closes."""
        self._free_since = now
        if not self._answers.reusable:
            self.close()

    def close(self) -> None:
        """Close it."""
        left, self._socket, self._closed = self._socket, None, True
        if left is not None:
            left.close()

    def _opened(self, host: str, port: int, deadline: Deadline) -> socket.socket:
        self._limit = min(deadline.timeout.connect, deadline.left())
        try:
            opened = socket.create_connection((host, port), self._limit)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return self._tls.wrap_socket(opened, server_hostname=host) if self._tls else opened
        except OSError as error:
            raise unopened(error, deadline) from None

    def _write(self, data: bytes, deadline: Deadline) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[self._bounded(deadline).send(left) :]
        except TimeoutError:
            raise unsent(deadline) from None
        except OSError:
            pass  # what refuses a request may answer before it has read all of it

    def _receive(self, deadline: Deadline) -> None:
        if data := self._bounded(deadline).recv(_READ):
            self._answers.feed(data)
        else:
            self._answers.eof()

    def _bounded(self, deadline: Deadline) -> socket.socket:
        """The socket, whose next step ends in time."""
        if self._socket is None:
            raise ConnectionResetError("it was closed meanwhile")
        limit = min(deadline.timeout.read, deadline.left())
        if limit != self._limit:
            self._socket.settimeout(limit)
            self._limit = limit
        return self._socket


def unopened(error: OSError, deadline: Deadline) -> Exception:
    """The error of a connection that did not open."""
    if isinstance(error, TimeoutError):
        return APITimeoutError(f"no connection opened within {deadline.timeout.connect:g} seconds")
    return ConnectFailedError(str(error))


def unsent(deadline: Deadline) -> APITimeoutError:
    """The error of a request of which the network took nothing for too long."""
    return APITimeoutError(
        f"the request could not be sent within {deadline.timeout.read:g} seconds"
    )


def readable(opened: Any) -> bool:
    """Whether bytes, or the end, have come on a socket that nothing was asked on."""
    if not hasattr(select, "poll"):  # pragma: no cover
        return bool(select.select([opened], [], [], 0)[0])
    waiting = select.poll()
    waiting.register(opened.fileno(), select.POLLIN)
    return bool(waiting.poll(0))
