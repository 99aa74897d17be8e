"""The time that remains for a call."""

from __future__ import annotations

from dataclasses import dataclass

from azinfer.core.clock import Clock
from azinfer.core.errors import APITimeoutError
from azinfer.core.retries import Timeout

_EARLY = 0.05  # seconds by which a timer may fire before the clock says so


@dataclass(slots=True)
class Deadline:
    """The time at which an attempt must have ended.

    Attributes:
        clock: The clock.
        at: That time, in monotonic seconds of the clock. For a stream, it is first the time at
            which the stream must have begun, and then the time of its end.
        timeout: The limits that the caller set, for messages.
    """

    clock: Clock
    at: float
    timeout: Timeout

    def remaining(self) -> float:
        """Return the seconds that remain.

        Raises:
            APITimeoutError: No time remains.
        """
        seconds = self.at - self.clock.monotonic()
        if seconds <= 0:
            raise self.expired_error()
        return seconds

    def limit(self, seconds: float) -> float:
        """Return the seconds that one wait may take: `seconds`, or fewer if fewer remain.

        Raises:
            APITimeoutError: No time remains.
        """
        remaining = self.remaining()
        return remaining if remaining < seconds else seconds

    @property
    def seconds(self) -> float:
        """The limit of an attempt, for messages."""
        return self.timeout.attempt or self.timeout.total

    def expired_error(self) -> APITimeoutError:
        """Return the error for an attempt that took too long."""
        return APITimeoutError(f"no complete response came within {self.seconds:g} seconds")

    def silence_error(self, what: str, seconds: float) -> APITimeoutError:
        """Return the error for one wait that took `seconds`, or all the time that remained."""
        if self.clock.monotonic() > self.at - _EARLY:
            return self.expired_error()
        return APITimeoutError(f"{what} within {seconds:g} seconds")
