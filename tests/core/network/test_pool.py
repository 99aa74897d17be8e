"""Pools of connections: which connection a request gets, and who closes it."""

from __future__ import annotations

import gc
from itertools import count
from typing import Any

from azinfer.core.network import pool as pools
from azinfer.core.network.pool import IDLE, Pool


class Connection:
    """A connection that only knows whether it is closed."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        """Close it."""
        self.closed = True


class User:
    """Something that can be referred to weakly."""


def test_the_connection_that_was_used_last_is_lent_first() -> None:
    numbers = count()
    pool = Pool(lambda: next(numbers))
    assert [pool.borrow() for _ in range(3)] == [0, 1, 2]
    for connection in (1, 2, 0):
        assert pool.give_back(connection, now=1.0) is None
    assert [pool.borrow() for _ in range(4)] == [0, 2, 1, 3]


def test_a_connection_idle_for_too_long_is_returned_for_closing() -> None:
    numbers = count()
    pool = Pool(lambda: next(numbers))
    first, second = pool.borrow(), pool.borrow()
    assert pool.give_back(first, now=1.0) is None
    assert pool.give_back(second, now=1.0 + IDLE) is None
    assert pool.give_back(pool.borrow(), now=1.1 + IDLE) == first
    assert pool.connections == {second}


def test_a_drained_pool_does_not_lend_old_connections() -> None:
    numbers = count()
    pool = Pool(lambda: next(numbers))
    lent, free = pool.borrow(), pool.borrow()
    pool.give_back(free, now=1.0)
    assert sorted(pool.drain()) == [lent, free]
    assert pool.give_back(lent, now=1.0) == lent
    assert pool.borrow() == 2


def test_the_last_user_closes_the_pool() -> None:
    first, second = User(), User()
    origin = object()
    pool = pools.shared_pool(origin, Connection, first)
    assert pools.shared_pool(origin, Connection, second) is pool
    assert not pool.remove_user(first)
    assert pool.remove_user(second)


def test_an_unused_pool_closes_its_connections() -> None:
    pool: Any = pools.shared_pool(object(), Connection, User())
    connection = pool.borrow()
    del pool
    gc.collect()
    assert connection.closed
