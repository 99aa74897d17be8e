"""Endpoints for routed calls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from client_driver import TestClock
from fleet import Fleet
from raw_server import chat, reply


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    """Three endpoints, each of which says its own name."""
    fleet = Fleet("abc")
    for name, server in fleet.servers.items():
        server.will(reply(chat(name)))
    yield fleet
    fleet.stop()


@pytest.fixture
def clock() -> TestClock:
    """A clock that only moves when somebody waits."""
    return TestClock()
