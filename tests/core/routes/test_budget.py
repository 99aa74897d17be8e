"""Budgets: a deployment gets as many requests and tokens as the service allows."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azinfer.core.routes.budget import Budget, Window


def test_a_window_has_room_again_once_the_slice_of_a_use_is_over() -> None:
    window = Window(3, 10.0).after_use(2, 100.5)
    assert window.remaining(105.0) == 1
    assert window.wait(1, 105.0) == 0.0
    assert window.wait(2, 105.0) == pytest.approx(6.0)
    assert window.wait(4, 105.0) == math.inf
    assert window.remaining(111.0) == 3


def test_a_use_is_corrected_in_its_own_slice() -> None:
    window = Window(100, 60.0).after_use(50, 120.0).after_use(-30, 121.0, 120.0)
    assert window.remaining(121.0) == 80
    assert window.after_use(-500, 121.0, 120.0).remaining(121.0) == 100
    assert window.after_use(9, 1000.0, 120.0) == window


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 4), st.integers(1, 5)), max_size=60),
    st.integers(5, 12),
    st.sampled_from([10.0, 60.0, 1.0]),
)
def test_no_period_has_more_than_the_limit(
    request: list[tuple[float, int]], limit: int, period: float
) -> None:
    window, now = Window(limit, period), 0.0
    admitted: list[tuple[float, int]] = []
    for pause, amount in request:
        now += pause
        if window.wait(amount, now) == 0:
            window = window.after_use(amount, now)
            admitted.append((now, amount))
    for begin, _ in admitted:
        assert sum(n for at, n in admitted if begin <= at < begin + period) <= limit


@settings(deadline=None)
@given(st.lists(st.floats(0, 3), max_size=30), st.integers(1, 4), st.floats(0, 1e6))
def test_after_the_wait_there_is_room(pauses: list[float], limit: int, start: float) -> None:
    window, now = Window(limit, 10.0), start
    for pause in pauses:
        now += pause
        waits = 0
        while wait := window.wait(1, now):
            now += wait
            waits += 1
        assert waits <= 2
        window = window.after_use(1, now)


def test_the_remaining_quota_of_the_service_counts_if_it_is_lower() -> None:
    budget = Budget(Window(10, 10.0), Window(1000, 60.0)).after_begin(100, 5.0)
    results = {"x-ratelimit-remaining-requests": "4", "x-ratelimit-remaining-tokens": "950"}
    corrected = budget.after_response(results, 5.0)
    assert corrected.requests is not None
    assert corrected.tokens is not None
    assert corrected.requests.remaining(5.0) == 4
    assert corrected.tokens.remaining(5.0) == 900
    assert corrected.after_response({"x-ratelimit-remaining-requests": "what"}, 5.0) == corrected
    assert corrected.after_response({"x-ratelimit-remaining-requests": "-1"}, 5.0) == corrected


def test_the_quota_of_what_is_not_limited_changes_nothing() -> None:
    budget = Budget(None, Window(1000, 60.0))
    assert budget.after_response({"x-ratelimit-remaining-requests": "4"}, 5.0) == budget


def test_an_empty_quota_pauses_until_the_reset() -> None:
    results = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "7"}
    budget = Budget().after_response(results, 5.0)
    assert budget.wait(1, 6.0) == 6.0
    assert budget.wait(1, 12.0) == 0.0
    assert Budget().after_response({"x-ratelimit-remaining-tokens": "0"}, 5.0) == Budget()


def test_an_estimate_is_settled_by_the_usage() -> None:
    budget = Budget(None, Window(1000, 60.0)).after_begin(600, 5.0)
    assert budget.wait(500, 6.0) > 0
    settled = budget.after_usage(600, 200, 5.0, 6.0)
    assert settled.wait(500, 6.0) == 0.0
    assert settled.after_usage(200, 200, 5.0, 6.0) is settled
    assert Budget().after_usage(600, 200, 5.0, 6.0) == Budget()
    assert Budget().after_begin(10, 5.0) == Budget()
    assert Budget(Window(1, 10.0)).after_begin(10, 5.0).wait(1, 5.0) > 0
