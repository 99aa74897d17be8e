"""Rate limits and capacity: what a deployment admits, and the headers about it.

Requests are counted in the period that a limit names (Azure counts ten seconds for requests and
a minute for tokens), tokens by an estimate at the admission and by the usage at the end. A
provisioned deployment admits as many requests at once as it has capacity.

Sources: "Manage Azure OpenAI quota" (how token and request limits are enforced), "Provisioned
throughput" (429 when it is full, the header with its utilization), `rateLimits` of
"Accounts - Deployments".
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.wire.errors import at_capacity, rate_limited
from azinfer.local.wire.json import in_header

# The wait for a request that can never be admitted; Azure says a day too.
_NEVER = 86_400.0


@dataclass(slots=True)
class _Use:
    """An amount that was used, and whether it still counts."""

    time: float
    amount: float
    counts: bool = True


class _Window:
    """How much was used in the last `period` seconds."""

    def __init__(self, limit: float, period: float) -> None:
        self.limit, self.period = limit, period
        self._uses: deque[_Use] = deque()
        self._used = 0.0

    def with_limit(self, limit: float, period: float) -> Self:
        """Return a window for another limit, in which earlier uses still count."""
        window = type(self)(limit, period)
        window._uses, window._used = self._uses, self._used
        return window

    def remaining(self, now: float) -> float:
        """Return how much may still be used."""
        while self._uses and self._uses[0].time <= now - self.period:
            over = self._uses.popleft()
            over.counts = False
            self._used -= over.amount
        return self.limit - self._used

    def use(self, amount: float, now: float) -> _Use:
        """Count an amount; `settle` can change it later."""
        use = _Use(now, amount)
        self._uses.append(use)
        self._used += amount
        return use

    def settle(self, use: _Use, amount: float) -> None:
        """Change what a use counts, if it still does."""
        if use.counts:
            self._used += amount - use.amount
            use.amount = amount

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until an amount fits; 0 if it fits now."""
        missing = amount - self.remaining(now)
        if missing <= 0:
            return 0.0
        if amount > self.limit:
            return _NEVER
        for use in self._uses:
            missing -= use.amount
            if missing <= 0:
                return use.time + self.period - now
        return self.period


class Limits:
    """The limits of one deployment.

    Args:
        deployment: The deployment with its limits and capacity.
        clock: Returns monotonic seconds.
    """

    def __init__(self, deployment: LocalDeployment, clock: Callable[[], float]) -> None:
        self._deployment = deployment
        self._is_provisioned = deployment.is_provisioned
        self._clock = clock
        self._windows = {
            each.key: _Window(each.count, each.renewal_period) for each in deployment.limits
        }
        self._inside = 0

    def change(self, deployment: LocalDeployment) -> None:
        """Enforce another configuration; earlier uses and running requests still count."""
        self._deployment = deployment
        self._is_provisioned = deployment.is_provisioned
        self._windows = {
            each.key: self._windows[each.key].with_limit(each.count, each.renewal_period)
            if each.key in self._windows
            else _Window(each.count, each.renewal_period)
            for each in deployment.limits
        }

    def admit(self, tokens: int, surface: str) -> Admission:
        """Admit a request by its estimated tokens.

        Raises:
            ErrorResponse: The request does not fit now; the error says when it may.
        """
        if not (self._windows or self._is_provisioned):
            self._inside += 1
            return Admission(self, self._deployment, None, {})
        now = self._clock()
        if self._is_provisioned and self._inside >= self._deployment.units:
            raise at_capacity(surface, self._deployment.name)
        amounts = {"request": 1.0, "token": float(tokens)}
        waits = [window.wait(amounts[key], now) for key, window in self._windows.items()]
        if wait := max(waits, default=0.0):
            name, model = self._deployment.name, self._deployment.model_name
            raise rate_limited(surface, name, model, wait)
        uses = {key: window.use(amounts[key], now) for key, window in self._windows.items()}
        self._inside += 1
        return Admission(self, self._deployment, uses.get("token"), self.headers())

    def headers(self) -> dict[str, str]:
        """Return the response headers about what is left."""
        now = self._clock()
        headers: dict[str, str] = {}
        if self._is_provisioned:
            used = round(100 * self._inside / self._deployment.units)
            headers["azure-openai-deployment-utilization"] = f"{used}%"
        if self._windows:
            headers["x-ratelimit-key"] = in_header(self._deployment.model_name)
            headers["x-ratelimit-abusepenalty-active"] = "False"
        for key, window in self._windows.items():
            left = max(0, math.floor(window.remaining(now)))
            headers |= {
                f"x-ratelimit-limit-{key}s": f"{window.limit:.0f}",
                f"x-ratelimit-remaining-{key}s": str(left),
                f"x-ratelimit-reset-{key}s": str(math.ceil(window.wait(left + 1, now))),
                f"x-ratelimit-renewalperiod-{key}s": f"{window.period:g}",
            }
        return headers


class Admission:
    """An admitted request.

    Attributes:
        deployment: The deployment that answers.
        headers: Response headers that name the deployment and what is left of its limits.
    """

    def __init__(
        self,
        limits: Limits,
        deployment: LocalDeployment,
        tokens: _Use | None,
        headers: Mapping[str, str],
    ) -> None:
        self.deployment = deployment
        self.headers = {
            "x-ms-deployment-name": deployment.name,
            "x-ms-is-spilled-over": "false",
            **headers,
        }
        self._limits = limits
        self._tokens = tokens
        self._over = False

    def spilled_from(self, deployment: LocalDeployment) -> Self:
        """Return this admission, marked as spillover from a full deployment.

        Source: "Manage traffic with spillover for provisioned deployments".
        """
        self.headers["x-ms-is-spilled-over"] = "true"
        self.headers["x-ms-spillover-from-deployment"] = deployment.name
        return self

    def over(self, tokens: int | None) -> None:
        """End the request with the tokens it used, if known; a second call does nothing."""
        if self._over:
            return
        self._over = True
        self._limits._inside -= 1
        window = self._limits._windows.get("token")
        if window is not None and self._tokens is not None and tokens is not None:
            window.settle(self._tokens, tokens)


def estimate_tokens(texts: list[str], max_tokens: int | None) -> int:
    """Return an estimate of a request's tokens, with four characters each.

    Source: "Understanding rate limits" of Azure OpenAI: the estimate of the prompt and
    `max_tokens` count before the request is processed.
    """
    read = sum(math.ceil(len(text) / 4) for text in texts)
    return read + (16 if max_tokens is None else max_tokens)
