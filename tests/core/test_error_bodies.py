"""Error bodies in all forms in which services, proxies and gateways send them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from azinfer.core import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ContentFilterError,
    ContextLengthExceededError,
    DeploymentNotFoundError,
    InferenceError,
    RateLimitError,
    ServerError,
    UnsupportedParameterError,
)
from azinfer.core.error_bodies import read_error
from azinfer.core.error_responses import from_response, with_advice
from client_driver import ClientDriver
from raw_server import RawServer, chat, events, part, reply, stream

Ask = Callable[..., ClientDriver]

FILTERED = {"violence": {"filtered": True, "severity": "high"}, "hate": {"filtered": False}}
RAI = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": FILTERED}
SENTENCE = "The prompt was filtered."
BOM = "\ufeff"
EXTRA = {
    "type": "extra_forbidden",
    "loc": ("body", "stream_options"),
    "msg": "Extra inputs are not permitted",
    "input": {"include_usage": True},
}
VLLM = repr([{**EXTRA, "ctx": {"error": 1}}]).replace("'error': 1", "'error': ValueError('x')")
FULL = {"error": {"message": "It's full.", "code": "rate_limit_exceeded"}}
EXTRA_TEXT = "body.stream_options: Extra inputs are not permitted"


def error(message: Any, **more: Any) -> str:
    return json.dumps({"error": {"message": message, **more}})


# The status, the body, and what they mean: class, code, message, param.
Meaning = tuple[int, str, type[InferenceError], str, str, str | None]
MEANINGS: dict[str, Meaning] = {
    "a byte-order mark in front": (
        400, BOM + error("No.", code="x"), BadRequestError, "x", "No.", None,
    ),
    "a help sentence and a URL behind": (
        404,
        error("Gone.", code="DeploymentNotFound") + "\nFor help see https://help.example/{id}?a=[1]",
        DeploymentNotFoundError,
        "DeploymentNotFound",
        "Gone.",
        None,
    ),
    "a text in front": (
        429,
        "upstream said: " + error("Slow down.", code="too_many_requests"),
        RateLimitError,
        "too_many_requests",
        "Slow down.",
        None,
    ),
    "JSON inside the message": (
        400, error(error(SENTENCE, innererror=RAI)), ContentFilterError,
        "ResponsibleAIPolicyViolation", SENTENCE, None,
    ),
    "JSON two messages deep": (
        400, error(error(error("Deep.", code="invalid_prompt", param="input"))),
        BadRequestError, "invalid_prompt", "Deep.", "input",
    ),
    "JSON behind a proxy's words": (
        400,
        error(f"litellm.BadRequestError: AzureException - {error('Deep.', param='n')}", code="400"),
        BadRequestError, "400", "Deep.", "n",
    ),
    "a printed dictionary behind a proxy's words": (
        429,
        error(f"Error code: 429 - {FULL!r}"),
        RateLimitError, "rate_limit_exceeded", "It's full.", None,
    ),
    "a printed list of validation errors": (
        400, json.dumps({"object": "error", "message": VLLM, "code": 400}),
        UnsupportedParameterError, "400", EXTRA_TEXT, "stream_options",
    ),
    "a list of details": (
        422, json.dumps({"detail": [{"loc": ["body", "temperature"], "msg": "Too high"}]}),
        BadRequestError, "422", "body.temperature: Too high", "temperature",
    ),
    "an object as the detail": (
        400, json.dumps({"detail": {"code": "invalid_prompt", "message": "No."}}),
        BadRequestError, "invalid_prompt", "No.", None,
    ),
    "a list of errors": (
        400, json.dumps({"errors": [{"code": "unknown_model", "message": "Which?"}]}),
        DeploymentNotFoundError, "unknown_model", "Which?", None,
    ),
    "LiteLLM's own fields": (
        400, error(SENTENCE, code="400", provider_specific_fields={"innererror": RAI}),
        ContentFilterError, "ResponsibleAIPolicyViolation", SENTENCE, None,
    ),
    "only the innermost code says it": (
        400, error(SENTENCE, code="400", innererror=RAI), ContentFilterError,
        "ResponsibleAIPolicyViolation", SENTENCE, None,
    ),
    "the innermost code under a general type": (
        400, error(SENTENCE, type="invalid_request_error", code=None, inner_error=RAI),
        ContentFilterError, "ResponsibleAIPolicyViolation", SENTENCE, None,
    ),
    "a message beside the error": (
        500, json.dumps({"message": "Failed.", "error": {"message": "Disk full.", "code": "z"}}),
        ServerError, "z", "Disk full.", None,
    ),
    "an error without a text beside a message": (
        500, json.dumps({"message": "Request failed.", "error": {"code": "z"}}),
        ServerError, "z", "Request failed.", None,
    ),
    "a code as the error": (
        401, json.dumps({"error": "invalid_token", "error_description": "It expired."}),
        AuthenticationError, "invalid_token", "It expired.", None,
    ),
    "a fault": (
        429, json.dumps({"fault": {"faultstring": "Quota.", "detail": {"errorcode": "a.quota"}}}),
        RateLimitError, "a.quota", "Quota.", None,
    ),
    "a message that contains a schema": (
        400, error("Invalid schema: {'title': 'Person', 'type': 'object'}", code="bad"),
        BadRequestError, "bad", "Invalid schema: {'title': 'Person', 'type': 'object'}", None,
    ),
    "JSON that is cut": (
        429, '{"error":{"code":"429","message":"Slow \\"down\\" now', RateLimitError, "429",
        'Slow "down" now', None,
    ),
    "JSON that is cut inside an escape": (
        500, '{"message":"a\\', ServerError, "500", "a", None,
    ),
    "JSON of something else": (400, '["a"]', BadRequestError, "400", "HTTP status 400", None),
}  # fmt: skip
for field in ("message", "msg", "title", "reason", "fault", "Message", "detail"):
    MEANINGS[f"a flat object with {field}"] = (
        500, json.dumps({field: "It broke.", "code": "z"}), ServerError, "z", "It broke.", None,
    )  # fmt: skip


@pytest.mark.parametrize("name", MEANINGS)
def test_an_error_body_is_read_at_every_depth(name: str) -> None:
    status, body, kind, code, message, param = MEANINGS[name]
    failure = from_response(status, {}, body.encode())
    assert type(failure) is kind
    assert (failure.status, failure.code, failure.param) == (status, code, param)
    assert failure.message.startswith(message)
    assert "{" not in failure.message.removeprefix(message)
    if isinstance(failure, ContentFilterError):
        assert failure.categories == {"violence": "high"}


# The code, the status of the response, and the class and status of the error.
KINDS: list[tuple[str, int, type[InferenceError], int]] = [
    ("rate_limit_exceeded", 400, RateLimitError, 400),
    ("rate_limit_exceeded", 200, RateLimitError, 429),
    ("too_many_requests", 200, RateLimitError, 429),
    ("TooManyRequests", 500, RateLimitError, 500),
    ("server_error", 200, ServerError, 500),
    ("server_error", 400, ServerError, 400),
    ("internal_error", 200, ServerError, 500),
    ("InternalServerError", 400, ServerError, 400),
    ("server_is_overloaded", 200, ServerError, 503),
    ("overloaded_error", 200, ServerError, 529),
    ("invalid_prompt", 200, BadRequestError, 400),
    ("invalid_prompt", 500, ServerError, 500),
    ("insufficient_quota", 200, RateLimitError, 200),
    ("insufficient_quota", 403, RateLimitError, 403),
    ("context_length_exceeded", 200, ContextLengthExceededError, 400),
    ("content_filter", 500, ContentFilterError, 500),
    ("BadRequest", 401, AuthenticationError, 401),
    ("BadRequest", 429, RateLimitError, 429),
    ("429", 200, RateLimitError, 429),
    ("429", 400, RateLimitError, 400),
    ("503", 200, ServerError, 503),
    ("a_code_of_tomorrow", 200, ServerError, 200),
    ("a_code_of_tomorrow", 400, BadRequestError, 400),
    ("a_code_of_tomorrow", 500, ServerError, 500),
]


@pytest.mark.parametrize("field", ["code", "type"])
@pytest.mark.parametrize(("code", "status", "kind", "means"), KINDS)
def test_the_kind_comes_from_the_code_then_the_type_then_the_status(
    field: str, code: str, status: int, kind: type[InferenceError], means: int
) -> None:
    if field == "type" and code.isdecimal():
        pytest.skip("a type is a name")
    failure = from_response(status, {}, error("No.", **{field: code}).encode())
    assert (type(failure), failure.status) == (kind, means)


def test_the_code_counts_more_than_the_type() -> None:
    body = error("No.", code="rate_limit_exceeded", type="invalid_request_error")
    assert isinstance(from_response(200, {}, body.encode()), RateLimitError)


UNDER_200 = {
    "an error": {"error": {"message": "no"}},
    "a list of errors": [{"error": {"message": "no"}}],
    "a flat error": {"code": "z", "message": "no"},
    "an error of vLLM": {"object": "error", "message": "no"},
    "a detail": {"detail": "no"},
    "a status in the body": {"status": 503, "title": "no"},
    "a fault": {"fault": {"faultstring": "no"}},
}


@pytest.mark.parametrize("name", UNDER_200)
def test_an_unknown_error_under_200_is_sent_again(ask: Ask, server: RawServer, name: str) -> None:
    server.will(reply(UNDER_200[name]), reply(chat()))
    assert ask().complete().text == "hello"
    server.will(reply(UNDER_200[name]))
    with pytest.raises(ServerError, match="no") as caught:
        ask().complete()
    assert (caught.value.attempts, len(server.received)) == (3, 5)


@pytest.mark.parametrize("start", [BOM, "\n  ", f"\r\n{BOM} "])
def test_an_answer_after_a_byte_order_mark_is_read(ask: Ask, server: RawServer, start: str) -> None:
    server.will(reply(start + json.dumps(chat())))
    assert ask().complete().text == "hello"
    assert ask().stream().text == "hello"
    server.will(stream(start.encode() + events(part("hello", "stop"))))
    assert ask().complete().text == "hello"
    vector = {"data": [{"index": 0, "embedding": [1.0]}]}
    server.will(reply(start + json.dumps(vector)))
    assert ask().embed("a").vectors[0].tolist() == [1.0]


HUGE = [
    error("a" * 5_000_000),
    error("{'a': [" * 700_000),
    "<p>" * 1_700_000,
    "[" * 5_000_000,
    '{"message":"' + "a" * 5_000_000,
    "x " * 2_500_000,
]


@pytest.mark.parametrize("body", HUGE, ids=range(len(HUGE)))
def test_only_the_beginning_of_a_huge_error_is_looked_at(body: str) -> None:
    assert len(read_error(body.encode()).message) <= 20_000
    failure = from_response(500, {}, body.encode())
    assert len(str(failure)) < 1600
    assert isinstance(failure, ServerError)


def test_advice_follows_a_long_message() -> None:
    failure = from_response(401, {}, error("a" * 5000).encode())
    assert isinstance(failure, APIStatusError)
    assert failure.message.endswith("belongs to this endpoint.")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"title": '{"error": {"message": "Inside."}}', "error": "Outside."}, "Outside."),
        ('Gateway: {\\n "message": "No brackets fit here."', "No brackets fit here."),
        ('{"message": "A bad \\q escape, and cut', "A bad \\q escape, and cut"),
    ],
)
def test_a_body_that_is_hardly_json_still_gives_its_sentence(body: Any, message: str) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    assert message in from_response(500, {}, text.encode()).message


def test_advice_that_a_message_gives_already_is_not_repeated() -> None:
    assert with_advice("No. Wait a minute.", "Wait a minute.") == "No. Wait a minute."
