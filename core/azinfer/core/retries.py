"""When a request is sent again, and how long to wait before: one rule for everything."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime

from azinfer.core.clock import Clock
from azinfer.core.errors import (
    APIConnectionError,
    APIStatusError,
    ConfigurationError,
    InferenceError,
    RateLimitError,
    ServerError,
)

# A request that alone exceeds the quota is told "retry after 86400 seconds", in the text alone.
_IN_TEXT = r"(?i)retry after (\d+) seconds?"
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0
_LONGEST_RETRY_AFTER = 60.0


@dataclass(frozen=True, slots=True)
class Timeout:
    """How long to wait, in seconds. Nothing waits for ever.

    Attributes:
        attempt: For one attempt, from sending to its whole answer (for a stream: to its
            beginning). None: only `total` bounds it.
        connect: For a connection to open.
        read: For the next byte: the longest silence of the service, in a stream too.
        total: For the call with all its attempts and the waiting between them, and for a
            stream until its end.
    """

    attempt: float | None = None
    connect: float = 10.0
    read: float = 120.0
    total: float = 600.0

    def __post_init__(self) -> None:
        for name in ("attempt", "connect", "read", "total"):
            value = getattr(self, name)
            if value is None and name == "attempt":
                continue
            if not isinstance(value, int | float) or not 0 < value < float("inf"):
                raise ConfigurationError(
                    f"timeout {name}={value!r}: give a finite number of seconds above 0"
                )

    @classmethod
    def of(cls, timeout: float | Timeout | None) -> Timeout:
        """Read the `timeout=` argument: a number bounds each attempt, None is the default."""
        if timeout is None:
            return cls()
        if isinstance(timeout, Timeout):
            return timeout
        checked = cls(attempt=timeout)
        return replace(checked, connect=min(10.0, timeout), read=timeout, total=max(600.0, timeout))


class RetryBudget:
    """Retries that all calls of a client share, so that a dead service is not hammered.

    A retry after a failure costs 14 of 500 tokens, one after a 429 costs 5, and a success
    gives one back.
    """

    def __init__(self) -> None:
        self._tokens = 500
        self._lock = threading.Lock()

    def take(self, cost: int) -> bool:
        """Pay for one retry; False when the budget is used up."""
        with self._lock:
            if self._tokens < cost:
                return False
            self._tokens -= cost
            return True

    def give_back(self) -> None:
        """Count one success."""
        with self._lock:
            self._tokens = min(500, self._tokens + 1)


def wait_before_retry(
    error: InferenceError, attempt: int, max_retries: int, budget: RetryBudget, clock: Clock
) -> float | None:
    """Seconds to wait before the request is sent again, or None to give up.

    Args:
        error: What the attempt ended with.
        attempt: How many attempts there were, from 1.
        max_retries: How many more than one there may be.
        budget: What all calls of the client share.
        clock: Where the jitter comes from.
    """
    if attempt > max_retries or not _is_transient(error):
        return None
    if (error.retry_after or 0) > _LONGEST_RETRY_AFTER:
        return None
    if not budget.take(5 if isinstance(error, RateLimitError) else 14):
        return None
    if error.retry_after:
        return error.retry_after
    backoff: float = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (attempt - 1))
    return backoff * (0.75 + 0.5 * clock.random())


def _is_transient(error: InferenceError) -> bool:
    if isinstance(error, APIStatusError):
        passing = isinstance(error, RateLimitError | ServerError) or error.status == 409
        return passing and error.status != 501 and error.code != "insufficient_quota"
    return isinstance(error, APIConnectionError)


def retry_after(
    status: int, headers: Mapping[str, str], clock: Clock, text: str = ""
) -> float | None:
    """Seconds that an answer asks to wait, in its headers or else its text; None where not.

    Azure answers `Retry-After: 1` together with `Retry-After-Ms: 0`, so the longest of the
    positive values counts. What cannot be read is ignored.
    """
    waits = [
        _number(headers.get("retry-after-ms")) / 1000,
        _number(headers.get("x-ms-retry-after-ms")) / 1000,
        _seconds(headers.get("retry-after"), clock),
    ]
    if status == 429:
        waits.append(_number(headers.get("x-ratelimit-timeremaining")))
        waits += [
            _number(headers.get(f"x-ratelimit-reset-{what}"))
            for what in ("requests", "tokens")
            if headers.get(f"x-ratelimit-remaining-{what}") == "0"
        ]
    if not any(waits) and status == 429 and (match := re.search(_IN_TEXT, text)):
        waits.append(_number(match[1]))
    return max(waits) or None


def _number(text: str | None) -> float:
    try:
        number = float(text or 0)
    except ValueError:
        return 0.0
    return number if 0 < number < float("inf") else 0.0


def _seconds(text: str | None, clock: Clock) -> float:
    if seconds := _number(text):
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(text or "").timestamp() - clock.time())
    except (ValueError, OverflowError):
        return 0.0
