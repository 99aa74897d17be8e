"""Retries: whether a request is sent again, and how long to wait before."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from azinfer.core.clock import Clock
from azinfer.core.errors import (
    APIConnectionError,
    APIStatusError,
    ConfigurationError,
    InferenceError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
)
from azinfer.core.locks import renew_after_fork

# For a request that exceeds the quota by itself, only the text says "retry after 86400 seconds".
_IN_TEXT = r"(?i)retry after (\d+) seconds?"
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0
_LONGEST_RETRY_AFTER = 60.0
_MOST_TOKENS = 500  # of a budget


@dataclass(frozen=True, slots=True)
class Timeout:
    """Time limits, in seconds. No wait is without a limit.

    Attributes:
        attempt: For one attempt, from sending to its complete response (for a stream: to its
            beginning). None: only `total` limits it.
        connect: For establishing a connection.
        read: For the next byte, also in a stream: the longest silence of the service.
        total: For the call with all its attempts and the waits between them; for a stream,
            until its end.

    Example:
        >>> Timeout(attempt=5, total=20).connect
        10.0
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
            if not _is_time(value):
                raise ConfigurationError(
                    f"timeout {name} must be a finite number of seconds above 0, not {value!r}"
                )

    @classmethod
    def of(cls, timeout: float | Timeout | None) -> Timeout:
        """Return the limits for a `timeout=` argument: a number limits each attempt.

        Raises:
            ConfigurationError: The number is not finite, or not above 0.
        """
        if timeout is None:
            return cls()
        if isinstance(timeout, Timeout):
            return timeout
        if not _is_time(timeout):
            raise ConfigurationError(
                "timeout must be a finite number of seconds above 0, or a Timeout, not "
                f"{timeout!r}",
                param="timeout",
            )
        return cls(timeout, min(10.0, timeout), timeout, max(600.0, timeout))


def _is_time(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 < value < float("inf")


class RetryBudget:
    """Retries that all calls of a client share, to protect a service that is down.

    A retry after a failure costs 14 of 500 tokens, a retry after a 429 costs 5, and each
    success returns one.
    """

    def __init__(self) -> None:
        self._tokens = _MOST_TOKENS
        self.renew_locks()

    def renew_locks(self) -> None:
        """Use a new lock."""
        self._lock = threading.Lock()
        renew_after_fork(self)

    def take(self, cost: int) -> bool:
        """Pay for one retry; return False if the budget is used up."""
        with self._lock:
            if self._tokens < cost:
                return False
            self._tokens -= cost
            return True

    def give_back(self) -> None:
        """Count one success."""
        if self._tokens < _MOST_TOKENS:
            with self._lock:
                self._tokens = min(_MOST_TOKENS, self._tokens + 1)


def wait_before_retry(
    error: InferenceError, attempt: int, max_retries: int, budget: RetryBudget, clock: Clock
) -> float | None:
    """Return the seconds to wait before the request is sent again, or None to give up.

    Args:
        error: The error that ended the attempt.
        attempt: The number of attempts so far, from 1.
        max_retries: The number of retries that are allowed.
        budget: The budget that all calls of the client share.
        clock: The source of the jitter.
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


def may_have_arrived(error: InferenceError) -> bool:
    """Return whether the service may have done what was asked, although there is an error.

    It has not if no connection was established, or if it refused the request because of its load.
    """
    if isinstance(error, APIConnectionError):
        return not error.unsent
    if error.status is None:
        return not isinstance(error, ConfigurationError)
    return error.status == 409 or (error.status >= 500 and error.status != 503)


def _is_transient(error: InferenceError) -> bool:
    if isinstance(error, APIStatusError):
        passing = isinstance(error, RateLimitError | ServerError) or error.status == 409
        return passing and error.status != 501 and error.code != "insufficient_quota"
    # A stream that broke reaches this place only if no part of it was handed out.
    return isinstance(error, APIConnectionError | StreamInterruptedError)


def retry_after(
    status: int, headers: Mapping[str, str], clock: Clock, text: str = ""
) -> float | None:
    """Return the seconds to wait that headers, or else the text, ask for; None if neither does.

    Azure sends `Retry-After: 1` together with `Retry-After-Ms: 0`, so the longest of the
    positive values counts. Values that cannot be parsed are ignored.
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
    if not text:
        return 0.0
    from email.utils import parsedate_to_datetime  # slow to import, and dates are rare

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - clock.time())
    except (ValueError, OverflowError):
        return 0.0
