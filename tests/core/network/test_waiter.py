"""Waiting for sockets that do not block."""

from __future__ import annotations

import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from azinfer.core import InferenceClient, UserMessage
from azinfer.core.network import connection, dialing
from azinfer.core.network.waiter import Waiter
from raw_server import RawServer, chat, reply

LONG = 60.0  # seconds that no test here waits
FULL = b"x" * 1024 * 1024


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of one connection, of which the first does not block."""
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        yield near, far


def fill(sock: socket.socket) -> None:
    """Send until the network accepts nothing more."""
    with suppress(BlockingIOError):
        while True:
            sock.send(FULL)


def test_a_socket_is_readable_once_bytes_or_its_end_came(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    near, far = pair
    waiter = Waiter(near)
    assert not waiter.is_readable()
    far.send(b"x")
    assert waiter.is_readable()
    near.recv(1)
    assert not waiter.is_readable()
    far.close()
    assert waiter.is_readable()


def test_a_socket_that_another_thread_closed_is_readable(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    waiter = Waiter(pair[0])
    pair[0].close()
    assert waiter.is_readable()


def test_a_wait_ends_with_bytes_or_with_its_time(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    near, far = pair
    waiter = Waiter(near)
    with pytest.raises(TimeoutError, match="sent nothing"):
        waiter.wait_to_read(0.001)
    waiter.wait_to_write(LONG)
    fill(near)
    with pytest.raises(TimeoutError, match="accepted nothing"):
        waiter.wait_to_write(0.001)
    far.send(b"x")
    waiter.wait_to_read(LONG)
    waiter.wait_to_write(LONG)  # what came may be the response


def test_tls_that_has_to_read_before_it_writes_waits_to_read(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    near, far = pair
    waiter = Waiter(near)
    with pytest.raises(TimeoutError, match="sent nothing"):
        waiter.wait_after(ssl.SSLWantReadError(), 0.001)
    waiter.wait_after(ssl.SSLWantWriteError(), LONG)
    fill(near)
    with pytest.raises(TimeoutError, match="accepted nothing"):
        waiter.wait_after(BlockingIOError(), 0.001)
    far.send(b"x")
    waiter.wait_after(ssl.SSLWantReadError(), LONG)


class Interrupted(socket.socket):
    """A socket in the middle of whose operation a signal comes."""

    operation: str

    def send(self, *data: Any) -> int:
        """Send, after the signal."""
        if self.operation == "send":
            signal.raise_signal(signal.SIGUSR1)
        return super().send(*data)

    def recv(self, *size: Any) -> bytes:
        """Receive, after the signal."""
        if self.operation == "recv":
            signal.raise_signal(signal.SIGUSR1)
        return super().recv(*size)


@contextmanager
def handling() -> Iterator[None]:
    """Raise what a socket raises that would block, at a signal."""

    def stop(signum: int, frame: Any) -> None:
        raise BlockingIOError("from a handler")

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("operation", ["send", "recv"])
def test_errors_of_signal_handlers_are_raised_without_waiting(
    operation: str, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dial(*where: Any) -> socket.socket:
        opened = Interrupted(fileno=dialing.dial(*where).detach())
        opened.operation = operation
        return opened

    monkeypatch.setattr(connection, "dial", dial)
    server.will(reply(chat()))
    with (
        InferenceClient(f"{server.url}/models", "k", "m") as client,
        handling(),
        pytest.raises(BlockingIOError, match="from a handler"),
    ):
        client.complete([UserMessage("hi")])
    assert len(server.received) <= 1
