"""Rate limits and capacity: what a deployment admits, and what it says about it in headers.

Requests are counted in the slices that a limit names (Azure counts ten seconds for requests and
a minute for tokens), tokens by an estimate when a request is admitted and by its usage when it
is done. A provisioned deployment admits as many requests at once as it has capacity.

Source: "Manage Azure OpenAI quota" (how token and request limits are enforced), "Provisioned
throughput" (429 when it is full), `rateLimits` of "Accounts - Deployments".
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from azinfer.local.deployments import LocalDeployment
from azinfer.local.refusals import DEPLOYMENTS, Refusal, rate_limited

# What a request that can never be admitted is told; Azure says a day too.
_NEVER = 86_400.0


class _Window:
    """How much was used in the last `period` seconds."""

    def __init__(self, limit: float, period: float) -> None:
        self.limit, self.period = limit, period
        self._uses: deque[list[float]] = deque()
        self._used = 0.0

    def left(self, now: float) -> float:
        """How much may still be used."""
        while self._uses and self._uses[0][0] <= now - self.period:
            self._used -= self._uses.popleft()[1]
        return self.limit - self._used

    def use(self, amount: float, now: float) -> list[float]:
        """Count an amount; the entry may be changed by `settle`."""
        entry = [now, amount]
        self._uses.append(entry)
        self._used += amount
        return entry

    def settle(self, entry: list[float], amount: float) -> None:
        """Change what an entry counts, if it still does."""
        if any(each is entry for each in self._uses):
            self._used += amount - entry[1]
            entry[1] = amount

    def wait(self, amount: float, now: float) -> float:
        """Seconds until an amount fits; 0 when it does now."""
        missing = amount - self.left(now)
        if missing <= 0:
            return 0.0
        if amount > self.limit:
            return _NEVER
        for time, used in self._uses:
            missing -= used
            if missing <= 0:
                return time + self.period - now
        return self.period


class Limits:
    """The limits of one deployment.

    Args:
        deployment: Whose `rate_limits` and capacity count.
        clock: Monotonic seconds.
    """

    def __init__(self, deployment: LocalDeployment, clock: Callable[[], float]) -> None:
        self._deployment = deployment
        self._clock = clock
        self._windows = {
            each.key: _Window(each.count, each.renewal_period) for each in deployment.rate_limits
        }
        self._provisioned = "provisioned" in deployment.capacity_type.lower()
        self._inside = 0

    def admit(self, tokens: int, surface: str) -> Admission:
        """Let a request in that will use about so many tokens.

        Raises:
            Refusal: It does not fit now; the answer says when it may.
        """
        now = self._clock()
        if self._provisioned and self._inside >= self._deployment.capacity:
            raise self._refused(1.0, surface)
        amounts = {"request": 1.0, "token": float(tokens)}
        waits = [
            window.wait(amounts[key], now)
            for key, window in self._windows.items()
            if key in amounts
        ]
        if wait := max(waits, default=0.0):
            raise self._refused(wait, surface)
        entries = {
            key: window.use(amounts[key], now)
            for key, window in self._windows.items()
            if key in amounts
        }
        self._inside += 1
        return Admission(self, entries.get("token"))

    def headers(self) -> dict[str, str]:
        """What is left, as each answer tells it."""
        now = self._clock()
        told: dict[str, str] = {}
        for key, window in self._windows.items():
            left = max(0, math.floor(window.left(now)))
            told |= {
                f"x-ratelimit-limit-{key}s": f"{window.limit:g}",
                f"x-ratelimit-remaining-{key}s": str(left),
                f"x-ratelimit-reset-{key}s": str(math.ceil(window.wait(left + 1, now))),
                f"x-ratelimit-renewalperiod-{key}s": f"{window.period:g}",
            }
        return told

    def _refused(self, wait: float, surface: str) -> Refusal:
        name = self._deployment.name if surface != DEPLOYMENTS else ""
        refusal = rate_limited(surface, name, self._deployment.model_name, wait)
        refusal.headers |= self.headers()
        return refusal


class Admission:
    """A request that was let in."""

    def __init__(self, limits: Limits, tokens: list[float] | None) -> None:
        self._limits = limits
        self._tokens = tokens
        self._over = False

    def over(self, tokens: int | None) -> None:
        """End it, with the tokens it really used where that is known; harmless twice."""
        if self._over:
            return
        self._over = True
        self._limits._inside -= 1
        if self._tokens is not None and tokens is not None:
            self._limits._windows["token"].settle(self._tokens, tokens)


def estimated(texts: list[str], max_tokens: int | None) -> int:
    """About how many tokens a request will use, before it is read: four characters each.

    Source: "Understanding rate limits" of Azure OpenAI: the estimate of the prompt and
    `max_tokens` count before the request is processed.
    """
    read = sum(math.ceil(len(text) / 4) for text in texts)
    return read + (16 if max_tokens is None else max_tokens)
