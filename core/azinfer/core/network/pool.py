"""Pools of connections, and who shares them.

All sync clients of a process share one pool for each origin, and all async clients of an event
loop share another. No pool is shared between processes or loops. Pools close by themselves:
those of sync code with their last client, those of a loop with the loop.
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

IDLE = 60.0  # seconds that an unused connection is kept


class Pool:
    """Connections to one origin, as many as there are concurrent requests.

    Each method changes one set or deque by one operation, so that no lock is needed: neither
    between threads, nor for a stream that garbage collection closes in between.

    Args:
        make: Makes a connection.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self.connections: set[Any] = set()
        self.users: weakref.WeakSet[Any] = weakref.WeakSet()
        self.closer: Any = None
        self.is_drained = False
        self._idle: deque[tuple[float, Any]] = deque()
        self._make = make

    def borrow(self) -> Any:
        """Return the free connection that was used last, or a new one."""
        try:
            connection = self._idle.pop()[1]
        except IndexError:
            connection = self._make()
        self.connections.add(connection)
        return connection

    def give_back(self, connection: Any, now: float) -> Any:
        """Take a connection back; return one that has been unused for too long, to be closed."""
        if connection not in self.connections:
            return connection  # the pool was drained meanwhile
        self._idle.append((now, connection))
        if len(self._idle) == 1:
            return None
        with suppress(IndexError):  # another thread may take them meanwhile
            if now - self._idle[0][0] > IDLE:
                unused = self._idle.popleft()[1]
                self.connections.discard(unused)
                return unused
        return None

    def drain(self) -> list[Any]:
        """Remove all connections, also those in use, and return them to be closed."""
        self.is_drained = True
        self._idle.clear()
        connections = list(self.connections)
        self.connections.clear()
        return connections

    def remove_user(self, user: Any) -> bool:
        """Remove a user; return True if it was the last."""
        with _lock:
            self.users.discard(user)
            return not self.users


_pools: weakref.WeakValueDictionary[Hashable, Pool] = weakref.WeakValueDictionary()
_lock = threading.Lock()
generation = 0  # of processes: the number of forks that led to this one
# Kept here and not by clients: a pool that is dropped while its loop runs would be closed by a
# task, which the end of the loop cancels.
_loop_pools: dict[tuple[AbstractEventLoop, Hashable], Pool] = {}
_parent_pools: list[Any] = []


def shared_pool(origin: Hashable, make: Callable[[], Any], user: Any) -> Pool:
    """Return the pool of sync code for an origin; threads may make the first call at once."""
    with _lock:
        pool = _pools.get(origin)
        if pool is None:
            pool = _pools[origin] = Pool(make)
            weakref.finalize(pool, close_all, pool.connections)
        pool.users.add(user)
        return pool


def close_all(connections: Iterable[Any]) -> None:
    """Close connections of sync code."""
    for connection in connections:
        connection.close()


async def shared_loop_pool(origin: Hashable, make: Callable[[], Any], user: Any) -> Pool:
    """Return the pool of the running event loop for an origin."""
    import asyncio

    key = (asyncio.get_running_loop(), origin)
    pool = _loop_pools.get(key)
    if pool is None:
        for ended in [other for other in list(_loop_pools) if other[0].is_closed()]:
            _loop_pools.pop(ended, None)  # that loop was closed without its hooks
        pool = _loop_pools[key] = Pool(make)
        pool.closer = _close_with_loop(key, pool)
        await anext(pool.closer)
    pool.users.add(user)
    return pool


async def close_loop_pools(user: Any) -> None:
    """Remove a user from the pools of the running event loop; close those without users."""
    import asyncio

    loop = asyncio.get_running_loop()
    for (owner, _), pool in list(_loop_pools.items()):
        if owner is loop and user in pool.users and pool.remove_user(user):
            await pool.closer.aclose()


async def _close_with_loop(key: Any, pool: Pool) -> AsyncGenerator[None]:
    # asyncio closes the async generators of a loop before the loop itself; it has no other hook.
    try:
        yield
    finally:
        _loop_pools.pop(key, None)
        for connection in pool.drain():
            await connection.close()


def _reset_after_fork() -> None:
    """In a forked child, leave the parent's sockets alone and begin with empty pools."""
    global _pools, _lock, _loop_pools, generation
    for pool in (*_pools.values(), *_loop_pools.values()):
        pool.is_drained = True
    _parent_pools.extend((*_pools.values(), _loop_pools))
    _loop_pools = {}
    _pools = weakref.WeakValueDictionary()
    _lock = threading.Lock()
    generation += 1


if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(after_in_child=_reset_after_fork)
