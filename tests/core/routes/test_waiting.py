"""Calls that wait until another call ends: how often they look again."""

from __future__ import annotations

from typing import Any

import pytest

from azinfer.core import RouteExhaustedError, Timeout
from azinfer.core.operations import CallOptions
from client_driver import USER, TestClock
from fleet import Fleet, routed_driver

OPTIONS = CallOptions("chat", None, None, None, {})


def test_more_waiting_calls_look_less_often(fleet: Fleet, clock: TestClock) -> None:
    config = fleet.config([["m@a"]], deployments={"m@a": {"concurrency": 1}}, policy={"wait": 4})
    with routed_driver("sync", config, clock=clock, timeout=Timeout(total=60)) as driver:
        first, second = (_attempts(driver.client) for _ in range(2))
        waiting = driver.client._router._traffic.waiting
        assert first.ready() == 0
        assert 0.001 <= second.ready() <= 0.003
        for call in range(999):
            waiting.add(call, ("m@a",))
        assert 0.5 <= second.ready() <= 1.5
        for call in range(100_000):
            waiting.add(call, ("m@a",))
        # A moment before its time is over, it looks for the last time.
        second.ready()
        assert second._waited == pytest.approx(3.998)
        first.close()
        assert second.ready() == 0
        assert len(waiting) == 100_000


def test_a_call_that_gives_up_no_longer_counts(fleet: Fleet, clock: TestClock) -> None:
    config = fleet.config([["m@a"]], deployments={"m@a": {"concurrency": 1}}, policy={"wait": 4})
    with routed_driver("sync", config, clock=clock) as driver:
        first, second, third = (_attempts(driver.client) for _ in range(3))
        waiting = driver.client._router._traffic.waiting
        assert first.ready() == 0
        assert second.ready() > 0
        assert third.ready() > 0
        second.close()
        assert len(waiting) == 1
        with pytest.raises(RouteExhaustedError, match="limit of concurrent calls"):
            _wait(third)
        del third
        assert len(waiting) == 0


def test_a_new_call_takes_nothing_from_those_that_wait(fleet: Fleet, clock: TestClock) -> None:
    facts = {"m@a": {"concurrency": 1}, "m@b": {"concurrency": 1}}
    config = fleet.config([["m@a", "m@b"]], deployments=facts, policy={"wait": 4})
    with routed_driver("sync", config, clock=clock) as driver:
        first, second, third, fourth = (_attempts(driver.client) for _ in range(4))
        assert (first.ready(), second.ready()) == (0, 0)
        assert third.ready() > 0
        first.close()
        assert fourth.ready() > 0
        assert third.ready() == 0
        second.close()
        assert fourth.ready() == 0
        fourth.close()
        assert _attempts(driver.client).ready() == 0


def _wait(attempts: Any) -> None:
    while attempts.ready():
        pass


def _attempts(client: Any) -> Any:
    return client._chat(USER, OPTIONS, stream=False)
