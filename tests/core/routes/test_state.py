"""The state of a deployment: no order of events loses a permit or probes twice."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from azinfer.core.routes.breaker import Failure
from azinfer.core.routes.facts import Facts
from azinfer.core.routes.policy import Policy
from azinfer.core.routes.state import (
    Abandoned,
    Begun,
    Event,
    Failed,
    Opened,
    Permit,
    State,
    Succeeded,
    apply_event,
)

POLICY = Policy()
LIMITED = Facts(concurrency=3, requests=(5.0, 10.0), tokens=(1000.0, 60.0))


def after(state: State, now: float, *events: Event) -> State:
    for event in events:
        state = apply_event(state, event, now, POLICY)
    return state


def test_latency_is_an_average_that_idle_time_forgets() -> None:
    permit = Permit(10.0, 0, False)
    state = after(State(), 10.0, Begun(permit))
    state = after(state, 12.0, Succeeded(permit, {}))
    assert (state.latency, state.in_flight) == (2.0, 0)
    assert state.load(1.0, 12.0) == 2.0
    assert state.load(2.0, 12.0) == 1.0
    assert state.load(1.0, 42.0) == 1.0
    second = Permit(42.0, 0, False)
    state = after(state, 43.0, Begun(second), Succeeded(second, {}))
    assert state.latency == 2.0 + 0.3 * (1.0 - 2.0)


def test_a_silent_deployment_counts_as_slow_as_it_was_silent() -> None:
    state = after(State(), 10.0, Begun(Permit(10.0, 0, False)))
    assert state.load(1.0, 10.0) < 0.001
    assert state.load(1.0, 14.0) == 2 * 4.0


def test_calls_are_limited_by_number_requests_and_tokens() -> None:
    state = State.of(LIMITED)
    permits = [Permit(100.0, 300, False)] * 3
    full = after(state, 100.0, *map(Begun, permits))
    assert full.wait(1, 100.0) == float("inf")
    less = after(full, 100.0, Succeeded(permits[0], {}, 10))
    assert less.wait(300, 100.0) == 0.0
    assert less.wait(500, 100.0) > 0
    assert State.of(Facts()).wait(10**9, 0.0) == 0.0


def test_a_stream_counts_when_it_begins_and_when_it_breaks() -> None:
    permit = Permit(10.0, 0, False)
    state = after(State(), 10.0, Begun(permit))
    state = after(state, 10.5, Opened(permit, {}))
    assert (state.latency, state.in_flight) == (0.5, 1)
    ended = after(state, 30.0, Succeeded(permit, {}, stream=True))
    assert (ended.latency, ended.in_flight) == (0.5, 0)
    broken = after(state, 30.0, Failed(permit, Failure("stream broke", True), {}))
    assert (broken.in_flight, broken.breaker.state_name(30.0)) == (0, "open")


class StateMachine(RuleBasedStateMachine):
    """Calls begin, open, end and are given up in any order; time only goes on."""

    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.state = State.of(LIMITED)
        self.running = 0
        self.admitted: list[tuple[float, int]] = []

    @rule(seconds=st.floats(0, 20))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=calls, tokens=st.integers(0, 400))
    def begin(self, tokens: int) -> Permit | None:
        if self.state.wait(tokens, self.now):
            return None
        permit = Permit(self.now, tokens, self.state.breaker.until is not None)
        self.apply(Begun(permit))
        self.running += 1
        self.admitted.append((self.now, tokens))
        return permit

    @rule(permit=calls.filter(bool))
    def look(self, permit: Permit) -> None:
        assert self.state.load(1.0, self.now) > 0

    @rule(permit=consumes(calls), tokens=st.none() | st.integers(0, 400))
    def succeed(self, permit: Permit | None, tokens: int | None) -> None:
        self.end(permit, lambda each: Succeeded(each, {}, tokens and min(tokens, each.tokens)))

    @rule(permit=consumes(calls), breaks=st.booleans())
    def stream(self, permit: Permit | None, breaks: bool) -> None:
        if permit is None:
            return
        self.apply(Opened(permit, {}))
        opened = permit._replace(probe=False)
        failure = Failure("stream broke", True)
        event = Failed(opened, failure, {}) if breaks else Succeeded(opened, {}, stream=True)
        self.end(opened, lambda _: event)

    @rule(permit=consumes(calls), opens=st.booleans(), wait=st.none() | st.floats(1, 100))
    def fail(self, permit: Permit | None, opens: bool, wait: float | None) -> None:
        self.end(permit, lambda each: Failed(each, Failure("x", opens, wait), {}))

    @rule(permit=consumes(calls))
    def abandon(self, permit: Permit | None) -> None:
        self.end(permit, Abandoned)

    def end(self, permit: Permit | None, event: object) -> None:
        if permit is not None:
            self.apply(event(permit))  # type: ignore[operator]
            self.running -= 1

    def apply(self, event: Event) -> None:
        self.state = apply_event(self.state, event, self.now, POLICY)

    @invariant()
    def no_permit_is_lost(self) -> None:
        assert self.state.in_flight == self.running <= 3

    @invariant()
    def no_budget_is_exceeded(self) -> None:
        recent = [each for each in self.admitted if each[0] > self.now - 10.0]
        assert len(recent) <= 5

    @invariant()
    def it_is_free_again_in_the_end(self) -> None:
        if not self.running:
            assert self.state.wait(1, self.now + 120.0) == 0.0


StateMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestStates = StateMachine.TestCase
