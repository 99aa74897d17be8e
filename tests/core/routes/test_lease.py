"""Leases: processes that share a limit never exceed it together, whatever answers are lost."""

from __future__ import annotations

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from azinfer.core.routes.breaker import CLOSED, Breaker
from azinfer.core.routes.facts import Facts
from azinfer.core.routes.lease import Lease
from azinfer.core.routes.policy import Policy
from azinfer.core.routes.state import (
    Begun,
    GivenBack,
    Leased,
    Permit,
    State,
    Succeeded,
    Withdrawn,
    apply_event,
    apply_shared_event,
)

POLICY = Policy()
LIMIT, PERIOD, WIDTH = 20, 10.0, 1.0


def with_lease(lease: Lease | None, facts: Facts | None = None) -> State:
    facts = facts or Facts(requests=(100.0, 10.0), tokens=(1000.0, 60.0))
    return apply_shared_event(State.of(facts), Leased(lease))


def test_a_call_needs_a_lease_that_covers_it() -> None:
    now = 100.0
    assert with_lease(None).wait(10, now) == 0
    assert with_lease(Lease(now + 1, 1, 10)).wait(10, now) == 0
    assert with_lease(Lease(now + 1, 1, 9)).wait(10, now) == math.inf
    assert with_lease(Lease(now + 1, 0, 10)).wait(10, now) == math.inf
    assert with_lease(Lease(now, 1, 10)).wait(10, now) == math.inf
    assert with_lease(Lease(now + 1, None, None)).wait(10, now) == 0


def test_a_use_is_taken_from_the_lease_and_corrected() -> None:
    state, permit = with_lease(Lease(101.0, 5, 100)), Permit(100.0, 30, False)
    begun = apply_event(state, Begun(permit), 100.0, POLICY)
    assert begun.budget.lease == Lease(101.0, 4, 70)
    settled = apply_event(begun, Succeeded(permit, {}, 10), 100.5, POLICY)
    assert settled.budget.lease == Lease(101.0, 4, 90)
    assert apply_event(begun, Withdrawn(permit), 100.5, POLICY).budget.lease == Lease(101.0, 5, 100)


def test_what_was_used_while_a_lease_was_asked_for_is_taken_from_it() -> None:
    before = Lease(101.0, 5, 100)
    state = apply_event(with_lease(before), Begun(Permit(100.0, 30, False)), 100.0, POLICY)
    fresh = apply_shared_event(state, Leased(Lease(102.0, 8, 50), before))
    assert fresh.budget.lease == Lease(102.0, 7, 20)
    only = apply_shared_event(state, Leased(Lease(102.0, 8), before))
    assert only.budget.lease == Lease(102.0, 7)
    tokens = apply_shared_event(state, Leased(Lease(102.0, None, 50), before))
    assert tokens.budget.lease == Lease(102.0, None, 20)


def test_what_is_given_back_is_not_used_any_more() -> None:
    state = with_lease(Lease(101.0, 5, 100))
    less = apply_shared_event(state, GivenBack(3, 500))
    assert less.budget.lease == Lease(101.0, 3, 100)
    assert apply_shared_event(less, GivenBack(0, 0)).wait(0, 100.0) == math.inf
    assert apply_shared_event(with_lease(None), GivenBack(0, 0)).budget.lease is None


def test_with_a_lease_the_service_only_says_when_nothing_is_left() -> None:
    state, permit = with_lease(Lease(101.0, 5, 100)), Permit(100.0, 0, False)
    state = apply_event(state, Begun(permit), 100.0, POLICY)
    headers = {"x-ratelimit-remaining-requests": "3"}
    state = apply_event(state, Succeeded(permit, headers), 100.0, POLICY)
    assert state.budget.requests is not None
    assert state.budget.requests.remaining(100.0) == 99
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "7"}
    state = apply_event(state, Begun(permit), 100.0, POLICY)
    assert apply_event(state, Succeeded(permit, headers), 100.0, POLICY).wait(0, 100.0) == 7


def test_a_breaker_follows_the_one_that_opened_elsewhere() -> None:
    opened = CLOSED.after_news(110.0, "429")
    assert (opened.until, opened.reason, opened.elsewhere) == (111.0, "429", True)
    assert opened.after_news(110.0, "429") is opened
    assert opened.after_news(120.0, "503").until == 121.0
    assert opened.after_news(None, "") == CLOSED
    assert opened.after_begin().after_news(None, "").probing
    own = Breaker(1, 1, 105.0, False, "503")
    assert own.after_news(110.0, "429") is own
    assert own.after_news(None, "") is own


class LeaseMachine(RuleBasedStateMachine):
    """Three processes send calls and exchange leases; answers get lost, and time goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        facts = Facts(requests=(float(LIMIT), PERIOD))
        self.states = [with_lease(Lease(0.0, 0), facts) for _ in range(3)]
        self.fields: dict[tuple[int, int], float] = {}
        self.sent: list[float] = []

    @rule(seconds=st.floats(0, 0.5))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        for process in range(3):
            self.exchange(process, wanted=1, lost=False, between=0)

    @rule(process=st.integers(0, 2), calls=st.integers(1, 9))
    def call(self, process: int, calls: int) -> None:
        for _ in range(calls):
            state = self.states[process]
            if state.wait(0, self.now):
                return
            permit = Permit(self.now, 0, False)
            state = apply_event(state, Begun(permit), self.now, POLICY)
            self.states[process] = apply_event(state, Succeeded(permit, {}), self.now, POLICY)
            self.sent.append(self.now)

    @rule(
        process=st.integers(0, 2),
        wanted=st.integers(0, 25),
        lost=st.booleans(),
        between=st.integers(0, 5),
        interrupts=st.booleans(),
    )
    def exchange(
        self, process: int, wanted: int, lost: bool, between: int, interrupts: bool = False
    ) -> None:
        """Do what the script does; calls may be sent before its answer comes."""
        state = apply_shared_event(self.states[process], GivenBack(wanted, 0))
        self.states[process] = before = state
        assert before.budget.requests is not None
        assert before.budget.lease is not None
        is_over = self.now >= before.budget.lease.until
        left = 0.0 if is_over else max(0.0, before.budget.lease.requests or 0.0)
        current, own = math.floor(self.now / WIDTH), dict(before.budget.requests.slices)
        self.fields = {
            (slice, owner): amount
            for (slice, owner), amount in self.fields.items()
            if slice >= current - 10 and owner != process
        }
        own = {slice: amount for slice, amount in own.items() if slice >= current - 10}
        own[current] = own.get(current, 0.0) + left
        total = sum(self.fields.values()) + sum(own.values())
        granted = max(0.0, min(wanted - left, LIMIT - total))
        own[current] += granted
        self.fields |= {(slice, process): amount for slice, amount in own.items()}
        if between:
            self.call(process, between)
        if interrupts:
            self.exchange((process + 1) % 3, 20, lost=False, between=9, interrupts=False)
        if not lost:
            lease = Lease(self.now + 1.0, left + granted)
            self.states[process] = apply_shared_event(
                self.states[process], Leased(lease, before.budget.lease)
            )

    @invariant()
    def no_period_has_more_than_the_limit(self) -> None:
        for at, first in enumerate(self.sent):
            inside = [each for each in self.sent[at:] if each < first + PERIOD]
            assert len(inside) <= LIMIT


LeaseMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLeases = LeaseMachine.TestCase
