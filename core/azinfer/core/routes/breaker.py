"""Breakers: a deployment that fails is left alone for a while, and then tried by one call."""

from __future__ import annotations

from typing import NamedTuple

from azinfer.core.routes.policy import Policy

_GRACE = 1.0  # seconds


class Breaker(NamedTuple):
    """Whether a deployment may be called. Calls pass while it is closed.

    Attributes:
        failures: Failures in a row.
        openings: How often it opened since the last success.
        until: When it lets one call through, in the clock's seconds; None while it is closed.
        probing: Whether that call is under way.
        reason: Why it opened.
        elsewhere: Whether another process opened it, which also closes it.
    """

    failures: int = 0
    openings: int = 0
    until: float | None = None
    probing: bool = False
    reason: str = ""
    elsewhere: bool = False

    def wait(self, now: float) -> float:
        """Return the seconds until a call may pass; infinite while a probe is under way."""
        if self.until is None:
            return 0.0
        if now < self.until:
            return self.until - now
        return float("inf") if self.probing else 0.0

    def state_name(self, now: float) -> str:
        """Return `"closed"`, `"open"` or `"half-open"`."""
        if self.until is None:
            return "closed"
        return "open" if now < self.until else "half-open"

    def after_begin(self) -> Breaker:
        """Return the breaker after a call passed it: if it is open, no second call passes."""
        return self if self.until is None else self._replace(probing=True)

    def after_success(self, probe: bool) -> Breaker:
        """Return the breaker after a success.

        Args:
            probe: Whether it was the probe. The success of a call that began before the breaker
                opened says nothing about the time after.
        """
        if self.until is not None and not probe:
            return self
        return CLOSED

    def after_answer(self, probe: bool) -> Breaker:
        """Return the breaker after a stream began: calls pass, but it may still break."""
        if self.until is not None and not probe:
            return self
        return Breaker(openings=self.openings)

    def after_abandon(self, probe: bool) -> Breaker:
        """Return the breaker after a call that was given up: the next call is the probe."""
        return self._replace(probing=False) if probe else self

    def after_news(self, until: float | None, reason: str) -> Breaker:
        """Return the breaker after another process opened or closed its own.

        Args:
            until: When that process tries the deployment; None if it is closed there.
            reason: Why it opened.
        """
        if until is None:
            return CLOSED if self.elsewhere and not self.probing else self
        if self.until is not None and not self.elsewhere:
            return self
        # A while later, so that the process that opened it is the one that tries.
        resume_at = until + _GRACE
        if self.until is not None and resume_at <= self.until:
            return self
        return Breaker(self.failures, self.openings, resume_at, False, reason, True)

    def after_failure(self, failure: Failure, probe: bool, now: float, policy: Policy) -> Breaker:
        """Return the breaker after a failure.

        Args:
            failure: What happened.
            probe: Whether it was the probe.
            now: The clock's seconds.
            policy: How many failures open it, and for how long.
        """
        if self.until is not None and not probe:
            if failure.retry_after is None:
                return self
            resume_at = now + min(failure.retry_after, policy.retry_after)
            return self._replace(until=max(self.until, resume_at))
        failures = self.failures + 1
        if not (probe or failure.opens or failures >= policy.failures):
            return self._replace(failures=failures)
        pause = min(policy.longest_pause, policy.pause * 2 ** min(self.openings, 30))
        if failure.retry_after is not None:
            pause = min(failure.retry_after, policy.retry_after)
        return Breaker(failures, self.openings + 1, now + pause, False, failure.reason)


class Failure(NamedTuple):
    """Why an attempt counts against its deployment.

    Attributes:
        reason: What happened, for example `"429"`.
        opens: Whether it opens the breaker at once.
        retry_after: Seconds that the service asked to wait.
    """

    reason: str
    opens: bool = False
    retry_after: float | None = None


CLOSED = Breaker()
