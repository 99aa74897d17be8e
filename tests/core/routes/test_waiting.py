"""Calls that wait until another call ends: how often they look again."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azinfer.core import InferenceClient, RouteExhaustedError, Timeout
from azinfer.core.operations import CallOptions
from client_driver import KEY, USER, TestClock
from fleet import Fleet, routed_driver

STEPS = ["r", "s", "look", "look", "look", "end", "drop"]  # begin a call on a route, …


def test_more_waiting_calls_look_less_often(fleet: Fleet, clock: TestClock) -> None:
    config = fleet.config([["m@a"]], deployments={"m@a": {"concurrency": 1}}, policy={"wait": 4})
    with routed_driver("sync", config, clock=clock, timeout=Timeout(total=60)) as driver:
        first, second = (_attempts(driver.client) for _ in range(2))
        waiting = driver.client._router._traffic.waiting
        assert first.ready() == 0
        assert 0.001 <= second.ready() <= 0.003
        for call in range(999):
            waiting.add(call, None)
        assert 0.5 <= second.ready() <= 1.5
        for call in range(100_000):
            waiting.add(call, None)
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


@pytest.mark.parametrize("wait", [0, 0.0005])
def test_a_call_that_may_not_wait_leaves_nothing_behind(
    wait: float, fleet: Fleet, clock: TestClock
) -> None:
    config = fleet.config([["m@a"]], deployments={"m@a": {"concurrency": 1}}, policy={"wait": wait})
    with routed_driver("sync", config, clock=clock) as driver:
        first, second = (_attempts(driver.client) for _ in range(2))
        assert first.ready() == 0
        with pytest.raises(RouteExhaustedError, match="concurrent calls") as caught:
            second.ready()
        assert caught.value.retry_after is None
        assert "Try again" not in str(caught.value)
        first.close()
        third = _attempts(driver.client)
        assert third.ready() == 0
        third.close()


@given(st.data())
@settings(deadline=None)
def test_no_order_of_calls_leaves_one_in_the_queue(data: st.DataObject) -> None:
    wait = data.draw(st.sampled_from([0, 0.0005, 0.003, 4]), "wait")
    route = {"tiers": [["m@a"]], "policy": {"wait": wait}}
    config = {
        "endpoints": {"a": {"url": "https://a.test/openai/v1"}},
        "deployments": {"m@a": {"concurrency": data.draw(st.integers(1, 2), "concurrency")}},
        "routes": {"r": route, "s": route},
    }
    clock = TestClock()
    environ = {"AZURE_AI_API_KEY": KEY}
    with InferenceClient.from_config(config, environ=environ, clock=clock) as client:
        waiting = client._router._traffic.waiting
        calls: list[Any] = []
        for step in data.draw(st.lists(st.sampled_from(STEPS), max_size=25), "steps"):
            if step in ("r", "s"):
                calls.append(_attempts(client, step))
            elif calls:
                call = calls[data.draw(st.integers(0, len(calls) - 1), "call")]
                _take(step, call, calls, clock)
                del call
            assert len(waiting) <= len(calls)
        calls.clear()
        assert len(waiting) == 0
        for name in ("r", "s"):
            last = _attempts(client, name)
            assert last.ready() == 0
            last.close()


def _take(step: str, call: Any, calls: list[Any], clock: TestClock) -> None:
    if step == "look":
        with suppress(RouteExhaustedError):
            clock.now += call.ready()
        return
    calls.remove(call)
    if step == "end":
        call.close()


def _wait(attempts: Any) -> None:
    while attempts.ready():
        pass


def _attempts(client: Any, route: str = "chat") -> Any:
    return client._chat(USER, CallOptions(route, None, None, None, {}), stream=False)
