"""The queue of a route: no order of events leaves a call in it, starves one or loses a permit."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from azinfer.core import AsyncInferenceClient, InferenceClient, RouteExhaustedError
from azinfer.core.clock import Clock
from azinfer.core.credentials import Secret
from azinfer.core.errors import ServerError
from azinfer.core.operations import CallOptions
from client_driver import KEY, USER, TestClock
from fleet import Fleet, routed_driver

PLACES = {name: {"url": f"https://{name}.openai.azure.com"} for name in "ab"}
ONE = {"concurrency": 1}
ROUTES = {
    "both": {"tiers": [["m@a"], ["m@b"]], "policy": {"wait": 20}},
    "first": {"tiers": [["m@a"]], "policy": {"wait": 20}},
    "hasty": {"tiers": [["m@a", "m@b"]], "policy": {"wait": 0}},
}
CONFIG = {
    "default": "a",
    "endpoints": PLACES,
    "deployments": {"m@a": ONE, "m@b": {"concurrency": 2}},
    "routes": ROUTES,
}


def new_client(clock: Clock, config: Any = CONFIG, kind: Any = InferenceClient) -> Any:
    return kind.from_config(config, clock=clock, environ={"AZURE_AI_API_KEY": KEY})


def new_attempts(client: Any, route: str) -> Any:
    return client._chat(USER, CallOptions(route, None, None, None, {}), stream=False)


class Call:
    """One call, as far as its caller knows."""

    def __init__(self, attempts: Any) -> None:
        self.attempts = attempts
        self.waits = self.runs = False


class QueueMachine(RuleBasedStateMachine):
    """Calls begin, wait, run, fail and are dropped in any order; time only goes on."""

    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.clock = TestClock()
        self.client = new_client(self.clock)
        self.traffic = self.client._router._traffic
        self.open: list[Call] = []

    @rule(target=calls, route=st.sampled_from(sorted(ROUTES)))
    def begin(self, route: str) -> Call:
        call = Call(new_attempts(self.client, route))
        self.open.append(call)
        return call

    @rule(call=calls, chance=st.floats(0, 0.99))
    def look(self, call: Call, chance: float) -> None:
        self.clock.chance = chance
        if call not in self.open or call.runs:
            return
        try:
            wait = call.attempts.ready()
        except RouteExhaustedError:
            self.end(call)
            return
        call.runs, call.waits = not wait, bool(wait) and call.attempts._queued

    @rule(call=calls)
    def fail(self, call: Call) -> None:
        if call not in self.open or not call.runs:
            return
        call.attempts.request(Secret(KEY, ()))
        try:
            call.attempts.wait_after(ServerError("overloaded", status=503))
        except RouteExhaustedError:
            self.end(call)
        call.runs = False

    @rule(call=consumes(calls))
    def close(self, call: Call) -> None:
        if call in self.open:
            self.end(call)

    @rule(call=consumes(calls))
    def drop(self, call: Call) -> None:
        if call in self.open:
            self.open.remove(call)
        del call.attempts
        call.waits = call.runs = False

    @rule(seconds=st.floats(0, 5))
    def wait(self, seconds: float) -> None:
        self.clock.sleep(seconds)

    def end(self, call: Call) -> None:
        call.attempts.close()
        self.open.remove(call)
        call.waits = call.runs = False

    @invariant()
    def those_that_wait_are_in_the_queue(self) -> None:
        assert len(self.traffic.waiting) == sum(call.waits for call in self.open)

    @invariant()
    def no_permit_is_lost(self) -> None:
        in_flight = sum(state.in_flight for state in self.traffic.states().values())
        assert in_flight == sum(call.runs for call in self.open) <= 3

    def teardown(self) -> None:
        """Once all calls have ended, nothing is in the way of new ones."""
        for call in list(self.open):
            self.end(call)
        assert not self.traffic.waiting
        assert not self.traffic.waiting.keys()
        self.clock.sleep(60)
        last = [new_attempts(self.client, "hasty") for _ in range(3)]
        assert [attempts.ready() for attempts in last[:2]] == [0, 0]


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("wait", [0, 0.0005])
def test_a_call_that_may_not_wait_leaves_nothing_behind(clock: TestClock, wait: float) -> None:
    route = {"tiers": [["m@a"]], "policy": {"wait": wait}}
    client = new_client(clock, {**CONFIG, "routes": {"chat": route}})
    first, second = (new_attempts(client, "chat") for _ in range(2))
    assert first.ready() == 0
    with pytest.raises(RouteExhaustedError, match="limit of concurrent calls") as caught:
        second.ready()
    assert caught.value.retry_after is None
    assert "Try again" not in str(caught.value)
    first.close()
    assert len(client._router._traffic.waiting) == 0
    assert new_attempts(client, "chat").ready() == 0


def test_a_call_on_another_route_takes_nothing_from_those_that_wait(clock: TestClock) -> None:
    client = new_client(clock)
    running, waits, other = (new_attempts(client, each) for each in ("first", "first", "both"))
    assert running.ready() == 0
    assert waits.ready() > 0
    running.close()
    assert other.ready() == 0
    assert other.decision.endpoint == "b"
    assert waits.ready() == 0


def test_a_call_takes_a_busy_deployment_before_a_closed_one_opens(clock: TestClock) -> None:
    client = new_client(clock)
    traffic, running = client._router._traffic, new_attempts(client, "first")
    assert running.ready() == 0
    waits = new_attempts(client, "both")
    state = traffic._states["m@b"]
    closed = state.breaker._replace(until=clock.now + 15, reason="429")
    traffic._states["m@b"] = state._replace(breaker=closed)
    assert waits.ready() < 0.01
    running.close()
    assert waits.ready() == 0
    assert waits.decision.endpoint == "a"


def test_a_cancelled_call_leaves_the_queue(clock: TestClock) -> None:
    class Asleep(TestClock):
        async def asleep(self, seconds: float) -> None:
            await asyncio.Event().wait()

    client = new_client(Asleep(), kind=AsyncInferenceClient)
    running = new_attempts(client, "first")
    assert running.ready() == 0
    waiting = client._router._traffic.waiting

    async def run() -> None:
        task = asyncio.ensure_future(client.complete(USER, model="first"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(waiting) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert len(waiting) == 0


def test_an_interrupted_call_leaves_the_queue() -> None:
    class Interrupted(TestClock):
        def sleep(self, seconds: float) -> None:
            raise KeyboardInterrupt

    client = new_client(Interrupted())
    running = new_attempts(client, "first")
    assert running.ready() == 0
    with pytest.raises(KeyboardInterrupt):
        client.complete(USER, model="first")
    assert len(client._router._traffic.waiting) == 0


def test_calls_in_many_threads_all_get_their_turn(fleet: Fleet) -> None:
    routes = {"x": {"tiers": [["m@a"]]}, "y": {"tiers": [["m@a"], ["m@b"]]}}
    config = fleet.config(routes=routes, deployments={"m@a": ONE, "m@b": ONE})
    answers: list[str] = []
    with routed_driver("sync", config) as driver:

        def call(route: str) -> None:
            for _ in range(5):
                answers.append(driver.client.complete(USER, model=route).text)

        threads = [threading.Thread(target=call, args=("xy"[n % 2],)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        traffic = driver.client._router._traffic
        assert len(answers) == 40
        assert len(traffic.waiting) == 0
        assert {state.in_flight for state in traffic.states().values()} == {0}


def test_a_call_that_began_before_a_fork_ends_without_a_trace(clock: TestClock) -> None:
    client = new_client(clock)
    running = new_attempts(client, "first")
    assert running.ready() == 0
    clock.sleep(1)
    client._router._traffic.renew_locks()  # what a forked child does
    child_call = new_attempts(client, "first")
    assert child_call.ready() == 0
    running.close()
    assert new_attempts(client, "first").ready() > 0
    child_call.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only POSIX systems fork")
def test_a_forked_child_counts_no_call_of_its_parent(clock: TestClock) -> None:
    client = new_client(clock)
    running, waits = (new_attempts(client, "first") for _ in range(2))
    assert running.ready() == 0
    assert waits.ready() > 0
    clock.sleep(1)
    gc.collect()
    child = os.fork()
    if not child:  # pragma: no cover
        child_call = new_attempts(client, "first")
        free = child_call.ready() == 0
        running.close()
        busy = new_attempts(client, "first").ready() > 0
        os._exit(0 if free and busy else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert len(client._router._traffic.waiting) == 1
