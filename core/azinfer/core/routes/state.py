"""The state of a deployment: one value, which `apply_event` and `apply_shared_event` change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias, assert_never

from azinfer.core.routes.breaker import CLOSED, Breaker, Failure
from azinfer.core.routes.budget import Budget, Window
from azinfer.core.routes.facts import Facts
from azinfer.core.routes.lease import Lease
from azinfer.core.routes.policy import Policy

_SMOOTHING = 0.3  # the share of the newest latency in the average
_FORGETTING = 30.0  # seconds after which the latency of an idle deployment counts half
_UNKNOWN = 1e-4  # seconds: a deployment that was never called is tried before others
FREE = Budget()  # that of a deployment without limits


class State(NamedTuple):
    """What is known about a deployment that calls go to.

    Attributes:
        in_flight: Calls that are under way.
        latency: Seconds until an answer, as a moving average; None before the first.
        progress: When a call last received something, in the clock's seconds.
        breaker: Whether it may be called.
        budget: What it can still serve.
        concurrency: The most calls at once; None is any number.
    """

    in_flight: int = 0
    latency: float | None = None
    progress: float = 0.0
    breaker: Breaker = CLOSED
    budget: Budget = FREE
    concurrency: int | None = None

    @classmethod
    def of(cls, facts: Facts) -> State:
        """Return the state of a deployment that nothing was sent to yet."""
        requests, tokens = facts.requests, facts.tokens
        budget = FREE
        if requests or tokens:
            budget = Budget(requests and Window(*requests), tokens and Window(*tokens))
        return cls(budget=budget, concurrency=facts.concurrency)

    def wait(self, tokens: int, now: float) -> float:
        """Return the seconds until a call of so many tokens may go there.

        Infinite until a call that is under way ends, or for a call that never fits.
        """
        if self.concurrency is not None and self.in_flight >= self.concurrency:
            return float("inf")
        wait = self.breaker.wait(now) if self.breaker.until is not None else 0.0
        return max(wait, self.budget.wait(tokens, now)) if self.budget is not FREE else wait

    def without_calls(self) -> State:
        """Return the state if no call were under way."""
        return self._replace(in_flight=0, breaker=self.breaker.after_abandon(True))

    def load(self, weight: float, now: float) -> float:
        """Return how long a further call would probably take there, divided by its weight.

        A deployment with calls under way counts at least as slow as its present silence.
        """
        latency = self.latency or _UNKNOWN
        silence = now - self.progress
        if self.in_flight:
            latency = max(latency, silence)
        elif silence > 1.0:
            latency *= 0.5 ** (silence / _FORGETTING)
        return (self.in_flight + 1) * latency / weight


class Permit(NamedTuple):
    """The right to send one request.

    Succeeded, Failed, Abandoned or Withdrawn ends it, and only once.

    Attributes:
        began: When it was issued, in the clock's seconds.
        tokens: The estimate that was counted.
        probe: Whether the request tries a deployment that was left alone.
    """

    began: float
    tokens: int
    probe: bool


class Begun(NamedTuple):
    """A request is sent."""

    permit: Permit


class Opened(NamedTuple):
    """A stream began: the service answers, and the call is still under way.

    From now on its permit does not count as a probe.
    """

    permit: Permit
    headers: Mapping[str, str]


class Succeeded(NamedTuple):
    """A call ended with its whole answer, or with an error that the deployment did not cause.

    Attributes:
        permit: The permit of the call.
        headers: The headers of the answer.
        tokens: The tokens that it used; None where they are not known.
        stream: Whether the answer was a stream, which was counted when it began.
    """

    permit: Permit
    headers: Mapping[str, str]
    tokens: int | None = None
    stream: bool = False


class Failed(NamedTuple):
    """A call ended with an error that counts against the deployment."""

    permit: Permit
    failure: Failure
    headers: Mapping[str, str]


class Abandoned(NamedTuple):
    """The caller gave up a call: this says nothing about the deployment."""

    permit: Permit


class Withdrawn(NamedTuple):
    """A call was not sent, so that it has used nothing of the limits."""

    permit: Permit


class Leased(NamedTuple):
    """This process may use so much of limits that it shares.

    Attributes:
        lease: How much, counted from when it was asked for; None is all of its own limits.
        before: What was left of the earlier lease at that time.
    """

    lease: Lease | None
    before: Lease | None = None


class GivenBack(NamedTuple):
    """This process keeps at most so much of its lease; the rest is for others.

    Attributes:
        requests: Requests that it keeps.
        tokens: Tokens that it keeps.
    """

    requests: float
    tokens: float


class News(NamedTuple):
    """Another process opened or closed its breaker.

    Attributes:
        until: When it tries the deployment, in the clock's seconds; None if it is closed.
        reason: Why it opened.
    """

    until: float | None
    reason: str = ""


Event: TypeAlias = Begun | Opened | Succeeded | Failed | Abandoned | Withdrawn
# What comes from other processes, and belongs to no call.
SharedEvent: TypeAlias = Leased | GivenBack | News


def apply_shared_event(state: State, event: SharedEvent) -> State:
    """Return the state of a deployment after other processes said something of it."""
    match event:
        case Leased(lease=lease, before=before):
            lease = lease and lease.without(before, state.budget.lease)
            return state._replace(budget=state.budget._replace(lease=lease))
        case GivenBack(requests=requests, tokens=tokens):
            lease = state.budget.lease and state.budget.lease.at_most(requests, tokens)
            return state._replace(budget=state.budget._replace(lease=lease))
        case News(until=until, reason=reason):
            return state._replace(breaker=state.breaker.after_news(until, reason))
    assert_never(event)


def apply_event(state: State, event: Event, now: float, policy: Policy) -> State:
    """Return the state of a deployment after an event.

    Args:
        state: The state before.
        event: What happened.
        now: The clock's seconds.
        policy: The policy of the route of the call.
    """
    permit, breaker, budget = event.permit, state.breaker, state.budget
    match event:
        case Begun():
            progress = state.progress if state.in_flight else now
            return State(
                state.in_flight + 1,
                state.latency,
                progress,
                breaker.after_begin(),
                budget.after_begin(permit.tokens, now),
                state.concurrency,
            )
        case Opened(headers=headers):
            return state._replace(
                latency=_average(state.latency, now - permit.began),
                progress=now,
                breaker=breaker.after_answer(permit.probe),
                budget=budget.after_response(headers, now),
            )
        case Succeeded(headers=headers, tokens=tokens, stream=stream):
            if tokens is not None:
                budget = budget.after_usage(permit.tokens, tokens, permit.began, now)
            return State(
                state.in_flight - 1,
                state.latency if stream else _average(state.latency, now - permit.began),
                now,
                breaker.after_success(permit.probe),
                budget if stream else budget.after_response(headers, now),
                state.concurrency,
            )
        case Failed(failure=failure, headers=headers):
            return state._replace(
                in_flight=state.in_flight - 1,
                progress=now,
                breaker=breaker.after_failure(failure, permit.probe, now, policy),
                budget=budget.after_response(headers, now),
            )
        case Abandoned():
            return state._replace(
                in_flight=state.in_flight - 1, breaker=breaker.after_abandon(permit.probe)
            )
        case Withdrawn():
            return state._replace(
                in_flight=state.in_flight - 1,
                breaker=breaker.after_abandon(permit.probe),
                budget=budget.after_withdrawal(permit.tokens, permit.began, now),
            )
    assert_never(event)


def _average(average: float | None, latest: float) -> float:
    if average is None:
        return latest
    return average + _SMOOTHING * (latest - average)
