"""Telemetry in memory, and endpoints that routes lead to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from azinfer.otel import uninstrument
from fleet import Fleet
from otel_memory import Telemetry
from raw_server import chat, reply


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """Telemetry that records from now on."""
    recorded = Telemetry()
    recorded.start()
    yield recorded
    uninstrument()
    recorded.tracers.shutdown()
    recorded.meters.shutdown()
    recorded.loggers.shutdown()


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    """Three endpoints; each says its name."""
    fleet = Fleet("abc")
    for name, server in fleet.servers.items():
        server.will(reply(chat(name)))
    yield fleet
    fleet.stop()
