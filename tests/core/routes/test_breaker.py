"""Breakers: a failing deployment gets no calls for a while, then one call tries it."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
)

from azinfer.core.routes.breaker import CLOSED, Breaker, Failure
from azinfer.core.routes.policy import Policy

POLICY = Policy(failures=2, pause=1.0, longest_pause=30.0, retry_after=60.0)
LIMITED = Failure("429", True, 5.0)
DOWN = Failure("503")


def test_consecutive_failures_open_the_breaker() -> None:
    once = CLOSED.after_failure(DOWN, False, 10.0, POLICY)
    assert (once.state_name(10.0), once.wait(10.0)) == ("closed", 0.0)
    twice = once.after_failure(DOWN, False, 10.0, POLICY)
    assert (twice.state_name(10.0), twice.wait(10.5), twice.reason) == ("open", 0.5, "503")
    assert once.after_success(False).after_failure(DOWN, False, 10.0, POLICY) == once


def test_a_rate_limit_opens_the_breaker_for_its_retry_after() -> None:
    assert CLOSED.after_failure(LIMITED, False, 10.0, POLICY).until == 15.0
    longer = Failure("429", True, 86_400.0)
    assert CLOSED.after_failure(longer, False, 10.0, POLICY).until == 70.0


def test_one_call_probes_an_open_breaker() -> None:
    opened = CLOSED.after_failure(LIMITED, False, 10.0, POLICY)
    assert (opened.state_name(15.0), opened.wait(15.0)) == ("half-open", 0.0)
    probing = opened.after_begin()
    assert probing.wait(15.0) == float("inf")
    assert probing.after_success(True) == CLOSED
    assert probing.after_abandon(True).wait(15.0) == 0.0
    assert probing.after_abandon(False).wait(15.0) == float("inf")


def test_each_failed_probe_doubles_the_pause() -> None:
    breaker = CLOSED.after_failure(DOWN, False, 0.0, POLICY).after_failure(DOWN, False, 0.0, POLICY)
    pauses = []
    for _ in range(7):
        assert breaker.until is not None
        now = breaker.until
        breaker = breaker.after_begin().after_failure(DOWN, True, now, POLICY)
        pauses.append(breaker.wait(now))
    assert pauses == [2, 4, 8, 16, 30, 30, 30]


def test_earlier_calls_do_not_change_an_open_breaker() -> None:
    opened = CLOSED.after_failure(LIMITED, False, 10.0, POLICY)
    assert opened.after_success(False) == opened
    assert opened.after_answer(False) == opened
    assert opened.after_failure(DOWN, False, 11.0, POLICY) == opened
    assert opened.after_failure(LIMITED, False, 12.0, POLICY).until == 17.0
    assert opened.after_failure(Failure("429", True, 1.0), False, 12.0, POLICY).until == 15.0


def test_a_started_stream_closes_the_breaker_and_its_failure_doubles_the_pause() -> None:
    broken = Failure("stream broke", True)
    breaker = CLOSED.after_failure(broken, False, 0.0, POLICY)
    assert breaker.until == 1.0
    began = breaker.after_begin().after_answer(True)
    assert began.wait(1.0) == 0.0
    assert began.after_failure(broken, False, 1.0, POLICY).until == 3.0
    assert began.after_success(False) == CLOSED


class BreakerMachine(RuleBasedStateMachine):
    """Calls begin, end and are given up in any order; time only goes on."""

    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.breaker = Breaker()
        self.probes = 0

    @rule(seconds=st.floats(0, 50))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.breaker.wait(self.now) == 0)
    @rule(target=calls)
    def begin(self) -> bool:
        probe = self.breaker.until is not None
        self.breaker = self.breaker.after_begin()
        self.probes += probe
        return probe

    @rule(probe=consumes(calls))
    def succeed(self, probe: bool) -> None:
        self.breaker = self.breaker.after_success(probe)
        self.probes -= probe
        if probe:
            assert self.breaker.state_name(self.now) == "closed"

    @rule(probe=consumes(calls), failure=st.sampled_from([LIMITED, DOWN, Failure("x", True)]))
    def fail(self, probe: bool, failure: Failure) -> None:
        before = self.breaker
        self.breaker = self.breaker.after_failure(failure, probe, self.now, POLICY)
        self.probes -= probe
        if probe or failure.opens:
            assert self.breaker.state_name(self.now) != "closed"
        if before.until is not None and not probe:
            assert self.breaker.until is not None
            assert self.breaker.until >= before.until

    @rule(probe=consumes(calls))
    def abandon(self, probe: bool) -> None:
        self.breaker = self.breaker.after_abandon(probe)
        self.probes -= probe

    @invariant()
    def at_most_one_probes(self) -> None:
        assert self.probes in (0, 1)
        assert self.breaker.probing is (self.probes == 1)

    @invariant()
    def it_opens_again_within_the_longest_wait(self) -> None:
        if self.breaker.until is not None:
            assert self.breaker.until - self.now <= 60.0


BreakerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBreakers = BreakerMachine.TestCase
