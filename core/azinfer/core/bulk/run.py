"""The decisions of bulk work: what is sent next and when, what is repeated, what is returned.

Nothing here waits or touches the network: `threads.py` and `tasks.py` send what `next` returns and
report the outcome. The caller of a run in several threads locks it.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Sequence
from typing import Any, Generic

from azinfer.core.bulk.checkpoint import Checkpoint
from azinfer.core.bulk.jobs import Job, headers_of, usage_of
from azinfer.core.bulk.pace import MOST_AT_ONCE, Pace
from azinfer.core.bulk.parts import Part, divide
from azinfer.core.bulk.values import BulkOptions, BulkProgress, BulkResult, Item, Value
from azinfer.core.clock import Clock
from azinfer.core.errors import (
    APIConnectionError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ContentFilterError,
    ContextLengthExceededError,
    DeploymentNotFoundError,
    InferenceError,
    PermissionDeniedError,
    RateLimitError,
    RouteExhaustedError,
    ServerError,
    UnsupportedParameterError,
)

# Texts whose vectors may be in memory before one more request is planned: with it, six of the
# largest models.
_MOST_ITEMS = 5 * 2048
# The most parts that are planned, under way or not returned yet.
_MOST_PARTS = 4 * MOST_AT_ONCE
_TRIES = 5  # attempts of a part that fails while others succeed
_SAME_FAILURES = 8  # failures of the first requests, after which no other is expected to succeed
# No other request would succeed either.
_FATAL = (AuthenticationError, PermissionDeniedError, DeploymentNotFoundError)
# A single item is the reason.
_OF_ITEM = (ContentFilterError, ContextLengthExceededError)


class Run(Generic[Item, Value]):
    """Bulk work from its first item to its last.

    Args:
        job: The work that is done with the items.
        options: How it is done.
        checkpoint: The finished requests of an earlier run, and the store for those of this run.
        clock: Time and chance.

    Attributes:
        error: The error that ended the run early.
    """

    def __init__(
        self,
        job: Job[Item, Value],
        options: BulkOptions,
        checkpoint: Checkpoint | None,
        clock: Clock,
    ) -> None:
        self.job, self.checkpoint = job, checkpoint
        self.error: BaseException | None = None
        self._options, self._clock = options, clock
        self._pace = Pace(options.concurrency)
        # By position, so that results in order come soon.
        self._queue: list[tuple[float, int, Part[Item, Value]]] = []
        self._pushed = itertools.count()
        self._delayed: list[tuple[float, Part[Item, Value]]] = []
        self._ready: dict[int, Part[Item, Value]] = {}  # by position, as they ended
        self._parts, self._items, self._position = 0, 0, 0
        self._ended = self._closed = False
        self._began = self._last_success = clock.monotonic()
        self._succeeded = False
        self._same_failures, self._last_failure = 0, ""
        self._trouble: InferenceError | None = None  # the last one since a success
        self._done = self._failed = self._resumed = self._requests = self._tokens = 0
        self._total = options.total

    @property
    def best_tokens(self) -> float:
        """The most tokens of a part that is planned now."""
        return self._pace.best_tokens

    @property
    def has_room(self) -> bool:
        """Whether further parts may be planned."""
        full = self._items > _MOST_ITEMS or self._parts >= _MOST_PARTS
        return not (full or self._closed or self.error)

    @property
    def over(self) -> bool:
        """Whether all results have been returned."""
        return self.error is not None or self._closed or (self._ended and not self._parts)

    def add(self, part: Part[Item, Value]) -> None:
        """Take the next part of the input."""
        self._parts += 1
        self._items += len(part.items)
        if part.stored:
            self._done += len(part.items)
            self._resumed += len(part.items)
            self._ready[part.first] = part
        else:
            self._push(part)

    def end_input(self, total: int) -> None:
        """Record that the input has ended."""
        self._ended, self._total = True, total

    def next(self) -> Part[Item, Value] | float:
        """Return the part to send now, or the seconds to wait; infinite: until something ends."""
        now = self._clock.monotonic()
        if self.error is not None or self._closed:
            return math.inf
        waiting = [each for each in self._delayed if each[0] > now]
        for at, part in self._delayed:
            if at <= now:  # behind another one, whose outcome shows whether the service is down
                self._push(part, self._queue[0][0] + 0.5 if self._queue else None)
        self._delayed = waiting
        if not self._queue:
            return min((at - now for at, _ in waiting), default=math.inf)
        part = self._queue[0][2]
        if len(part.items) > 1 and part.tokens > 2 * self._pace.best_tokens:
            self._divide(heapq.heappop(self._queue)[2])
            part = self._queue[0][2]
        if wait := self._pace.wait(part.tokens, now):
            return wait
        heapq.heappop(self._queue)
        part.sent = self._pace.begin(part.tokens, now)
        return part

    def succeed(self, part: Part[Item, Value], answer: Any, values: Sequence[Value]) -> None:
        """Accept the answer for a part, with its values."""
        now, usage = self._clock.monotonic(), usage_of(answer)
        used = usage.total_tokens if usage else None
        assert part.sent is not None
        self._pace.succeed(part.sent, used, headers_of(answer), now)
        self._requests += 1
        self._tokens += used or 0
        self._last_success, self._succeeded, self._trouble = now, True, None
        if self.checkpoint is not None:
            count, data = len(part.items), self.job.dump(values)
            self.checkpoint.store(part.first, count, part.digest, used or 0, data)
            self._close_if_idle()
        self._done += len(part.items)
        self._finish(part, _results(part, values))

    def fail(self, part: Part[Item, Value], error: InferenceError) -> None:
        """Handle an error for a part: repeat it, divide it, end the run, or make it a result."""
        now = self._clock.monotonic()
        self._requests += error.status is not None
        assert part.sent is not None
        self._trouble = error
        if _is_refusal(error):
            self._handle_refusal(part, error, now)
        elif _is_transient(error):
            self._handle_failure(part, error, now)
        else:
            self._trouble = None  # the service works, and the item is the reason
            self._pace.fail(part.sent, now, overloaded=False)
            self._handle_rejection(part, error)
        self._close_if_idle()

    def stop(self, part: Part[Item, Value], error: BaseException) -> None:
        """End the run because of an error that is not the service's."""
        assert part.sent is not None
        self._pace.fail(part.sent, self._clock.monotonic(), overloaded=False)
        if not self._closed:  # the end of a run cancels what is under way
            self.error = error
        self._close_if_idle()

    def postpone(self, step: Part[Item, Value] | float, error: Exception) -> None:
        """Take back a step that could not begin, until a request that is under way ends.

        Args:
            step: What `next` returned.
            error: Why it could not begin; it ends the run if no request is under way.
        """
        if isinstance(step, Part):
            assert step.sent is not None
            self._pace.fail(step.sent, self._clock.monotonic(), overloaded=False)
            self._push(step)
        if not self._pace.in_flight:
            self.error = error

    def take(self) -> list[BulkResult[Item, Value]] | None:
        """Return the results of the next part that is ready; None if there is none yet."""
        if self._options.ordered:
            part = self._ready.pop(self._position, None)
        else:
            part = self._ready.pop(next(iter(self._ready), -1), None)
        if part is None:
            return None
        self._parts -= 1
        self._items -= len(part.items)
        self._position = part.end
        if not part.stored:
            assert part.results is not None
            return part.results
        assert self.checkpoint is not None
        values = self.job.load(self.checkpoint.values_of(part.first), part.items)
        return _results(part, values)

    def progress(self) -> BulkProgress:
        """Return the progress of the run."""
        return BulkProgress(
            total=self._total,
            done=self._done,
            failed=self._failed,
            resumed=self._resumed,
            requests=self._requests,
            refused=self._pace.refused,
            in_flight=self._pace.in_flight,
            concurrency=int(self._pace.limit),
            tokens=self._tokens,
            seconds=self._clock.monotonic() - self._began,
            failure=self._trouble,
            wait=self._wait(),
        )

    def _wait(self) -> float:
        """Return the seconds until the next request if none is under way or may be sent now."""
        if self._pace.in_flight:
            return 0.0
        starts = [self._pace.paused]
        if not self._queue and self._delayed:
            starts.append(min(at for at, _ in self._delayed))
        return max(0.0, max(starts) - self._clock.monotonic())

    def close(self, *, at_once: bool = False) -> None:
        """Send nothing more.

        Args:
            at_once: Whether to drop the answers that are still under way; otherwise they are stored
                in the checkpoint when they come.
        """
        self._closed = True
        self._queue.clear()
        self._ready.clear()
        if self.checkpoint is not None:
            self.checkpoint.close() if at_once else self.checkpoint.close_soon()
        self._close_if_idle()

    def _push(self, part: Part[Item, Value], place: float | None = None) -> None:
        """Put a part among those to be sent, by its position or at another place."""
        place = float(part.first) if place is None else place
        heapq.heappush(self._queue, (place, next(self._pushed), part))

    def _close_if_idle(self) -> None:
        if self._closed and self.checkpoint is not None and not self._pace.in_flight:
            self.checkpoint.close()

    def _finish(self, part: Part[Item, Value], results: list[BulkResult[Item, Value]]) -> None:
        part.results, part.sent = results, None
        if not self._closed:
            self._ready[part.first] = part

    def _give_up(self, part: Part[Item, Value], error: InferenceError) -> None:
        """Make an error the result of each item of a part."""
        self._failed += len(part.items)
        items = enumerate(part.items, part.first)
        self._finish(part, [BulkResult(at, item, None, error) for at, item in items])

    def _handle_refusal(self, part: Part[Item, Value], error: InferenceError, now: float) -> None:
        """Wait for a limit to renew. A request that is larger than it never fits."""
        assert part.sent is not None
        never = _is_never(error, self._options.patience)
        requested_wait = None if never and len(part.items) > 1 else error.retry_after
        pause = self._pace.refuse(part.sent, requested_wait, error.headers, now)
        too_large = never or part.tokens > self._pace.token_limit
        if too_large and len(part.items) > 1:
            self._divide(part)
        elif too_large and part.tokens > self._pace.token_limit:
            self._give_up(part, error)
        elif now - self._last_success > self._options.patience or pause > self._options.patience:
            self.error = error
        else:
            self._push(part)

    def _handle_failure(self, part: Part[Item, Value], error: InferenceError, now: float) -> None:
        """Repeat a request later; give up if others succeed, or none does for a long time."""
        assert part.sent is not None
        others = self._last_success > part.sent.began
        self._pace.fail(part.sent, now, overloaded=not others)
        part.tries += others
        patience = self._options.patience
        hopeless = not self._succeeded and _is_never(error, patience)
        too_long = hopeless or now - self._last_success > patience
        alone = self._succeeded and not (self._queue or self._delayed or self._pace.in_flight)
        if part.tries >= _TRIES or (too_long and alone):
            self._give_up(part, error)
        elif too_long:
            self.error = error
        else:
            jitter = 0.75 + 0.5 * self._clock.random()
            wait = error.retry_after or min(30.0, 0.5 * 2.0**part.tries) * jitter
            self._delayed.append((now + min(wait, patience), part))

    def _handle_rejection(self, part: Part[Item, Value], error: InferenceError) -> None:
        """End the run if every request will be refused; else find the item that is the reason."""
        if (
            isinstance(error, _FATAL)
            or _is_quota(error)
            or (len(part.items) > 1 and isinstance(error, UnsupportedParameterError))
        ):
            self.error = error
        elif len(part.items) > 1 and isinstance(error, BadRequestError | ConfigurationError):
            self._divide(part)
        elif self._is_hopeless(error):
            self.error = error
        else:
            self._give_up(part, error)

    def _is_hopeless(self, error: InferenceError) -> bool:
        """Return whether all requests from the first on failed for the same reason."""
        if self._succeeded or isinstance(error, _OF_ITEM):
            return False
        reason = f"{type(error).__name__}: {error.message}"
        self._same_failures = self._same_failures + 1 if reason == self._last_failure else 1
        self._last_failure = reason
        return self._same_failures >= _SAME_FAILURES

    def _divide(self, part: Part[Item, Value]) -> None:
        """Send a part in smaller ones."""
        smaller = divide(
            part, self.job, self.checkpoint is not None, max(1.0, self._pace.best_tokens)
        )
        self._parts += len(smaller) - 1
        for each in smaller:
            self._push(each)


def _results(part: Part[Item, Value], values: Sequence[Value]) -> list[BulkResult[Item, Value]]:
    pairs = zip(part.items, values, strict=True)
    return [BulkResult(at, item, value) for at, (item, value) in enumerate(pairs, part.first)]


def _is_refusal(error: InferenceError) -> bool:
    """Return whether a request came too early: for a limit, or for all deployments of a route."""
    if isinstance(error, RouteExhaustedError):
        return error.retry_after is not None
    return isinstance(error, RateLimitError) and not _is_quota(error)


def _is_quota(error: InferenceError) -> bool:
    """Return whether the quota of the account is used up, which waiting does not change."""
    return isinstance(error, RateLimitError) and error.code == "insufficient_quota"


def _is_transient(error: InferenceError) -> bool:
    if isinstance(error, APIStatusError):
        return (isinstance(error, ServerError) and error.status != 501) or error.status == 409
    return isinstance(error, APIConnectionError)


def _is_never(error: InferenceError, patience: float) -> bool:
    """Return whether the service asks for a longer wait than this run ever accepts."""
    return (error.retry_after or 0.0) > patience
