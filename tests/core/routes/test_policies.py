"""Policies: they are checked when they are created, and classify errors."""

from __future__ import annotations

from typing import Any

import pytest

from azinfer.core import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ContentFilterError,
    ContextLengthExceededError,
    DeploymentNotFoundError,
    InferenceError,
    InvalidResponseError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
    UnsupportedParameterError,
)
from azinfer.core.routes.breaker import Failure
from azinfer.core.routes.failover import failure_of, moves_on
from azinfer.core.routes.policy import Policy


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("attempts", 0, "must be a whole number of at least 1, not 0"),
        ("failures", 1.5, "must be a whole number of at least 1, not 1.5"),
        ("wait", -1, "must be a number of at least 0, not -1"),
        ("pause", 0, "must be a number of at least 0.001, not 0"),
        ("hedge", 0, "must be a number of at least 0.001, not 0"),
        ("hedge", True, "not True"),
        ("hedge_share", 2, "must be a number of at least 0 and at most 1, not 2"),
        ("retry_after", float("nan"), "not nan"),
        ("affinity", "user", '\'user\' is unknown; choose "key" or "prefix" or "off"'),
        ("on_filter", "resend", 'choose "raise" or "next"'),
        ("service_spillover", 1, "must be True or False, not 1"),
    ],
)
def test_a_wrong_field_is_named(field: str, value: Any, reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Policy(**{field: value})
    assert caught.value.message.startswith(f"policy {field}: ")
    assert reason in caught.value.message
    assert caught.value.param == field


def test_hedging_may_be_off_or_on() -> None:
    assert Policy().hedge is None
    assert Policy(hedge=0.25).hedge == 0.25


STOPS = [
    BadRequestError("x", status=400),
    UnsupportedParameterError("x", status=400),
    ContextLengthExceededError("x", status=400),
    ContentFilterError("x", status=400),
    ServerError("x", status=501),
    ConfigurationError("x"),
]
MOVES = [
    RateLimitError("x", status=429),
    ServerError("x", status=503),
    APIConnectionError("x"),
    APITimeoutError("x"),
    InvalidResponseError("x"),
    AuthenticationError("x", status=401),
    PermissionDeniedError("x", status=403),
    DeploymentNotFoundError("x", status=404),
]


@pytest.mark.parametrize("error", STOPS, ids=lambda error: type(error).__name__)
def test_a_refused_request_goes_nowhere_else(error: InferenceError) -> None:
    assert not moves_on(error, Policy())


@pytest.mark.parametrize("error", MOVES, ids=lambda error: type(error).__name__)
def test_a_failed_deployment_is_replaced(error: InferenceError) -> None:
    assert moves_on(error, Policy())


def test_a_refused_prompt_is_sent_elsewhere_only_by_policy() -> None:
    refused = ContentFilterError("x", status=400)
    assert moves_on(refused, Policy(on_filter="next"))
    assert failure_of(refused) is None


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (RateLimitError("x", status=429, retry_after=7), Failure("429", True, 7)),
        (ServerError("x", status=503), Failure("503")),
        (ServerError("x", status=503, retry_after=3), Failure("503", True, 3)),
        (APITimeoutError("x"), Failure("APITimeoutError")),
        (StreamInterruptedError("x"), Failure("stream broke", True)),
        (DeploymentNotFoundError("x", status=404), Failure("404", True, 30.0)),
        (KeyError("x"), None),
    ],
)
def test_only_failures_count_against_a_deployment(
    error: Exception, failure: Failure | None
) -> None:
    assert failure_of(error) == failure
