"""The time that a call has left."""

from __future__ import annotations

from dataclasses import dataclass

from azinfer.core.clock import Clock
from azinfer.core.errors import APITimeoutError
from azinfer.core.retries import Timeout

_EARLY = 0.05  # seconds that a timer may be before the clock


@dataclass(slots=True)
class Deadline:
    """When an attempt must have ended, by the clock's monotonic seconds.

    Attributes:
        at: That time; of a stream, when it must have begun, and after that its end.
    """

    clock: Clock
    at: float
    timeout: Timeout

    def left(self) -> float:
        """Seconds that are left.

        Raises:
            APITimeoutError: None are.
        """
        left = self.at - self.clock.monotonic()
        if left <= 0:
            raise self.passed()
        return left

    def within(self, seconds: float) -> float:
        """Seconds that one wait may take: as many as given, or all that are left.

        Raises:
            APITimeoutError: None are.
        """
        return min(seconds, self.left())

    def passed(self) -> APITimeoutError:
        """The error of an attempt that took too long."""
        limit = self.timeout.attempt or self.timeout.total
        return APITimeoutError(f"no whole answer came within {limit:g} seconds")

    def silence(self, what: str, seconds: float) -> APITimeoutError:
        """The error of a wait that was too long: for `seconds`, or for all that were left."""
        if self.clock.monotonic() > self.at - _EARLY:
            return self.passed()
        return APITimeoutError(f"{what} within {seconds:g} seconds")
