"""The pace of bulk work: how many requests at once, and how many tokens in a minute.

Nobody configures it. The rate limits come from the headers of the answers (`x-ratelimit-*`), and
the number of concurrent requests grows until the service refuses one because of its load.

A request counts with the estimate that the service makes before it answers, and with its usage
once that is known. Sources: "Manage Azure OpenAI quota", how token and request limits are
enforced; "Provisioned throughput", 429 when it is full.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from azinfer.core.bulk.unstated_limit import Share, UnstatedLimit

MOST_AT_ONCE = 64
_FIRST_AT_ONCE = 8
# The most tokens before the first answer shows the limits: as many as a small quota has.
_FIRST_TOKENS = 120_000
# Seconds after which the service has counted a request that is under way.
_LONGEST_WAY = 1.0
# If less than this share of a limit is missing, it need not be other clients: estimates differ.
_NOISE = 0.03
# The share of a limit that a request may have, so that little is unused at the end of a minute.
_SHARE, _SMALLER_SHARE = 40, 160
# A service that asks to wait this long counts what is sent in a period, not what is under way.
_LONG_PAUSE = 2.0
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.5, 60.0
_FEWEST_CALM, _MOST_CALM = 16, 4096  # successes before one more concurrent request is tried


@dataclass(slots=True)
class _Use:
    """An amount of a limit that a request takes."""

    at: float
    begun: float
    amount: float
    used: float = 0.0  # what this run had used by then, with it
    surely: float = 0.0  # the same without other requests that were under way


class _Window:
    """How much of one limit this run used in the last period."""

    def __init__(self, kind: str, period: float) -> None:
        self.limit, self.period = math.inf, period
        self.is_stated = False
        self._kind = kind
        self._uses: deque[_Use] = deque()
        self._used = self._under_way = 0.0
        self._others, self._others_until = 0.0, 0.0

    def begin(self, amount: float, now: float) -> _Use:
        """Count a request that is sent now."""
        self._trim(now)
        self._used += amount
        use = _Use(now + _LONGEST_WAY, amount, amount, self._used, self._used - self._under_way)
        self._under_way += amount
        self._uses.append(use)
        return use

    def end(self, use: _Use, amount: float, now: float) -> None:
        """Correct a use after its request was answered."""
        self._under_way -= use.begun
        if use.amount:  # otherwise its period is over
            self._used += amount - use.amount
            use.amount = amount
        use.at = min(use.at, now)

    def learn(self, headers: Mapping[str, str], use: _Use, now: float) -> None:
        """Read from an answer the size of the limit, and what is left of it."""
        left = _number(headers, f"remaining-{self._kind}")
        limit = _number(headers, f"limit-{self._kind}")
        self.period = _number(headers, f"renewalperiod-{self._kind}") or self.period
        if limit:
            self.limit, self.is_stated = limit, True
        elif left is not None:  # older versions of the service report only what is left
            known = 0.0 if math.isinf(self.limit) else self.limit
            self.limit = max(known, left + use.surely)
        if left is not None:
            missing = self.limit - use.used - left
            self._others = missing if missing > _NOISE * self.limit else 0.0
            self._others_until = now + self.period

    def forget_others(self, at: float) -> None:
        """Act from now on as if no other client used the limit."""
        self._others_until = min(self._others_until, at)

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until an amount fits."""
        self._trim(now)
        others = self._others if now < self._others_until else 0.0
        missing = min(amount, self.limit) - (self.limit - self._used - others)
        if math.isinf(self.limit) or missing <= 0:
            return 0.0
        for use in self._uses:
            missing -= use.amount
            if missing <= 0:
                return max(0.001, use.at + self.period - now)
        return max(0.001, self._others_until - now)

    def _trim(self, now: float) -> None:
        while self._uses and self._uses[0].at <= now - self.period:
            use = self._uses.popleft()
            self._used -= use.amount
            use.amount = 0.0


@dataclass(slots=True)
class Sent:
    """A request that is under way.

    Attributes:
        began: When it was sent.
        tokens: Its tokens in the window of tokens.
        request: Its use in the window of requests.
        estimate: How many tokens it was expected to take.
        share: Its part of a limit that the service does not report.
        others: How many others were under way.
    """

    began: float
    tokens: _Use
    request: _Use
    estimate: float
    share: Share
    others: int


@dataclass(slots=True)
class Pace:
    """Decide when the next request may be sent.

    Args:
        fixed: The number of requests at once; None if it is to be found.

    Attributes:
        limit: The present maximum of requests at once.
        in_flight: The requests that are under way.
        paused: The time until which nothing is sent.
        refused: How many requests exceeded a limit.
    """

    fixed: int | None = None
    limit: float = field(init=False)
    in_flight: int = field(init=False, default=0)
    paused: float = field(init=False, default=-math.inf)
    refused: int = field(init=False, default=0)
    _tokens: _Window = field(init=False)
    _requests: _Window = field(init=False)
    _unstated: UnstatedLimit = field(init=False)
    _in_flight_tokens: float = field(init=False, default=0.0)
    _answered: bool = field(init=False, default=False)
    _ceiling: float = field(init=False, default=math.inf)
    _lowered: float = field(init=False, default=-math.inf)
    _floor: float = field(init=False, default=1.0)
    _calm: int = field(init=False, default=0)
    _calm_needed: int = field(init=False, default=4 * _FEWEST_CALM)
    _failures: int = field(init=False, default=0)
    _proved: int = field(init=False, default=-1)
    _ratio: float = field(init=False, default=1.0)

    def __post_init__(self) -> None:
        self.limit = self.fixed or _FIRST_AT_ONCE
        self._tokens = _Window("tokens", 60.0)
        self._requests = _Window("requests", 60.0)
        self._unstated = UnstatedLimit()

    @property
    def token_limit(self) -> float:
        """The limit of tokens in a period; infinite while it is unknown."""
        return self._tokens.limit

    @property
    def best_tokens(self) -> float:
        """The most tokens of one request, so that the limits can be used up."""
        tokens, requests = self._tokens, self._requests
        if self._is_silent:
            return self._unstated.best_tokens
        in_a_period = requests.limit * tokens.period / requests.period
        fewest = 0.0 if math.isinf(tokens.limit) else 2 * tokens.limit / in_a_period
        share = _SHARE if tokens.is_stated else _SMALLER_SHARE  # some are refused to learn it
        return max(tokens.limit / share, fewest)

    @property
    def _is_silent(self) -> bool:
        """Whether the service does not report limits."""
        return math.isinf(self._tokens.limit) and math.isinf(self._requests.limit)

    def wait(self, tokens: float, now: float) -> float:
        """Return the seconds until a request may be sent; infinite: after another has ended."""
        if self.in_flight >= int(self.limit):
            return math.inf
        begun = self._in_flight_tokens + tokens
        if not self._answered and self.in_flight and begun > _FIRST_TOKENS:
            return math.inf
        tokens *= self._ratio
        if self._is_silent:
            wait = self._unstated.wait(tokens, now)
        else:
            wait = max(self._tokens.wait(tokens, now), self._requests.wait(1, now))
        return max(0.0, self.paused - now, wait)

    def begin(self, tokens: float, now: float) -> Sent:
        """Count a request that is sent now."""
        self.in_flight += 1
        self._in_flight_tokens += tokens
        amount = tokens * self._ratio
        return Sent(
            began=now,
            tokens=self._tokens.begin(amount, now),
            request=self._requests.begin(1, now),
            estimate=tokens,
            share=self._unstated.begin(amount, now),
            others=self.in_flight - 1,
        )

    def succeed(self, sent: Sent, used: int | None, headers: Mapping[str, str], now: float) -> None:
        """Count an answer, with the tokens that it reports and its headers."""
        crowded = self.in_flight >= int(self.limit)
        if used is not None and sent.estimate:
            # Too many are counted for as long as a request is under way; too few would be refused.
            seen = max(1.0, used / sent.estimate)
            self._ratio = seen if not self._answered else 0.8 * self._ratio + 0.2 * seen
        amount = sent.estimate if used is None else used
        self._end(sent, amount, now)
        self._unstated.admit(sent.share, amount, now)
        self._learn(headers, sent, now)
        self._answered, self._failures = True, 0
        self._proved = max(self._proved, sent.others)
        if crowded and self.fixed is None:
            self._grow()

    def refuse(
        self, sent: Sent, retry_after: float | None, headers: Mapping[str, str], now: float
    ) -> float:
        """Count a request that exceeded a limit; return the seconds in which nothing is sent.

        Args:
            sent: The request.
            retry_after: The seconds that the service asks to wait.
            headers: The headers of the refusal.
            now: The clock's seconds.
        """
        self.refused += 1
        self._answered = True
        self._end(sent, 0.0, now)
        self._learn(headers, sent, now)
        if self._is_silent and self._is_in_time(sent, retry_after):
            pause = self._unstated.refuse(sent.share, retry_after, now)
            self.paused = max(self.paused, now + pause)
            return pause
        self._unstated.drop(sent.share)
        pause = retry_after or self._backoff()
        if sent.estimate > self._tokens.limit:
            return pause  # smaller parts of it may fit now
        used_up = self._tokens.wait(sent.estimate, now) or self._requests.wait(1, now)
        for window in (self._tokens, self._requests):
            window.forget_others(now + pause)
        if not (used_up and self._tokens.is_stated):  # otherwise a smaller one may fit
            self.paused = max(self.paused, now + pause)
        if not used_up:
            self._lower(sent, self.in_flight, now)
        return pause

    def fail(self, sent: Sent, now: float, *, overloaded: bool) -> None:
        """Count a request that failed; an overloaded service gets fewer at once, and later."""
        self._end(sent, 0.0, now)
        self._unstated.drop(sent.share)
        if overloaded:
            self.paused = max(self.paused, now + self._backoff())
            self._lower(sent, self.limit * 0.7, now)

    def _is_in_time(self, sent: Sent, retry_after: float | None) -> bool:
        """Return whether a service that reports nothing limits an amount in a time.

        Otherwise it limits how many requests are under way at once.
        """
        if self._unstated.is_known or not sent.others:
            return True
        return sent.others < self._proved if retry_after is None else retry_after >= _LONG_PAUSE

    def _end(self, sent: Sent, used: float, now: float) -> None:
        self.in_flight -= 1
        self._in_flight_tokens -= sent.estimate
        self._tokens.end(sent.tokens, used, now)
        self._requests.end(sent.request, 1, now)

    def _learn(self, headers: Mapping[str, str], sent: Sent, now: float) -> None:
        self._tokens.learn(headers, sent.tokens, now)
        self._requests.learn(headers, sent.request, now)

    def _backoff(self) -> float:
        """Return the seconds to wait after failures in a row."""
        self._failures += 1
        return min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2.0 ** min(self._failures - 1, 10))

    def _lower(self, sent: Sent, limit: float, now: float) -> None:
        """Send fewer at once. The requests of one burst together reduce it by at most half."""
        if self.fixed is not None:
            return
        if sent.began > self._lowered:
            self._lowered, self._floor = now, max(1.0, self.limit / 2)
            self._calm_needed = min(_MOST_CALM, self._calm_needed * 2)
        self.limit = max(self._floor, min(self.limit, limit), 1.0)
        self._ceiling, self._calm = self.limit, 0

    def _grow(self) -> None:
        """Send more at once: fast up to the first refusal, then rarely beyond the last one."""
        if math.isinf(self._ceiling):
            self.limit = min(MOST_AT_ONCE, self.limit + 1)
            return
        self._calm += 1
        if self._calm >= self._calm_needed:
            self._calm, self._calm_needed = 0, max(_FEWEST_CALM, self._calm_needed // 2)
            self._ceiling = self.limit = min(MOST_AT_ONCE, self.limit + 1)


def _number(headers: Mapping[str, str], name: str) -> float | None:
    """Return the number in a header about rate limits, where there is one."""
    text = headers.get(f"x-ratelimit-{name}")
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < math.inf else None
