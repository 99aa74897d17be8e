"""The traffic of a client: the state of every deployment that its routes send calls to."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Collection
from typing import Any, NamedTuple, Protocol

from azinfer.core.clock import Clock
from azinfer.core.locks import renew_after_fork
from azinfer.core.routes.budget import Window
from azinfer.core.routes.choice import Choice, Need, choose
from azinfer.core.routes.facts import Facts
from azinfer.core.routes.lease import Lease
from azinfer.core.routes.plan import Plan
from azinfer.core.routes.policy import Policy
from azinfer.core.routes.route import Member
from azinfer.core.routes.state import (
    FREE,
    Begun,
    Event,
    Leased,
    Permit,
    SharedEvent,
    State,
    apply_event,
    apply_shared_event,
)
from azinfer.core.routes.vector_lengths import VectorLengths
from azinfer.core.routes.waiting import Waiting
from azinfer.core.routing import Candidate

_MOST_HEDGES = 20.0  # at once, after many calls without one


class Ticket(NamedTuple):
    """The right to send one request to one deployment.

    Attributes:
        member: The deployment.
        tier: The number of its tier, from 0.
        why: Why it was chosen.
        permit: The permit that ends when the request does.
        key: The name by which the state of the deployment is kept.
    """

    member: Member
    tier: int
    why: str
    permit: Permit
    key: str


class Sharing(Protocol):
    """What shares the limits of deployments with other processes."""

    def refresh(self, plan: Plan) -> None:
        """Bring the leases of a route up to date before a call, if they are old."""

    def first_lease(self) -> Lease | None:
        """Return the lease of a deployment before the first exchange."""

    def miss(self, keys: Collection[str], tokens: int) -> None:
        """Note that a call found no lease for deployments, and ask for them."""


class Traffic:
    """The state of deployments; may be used from many threads.

    Args:
        clock: Time and chance.

    Attributes:
        vector_lengths: How long the vectors of each deployment are.
        sharing: What shares limits with other processes; None without.
        waiting: The calls that wait until another call ends.
    """

    vector_lengths: VectorLengths
    sharing: Sharing | None = None
    waiting: Waiting
    _states: dict[str, State]

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open()

    def __getstate__(self) -> dict[str, Any]:
        # Calls that are under way here do not concern another process.
        return {"_clock": self._clock}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def renew_locks(self) -> None:
        """Use a new lock, and count no call of the parent process, which ends there."""
        self._lock = threading.Lock()
        self._began = self._clock.monotonic()
        self._ended: deque[tuple[str, Event, float, Policy]] = deque()
        self._states = {key: state.without_calls() for key, state in self._states.items()}
        self.waiting = Waiting()
        renew_after_fork(self)

    def _open(self) -> None:
        self._states = {}
        self.renew_locks()
        self._last: dict[str, list[int]] = {}
        self._hedges = _MOST_HEDGES
        self.vector_lengths = VectorLengths()

    def add(self, plan: Plan) -> None:
        """Begin to count calls to the deployments of a route, or count them by new limits."""
        with self._lock:
            for member in (each for tier in plan.tiers for each in tier.members):
                fresh = self._fresh(member.facts)
                known = self._states.get(member.key)
                self._states[member.key] = _with_new_limits(known, fresh) if known else fresh

    def _fresh(self, facts: Facts) -> State:
        """Return the state of a deployment that nothing was sent to yet."""
        state = State.of(facts)
        if self.sharing is None or not (facts.requests or facts.tokens):
            return state
        return apply_shared_event(state, Leased(self.sharing.first_lease()))

    def take(self, plan: Plan, need: Need) -> Ticket | float:
        """Return a ticket for the deployment that takes a call, or the seconds until one may."""
        if self.sharing is not None:
            self.sharing.refresh(plan)
            if missed := self._without_lease(plan, need):
                self.sharing.miss(missed, need.tokens)
        now = self._clock.monotonic()
        states, route = self._states, plan.route
        with self._lock:
            self._apply_outcomes()
            choice = self._choice(plan, need, now)
            if isinstance(choice, float):
                return choice
            number, index, why = choice
            tier = plan.tiers[number]
            key = tier.keys[index]
            self._last[route.name][number] = index
            state = states[key]
            permit = Permit(now, need.tokens, state.breaker.until is not None)
            states[key] = apply_event(state, Begun(permit), now, route.policy)
        return Ticket(tier.members[index], number, why, permit, key)

    def _without_lease(self, plan: Plan, need: Need) -> list[str]:
        """Return the deployments that the call would go to before others, if they had leases."""
        now = self._clock.monotonic()
        choice = self.look(plan, need)
        tiers = plan.tiers[: choice.tier + 1] if isinstance(choice, Choice) else plan.tiers
        with self._lock:
            return [
                key
                for tier in tiers
                for key in tier.keys
                if self._states[key].budget.lacks_lease(need.tokens, now)
            ]

    def states(self) -> dict[str, State]:
        """Return the state of every deployment as it is now."""
        with self._lock:
            self._apply_outcomes()
            return dict(self._states)

    def hear(self, key: str, event: SharedEvent) -> None:
        """Note what other processes say of a deployment."""
        with self._lock:
            self._states[key] = apply_shared_event(self._states[key], event)

    def settle(self, ticket: Ticket, event: Event, policy: Policy) -> None:
        """Record the outcome of a request, without waiting for any lock.

        Garbage collection closes streams at any moment, also while this thread has the lock; the
        thread that takes the lock next then applies the event.
        """
        if event.permit.began < self._began:
            return  # a call of the parent process
        self._ended.append((ticket.key, event, self._clock.monotonic(), policy))
        if self._lock.acquire(blocking=False):
            try:
                self._apply_outcomes()
            finally:
                self._lock.release()

    def _apply_outcomes(self) -> None:
        """Apply the outcomes of requests, in their order."""
        ended, states = self._ended, self._states
        while ended:
            key, event, now, policy = ended.popleft()
            states[key] = apply_event(states[key], event, now, policy)

    def look(self, plan: Plan, need: Need) -> Choice | float:
        """Return what `take` would return, without taking a ticket."""
        with self._lock:
            self._apply_outcomes()
            return self._choice(plan, need, self._clock.monotonic())

    def _choice(self, plan: Plan, need: Need, now: float) -> Choice | float:
        last = self._last.get(plan.route.name)
        if last is None or len(last) != len(plan.tiers):
            last = self._last[plan.route.name] = [0] * len(plan.tiers)
        return choose(plan.tiers, self._states, need, now, self._clock.random, last)

    def may_hedge(self) -> bool:
        """Return whether one more hedge is in the budget, and count it."""
        with self._lock:
            if self._hedges < 1:
                return False
            self._hedges -= 1
            return True

    def give_back_hedge(self) -> None:
        """Count a hedge that was not sent."""
        self.earn_hedge(1.0)

    def earn_hedge(self, share: float) -> None:
        """Count a call, which allows its share of a hedge."""
        with self._lock:
            self._hedges = min(_MOST_HEDGES, self._hedges + share)

    def too_small(self, plan: Plan, need: Need) -> dict[str, float]:
        """Return the deployments that can never take a call, and the most tokens of each."""
        with self._lock:
            windows = {
                key: self._states[key].budget.tokens for tier in plan.tiers for key in tier.keys
            }
        return {
            key: window.limit
            for key, window in windows.items()
            if window and need.tokens > window.limit
        }

    def is_busy(self, plan: Plan, need: Need) -> bool:
        """Return whether the end of another call may free a deployment for a call."""
        now = self._clock.monotonic()
        keys = [key for tier in plan.tiers for key in tier.keys if key not in need.avoid]
        with self._lock:
            states = [self._states[key] for key in keys]
        too_small = self.too_small(plan, need)
        return any(
            state.wait(need.tokens, now) == math.inf and key not in too_small
            for key, state in zip(keys, states, strict=True)
        )

    def candidates(self, plan: Plan, avoid: Collection[str] = ()) -> tuple[Candidate, ...]:
        """Return every deployment of a route as it is now.

        Args:
            plan: The route.
            avoid: Keys of deployments that a call may not go to.
        """
        now = self._clock.monotonic()
        with self._lock:
            self._apply_outcomes()
            states = dict(self._states)
        shown = [
            _candidate(member, number, states[member.key], now, member.key in avoid)
            for number, tier in enumerate(plan.tiers)
            for member in tier.members
        ]
        for member, (tier, reason) in plan.refused.items():
            shown.append(
                Candidate(
                    deployment=member.deployment,
                    endpoint=member.endpoint or "",
                    tier=tier,
                    weight=member.weight,
                    wait=float("inf"),
                    reason=reason,
                )
            )
        return tuple(shown)


def _with_new_limits(known: State, fresh: State) -> State:
    """Return a state with new limits, in which what was used and is under way still counts."""
    if fresh.budget == FREE:
        budget = FREE._replace(paused=known.budget.paused) if known.budget.paused else FREE
    else:
        budget = known.budget._replace(
            requests=_window(known.budget.requests, fresh.budget.requests),
            tokens=_window(known.budget.tokens, fresh.budget.tokens),
        )
    return known._replace(concurrency=fresh.concurrency, budget=budget)


def _window(known: Window | None, fresh: Window | None) -> Window | None:
    same_period = known is not None and fresh is not None and known.period == fresh.period
    return fresh._replace(slices=known.slices) if same_period and known and fresh else fresh


def _candidate(member: Member, tier: int, state: State, now: float, avoided: bool) -> Candidate:
    breaker, budget = state.breaker, state.budget
    return Candidate(
        deployment=member.deployment,
        endpoint=member.endpoint or "",
        tier=tier,
        weight=member.weight,
        state=breaker.state_name(now),
        wait=float("inf") if avoided else state.wait(1, now),
        in_flight=state.in_flight,
        latency=state.latency,
        requests_left=None if budget.requests is None else budget.requests.remaining(now),
        tokens_left=None if budget.tokens is None else budget.tokens.remaining(now),
        reason=_reason(state, now, avoided),
    )


def _reason(state: State, now: float, avoided: bool) -> str:
    """Return why a deployment is not called now; empty where it is."""
    if avoided:
        return "the conversation belongs to another resource"
    if state.breaker.wait(now):
        return f"after {state.breaker.reason}"
    if state.budget.wait(1, now):
        return "its rate limit is used up"
    return "its limit of concurrent calls is reached" if state.wait(1, now) else ""
