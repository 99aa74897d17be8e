"""A Redis server, and endpoints that routes lead to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from fleet import Fleet
from raw_server import chat, reply
from redis_server import RedisServer


@pytest.fixture(scope="session")
def one_server() -> Iterator[RedisServer]:
    """One server for all tests."""
    server = RedisServer().start()
    yield server
    server.kill()


@pytest.fixture
def store(one_server: RedisServer) -> Iterator[redis.Redis]:
    """A client of an empty server."""
    with redis.Redis.from_url(one_server.url, decode_responses=True) as client:
        client.flushall()
        yield client


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server that the test may kill."""
    server = RedisServer().start()
    yield server
    server.kill()


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    """Three endpoints; each says its name."""
    fleet = Fleet("abc")
    for name, server in fleet.servers.items():
        server.will(reply(chat(name)))
    yield fleet
    fleet.stop()
