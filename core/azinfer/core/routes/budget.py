"""Budgets: how many requests and tokens a deployment serves, counted as Azure counts them.

A request counts when it is sent, with an estimate of its tokens (those of the prompt and
`max_tokens`), and is corrected by the usage in its answer. What the service says is left
(`x-ratelimit-remaining-*`) corrects what this process cannot know: the calls of others.

Source: "Manage Azure OpenAI quota", how token and request limits are enforced.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from itertools import accumulate
from typing import NamedTuple

from azinfer.core.routes.lease import Lease

_REQUESTS_LEFT, _TOKENS_LEFT = "x-ratelimit-remaining-requests", "x-ratelimit-remaining-tokens"
_SLICES = 10
_SHORTEST = 0.001  # seconds; a shorter wait might end before the slice by a rounding error


class Window(NamedTuple):
    """The use of a limit in its last period.

    Uses are counted in tenths of the period. A slice counts until all of it is over, so that
    no period, wherever it begins, has more than the limit.

    Attributes:
        limit: How much may be used in one period.
        period: Its length in seconds.
        slices: The number of each slice, and what was used in it; the newest is last.
    """

    limit: float
    period: float
    slices: tuple[tuple[int, float], ...] = ()

    def remaining(self, now: float) -> float:
        """Return how much may still be used."""
        first = self._number(now) - _SLICES
        return self.limit - sum(amount for number, amount in self.slices if number >= first)

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until an amount fits; infinite if it never does."""
        missing = amount - self.remaining(now)
        if missing <= 0:
            return 0.0
        if amount > self.limit:
            return math.inf
        first = self._number(now) - _SLICES
        counted = [each for each in self.slices if each[0] >= first]
        freed = list(accumulate(used for _, used in counted))
        number, _ = counted[min(bisect_left(freed, missing), len(freed) - 1)]
        return max(_SHORTEST, (number + _SLICES + 1) * self.period / _SLICES - now)

    def after_use(self, amount: float, now: float, at: float | None = None) -> Window:
        """Return the window after a use, or after a correction of one.

        Args:
            amount: How much; negative if too much was counted before.
            now: The clock's seconds.
            at: When it was used; now, if left out.
        """
        last = self._number(now)
        number = last if at is None else self._number(at)
        counts = {key: value for key, value in self.slices if key >= last - _SLICES}
        if number < last - _SLICES:
            return self
        counts[number] = max(0.0, counts.get(number, 0.0) + amount)
        return self._replace(slices=tuple(sorted(counts.items())))

    def _number(self, at: float) -> int:
        return math.floor(at * _SLICES / self.period)


class Budget(NamedTuple):
    """What a deployment can still serve; an unknown limit stays None.

    Attributes:
        requests: The window of requests.
        tokens: The window of tokens.
        paused: The time until which the service said that nothing is left, in the clock's seconds.
        lease: What this process may use of limits that it shares; None if it shares none.
    """

    requests: Window | None = None
    tokens: Window | None = None
    paused: float = 0.0
    lease: Lease | None = None

    def wait(self, tokens: int, now: float) -> float:
        """Return the seconds until a request of so many tokens fits.

        Infinite if it never does, or not before the next lease.
        """
        paused = max(0.0, self.paused - now)
        if self.requests is None and self.tokens is None and self.lease is None:
            return paused
        waits = [paused]
        if self.requests is not None:
            waits.append(self.requests.wait(1, now))
        if self.tokens is not None:
            waits.append(self.tokens.wait(tokens, now))
        if self.lacks_lease(tokens, now) and not any(waits):
            return math.inf
        return max(waits)

    def lacks_lease(self, tokens: int, now: float) -> bool:
        """Return whether only a lease is missing for a request of so many tokens."""
        return self.lease is not None and not self.lease.covers(tokens, now)

    def after_begin(self, tokens: int, now: float) -> Budget:
        """Return the budget after a request was sent."""
        if self.requests is None and self.tokens is None:
            return self
        return self._replace(
            requests=self.requests and self.requests.after_use(1, now),
            tokens=self.tokens and self.tokens.after_use(tokens, now),
            lease=self.lease and self.lease.after_use(1, tokens),
        )

    def after_usage(self, estimate: int, tokens: int, began: float, now: float) -> Budget:
        """Return the budget once it is known how many tokens a request used."""
        if self.tokens is None or tokens == estimate:
            return self
        used = tokens - estimate
        return self._replace(
            tokens=self.tokens.after_use(used, now, began),
            lease=self.lease and self.lease.after_use(0, used),
        )

    def after_withdrawal(self, tokens: int, began: float, now: float) -> Budget:
        """Return the budget after a request that was counted and then not sent."""
        return self._replace(
            requests=self.requests and self.requests.after_use(-1, now, began),
            tokens=self.tokens and self.tokens.after_use(-tokens, now, began),
            lease=self.lease and self.lease.after_use(-1, -tokens),
        )

    def after_response(self, headers: Mapping[str, str], now: float) -> Budget:
        """Return the budget after the service said what is left.

        The service's number counts only if it is lower than ours: the service does not know yet
        about the requests that are on their way to it.
        """
        if _REQUESTS_LEFT not in headers and _TOKENS_LEFT not in headers:
            return self
        requests = _quota(headers, _REQUESTS_LEFT)
        tokens = _quota(headers, _TOKENS_LEFT)
        if requests is None and tokens is None:
            return self
        paused = self.paused
        for kind, left in (("requests", requests), ("tokens", tokens)):
            if left == 0 and (reset := _quota(headers, f"x-ratelimit-reset-{kind}")):
                paused = max(paused, now + reset)
        counts_nothing = self.requests is None and self.tokens is None
        # With a lease, the calls of others are counted by themselves.
        if counts_nothing or self.lease is not None:
            return self if paused == self.paused else self._replace(paused=paused)
        return Budget(
            _lower(self.requests, requests, now), _lower(self.tokens, tokens, now), paused
        )


def _lower(window: Window | None, left: float | None, now: float) -> Window | None:
    if window is None or left is None:
        return window
    over = window.remaining(now) - left
    return window.after_use(over, now) if over > 0 else window


def _quota(headers: Mapping[str, str], name: str) -> float | None:
    text = headers.get(name)
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < math.inf else None
