"""Attributes of errors that other libraries and log files read."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest

from azinfer.core import APIConnectionError, InferenceError, RateLimitError
from client_driver import ClientDriver
from raw_server import RawServer, failure, reply

Ask = Callable[..., ClientDriver]


def test_an_error_has_the_attributes_that_other_libraries_read(ask: Ask, server: RawServer) -> None:
    server.will(reply(failure("429", "slow down"), 429, headers={"Retry-After": "7"}))
    with pytest.raises(RateLimitError) as caught:
        ask(max_retries=0).complete()
    error = caught.value
    assert (error.status, error.status_code) == (429, 429)
    response = error.response
    assert response is not None
    assert response.status_code == 429
    for name in ("retry-after", "Retry-After"):
        assert response.headers[name] == response.headers.get(name) == "7"
        assert name in response.headers
    assert response.headers.get("x-none", "?") == "?"
    assert "x-none" not in response.headers
    assert "slow down" in response.text
    again = pickle.loads(pickle.dumps(error))
    assert (again.status_code, again.response) == (429, response)


def test_an_error_without_a_response_has_no_status_code() -> None:
    error = APIConnectionError("no network")
    assert (error.status_code, error.response) == (None, None)


NOISE = "a\x1b[31m\r\nb\x00\x85\u2028"


@pytest.mark.parametrize(
    "error",
    [
        InferenceError(NOISE),
        InferenceError("m", code=NOISE),
        InferenceError("m", request_id=NOISE),
        InferenceError("m", deployment=NOISE),
        InferenceError("m", endpoint=NOISE),
        InferenceError("m" * 3000, code="c", status=400),
    ],
)
def test_the_text_of_an_error_has_no_control_characters(error: InferenceError) -> None:
    for text in (str(error), str(error.args[0]), error.message):
        assert text.isprintable()
    error.message = f"{NOISE} and more"
    assert str(error).isprintable()


def test_a_long_message_does_not_hide_the_facts_behind_it() -> None:
    assert str(InferenceError("m" * 3000, status=400)).endswith("… (status 400)")


def test_github_models_have_ended_for_good(ask: Ask, server: RawServer) -> None:
    text = "GitHub Models is temporarily unavailable as part of a scheduled retirement brownout."
    server.will(reply(failure("github_models_retirement_brownout", text), 410))
    with pytest.raises(
        InferenceError, match=r"brownout\. GitHub Models ended on 30 July 2026; depl"
    ):
        ask().complete()
    assert len(server.received) == 1
