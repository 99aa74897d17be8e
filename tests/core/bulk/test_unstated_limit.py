"""A limit that a service enforces and does not report, of several kinds, in virtual time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from azinfer.core import APIConnectionError, Embeddings, InferenceError, RateLimitError
from azinfer.core.bulk.unstated_limit import UnstatedLimit
from azinfer.core.bulk.values import BulkOptions
from bulk_service import Simulation, answer
from client_driver import TestClock
from limiters import FixedWindows, Limiter, SilentService, SlidingWindow, TokenBucket

LIMIT = 100_000.0  # tokens a minute
KINDS: dict[str, Callable[[], Sequence[Limiter]]] = {
    "fixed minutes": lambda: [FixedWindows(LIMIT, phase=30)],
    "fixed ten seconds": lambda: [FixedWindows(LIMIT / 6, 10)],
    "sliding minute": lambda: [SlidingWindow(LIMIT)],
    "bucket": lambda: [TokenBucket(LIMIT)],
}


def simulate(
    tokens: Sequence[Limiter] = (),
    requests: Sequence[Limiter] = (),
    *,
    words: int = 20,
    seconds: float = 300.0,
    retry_after: bool = True,
    latency: float = 0.08,
    change: float = 1.0,
) -> SilentService:
    """Return a service after so long; its limit changes in the middle."""
    clock = TestClock(now=1000.0)
    service = SilentService(clock, tokens, requests, retry_after=retry_after)

    def respond(part: Any, now: float) -> Embeddings | InferenceError:
        if now > 1000 + seconds / 2 and change != 1:
            service.change(change)
        return service(part, now)

    simulation = Simulation(respond, latency=lambda: latency, clock=clock)
    simulation.results(("word " * words for _ in itertools.count()), seconds)
    return service


def refused_share(service: SilentService) -> float:
    """Return the share of its requests that a service refused."""
    return service.refused / (service.refused + service.admitted)


@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_that_only_refuses_is_used_up_with_few_refusals(kind: str) -> None:
    service = simulate(KINDS[kind]())
    assert service.used >= 0.95 * 5 * LIMIT
    assert refused_share(service) < 0.02


def test_limits_of_tokens_in_a_minute_and_requests_in_ten_seconds_are_used_up() -> None:
    service = simulate([SlidingWindow(LIMIT)], [FixedWindows(100, 10)])
    assert service.used >= 0.95 * 5 * LIMIT
    assert refused_share(service) < 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_without_retry_after_is_used_too(kind: str) -> None:
    service = simulate(KINDS[kind](), retry_after=False)
    assert service.used >= 0.85 * 5 * LIMIT
    assert refused_share(service) < 0.03


@pytest.mark.parametrize("limiter", [FixedWindows(50, 10), FixedWindows(300, phase=17)])
def test_a_limit_of_requests_is_used_up_by_large_ones(limiter: FixedWindows) -> None:
    service = simulate(requests=[limiter], words=200, seconds=180)
    assert service.admitted >= 0.95 * 3 * 300
    assert refused_share(service) < 0.04
    assert service.used / service.admitted > 5000


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_that_becomes_smaller_is_kept(kind: str) -> None:
    service = simulate(KINDS[kind](), seconds=600, change=0.5)
    assert service.used_since(1300) >= 0.8 * 5 * LIMIT / 2
    assert refused_share(service) < 0.02


@pytest.mark.long
@pytest.mark.parametrize("kind", ["fixed minutes", "bucket"])
def test_a_limit_that_becomes_larger_is_used_some_minutes_later(kind: str) -> None:
    service = simulate(KINDS[kind](), seconds=800, change=2.0)
    assert service.used_since(1600) >= 0.9 * 200 / 60 * LIMIT * 2
    assert refused_share(service) < 0.02


def test_answers_that_take_long_come_in_larger_requests() -> None:
    service = simulate([SlidingWindow(LIMIT)], latency=10.0)
    assert service.used >= 0.85 * 5 * LIMIT
    assert refused_share(service) < 0.02


def test_a_refused_burst_counts_once() -> None:
    limit = UnstatedLimit()
    first, second = limit.begin(10, 0.0), limit.begin(10, 0.0)
    assert limit.refuse(first, 3.0, 0.5) == 3.0
    assert limit.refuse(second, 5.0, 0.6) == 5.0
    assert limit.wait(10, 1.0) == pytest.approx(4.6)
    assert limit.wait(10, 5.6) == 0.0


def test_a_refused_burst_without_retry_after_is_waited_for_once() -> None:
    limit = UnstatedLimit()
    first, second = limit.begin(10, 0.0), limit.begin(10, 0.0)
    assert limit.refuse(first, None, 0.5) == 1.0
    assert limit.refuse(second, None, 0.75) == 0.75


def test_smaller_requests_show_that_requests_are_limited() -> None:
    limit = UnstatedLimit()
    for began, tokens in ((0.0, 1000), (60.0, 100)):
        for at in range(20):
            limit.admit(limit.begin(tokens, began + at / 4), tokens, began + at / 4)
        limit.refuse(limit.begin(tokens, began + 10), 50.0, began + 10)
    assert limit.best_tokens < 1000
    limit.admit(limit.begin(100, 120.0), 100, 120.0)
    # There were 20 a minute both times: large requests use more of this limit.
    assert limit.rate == pytest.approx(20 / 60, rel=0.1)
    assert limit.best_tokens > 10_000


def test_one_request_shows_whether_the_service_admits_again() -> None:
    limit = UnstatedLimit()
    limit.admit(limit.begin(100, 0.0), 100, 0.1)
    assert limit.refuse(limit.begin(10, 1.0), None, 1.0) == 1.0
    probe = limit.begin(10, 2.0)
    assert limit.wait(10, 2.5) == pytest.approx(0.5)
    limit.drop(probe)  # its connection was lost
    assert limit.wait(10, 2.5) == 0.0
    limit.begin(10, 2.5)
    # A second later it has not been refused: its answer only takes long.
    assert limit.wait(10, 3.5) == 0.0
    assert 10 <= limit.rate < 20  # about 100 tokens in ten seconds


def test_consecutive_refusals_are_waited_for_longer_and_longer() -> None:
    limit = UnstatedLimit()
    now, pauses = 0.0, []
    for _ in range(9):
        pauses.append(limit.refuse(limit.begin(1000, now), None, now))
        now += pauses[-1]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert limit.best_tokens == 250


def test_a_rate_that_is_not_the_reason_to_wait_stays() -> None:
    limit = UnstatedLimit()
    limit.admit(limit.begin(600, 0.0), 600, 0.1)
    limit.refuse(limit.begin(10, 1.0), 59.0, 1.0)
    limit.admit(limit.begin(1, 60.0), 1, 60.1)
    rate = limit.rate
    for now in range(100, 1000, 50):
        assert limit.wait(1, float(now)) == 0.0
    assert limit.rate == rate


def test_places_without_retry_after_are_not_taken_for_a_rate() -> None:
    ends: list[float] = []

    def respond(part: Any, now: float) -> Embeddings | InferenceError:
        ends[:] = [end for end in ends if end > now]
        if len(ends) >= 4:
            return RateLimitError("at capacity", status=429)
        ends.append(now + 1.0)
        return answer(part.items, 10)

    simulation = Simulation(respond, latency=lambda: 1.0, options=BulkOptions(batch_size=1))
    results = simulation.results(["text"] * 200)
    assert all(result.value is not None for result in results)
    assert simulation.clock.now - 1000 < 100


def test_failures_of_another_kind_do_not_count() -> None:
    number = itertools.count()
    clock = TestClock(now=1000.0)
    service = SilentService(clock, [SlidingWindow(LIMIT)])

    def respond(part: Any, now: float) -> Embeddings | InferenceError:
        if next(number) % 10 == 9:
            return APIConnectionError("reset")
        return service(part, now)

    simulation = Simulation(respond, latency=lambda: 0.08, clock=clock)
    simulation.results(("word " * 20 for _ in itertools.count()), 200)
    assert service.used >= 0.85 * 200 / 60 * LIMIT
