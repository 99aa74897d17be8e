"""A service in virtual time that answers the requests of bulk work under real limits.

Events happen in the order of their times, so that minutes pass in no time, the same way each time.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from azinfer.core import Embeddings, InferenceError, RateLimitError, Usage
from azinfer.core.bulk.jobs import Job
from azinfer.core.bulk.parts import Part, Planner
from azinfer.core.bulk.run import Run
from azinfer.core.bulk.values import BulkOptions, BulkResult
from azinfer.core.routing import Routing
from azinfer.local import LocalDeployment
from azinfer.local.resource.rate_limits import Limits, estimate_tokens
from azinfer.local.wire.errors import ErrorResponse
from client_driver import TestClock


class TextJob(Job[str, Any]):
    """Embed texts, without a client."""

    most_items, most_tokens = 2048, 225_000.0

    def __init__(self) -> None:
        self.work = {"operation": "embeddings"}

    def tokens_of(self, item: str) -> float:
        return len(item) / 4 + 1

    def digest(self, items: Sequence[str]) -> bytes:
        return repr(items).encode()

    def attempts(self, items: Sequence[str]) -> Any:
        raise NotImplementedError

    def values(self, answer: Any) -> Sequence[Any]:
        values: Sequence[Any] = answer.vectors
        return values

    def dump(self, values: Sequence[Any]) -> bytes:
        return b"".join(vector.tobytes() for vector in values)

    def load(self, data: bytes, items: Sequence[str]) -> Sequence[Any]:
        raise NotImplementedError


def answer(
    texts: Sequence[str], tokens: int | None, headers: Mapping[str, str] | None = None
) -> Embeddings:
    """Return the answer to a request."""
    routing = Routing(
        requested="embed",
        deployment="embed",
        operation="embeddings",
        surface="v1",
        endpoint="http://e",
        url="http://e/embeddings",
        headers=headers or {},
    )
    usage = None if tokens is None else Usage(tokens, 0, tokens)
    return Embeddings([array("f", [1.0])] * len(texts), "model", usage, routing)


_WAY = 0.01  # seconds until a request arrives
Respond = Callable[[Part[str, Any], float], Embeddings | InferenceError]


@dataclass
class Simulation:
    """A run of bulk work in virtual time.

    Attributes:
        respond: What the service answers to a part that arrives at a time.
        latency: Seconds until each answer.
        options: The options of the run.
        clock: Its clock.
        sent: When each request was sent, and how many items it had.
        most_at_once: The most requests that were under way.
        run: The run.
    """

    respond: Respond
    latency: Callable[[], float] = lambda: 0.05
    options: BulkOptions = field(default_factory=lambda: BulkOptions(ordered=False))
    clock: TestClock = field(default_factory=lambda: TestClock(now=1000.0))
    sent: list[tuple[float, int]] = field(default_factory=list)
    most_at_once: int = 0
    run: Any = None
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _at_once: int = 0
    _wakes_at: float = math.inf

    def results(
        self, items: Iterable[str], seconds: float = math.inf
    ) -> list[BulkResult[Any, Any]]:
        """Return what is handed out until the end, or until so much time has passed."""
        ends = self.clock.now + seconds
        self.run = Run(TextJob(), self.options, None, self.clock)
        plan = self._plan(iter(items))
        results: list[BulkResult[Any, Any]] = []
        while not self.run.over:
            while self.run.has_room and next(plan, None):
                pass
            self._send()
            if (ready := self.run.take()) is not None:
                results += ready
            elif not self.run.over:
                at, _, happen = heapq.heappop(self._events)
                if at > ends:
                    break
                self.clock.now = max(self.clock.now, at)
                happen()
        return results

    def _plan(self, items: Iterator[str]) -> Iterator[bool]:
        """Plan the parts of the input, one more with each step."""
        planner: Planner[str, Any] = Planner(self.run.job, None, self.options.batch_size)
        for item in items:
            for part in planner.add(item, self.run.best_tokens):
                self.run.add(part)
                yield True
        for part in planner.end():
            self.run.add(part)
        self.run.end_input(planner.position)

    def _send(self) -> None:
        """Send what the run sends now."""
        while isinstance(step := self.run.next(), Part):
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            self.sent.append((self.clock.now, len(step.items)))
            self._later(_WAY, partial(self._arrive, step))
        if math.isfinite(step) and self.clock.now + step < self._wakes_at - 1e-4:
            self._wakes_at = self.clock.now + step
            self._later(step, partial(self._wake, self._wakes_at))

    def _wake(self, at: float) -> None:
        if at == self._wakes_at:
            self._wakes_at = math.inf

    def _later(self, seconds: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.clock.now + seconds, next(self._numbers), happen))

    def _arrive(self, part: Part[str, Any]) -> None:
        outcome = self.respond(part, self.clock.now)
        seconds = self.latency() if isinstance(outcome, Embeddings) else 0.001
        self._later(seconds, partial(self._end, part, outcome))

    def _end(self, part: Part[str, Any], outcome: Embeddings | InferenceError) -> None:
        self._at_once -= 1
        if isinstance(outcome, InferenceError):
            self.run.fail(part, outcome)
        else:
            self.run.succeed(part, outcome, outcome.vectors)


class LimitedService:
    """Answers under the limits of a local deployment.

    Args:
        deployment: It has the limits.
        clock: The clock of the simulation.
        tokens: What texts take, if not what the service estimates.
        own: Names of headers that it sends; all of them, if left out.
    """

    def __init__(
        self,
        deployment: LocalDeployment,
        clock: TestClock,
        tokens: Callable[[Sequence[str]], int] | None = None,
        own: Callable[[str], bool] = lambda name: True,
    ) -> None:
        self._limits = Limits(deployment, lambda: clock.now)
        self._tokens, self._own = tokens, own
        self.admitted = self.refused = self.used = 0

    def __call__(self, part: Part[str, Any], now: float) -> Embeddings | InferenceError:
        """Return the answer to a part, or its refusal."""
        estimate = estimate_tokens(part.items, 0)
        tokens = self._tokens(part.items) if self._tokens else estimate
        try:
            admission = self._limits.admit(estimate, "v1")
        except ErrorResponse as error:
            self.refused += 1
            headers = {**self._limits.headers(), **error.headers}
            return RateLimitError(
                "too many requests",
                status=429,
                headers=self._sent(headers),
                retry_after=float(headers["retry-after"]),
            )
        admission.over(tokens)
        self.admitted += 1
        self.used += tokens
        return answer(part.items, tokens, self._sent(admission.headers))

    def take(self, texts: Sequence[str]) -> None:
        """Count texts of another client."""
        with contextlib.suppress(ErrorResponse):
            self._limits.admit(estimate_tokens(list(texts), 0), "v1").over(None)

    def _sent(self, headers: Mapping[str, str]) -> dict[str, str]:
        return {name: value for name, value in headers.items() if self._own(name)}
