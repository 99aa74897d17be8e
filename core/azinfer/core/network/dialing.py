"""Dialing: from the name of a host to a connected socket, in sync and async code.

All addresses of a host take part in a race: while one is silent, the next is tried too.
Source: RFC 8305, sections 4 (the order of addresses) and 5 (the delay between them).
"""

from __future__ import annotations

import os
import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any, TypeAlias

from azinfer.core.interruptions import is_interruption
from azinfer.core.network import pool

if TYPE_CHECKING:
    import asyncio

LONGEST_POLL = 2**31 - 1  # milliseconds, 24 days; a longer one is an error
_NEXT_ADDRESS = 0.25  # seconds until the next address of a host is tried too

AddressInfo: TypeAlias = tuple[Any, Any, int, str, Any]  # as `socket.getaddrinfo` returns it


def dial(host: str, port: int, remaining: Callable[[], float]) -> socket.socket:
    """Return a socket that is connected to a host.

    Args:
        host: Its name or address.
        port: The port.
        remaining: Returns the seconds that remain, which are never 0.

    Raises:
        TimeoutError: The name was not resolved, or no address has answered, in that time.
        OSError: The name is unknown, or no address accepts.
    """
    left = deque(in_turns(_look_up(host, port, remaining())))
    pending: list[socket.socket] = []
    failure: BaseException = OSError("the host has no address")
    try:
        while left or pending:
            if left:
                try:
                    pending.append(_begin(left.popleft()))
                except OSError as error:
                    failure = _socket_error(error)
                    continue
            ready = _writable(pending, min(remaining(), _NEXT_ADDRESS) if left else remaining())
            if not ready and not left:
                raise TimeoutError
            for sock in ready:
                pending.remove(sock)
                if not (code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
                    sock.settimeout(remaining())
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    return sock
                failure = OSError(code, os.strerror(code))
                sock.close()
    finally:
        for sock in pending:
            sock.close()
    raise failure


async def dial_async(host: str, port: int) -> socket.socket:
    """Do the same in async code, whose caller limits the time."""
    import asyncio

    loop = asyncio.get_running_loop()
    kind = socket.SOCK_STREAM
    addresses = _without_look_up(host, port) or await loop.getaddrinfo(host, port, type=kind)
    # asyncio's own race does not close all sockets when it is cancelled.
    sockets: set[socket.socket] = set()
    tasks: set[asyncio.Task[socket.socket]] = set()
    winner = None
    try:
        winner = await _race(in_turns(addresses), sockets, tasks)
        return winner
    finally:
        for task in tasks:
            task.cancel()
        try:
            # Only then has the loop forgotten the sockets, so that others may get their numbers.
            await asyncio.gather(*tasks, return_exceptions=True)
        except BaseException:
            winner = None
            raise
        finally:
            for sock in sockets - {winner}:
                sock.close()


async def _race(
    addresses: Sequence[AddressInfo],
    sockets: set[socket.socket],
    tasks: set[asyncio.Task[socket.socket]],
) -> socket.socket:
    """Return the socket to the first address that accepts.

    Args:
        addresses: The addresses, in the order in which they are tried.
        sockets: Gets all sockets that were opened.
        tasks: Gets all tasks that were begun.
    """
    import asyncio

    left, pending = deque(addresses), set[asyncio.Task[socket.socket]]()
    failure: BaseException = OSError("the host has no address")
    while left or pending:
        if left:
            task = asyncio.create_task(_connect(left.popleft(), sockets))
            pending.add(task)
            tasks.add(task)
        done, pending = await asyncio.wait(
            pending,
            timeout=_NEXT_ADDRESS if left else None,
            return_when=asyncio.FIRST_COMPLETED,
        )
        for task in done:
            if (error := task.exception()) is None:
                return task.result()
            failure = _socket_error(error)
    raise failure


async def _connect(address: AddressInfo, sockets: set[socket.socket]) -> socket.socket:
    import asyncio

    family, kind, protocol, _, where = address
    sock = socket.socket(family, kind, protocol)
    sockets.add(sock)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, where)
    return sock


def _socket_error(error: BaseException) -> BaseException:
    """Return an error of a socket; raise any other one."""
    if not isinstance(error, OSError) or is_interruption(error):
        raise error
    return error


def in_turns(addresses: Sequence[AddressInfo]) -> list[AddressInfo]:
    """Return addresses with IPv6 and IPv4 in turns, beginning with the family of the first one."""
    first = [each for each in addresses if each[0] == addresses[0][0]]
    others = [each for each in addresses if each[0] != addresses[0][0]]
    pairs = chain.from_iterable(zip_longest(first, others))
    return [each for each in pairs if each is not None]


def _begin(address: AddressInfo) -> socket.socket:
    """Return a socket that begins to connect to an address."""
    family, kind, protocol, _, where = address
    sock = socket.socket(family, kind, protocol)  # fails for IPv6 on a machine without it
    try:
        sock.setblocking(False)
        with suppress(BlockingIOError, InterruptedError):
            sock.connect(where)
    except BaseException:
        sock.close()
        raise
    return sock


def _writable(sockets: Sequence[socket.socket], seconds: float) -> list[socket.socket]:
    """Wait until some sockets have connected or failed; return them."""
    if not hasattr(select, "poll"):  # pragma: no cover
        _, ready, failed = select.select([], sockets, sockets, seconds)
        return list({*ready, *failed})
    poller = select.poll()
    for sock in sockets:
        poller.register(sock, select.POLLOUT)
    limit = min(max(1, seconds * 1000), LONGEST_POLL)
    descriptors = {descriptor for descriptor, _ in poller.poll(limit)}
    return [sock for sock in sockets if sock.fileno() in descriptors]


class _LookUp(threading.Thread):
    """Resolves a name, however long that takes: the resolver itself has no time limit."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(name=f"azinfer-dns-{host}", daemon=True)
        self._host, self._port = host, port
        self.addresses: list[AddressInfo] = []
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            self.addresses = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except Exception as error:
            self.failure = error


# The look-ups under way, so that calls to a host whose name is not resolved share one thread.
_look_ups: dict[tuple[str, int, int], _LookUp] = {}


def _without_look_up(host: str, port: int) -> list[AddressInfo]:
    """Return the address of a host that is named by it, which needs no thread; else nothing."""
    try:
        flags = socket.AI_NUMERICHOST
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except socket.gaierror:
        return []


def _look_up(host: str, port: int, seconds: float) -> list[AddressInfo]:
    """Return the addresses of a host.

    Raises:
        TimeoutError: The resolver has not answered within these seconds.
        OSError: The name is unknown.
    """
    if addresses := _without_look_up(host, port):
        return addresses
    key = (host, port, pool.generation)
    look_up = _look_ups.get(key)
    if look_up is None or not look_up.is_alive():
        look_up = _LookUp(host, port)
        try:
            look_up.start()
        except RuntimeError:  # the interpreter is ending, and does not start threads any more
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        _look_ups[key] = look_up
    look_up.join(seconds)
    if look_up.is_alive():
        raise TimeoutError
    _look_ups.pop(key, None)
    if look_up.failure is not None:
        raise look_up.failure
    return look_up.addresses
