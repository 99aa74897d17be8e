"""Unknown fields of requests: they are accepted, with a hint in the response, log and page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from azinfer.local import LocalEndpoint

CHAT: dict[str, Any] = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
CHATS = (
    "/openai/v1/chat/completions",
    "/openai/deployments/chat/chat/completions",
    "/models/chat/completions",
)
VERSION = {"api-version": "2024-10-21"}


@pytest.fixture
def endpoint(azinfer_endpoint: LocalEndpoint) -> Iterator[LocalEndpoint]:
    yield azinfer_endpoint
    azinfer_endpoint.reset()


def post(endpoint: LocalEndpoint, path: str, body: Any, **headers: str) -> httpx.Response:
    return httpx.post(
        endpoint.url + path, json=body, headers={"api-key": endpoint.key, **headers}, params=VERSION
    )


@pytest.mark.parametrize("path", CHATS)
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("temprature", "temperature"),
        ("max_token", "max_tokens"),
        ("tool_choise", "tool_choice"),
        ("streams", "stream"),
        ("response_fromat", "response_format"),
    ],
)
def test_a_misspelt_field_is_pointed_out(
    endpoint: LocalEndpoint, path: str, name: str, meant: str
) -> None:
    answer = post(endpoint, path, {**CHAT, name: 1})
    assert answer.status_code == 200
    hint = f"unknown field {name!r} (did you mean {meant!r}?), which strict mode refuses"
    assert answer.headers["x-azinfer-hint"] == hint
    assert [each.hint for each in endpoint.requests] == [hint]


@pytest.mark.parametrize(
    ("path", "body", "meant"),
    [
        ("/openai/v1/embeddings", {"model": "embed", "input": "a", "dimension": 3}, "dimensions"),
        (
            "/openai/v1/responses",
            {"model": "chat", "input": "a", "instruction": ""},
            "instructions",
        ),
        (
            "/anthropic/v1/messages",
            {**CHAT, "max_tokens": 9, "stop_sequence": []},
            "stop_sequences",
        ),
        ("/openai/deployments/chat/completions", {"prompt": "a", "temprature": 0}, "temperature"),
    ],
)
def test_every_operation_points_misspelt_fields_out(
    endpoint: LocalEndpoint, path: str, body: Any, meant: str
) -> None:
    hint = post(endpoint, path, body).headers["x-azinfer-hint"]
    assert f"(did you mean {meant!r}?)" in hint


@pytest.mark.parametrize("stream", [False, True])
def test_fields_of_other_servers_get_no_suggestion(endpoint: LocalEndpoint, stream: bool) -> None:
    body = {**CHAT, "stream": stream, "top_k": 3, "min_p": 0.1}
    hint = post(endpoint, CHATS[0], body).headers["x-azinfer-hint"]
    assert hint == "unknown fields 'min_p', 'top_k', which strict mode refuses"


def test_a_field_of_the_service_without_effect_is_pointed_out(endpoint: LocalEndpoint) -> None:
    hint = post(endpoint, CHATS[0], {**CHAT, "functions": []}).headers["x-azinfer-hint"]
    assert hint == "unknown field 'functions' (the service has it), which strict mode refuses"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt_cache_key", "low"),
        ("prompt_cache_retention", "24h"),
        ("safety_identifier", "low"),
        ("verbosity", "low"),
    ],
)
@pytest.mark.parametrize("strict", [False, True])
def test_fields_of_openai_alone_are_accepted_there(strict: bool, name: str, value: str) -> None:
    with LocalEndpoint(strict=strict) as endpoint:
        body = {**CHAT, "model": "synthetic", name: value}
        answer = httpx.post(endpoint.url + CHATS[0], json=body, headers={"api-key": endpoint.key})
    assert answer.status_code == 200
    assert "x-azinfer-hint" not in answer.headers


@pytest.mark.parametrize(("header", "status"), [("pass-through", 200), ("drop", 200)])
def test_fields_that_a_header_decides_on_get_no_hint(
    endpoint: LocalEndpoint, header: str, status: int
) -> None:
    answer = post(endpoint, CHATS[2], {**CHAT, "temprature": 1}, **{"extra-parameters": header})
    assert answer.status_code == status
    assert "x-azinfer-hint" not in answer.headers


def test_known_fields_get_no_hint(endpoint: LocalEndpoint) -> None:
    answer = post(endpoint, CHATS[0], {**CHAT, "temperature": 1})
    assert "x-azinfer-hint" not in answer.headers
    assert [each.hint for each in endpoint.requests] == [None]


def test_a_misspelt_field_is_logged_once(
    endpoint: LocalEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        post(endpoint, CHATS[0], {**CHAT, "temprature": 1})
        post(endpoint, CHATS[0], {**CHAT, "top_k": 1})
    [record] = [each for each in caplog.records if each.name == "azinfer.local"]
    assert record.getMessage().startswith(f"{CHATS[0]}: unknown field 'temprature'")


def test_names_that_do_not_fit_a_header_are_escaped(endpoint: LocalEndpoint) -> None:
    names = ["a\r\nset-cookie: b", "\u20ac" * 3, "z" * 10_000, *(f"m{at}" for at in range(40))]
    answer = post(endpoint, CHATS[0], {**CHAT, **dict.fromkeys(names, 1)})
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    hint = answer.headers["x-azinfer-hint"]
    assert hint.startswith(r"unknown fields 'a\r\nset-cookie: b', 'm0', 'm1', 'm10', 'm11' and 38")
    assert len(hint) < 1000


def test_the_page_shows_the_hint(endpoint: LocalEndpoint) -> None:
    post(endpoint, CHATS[0], {**CHAT, "temprature": 1})
    headers = {"sec-fetch-site": "none"}
    with httpx.Client(follow_redirects=True, headers=headers) as browser:
        page = browser.get(endpoint.page_url()).text
    assert "did you mean &#39;temperature&#39;?" in page
