"""The pace of bulk work, in virtual time: it finds a limit, uses it up and does not exceed it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from azinfer.core import (
    APIConnectionError,
    BadRequestError,
    Embeddings,
    InferenceError,
    RateLimitError,
    RouteExhaustedError,
    ServerError,
)
from azinfer.core.bulk.pace import MOST_AT_ONCE, Pace
from azinfer.core.bulk.parts import Part
from azinfer.core.bulk.run import Run
from azinfer.core.bulk.values import BulkOptions, BulkProgress
from azinfer.local import LocalDeployment
from bulk_service import LimitedService, Simulation, TextJob, answer
from client_driver import TestClock


def texts(words: int) -> Iterator[str]:
    return ("word " * words for _ in itertools.count())


def simulate_limit(
    words: int, capacity: int = 100, latency: float = 0.08, seconds: float = 300.0, **named: Any
) -> tuple[float, float, Simulation]:
    """The share of a limit that was used, and the share of requests that were refused."""
    clock = TestClock(now=1000.0)
    service = LimitedService(LocalDeployment("embed", capacity=capacity), clock, **named)
    simulation = Simulation(service, latency=lambda: latency, clock=clock)
    simulation.results(texts(words), seconds)
    requests = service.admitted + service.refused
    share = service.used / (capacity * 1000 * seconds / 60)
    return share, service.refused / requests, simulation


@pytest.mark.parametrize(
    ("words", "latency"), [(3, 0.08), (10, 0.08), (200, 0.08), (2000, 0.08), (20, 3.0), (200, 20.0)]
)
def test_a_limit_of_tokens_is_used_up_with_few_refusals(words: int, latency: float) -> None:
    used, refused, _ = simulate_limit(words, latency=latency)
    assert 0.95 <= used <= 1.0
    assert refused < 0.02


@pytest.mark.parametrize("ratio", [0.7, 1.3])
def test_texts_may_take_other_numbers_of_tokens_than_estimated(ratio: float) -> None:
    used, refused, _ = simulate_limit(20, tokens=lambda each: int(sum(map(len, each)) / 4 * ratio))
    assert 0.95 <= used <= 1.0
    assert refused < 0.02


def test_a_service_that_says_only_what_is_left_is_used_too() -> None:
    used, refused, _ = simulate_limit(20, own=lambda name: "remaining" in name or "retry" in name)
    assert used > 0.85
    assert refused < 0.05


def test_few_requests_a_minute_have_many_texts_each() -> None:
    used, _, simulation = simulate_limit(20, capacity=1)
    assert used > 0.85
    assert max(count for _, count in simulation.sent[8:]) > 1


def test_what_others_use_is_left_to_them() -> None:
    clock = TestClock(now=1000.0)
    service = LimitedService(LocalDeployment("embed", capacity=100), clock)
    others = itertools.count()

    def respond(part: Any, now: float) -> Any:
        if next(others) % 2:  # as many tokens as this run uses
            service.take(part.items)
        return service(part, now)

    simulation = Simulation(respond, latency=lambda: 0.08, clock=clock)
    simulation.results(texts(10), 300)
    assert service.refused / (service.admitted + service.refused) < 0.06


def places(most: int, *, latency: float = 1.0) -> tuple[Callable[[Any, float], Any], list[float]]:
    """A service that serves this many requests at once and refuses others."""
    ends: list[float] = []
    refusals: list[float] = []

    def respond(part: Any, now: float) -> Embeddings | InferenceError:
        ends[:] = [end for end in ends if end > now]
        if len(ends) >= most:
            refusals.append(now)
            return RateLimitError("at capacity", status=429, retry_after=0.1)
        ends.append(now + latency)
        return answer(part.items, 10)

    return respond, refusals


@pytest.mark.parametrize("most", [1, 4, 12, 50])
def test_the_number_of_places_is_found_and_kept(most: int) -> None:
    respond, refusals = places(most)
    simulation = Simulation(respond, latency=lambda: 1.0, options=BulkOptions(batch_size=1))
    results = simulation.results(["text"] * 40 * most)
    assert all(result.value is not None for result in results)
    seconds = simulation.clock.now - 1000
    assert seconds < 40 * 1.4 + 15
    assert len(refusals) < max(16, most) + 0.05 * 40 * most
    # At the end hardly anything is refused any more.
    assert sum(at > simulation.clock.now - seconds / 2 for at in refusals) < 3 + 0.2 * most


def test_a_service_without_limits_gets_as_many_requests_as_are_useful() -> None:
    simulation = Simulation(
        lambda part, now: answer(part.items, None),
        latency=lambda: 1.0,
        options=BulkOptions(batch_size=1),
    )
    results = simulation.results(["text"] * 2000)
    assert len(results) == 2000
    assert simulation.most_at_once == MOST_AT_ONCE


def test_a_number_of_requests_at_once_is_kept_whatever_happens() -> None:
    respond, _ = places(2)
    options = BulkOptions(batch_size=1, concurrency=3)
    simulation = Simulation(respond, latency=lambda: 1.0, options=options)
    assert len(simulation.results(["text"] * 50)) == 50
    assert simulation.most_at_once == 3


def test_an_overloaded_service_gets_fewer_requests_at_once() -> None:
    failures = iter([ServerError("busy", status=503)] * 8)

    def respond(part: Any, now: float) -> Embeddings | InferenceError:
        return next(failures, None) or answer(part.items, 1)

    simulation = Simulation(respond, latency=lambda: 1.0, options=BulkOptions(batch_size=1))
    results = simulation.results(["text"] * 30)
    assert all(result.value is not None for result in results)
    assert simulation.run.progress().concurrency < 8


def test_single_failures_do_not_slow_bulk_work() -> None:
    number = itertools.count()

    def respond(part: Any, now: float) -> Embeddings | InferenceError:
        if next(number) % 10 == 9:
            return APIConnectionError("reset")
        return answer(part.items, 1)

    seconds = itertools.cycle([0.3, 0.5, 0.7])
    options = BulkOptions(batch_size=1)
    simulation = Simulation(respond, latency=lambda: next(seconds), options=options)
    results = simulation.results(["text"] * 300)
    assert all(result.value is not None for result in results)


def test_an_outage_is_waited_for_and_then_ends_the_run() -> None:
    options = BulkOptions(batch_size=1)
    simulation = Simulation(
        lambda part, now: APIConnectionError("refused") if now < 1400 else answer(part.items, 1),
        options=options,
    )
    results = simulation.results(["text"] * 50)
    assert [result.error for result in results] == [None] * 50

    simulation = Simulation(
        lambda part, now: answer(part.items, 1) if now < 1010 else APIConnectionError("refused"),
        options=options,
    )
    handed = simulation.results(texts(1))
    assert str(simulation.run.error) == "refused"
    assert {result.error for result in handed} == {None}
    assert 1610 < simulation.clock.now < 1750


def test_the_progress_says_why_and_how_long_all_requests_wait() -> None:
    reports: list[BulkProgress] = []
    errors = iter([APIConnectionError("refused")] * 9 + [limited(7.0)])

    def respond(part: Any, now: float) -> Embeddings | InferenceError:
        reports.append(simulation.run.progress())
        return next(errors, None) or answer(part.items, 1)

    simulation = Simulation(respond, options=BulkOptions(batch_size=1, concurrency=1))
    results = simulation.results(["text"] * 3)
    assert [result.error for result in results] == [None] * 3
    assert [str(each.failure) for each in reports] == [
        *["None", *["refused"] * 9, "too many (status 429)"],
        *["None"] * 2,
    ]
    assert {each.wait for each in reports} == {0.0}  # one is under way
    assert simulation.run.progress().failure is None


def test_a_failed_request_says_how_long_it_waits() -> None:
    clock = TestClock(now=1000.0)
    run = Run(TextJob(), BulkOptions(), None, clock)
    run.add(Part(0, ["text"], 2.0))
    for error, wait in ((APIConnectionError("refused"), 0.5), (limited(7.0), 7.0)):
        sent = run.next()
        assert isinstance(sent, Part)
        assert run.progress().wait == 0.0
        run.fail(sent, error)
        assert run.progress().failure is error
        assert run.progress().wait == pytest.approx(wait, abs=0.2)
        clock.now += 7.0
        assert run.progress().wait == 0.0
    sent = run.next()
    assert isinstance(sent, Part)
    run.fail(sent, BadRequestError("this text", status=400))
    assert run.progress().failure is None


def limited(after: float) -> RateLimitError:
    return RateLimitError("too many", status=429, retry_after=after)


def test_one_item_that_fails_forever_is_a_result() -> None:
    def respond(part: Any, now: float) -> Embeddings | InferenceError:
        if part.items == ["bad"]:
            return ServerError("crashed", status=500)
        return answer(part.items, 1)

    options = BulkOptions(batch_size=1)
    for items in (["bad", *["good"] * 2000], ["good", "bad"]):
        simulation = Simulation(respond, options=options)
        results = simulation.results(items)
        assert [result.item for result in results if result.error] == ["bad"]
        assert simulation.run.error is None


@pytest.mark.parametrize("after", [None, 5.0])
def test_a_limit_that_never_opens_ends_the_run(after: float | None) -> None:
    refusal = RateLimitError("too many", status=429, retry_after=after)
    simulation = Simulation(lambda part, now: refusal)
    assert simulation.results(["text"]) == []
    assert simulation.run.error is refusal
    assert simulation.clock.now > 1600


def test_a_route_without_a_free_deployment_is_waited_for() -> None:
    error = RouteExhaustedError("all are closed", retry_after=30.0)
    simulation = Simulation(
        lambda part, now: error if now < 1029 else answer(part.items, 1),
        options=BulkOptions(batch_size=1),
    )
    assert len(simulation.results(["text"] * 3)) == 3
    assert simulation.clock.now >= 1030


def test_a_quota_that_opens_tomorrow_ends_the_run_at_once() -> None:
    refusal = RateLimitError("150 a day", status=429, retry_after=40_000.0)
    simulation = Simulation(lambda part, now: refusal)
    assert simulation.results(["text"] * 4) == []
    assert simulation.run.error is refusal
    assert simulation.clock.now < 1010


def test_a_service_that_is_down_until_tomorrow_ends_the_run_at_once() -> None:
    outage = ServerError("maintenance", status=503, retry_after=86_400.0)
    simulation = Simulation(lambda part, now: outage)
    assert simulation.results(["text"] * 4) == []
    assert simulation.run.error is outage
    assert simulation.clock.now < 1010


def test_an_item_waits_no_longer_than_the_patience() -> None:
    busy = ServerError("busy", status=503, retry_after=86_400.0)
    simulation = Simulation(
        lambda part, now: busy if part.items == ["bad"] else answer(part.items, 1),
        options=BulkOptions(batch_size=1, concurrency=1),
    )
    results = simulation.results(["good", "bad"])
    assert [result.item for result in results if result.error] == ["bad"]
    assert simulation.run.error is None
    assert simulation.clock.now < 1610


def test_a_text_above_the_limit_is_a_result() -> None:
    clock = TestClock(now=1000.0)
    service = LimitedService(LocalDeployment("embed", capacity=1), clock)
    simulation = Simulation(service, clock=clock)
    results = simulation.results(["word " * 5000, "short"])
    assert {result.index: type(result.error) for result in results} == {
        0: RateLimitError,
        1: type(None),
    }


def test_odd_headers_about_limits_are_ignored() -> None:
    pace = Pace()
    sent = pace.begin(10, 0.0)
    headers = {"x-ratelimit-remaining-tokens": "-1", "x-ratelimit-limit-tokens": "many"}
    pace.succeed(sent, None, headers, 1.0)
    assert pace.wait(1e9, 1.0) == 0.0


def test_a_request_that_takes_longer_than_a_period_is_counted_once() -> None:
    pace = Pace()
    headers = {"x-ratelimit-limit-tokens": "100", "x-ratelimit-renewalperiod-tokens": "10"}
    pace.succeed(pace.begin(1, 0.0), 1, headers, 0.1)
    slow = pace.begin(60, 1.0)
    assert pace.wait(60, 1.0) > 0
    assert pace.wait(60, 20.0) == 0.0
    pace.succeed(slow, 80, headers, 20.0)
    assert pace.wait(100, 20.0) == 0.0


def test_others_that_use_everything_are_waited_for() -> None:
    pace = Pace()
    headers = {"x-ratelimit-limit-tokens": "100", "x-ratelimit-remaining-tokens": "0"}
    pace.succeed(pace.begin(1, 0.0), 1, headers, 0.1)
    assert pace.wait(50, 1.0) == pytest.approx(59.1)
    assert pace.wait(50, 61.0) == 0.0


def test_what_was_refused_goes_before_what_comes_later() -> None:
    clock = TestClock(now=1000.0)
    service = LimitedService(LocalDeployment("embed", capacity=10), clock)
    simulation = Simulation(service, options=BulkOptions(), clock=clock)
    results = simulation.results(texts(10), 120)
    # With 769 texts in a minute, the first are handed out while others wait for the limit.
    assert len(results) > 1_000
