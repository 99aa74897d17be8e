"""Pools of connections, and who shares them.

All sync clients of a process share one pool for each place, all async clients of an event loop
another; none is shared between processes or loops. They close by themselves: those of sync code
with the last client, those of a loop with the loop.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Callable, Hashable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

IDLE = 60.0  # seconds that a connection is kept which nobody needs


class Pool:
    """Transport to one place, as many as there are requests at once.

    Each step is a single one of a set or a deque, so that neither threads nor a stream that
    garbage collection closes in the middle of another step need a lock.

    Args:
        make: Makes a connection.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self.connections: set[Any] = set()
        self.users: weakref.WeakSet[Any] = weakref.WeakSet()
        self.closer: Any = None
        self._idle: deque[tuple[float, Any]] = deque()
        self._make = make

    def borrow(self) -> Any:
        """The connection that was used last of those that are free, or a new one."""
        try:
            connection = self._idle.pop()[1]
        except IndexError:
            connection = self._make()
        self.connections.add(connection)
        return connection

    def give_back(self, connection: Any, now: float) -> Any:
        """Take a connection back, and tell one to be closed: that nobody needed for long."""
        if connection not in self.connections:
            return connection  # the pool was emptied meanwhile
        self._idle.append((now, connection))
        with suppress(IndexError):
            if now - self._idle[0][0] > IDLE:
                unused = self._idle.popleft()[1]
                self.connections.discard(unused)
                return unused
        return None

    def emptied(self) -> list[Any]:
        """Every connection, those in use too, to be closed; none of them is lent again."""
        self._idle.clear()
        connections = list(self.connections)
        self.connections.clear()
        return connections

    def left_by_last(self, user: Any) -> bool:
        """Count one user less; whether there is none."""
        with _lock:
            self.users.discard(user)
            return not self.users


_pools: weakref.WeakValueDictionary[Hashable, Pool] = weakref.WeakValueDictionary()
_lock = threading.Lock()
generation = 0  # of processes: what was shared before a fork is not shared after it
# Kept here and not by clients: what is dropped while a loop runs is closed by a task, which the
# end of the loop cancels half-way.
_of_loops: dict[tuple[AbstractEventLoop, Hashable], Pool] = {}
_left_to_parent: list[Any] = []


def shared(place: Hashable, make: Callable[[], Any], user: Any) -> Pool:
    """The pool of sync code for a place; many threads may make the first call at once."""
    with _lock:
        pool = _pools.get(place)
        if pool is None:
            pool = _pools[place] = Pool(make)
            weakref.finalize(pool, close_all, pool.connections)
        pool.users.add(user)
        return pool


def close_all(connections: Iterable[Any]) -> None:
    """Close connections of sync code."""
    for connection in connections:
        connection.close()


async def shared_in_loop(place: Hashable, make: Callable[[], Any], user: Any) -> Pool:
    """The pool of the running event loop for a place."""
    import asyncio

    key = (asyncio.get_running_loop(), place)
    pool = _of_loops.get(key)
    if pool is None:
        for left in [other for other in list(_of_loops) if other[0].is_closed()]:
            _of_loops.pop(left, None)  # that loop was closed without its hooks
        pool = _of_loops[key] = Pool(make)
        pool.closer = _closing(key, pool)
        await anext(pool.closer)
    pool.users.add(user)
    return pool


async def leave_loop(user: Any) -> None:
    """Close the pools of the running event loop that nobody else uses."""
    import asyncio

    loop = asyncio.get_running_loop()
    for (owner, _), pool in list(_of_loops.items()):
        if owner is loop and user in pool.users and pool.left_by_last(user):
            await pool.closer.aclose()


async def _closing(key: Any, pool: Pool) -> AsyncGenerator[None]:
    # asyncio closes the generators of a loop before the loop: the one hook it has for that.
    try:
        yield
    finally:
        _of_loops.pop(key, None)
        for connection in pool.emptied():
            await connection.close()


def _forget() -> None:
    """In a forked child, leave the parent's sockets alone and open one's own."""
    global _pools, _lock, _of_loops, generation
    _left_to_parent.extend((*_pools.values(), _of_loops))
    _of_loops = {}
    _pools = weakref.WeakValueDictionary()
    _lock = threading.Lock()
    generation += 1


if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(after_in_child=_forget)
