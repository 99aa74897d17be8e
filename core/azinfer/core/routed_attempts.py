"""The attempts of a call on a route: each at the deployment that can best take it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from azinfer.core.attempts import CallAttempts
from azinfer.core.calls import T
from azinfer.core.deadline import Deadline
from azinfer.core.errors import (
    ConfigurationError,
    ContentFilterError,
    InferenceError,
    InvalidResponseError,
    RateLimitError,
    RouteExhaustedError,
)
from azinfer.core.journeys import Journey, Trail, exhausted_error
from azinfer.core.legs import Leg, Rules
from azinfer.core.routes.breaker import Failure
from azinfer.core.routes.failover import failure_of, moves_on
from azinfer.core.routes.state import (
    Abandoned,
    Event,
    Failed,
    Opened,
    Permit,
    Succeeded,
    Withdrawn,
)
from azinfer.core.routes.traffic import Ticket
from azinfer.core.routing import Attempt, Decision
from azinfer.core.stream_reader import StreamReader

_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.5, 8.0


class RoutedAttempts(CallAttempts[T]):
    """The attempts of a call on a route.

    Args:
        journey: What the call asks of the route.
        make: Creates the leg to a deployment of the route.
        rules: What the client allows.
        avoid: Keys of further deployments that it avoids at first.
    """

    decision: Decision

    def __init__(
        self,
        journey: Journey,
        make: Callable[[Ticket], Leg[T]],
        rules: Rules,
        avoid: frozenset[str] = frozenset(),
    ) -> None:
        # The permit of the request under way. A list, whose `pop` only one thread can win.
        self._permits: list[Permit] = []
        self._queued = False
        self._waited = 0.0
        self._start(rules)
        self._journey, self._make, self._rules = journey, make, rules
        self._policy = journey.plan.route.policy
        self._tried, self._need = avoid, journey.need
        self._unable: dict[str, str] = {}
        self._rounds = 0
        self._ticket: Ticket | None = None
        self._stream: StreamReader | None = None
        self._lost = False

    def __del__(self) -> None:
        # Nothing else ends a stream that was dropped before its first chunk was read.
        if self._permits or self._queued:
            self.close()

    @property
    def hedge(self) -> float | None:
        """Seconds without an answer after which a second request is sent; None never."""
        return self._policy.hedge

    def ready(self) -> float:
        """Return the seconds to wait before a request can be sent; 0 if it can be now.

        Raises:
            RouteExhaustedError: No deployment can take it in the time that the call has, or a
                hedge was answered first.
            ConfigurationError: The first deployment cannot take it in this form.
        """
        self._stop_if_lost()
        if self._permits:
            return 0.0  # the same deployment again, in another form
        while not isinstance(ticket := self._take_ticket(), float):
            if self._try_going(ticket):
                return 0.0
        if self._tried:
            return self._next_round()
        return self._wait_for_deployment(ticket)

    def _take_ticket(self) -> Ticket | float:
        need, avoid = self._need, self._tried
        if self._comes_after_others():
            avoid |= self._journey.traffic.waiting.keys()
        if avoid:
            need = need._replace(avoid=frozenset(need.avoid) | avoid)
        return self._journey.traffic.take(self._journey.plan, need)

    def _comes_after_others(self) -> bool:
        """Return whether the call is new while others wait: it takes nothing from them."""
        is_new = not (self._queued or self._waited or self._attempts)
        return is_new and bool(self._journey.traffic.waiting)

    def _try_going(self, ticket: Ticket) -> bool:
        """Go to a deployment; return False if it cannot take the call in this form.

        Raises:
            ConfigurationError: It cannot, and the call was not sent before.
            RouteExhaustedError: A hedge was answered in the meantime.
        """
        try:
            self._go(ticket)
        except ConfigurationError as error:
            self._end_permit(Withdrawn)
            if not self._attempts:
                raise
            self._leave_out(ticket, error.message)
            return False
        self._stop_if_lost()
        return True

    def _stop_if_lost(self) -> None:
        if self._lost:
            self.close()
            raise self._exhausted_error()

    def _go(self, ticket: Ticket) -> None:
        """Send what comes next to the deployment of a ticket."""
        self._ticket = ticket
        self._permits.append(ticket.permit)
        self._leave_queue()
        meaning = self._journey.meaning
        self.decision = Decision(
            requested=meaning.requested,
            resolution=meaning.rule,
            route=self._journey.plan.route.name,
            endpoint=ticket.member.endpoint,
            tier=ticket.tier,
            why=ticket.why,
            waited=self._waited,
        )
        self._take(self._make(ticket))

    def _next_round(self) -> float:
        """Return the wait before deployments that failed this call are tried once more."""
        if isinstance(self._failure, ContentFilterError):
            raise self._failure  # no deployment gets a refused prompt twice
        self._tried = frozenset()
        self._rounds += 1
        cost = 5 if isinstance(self._failure, RateLimitError) else 14
        if self._failure is not None and not self.budget.take(cost):
            raise self._exhausted_error()
        choice = self._journey.traffic.look(self._journey.plan, self._need)
        if isinstance(choice, float):
            return self._wait_for_deployment(choice)
        backoff = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2 ** (self._rounds - 1))
        return self._pause(backoff * (0.75 + 0.5 * self.clock.random()))

    def _wait_for_deployment(self, seconds: float) -> float:
        """Return the wait until the call looks again for a deployment.

        Args:
            seconds: When one can take it; it looks earlier if another call may end before.
        """
        traffic, plan = self._journey.traffic, self._journey.plan
        if seconds == float("inf"):
            if self._nowhere():
                raise self._exhausted_error()
        elif not (self._comes_after_others() or traffic.is_busy(plan, self._need)):
            self._leave_queue()
            return self._pause(seconds)
        left = min(self._end - self.clock.monotonic(), self._policy.wait - self._waited)
        seconds = traffic.waiting.seconds(self.clock.random(), left)
        self._check_time(seconds, None)
        self._enter_queue()
        self._waited += seconds
        return seconds

    def _pause(self, seconds: float) -> float:
        """Return the seconds to wait, if the call has them."""
        self._check_time(seconds, seconds)
        self._waited += seconds
        return seconds

    def _check_time(self, seconds: float, advice: float | None) -> None:
        """Raise RouteExhaustedError, which advises a wait, if the call cannot wait so long."""
        late = self.clock.monotonic() + seconds >= self._end
        if late or self._waited + seconds > self._policy.wait:
            raise self._exhausted_error(advice)

    def _enter_queue(self) -> None:
        self._queued = True  # first: whatever interrupts this, `close` leaves the queue
        avoid, tiers = self._need.avoid, self._journey.plan.tiers
        keys = tuple(key for tier in tiers for key in tier.keys if key not in avoid)
        self._journey.traffic.waiting.add(id(self), keys)

    def _leave_queue(self) -> None:
        if self._queued:
            self._journey.traffic.waiting.discard(id(self))
            self._queued = False

    def _nowhere(self) -> bool:
        """Return True if no deployment can ever take the call."""
        avoid = {
            *self._need.avoid,
            *self._journey.traffic.too_small(self._journey.plan, self._need),
        }
        return all(key in avoid for tier in self._journey.plan.tiers for key in tier.keys)

    def value_of(self, status: int, headers: Mapping[str, str], parts: list[bytes]) -> T:
        """Return the value of a complete answer.

        Raises:
            InferenceError: It is an error, or cannot be read.
        """
        value = super().value_of(status, headers, parts)
        if self._journey.shape is not None and (vectors := getattr(value, "vectors", None)):
            self._check_length(len(vectors[0]))
        tokens = _tokens_of(value) if self._journey.plan.counts_tokens else None
        self._end_permit(Succeeded, headers, tokens)
        return value

    def _check_length(self, length: int) -> None:
        """Raise InvalidResponseError if other deployments return vectors of another length."""
        journey, ticket = self._journey, self._ticket
        assert ticket is not None
        assert journey.shape is not None
        plan = journey.plan
        members = {key for tier in plan.tiers for key in tier.keys}
        reason = journey.traffic.vector_lengths.check(
            plan.route.name, journey.shape, ticket.key, length, members
        )
        if reason:
            self._leave_out(ticket, reason)
            raise InvalidResponseError(
                f"{reason}; pass dimensions=, or remove one of them from the route"
            )

    def _leave_out(self, ticket: Ticket, reason: str) -> None:
        """Exclude the deployment of a ticket from the rest of this call."""
        member = ticket.member
        self._unable[f"{member.deployment}@{member.endpoint}"] = reason
        self._need = self._need._replace(avoid=frozenset(self._need.avoid) | {ticket.key})

    def reader(self, status: int, headers: Mapping[str, str], deadline: Deadline) -> StreamReader:
        """Return the reader of the stream that an answer begins."""
        reader = super().reader(status, headers, deadline)
        permit = self._take_permit()  # the winner may end it meanwhile
        if permit is not None:
            self._settle(Opened(permit, headers))
            self._stream = reader
            self._permits.append(permit._replace(probe=False))
        if self._lost:
            self.close()
        return reader

    def handle_interruption(self, error: InferenceError) -> InferenceError:
        """Return the error of a stream that broke, described; it counts for its deployment."""
        self._count(error)
        return super().handle_interruption(error)

    def _next_wait(self, error: InferenceError) -> float:
        self._count(error)
        self._stream = None
        if self._lost or not moves_on(error, self._policy):
            raise error
        assert self._ticket is not None  # the attempt that failed had one
        self._tried |= {self._ticket.key}
        if len(self._attempts) >= self._policy.attempts:
            raise self._exhausted_error()
        return 0.0

    def _count(self, error: InferenceError) -> None:
        """Record what an error means for its deployment."""
        failure = failure_of(error)
        if failure is None:
            self._end_permit(Succeeded, error.headers, None, self._stream is not None)
        else:
            self._end_permit(Failed, failure, error.headers)

    def handle_rejected_credential(self) -> None:
        """Go on to another deployment.

        Raises:
            RouteExhaustedError: The call has no attempts left.
        """
        assert self._failure is not None
        self._next_wait(self._failure)

    def handle_failed_credential(self, error: InferenceError) -> None:
        """Go on to another deployment.

        Raises:
            RouteExhaustedError: The call has no attempts left.
        """
        self._attempts.append(self._attempt(None, type(error).__name__, 0.0, None))
        self._failure = error.with_traceback(None)
        self._next_wait(error)

    def close(self) -> None:
        """End the call, however it ended; it can be called twice."""
        self._leave_queue()
        if not self._permits:
            return
        if self._stream is None:
            self._end_permit(Abandoned)
        else:
            self._end_permit(Succeeded, {}, self._tokens_of(self._stream), True)

    def _tokens_of(self, stream: StreamReader) -> int | None:
        """Return the tokens that a whole stream used; None if no limit counts them."""
        if not self._journey.plan.counts_tokens or not stream.done:
            return None
        return _tokens_of(stream.completion())

    def lose(self) -> None:
        """End the call because a hedge was answered first: its deployment was silent."""
        # First, so that a thread that begins a request now ends its permit itself.
        self._lost = True
        self._end_permit(Failed, Failure("silence"), {})

    def twin(self) -> RoutedAttempts[T] | None:
        """Return the hedge of this call, on its way to another deployment.

        None if the budget of hedges is used up, no other deployment is free, or the free one
        cannot take the call in this form.
        """
        traffic = self._journey.traffic
        if self._ticket is None or not self._permits or not traffic.may_hedge():
            return None
        twin = self._start_twin(self._ticket)
        if twin is None:
            traffic.give_back_hedge()
        return twin

    def _start_twin(self, own: Ticket) -> RoutedAttempts[T] | None:
        avoid = self._tried | {own.key}
        twin = RoutedAttempts(self._journey, self._make, self._rules, avoid)
        ticket = twin._take_ticket()
        if isinstance(ticket, float):
            return None
        try:
            twin._go(ticket)
        except ConfigurationError:
            twin._end_permit(Withdrawn)
            return None
        twin._end = self._end
        seconds = self.clock.monotonic() - self._began
        twin._attempts = [*self._attempts, self._hedge_attempt(own, seconds)]
        self._attempts.append(self._hedge_attempt(ticket, 0.0))
        return twin

    def _hedge_attempt(self, ticket: Ticket, seconds: float) -> Attempt:
        member = ticket.member
        return Attempt(None, "Hedged", seconds, None, member.deployment, member.endpoint)

    def _end_permit(self, event: Callable[..., Event], *outcome: Any) -> None:
        """End the permit with an event of an outcome, if there still is one."""
        if (permit := self._take_permit()) is not None:
            self._settle(event(permit, *outcome))

    def _take_permit(self) -> Permit | None:
        """Return the permit, which the caller must end; None if it was ended before."""
        try:
            # One step, as the thread of a hedge may end it at the same moment.
            return self._permits.pop()
        except IndexError:
            return None

    def _settle(self, event: Event) -> None:
        """Record what became of the request to the present deployment."""
        assert self._ticket is not None  # there was a permit
        self._journey.traffic.settle(self._ticket, event, self._policy)

    def _exhausted_error(self, seconds: float | None = None) -> RouteExhaustedError:
        """Return the error of a call that no deployment answered."""
        trail = Trail(self._need, tuple(self._attempts), self._failure, self._unable, self._waited)
        return exhausted_error(self._journey, trail, seconds)


def _tokens_of(value: Any) -> int | None:
    usage = getattr(value, "usage", None)
    return usage.total_tokens if usage else None
