"""Rate limiters of several kinds in virtual time, that say little about themselves.

A service with one of them answers 429, with `Retry-After` or without, and has no
`x-ratelimit-*` headers.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from azinfer.core import Embeddings, InferenceError, RateLimitError
from bulk_service import answer
from client_driver import TestClock

NEVER = 86_400.0


class Limiter(Protocol):
    """A limit of an amount in a period."""

    limit: float

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until an amount fits; 0 if it fits now."""

    def take(self, amount: float, now: float) -> None:
        """Use an amount that fits."""


@dataclass
class FixedWindows:
    """An amount in each period; the periods begin at fixed times."""

    limit: float
    period: float = 60.0
    phase: float = 0.0
    _window: int = -1
    _used: float = 0.0

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until an amount fits; 0 if it fits now."""
        window = math.floor((now + self.phase) / self.period)
        if window != self._window:
            self._window, self._used = window, 0.0
        if self._used + amount <= self.limit:
            return 0.0
        if amount > self.limit:
            return NEVER
        return (window + 1) * self.period - self.phase - now + 1e-6

    def take(self, amount: float, now: float) -> None:
        """Use an amount that fits."""
        self._used += amount


@dataclass
class SlidingWindow:
    """An amount in the last period, whenever one looks."""

    limit: float
    period: float = 60.0
    _uses: deque[tuple[float, float]] = field(default_factory=deque)
    _used: float = 0.0

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until an amount fits; 0 if it fits now."""
        while self._uses and self._uses[0][0] + self.period <= now:
            self._used -= self._uses.popleft()[1]
        missing = self._used + amount - self.limit
        if missing <= 0:
            return 0.0
        if amount > self.limit:
            return NEVER
        for at, used in self._uses:
            missing -= used
            if missing <= 0:
                return at + self.period - now
        return NEVER

    def take(self, amount: float, now: float) -> None:
        """Use an amount that fits."""
        self._uses.append((now, amount))
        self._used += amount


@dataclass
class TokenBucket:
    """An amount that refills steadily, up to what is allowed in a period or to `size`."""

    limit: float
    period: float = 60.0
    size: float | None = None
    _level: float | None = None
    _at: float = 0.0

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until an amount fits; 0 if it fits now."""
        size, rate = self.size or self.limit, self.limit / self.period
        before = size if self._level is None else self._level
        self._level, self._at = min(size, before + rate * (now - self._at)), now
        if amount <= self._level:
            return 0.0
        return NEVER if amount > size else (amount - self._level) / rate

    def take(self, amount: float, now: float) -> None:
        """Use an amount that fits."""
        assert self._level is not None
        self._level -= amount


class SilentService:
    """Answers under limits that it does not report.

    Args:
        clock: The clock of the simulation.
        tokens: The limits of tokens.
        requests: The limits of requests.
        retry_after: Whether a refusal says when to try again.

    Attributes:
        used: The tokens that were admitted.
        admitted: The requests that were admitted.
        refused: The requests that were refused.
        log: Each request: when, its tokens, and whether it was admitted.
    """

    def __init__(
        self,
        clock: TestClock,
        tokens: Sequence[Limiter],
        requests: Sequence[Limiter] = (),
        *,
        retry_after: bool = True,
    ) -> None:
        self._clock, self.tokens, self.requests = clock, tokens, requests
        self._retry_after, self._changed = retry_after, False
        self.used = self.admitted = self.refused = 0
        self.log: list[tuple[float, int, bool]] = []

    def __call__(self, part: Any, now: float) -> Embeddings | InferenceError:
        """Return the answer to a part, or its refusal."""
        tokens = sum(math.ceil(len(text) / 4) for text in part.items)
        wait = max(
            *(each.wait(tokens, now) for each in self.tokens),
            *(each.wait(1, now) for each in self.requests),
            0.0,
            0.0,
        )
        self.log.append((now, tokens, not wait))
        if wait:
            self.refused += 1
            seconds = max(1.0, math.ceil(wait)) if self._retry_after else None
            return RateLimitError("too many requests", status=429, retry_after=seconds)
        for each in self.tokens:
            each.take(tokens, now)
        for each in self.requests:
            each.take(1, now)
        self.admitted += 1
        self.used += tokens
        return answer(part.items, tokens)

    def change(self, factor: float) -> None:
        """Multiply all limits, once."""
        if not self._changed:
            self._changed = True
            for each in (*self.tokens, *self.requests):
                each.limit *= factor

    def used_since(self, at: float) -> int:
        """Return the tokens that were admitted since a time."""
        return sum(tokens for sent, tokens, admitted in self.log if admitted and sent >= at)
