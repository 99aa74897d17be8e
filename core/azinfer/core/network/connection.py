"""Sockets: connections of sync code, each for one request at a time."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from azinfer.core.deadline import Deadline
from azinfer.core.errors import APITimeoutError
from azinfer.core.network import httpx_connection, pool
from azinfer.core.network.address import Place, way_to
from azinfer.core.network.http1 import Answers, written
from azinfer.core.network.pool import IDLE
from azinfer.core.network.request import Head, Request
from azinfer.core.network.tls import tls_of

PIECE = 64 * 1024  # bytes that are written or read at once


def connection(place: Place) -> Any:
    """A connection to a place: a socket, or through httpx where there are proxies."""
    return httpx_connection.through(place) or Connection(place)


class ConnectFailedError(ConnectionError):
    """No connection opened."""


class Connection:
    """A socket of sync code, opened when it is first used."""

    def __init__(self, place: Place) -> None:
        self._tls = tls_of(place)
        self._answers = Answers()
        self._socket: socket.socket | None = None
        self._closed = False
        self._busy = False
        self._free_since = 0.0
        self._generation = pool.generation

    def is_stale(self, now: float) -> bool:
        """Whether it cannot serve again; one that was not used yet can."""
        opened = self._socket
        if opened is None:
            return self._closed
        return now - self._free_since > IDLE or readable(opened)

    def send(self, request: Request, deadline: Deadline) -> Head:
        """Send a request and wait for status and headers of its answer."""
        way = way_to(request.url)
        data = written(request, way.target, way.name)
        self._busy = True
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
        self._busy, self._free_since = False, now
        if not self._answers.reusable:
            self.close()

    def close(self) -> None:
        """Close it; where a request is on its way, wake its thread, which closes it then."""
        self._closed = True
        opened = self._socket
        if opened is None:
            return
        if self._busy and self._generation == pool.generation:  # else it is the parent's call
            # Closed, its number could be that of another connection before that thread wakes.
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
        else:
            self._socket = None
            opened.close()

    def _opened(self, host: str, port: int, deadline: Deadline) -> socket.socket:
        clock = deadline.clock
        end = clock.monotonic() + deadline.within(deadline.timeout.connect)
        try:
            opened = _connected(host, port, lambda: max(0.001, end - clock.monotonic()))
            return self._tls.wrap_socket(opened, server_hostname=host) if self._tls else opened
        except OSError as error:
            raise unopened(error, deadline) from None

    def _write(self, data: bytes, deadline: Deadline) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[self._bounded(deadline).send(left[:PIECE]) :]
        except TimeoutError:
            raise unsent(deadline) from None
        except OSError:
            pass  # what refuses a request may answer before it has read all of it

    def _receive(self, deadline: Deadline) -> None:
        data = self._bounded(deadline).recv(PIECE)
        # A connection that is closed here ends too, but that is no end of an answer.
        self._answers.feed(data) if data or self._closed else self._answers.eof()

    def _bounded(self, deadline: Deadline) -> socket.socket:
        """The socket, whose next step ends in time."""
        opened = self._socket
        if opened is None or self._closed:
            raise ConnectionResetError("it was closed meanwhile")
        opened.settimeout(deadline.within(deadline.timeout.read))
        return opened


def _connected(host: str, port: int, left: Callable[[], float]) -> socket.socket:
    """A socket to the first of a host's addresses that answers in its share of the time left."""
    failure = OSError("it has no address")
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for at, (family, kind, protocol, _, address) in enumerate(found):
        opened = socket.socket(family, kind, protocol)
        try:
            opened.settimeout(left() / (len(found) - at))
            opened.connect(address)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.settimeout(left())
            return opened
        except OSError as error:
            failure = error
            opened.close()
    raise failure


def unopened(error: OSError, deadline: Deadline) -> Exception:
    """The error of a connection that did not open."""
    if isinstance(error, TimeoutError):
        return deadline.silence("no connection opened", deadline.timeout.connect)
    return ConnectFailedError(str(error))


def unsent(deadline: Deadline) -> APITimeoutError:
    """The error of a request of which the network took nothing for too long."""
    return deadline.silence("the request could not be sent", deadline.timeout.read)


def readable(opened: Any) -> bool:
    """Whether bytes, or the end, have come on a socket that nothing was asked on."""
    descriptor = opened.fileno()  # negative where another thread closed it
    return descriptor < 0 or bool(_polled(descriptor))


def _polled(descriptor: int) -> Any:
    if not hasattr(select, "poll"):  # pragma: no cover
        return select.select([descriptor], [], [], 0)[0]
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return waiting.poll(0)
