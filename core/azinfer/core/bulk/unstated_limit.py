"""The limit of a service that refuses requests (429) and does not say how much it admits.

Its rate follows from what was admitted between two moments at which it was used up. Requests are
then sent evenly, a little slower: a steady stream fits fixed windows, sliding windows and buckets
alike. The rate grows slowly until the next refusal, which corrects it. After a refusal one request
shows whether the service admits again.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

# Without a limit: the most tokens of a request, so that little is unused when one is refused, and
# those under way, where few would be refused together.
_FIRST_SIZE, _FIRST_UNDER_WAY, _SHARE_UNDER_WAY = 16_000.0, 120_000.0, 0.2
# A request has this share of a minute, so that a refusal is one of many, but not fewer tokens.
_SHARES, _SMALLEST = 250, 250.0
_MANY_AT_ONCE = 24  # requests under way that are enough, if answers take long
# The periods of limits: ten seconds and a minute. Source: "Manage Azure OpenAI quota".
_SHORT, _LONG = 10.0, 60.0
_SHORTEST = 0.001  # seconds to wait, whatever the clock's resolution
_STEP = 0.25  # seconds whose amounts are added up
# Seconds after which the service has decided on a request that is under way.
_DECIDED = 1.0
# After so many seconds without a refusal, a rate that is above the measured one by less than this
# factor was too high by little.
_CALM, _NEARLY, _STEP_BACK = 20.0, 1.15, 0.98
_MARGIN = 0.012  # how much slower than the measured rate
_CREDIT = 0.25  # seconds of the rate that may be sent later than planned
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
# The growth of the rate: how often, by how much, and how fast that increases.
_TICK, _SHORT_TICK, _REQUESTS_OF_A_TICK = 5.0, 2.0, 12
_LEAST_GROWTH, _MOST_GROWTH, _GROWTH = 0.001, 0.25, 1.3
_USED_UP = 0.8  # the share of the rate that was used, if it was the reason to wait
_DIFFERENT, _SIMILAR = 2.0, 1.3  # factors between two measurements


@dataclass(slots=True)
class _Sum:
    """What was sent in a step of time and is not refused."""

    at: float
    tokens: float = 0.0
    requests: int = 0


@dataclass(slots=True)
class Share:
    """The part of the limit that a request takes."""

    at: float
    tokens: float
    requests: int
    sum: _Sum


@dataclass(slots=True)
class _Closed:
    """A time in which the service refuses.

    Attributes:
        began: When the first refusal came.
        since: When the last one came.
        until: When the next request is sent.
        is_known: Whether the service has set that time.
        failures: How many requests were refused in a row.
        probe: The request that shows whether it is over.
    """

    began: float
    since: float
    until: float
    is_known: bool
    failures: int = 0
    probe: Share | None = None


@dataclass(slots=True)
class _Measured:
    """What was admitted between two moments at which the limit was used up.

    Attributes:
        tokens: The tokens a second.
        requests: The requests a second.
        count: The number of requests.
        span: The seconds between the moments.
        is_minute: Whether the service refused for so long that it limits a minute.
        is_guess: Whether the span is not known.
    """

    tokens: float
    requests: float
    count: int
    span: float
    is_minute: bool
    is_guess: bool


class UnstatedLimit:
    """Find a limit by its refusals, and stay a little below it.

    Attributes:
        rate: The tokens, or the requests, that are sent in a second; infinite before a refusal.
    """

    def __init__(self) -> None:
        self.rate = math.inf
        self._by_request = False
        self._size = _FIRST_SIZE
        self._sums: deque[_Sum] = deque()
        self._admitted = self._under_way = 0.0
        self._since: float | None = None
        self._measured: _Measured | None = None
        self._closed: _Closed | None = None
        self._refused_at = -math.inf
        self._level = self._level_at = 0.0
        self._growth, self._tick, self._grown_at = _LEAST_GROWTH, _TICK, 0.0
        self._sent_in_tick = self._seconds = 0.0

    @property
    def best_tokens(self) -> float:
        """The most tokens of one request, so that the limit can be used up."""
        if self._by_request or math.isinf(self.rate):
            return self._size
        least = max(_SMALLEST, self.rate * self._seconds / _MANY_AT_ONCE)
        return max(least, min(self._size, self.rate * _LONG / _SHARES))

    @property
    def is_known(self) -> bool:
        """Whether a refusal has shown the limit."""
        return math.isfinite(self.rate) or self._closed is not None

    def wait(self, tokens: float, now: float) -> float:
        """Return the seconds until a request may be sent; infinite: after another has ended."""
        if self._closed is not None:
            if now < self._closed.until:
                return max(_SHORTEST, self._closed.until - now)
            if self._closed.probe is None:
                return 0.0
            if now < self._closed.probe.at + _DECIDED:
                return max(_SHORTEST, self._closed.probe.at + _DECIDED - now)
            self._open(self._closed, self._closed.probe)
        if math.isinf(self.rate):
            most = max(_FIRST_UNDER_WAY, _SHARE_UNDER_WAY * self._admitted)
            full = self._under_way and self._under_way + tokens > most
            return math.inf if full else 0.0
        self._grow(now)
        self._refill(now)
        return max(_SHORTEST, -self._level / self.rate) if self._level < 0 else 0.0

    def begin(self, tokens: float, now: float) -> Share:
        """Count a request that is sent now."""
        if self._since is None:
            self._since = now
        step = now // _STEP * _STEP
        if not self._sums or self._sums[-1].at < step:
            self._sums.append(_Sum(step))
        while self._sums[0].at < now - 2 * _LONG:
            self._sums.popleft()
        share = Share(now, tokens, 1, self._sums[-1])
        self._add(share, 1)
        self._under_way += tokens
        if self._closed is not None:
            self._closed.probe = share
        return share

    def admit(self, share: Share, tokens: float, now: float) -> None:
        """Count an answer with the tokens that it took."""
        self._seconds += 0.2 * (now - share.at - self._seconds)
        self._under_way -= share.tokens
        self._add(share, -1)
        share.tokens = tokens
        self._add(share, 1)
        self._admitted += tokens
        if self._closed is not None and self._closed.probe is share:
            self._open(self._closed, share)

    def drop(self, share: Share) -> None:
        """Count nothing for a request that failed."""
        self._under_way -= share.tokens
        self._add(share, -1)
        share.tokens, share.requests = 0.0, 0
        if self._closed is not None and self._closed.probe is share:
            self._closed.probe = None

    def refuse(self, share: Share, retry_after: float | None, now: float) -> float:
        """Count a refusal; return the seconds in which nothing is sent."""
        tokens = share.tokens
        self.drop(share)
        closed = self._closed
        if share.at <= self._refused_at and closed is not None:  # of the same burst
            if retry_after is not None:
                closed.until = max(closed.until, now + retry_after)
            return closed.until - now
        failures = 0 if closed is None else closed.failures + 1
        pause = retry_after or min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failures, 10))
        began = now if closed is None else closed.began
        self._closed = _Closed(began, now, now + pause, retry_after is not None, failures)
        self._refused_at = now
        if not self._admitted or failures > 1:  # perhaps it is larger than the limit
            self._size = max(_SMALLEST, min(self._size, tokens / 4))
        return pause

    def _add(self, share: Share, sign: int) -> None:
        share.sum.tokens += sign * share.tokens
        share.sum.requests += sign * share.requests
        amount = sign * (share.requests if self._by_request else share.tokens)
        self._level -= amount
        self._sent_in_tick += amount

    def _open(self, closed: _Closed, probe: Share) -> None:
        """Learn from a request that was admitted after refusals."""
        assert self._since is not None
        self._closed = None
        at = probe.at if closed.is_known else (closed.since + probe.at) / 2
        start = max(self._since, at - _LONG)
        span = max(at - start, _STEP)
        is_minute = at - closed.began > 1.2 * _SHORT  # no other limit is closed for so long
        is_guess = not is_minute and math.isinf(self.rate) and at - self._since <= 1.5 * _SHORT
        if is_minute:
            late = 1.0 if closed.is_known else (probe.at - closed.since) / 2
            start, span = at - _LONG - late, _LONG  # a wait is in whole seconds
        elif is_guess:  # it may have begun in the middle of a period, or with a full bucket
            span = _SHORT
        sums = [each for each in self._sums if start - _STEP < each.at <= at]
        own = probe.sum.at <= at  # then the request itself is among them
        tokens = sum(each.tokens for each in sums) - own * probe.tokens
        count = sum(each.requests for each in sums) - own * probe.requests
        if count > 0 and tokens > 0:
            self._learn(_Measured(tokens / span, count / span, count, span, is_minute, is_guess))
        self._since = at
        self._level = -(1.0 if self._by_request else probe.tokens)
        self._level_at = self._grown_at = probe.at
        self._sent_in_tick = 0.0

    def _learn(self, measured: _Measured) -> None:
        """Set the rate to one that was measured, and its growth by how exact that is."""
        before, self._measured = self._measured, None if measured.is_guess else measured
        if before is not None and measured.count > 2:
            self._choose_unit(before, measured)
        rate = measured.requests if self._by_request else measured.tokens
        doubt = min(1.0, 1 / measured.count + 1 / measured.span)
        refused_at = self.rate
        self.rate = rate * (1 + doubt / 2 - _MARGIN)
        if math.isfinite(refused_at) and not measured.is_minute:
            self.rate = min(self.rate, math.sqrt(rate * refused_at), refused_at * (1 - _MARGIN))
            if measured.span >= _CALM and refused_at < _NEARLY * rate:  # it was nearly right
                self.rate = max(self.rate, refused_at * _STEP_BACK)
        self._growth = min(_MOST_GROWTH, max(_LEAST_GROWTH, doubt * doubt / 2, doubt / 20))
        size = min(measured.tokens / measured.requests, self.best_tokens)
        even = _REQUESTS_OF_A_TICK * (1.0 if self._by_request else size) / self.rate
        self._tick = max(_TICK, even) if doubt < 0.1 else _SHORT_TICK
        if measured.is_minute:  # in which nothing shows whether it is more
            self._growth, self._tick = _LEAST_GROWTH, max(_TICK, even)

    def _choose_unit(self, before: _Measured, now: _Measured) -> None:
        """Decide whether tokens or requests are limited, by two sizes of requests."""
        tokens = _factor(before.tokens, now.tokens)
        requests = _factor(before.requests, now.requests)
        by_request = requests < _SIMILAR and tokens > _DIFFERENT
        by_tokens = tokens < _SIMILAR and requests > _DIFFERENT
        if by_request != self._by_request and (by_request or by_tokens):
            self._by_request = by_request
            self.rate = math.inf

    def _grow(self, now: float) -> None:
        """Raise the rate from time to time, if it is the reason to wait."""
        passed = now - self._grown_at
        if passed < self._tick:
            return
        if self._sent_in_tick >= _USED_UP * self.rate * passed:
            self._refill(now)
            self.rate *= 1 + self._growth
            self._growth = min(_MOST_GROWTH, self._growth * _GROWTH)
        self._grown_at, self._sent_in_tick = now, 0.0

    def _refill(self, now: float) -> None:
        self._level = min(self._level + (now - self._level_at) * self.rate, self.rate * _CREDIT)
        self._level_at = now


def _factor(one: float, other: float) -> float:
    """Return how many times the larger of two amounts is the smaller one."""
    return max(one, other) / max(1e-9, min(one, other))
