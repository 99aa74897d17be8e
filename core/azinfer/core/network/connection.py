"""Connections of sync code: one socket each, for one request at a time.

The twin of `async_connection.py`.
"""

from __future__ import annotations

import socket
from typing import Any

from azinfer.core.deadline import Deadline
from azinfer.core.errors import APITimeoutError
from azinfer.core.interruptions import is_interruption
from azinfer.core.network import httpx_connection, pool
from azinfer.core.network.address import Origin, parse_address
from azinfer.core.network.dialing import dial
from azinfer.core.network.http1 import ResponseParser, encode_request
from azinfer.core.network.pool import IDLE
from azinfer.core.network.request import Head, Request
from azinfer.core.network.tls import BLOCKED, context_of
from azinfer.core.network.waiter import Waiter

PIECE = 64 * 1024  # bytes that are written or read at once


def connection(origin: Origin) -> Any:
    """Return a connection to an origin: a socket, or httpx if the environment sets a proxy."""
    return httpx_connection.proxy_connection(origin) or Connection(origin)


class ConnectFailedError(ConnectionError):
    """No connection was established."""


class Connection:
    """A socket that is opened when it is first used."""

    def __init__(self, origin: Origin) -> None:
        self._tls = context_of(origin)
        self._parser = ResponseParser()
        self._socket: socket.socket | None = None
        self._waiter: Waiter | None = None
        self._closed = False
        self._busy = False
        self._is_written = False
        self._free_since = 0.0
        self._generation = pool.generation

    def is_stale(self, now: float) -> bool:
        """Return True if the connection cannot be used again; an unused one can."""
        if self._waiter is None:
            return self._closed
        return self._closed or now - self._free_since > IDLE or self._waiter.is_readable()

    def send(self, request: Request, deadline: Deadline) -> Head:
        """Send a request and wait for the status and headers of its response."""
        address = parse_address(request.url)
        data = encode_request(request, address.target, address.name)
        self._busy = True
        if self._socket is None:
            self._socket = self._open(address.host, address.port, deadline)
            self._socket.setblocking(False)
            self._waiter = Waiter(self._socket)
        self._parser.expect()
        self._is_written = False
        is_written = self._write(data, deadline)
        if is_written and not isinstance(request.body, bytes):
            is_written = all(self._write(piece, deadline) for piece in request.body)
        self._is_written = is_written
        while not self._parser.status:
            self._receive(deadline)
        return self._parser.status, self._parser.headers

    def read(self, deadline: Deadline) -> list[bytes]:
        """Wait for further parts of the body; return an empty list at its end."""
        while not self._parser.parts and not self._parser.ended:
            self._receive(deadline)
        return self._parser.take_parts()

    def release(self, now: float) -> None:
        """End the request; close the connection if request or response is not complete."""
        self._busy, self._free_since = False, now
        if not (self._is_written and self._parser.reusable):
            self.close()

    def close(self) -> None:
        """Close the socket; if a thread waits on it, wake that thread, which then closes it."""
        self._closed = True
        sock = self._socket
        if sock is None:
            return
        if self._busy and self._generation == pool.generation:  # else the parent process uses it
            # If it were closed, its number could belong to another socket when that thread wakes.
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError as error:
                if is_interruption(error):
                    raise
        else:
            self._socket = None
            sock.close()

    def _open(self, host: str, port: int, deadline: Deadline) -> socket.socket:
        clock = deadline.clock
        end = clock.monotonic() + deadline.limit(deadline.timeout.connect)
        try:
            sock = dial(host, port, lambda: max(0.001, end - clock.monotonic()))
            return self._tls.wrap_socket(sock, server_hostname=host) if self._tls else sock
        except OSError as error:
            if is_interruption(error):
                raise
            raise connect_error(error, deadline) from None

    def _write(self, data: bytes, deadline: Deadline) -> bool:
        """Return whether all of it was written: a service may refuse a request before that."""
        left = memoryview(data)
        try:
            while left and not self._parser.status:
                left = left[self._write_piece(left, deadline) :]
                if left:
                    deadline.remaining()
        except OSError as error:
            if is_interruption(error):
                raise
            if isinstance(error, TimeoutError):
                raise send_error(deadline) from None
            # It has closed the connection, perhaps after a response.
        return not left

    def _write_piece(self, left: memoryview, deadline: Deadline) -> int:
        """Return how many bytes the network has accepted; 0 after a wait until it accepts some."""
        sock, waiter = self._open_socket()
        try:
            accepted: int = sock.send(left[:PIECE])
            return accepted
        except BLOCKED as blocked:
            if is_interruption(blocked):
                raise
            waiter.wait_after(blocked, deadline.limit(deadline.timeout.read))
        if waiter.is_readable():
            self._parse_received(sock)
        return 0

    def _receive(self, deadline: Deadline) -> None:
        """Wait for bytes, or the end, and parse them."""
        sock, waiter = self._open_socket()
        # A record of TLS fits into one piece, so none of it waits where no socket says so.
        is_parsed = False
        while not is_parsed:
            waiter.wait_to_read(deadline.limit(deadline.timeout.read))
            is_parsed = self._parse_received(sock)

    def _parse_received(self, sock: socket.socket) -> bool:
        """Return False if only a part of a record of TLS has come, or one without content."""
        try:
            data = sock.recv(PIECE)
        except BLOCKED as blocked:
            if is_interruption(blocked):
                raise
            return False
        # A socket that is closed by this side ends too, but that ends no response.
        self._parser.feed(data) if data or self._closed else self._parser.eof()
        return True

    def _open_socket(self) -> tuple[Any, Waiter]:
        sock, waiter = self._socket, self._waiter
        if sock is None or waiter is None or self._closed:
            raise ConnectionResetError("the connection was closed meanwhile")
        return sock, waiter


def connect_error(error: OSError, deadline: Deadline) -> Exception:
    """Return the error for a connection that could not be established."""
    if isinstance(error, TimeoutError):
        expired = deadline.silence_error("no connection was established", deadline.timeout.connect)
        expired.unsent = True
        return expired
    return ConnectFailedError(str(error))


def send_error(deadline: Deadline) -> APITimeoutError:
    """Return the error for a request of which the network accepted nothing for too long."""
    return deadline.silence_error("the request could not be sent", deadline.timeout.read)
