"""The request log, and the pytest plugin that uses it."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from azinfer.core import AsyncInferenceClient, InferenceClient, InferenceError, UserMessage
from azinfer.local import Fault, LocalEndpoint, LogEntry
from azinfer.local.api.exchange_recorder import ExchangeRecorder, RequestTrace
from azinfer.local.resource.storage.request_log import RequestLog

pytest_plugins = ["pytester"]


def test_the_log_has_requests_without_credentials(azinfer_endpoint: LocalEndpoint) -> None:
    client = InferenceClient(model="CHAT")
    client.complete([UserMessage("Hello")], temperature=0)
    with pytest.raises(InferenceError):
        client.complete([UserMessage("Hello")], model="nope")
    client.embed("a", model="embed")
    first, second, third = azinfer_endpoint.requests
    assert (first.method, first.path) == ("POST", "/openai/v1/chat/completions")
    assert first.body == {
        "model": "CHAT",
        "messages": [{"role": "user", "content": "Hello"}],
        "temperature": 0,
    }
    assert (first.deployment, first.status) == ("chat", 200)
    assert (second.deployment, second.status) == (None, 404)
    assert (third.path, third.deployment) == ("/openai/v1/embeddings", "embed")
    assert first.headers["user-agent"].startswith("azinfer/")
    assert azinfer_endpoint.key not in repr(azinfer_endpoint.requests)
    assert azinfer_endpoint.requests[1:] == [second, third]


def test_the_log_has_unreadable_requests(azinfer_endpoint: LocalEndpoint) -> None:
    headers = {"api-key": azinfer_endpoint.key}
    url = f"{azinfer_endpoint.url}/models/chat/completions?api-version=preview"
    httpx.post(url, content=b"{", headers=headers)
    httpx.post(url, json=[1], headers=headers)
    httpx.post(url, json={}, headers={"api-key": "wrong"})
    values = [(each.body, each.status) for each in azinfer_endpoint.requests]
    assert values == [(None, 400), ([1], 400), (None, 401)]
    assert azinfer_endpoint.requests[0].query == {"api-version": "preview"}


def test_the_log_is_empty_when_a_test_begins(azinfer_endpoint: LocalEndpoint) -> None:
    assert len(azinfer_endpoint.requests) == 0


def test_the_log_is_bounded(azinfer_endpoint: LocalEndpoint) -> None:
    headers = {"api-key": azinfer_endpoint.key}
    with httpx.Client(base_url=azinfer_endpoint.url, headers=headers) as http:
        for _ in range(1005):
            http.get("/openai/v1/models")
    assert len(azinfer_endpoint.requests) == 1000


def test_the_log_has_duration_and_usage(azinfer_endpoint: LocalEndpoint) -> None:
    client = InferenceClient(f"{azinfer_endpoint.url}/models", model="chat")
    answer = client.complete([UserMessage("Hello")])
    (entry,) = azinfer_endpoint.requests
    assert answer.usage is not None
    assert (entry.prompt_tokens, entry.completion_tokens) == (
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
    )
    assert json.loads(entry.answer)["choices"][0]["message"]["content"] == answer.text
    assert 0 < entry.first_seconds <= entry.seconds < 60
    assert (entry.why, entry.open, entry.fault) == ("the body's model", False, None)
    client.embed("a b c", model="embed")
    assert azinfer_endpoint.requests[-1].prompt_tokens == 3


WHY: list[tuple[str, dict[str, str], str | None, str]] = [
    ("/openai/deployments/chat/chat/completions", {}, None, "the URL"),
    (
        "/models/chat/completions",
        {"x-ms-model-mesh-model-name": "chat"},
        "chat-2",
        "the header x-ms-model-mesh-model-name",
    ),
    ("/models/chat/completions", {}, "chat", "the body's model"),
]


@pytest.mark.parametrize(("path", "headers", "model", "why"), WHY)
def test_the_log_has_why_a_request_was_routed(
    azinfer_endpoint: LocalEndpoint,
    path: str,
    headers: dict[str, str],
    model: str | None,
    why: str,
) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], "model": model}
    headers = {"api-key": azinfer_endpoint.key, **headers}
    httpx.post(azinfer_endpoint.url + path, json=body, headers=headers)
    (entry,) = azinfer_endpoint.requests
    assert (entry.deployment, entry.why) == ("chat", why)


def test_a_stream_is_in_the_log_twice(azinfer_endpoint: LocalEndpoint) -> None:
    async def read() -> tuple[LogEntry, LogEntry]:
        async with azinfer_endpoint.requests.listen() as entries:
            client = AsyncInferenceClient(model="chat")
            async with client, client.stream([UserMessage("Hello")]) as chunks:
                async for _ in chunks:
                    pass
            return await anext(entries), await anext(entries)

    first, last = asyncio.run(read())
    assert (first.open, last.open) == (True, False)
    assert first.request_id == last.request_id
    assert first.completion_tokens == 1
    assert last.completion_tokens == 8
    assert last.answer.endswith("data: [DONE]\n\n")
    assert last.answer.startswith(first.answer)
    assert [entry.open for entry in azinfer_endpoint.requests] == [False]


def test_an_abandoned_stream_is_closed_in_the_log(azinfer_endpoint: LocalEndpoint) -> None:
    azinfer_endpoint.fail("chat", Fault("stall", after=3))

    async def leave() -> LogEntry:
        async with azinfer_endpoint.requests.listen() as entries:
            client = AsyncInferenceClient(model="chat")
            async with client, client.stream([UserMessage("Hello")]) as chunks:
                await anext(chunks)
            while (entry := await anext(entries)).open:
                pass
            return entry

    entry = asyncio.run(leave())
    assert entry.fault == "stall"
    assert "[DONE]" not in entry.answer


def test_closed_listeners_are_removed(azinfer_endpoint: LocalEndpoint) -> None:
    async def listen() -> None:
        async with azinfer_endpoint.requests.listen():
            pass
        azinfer_endpoint.requests.listen()

    asyncio.run(listen())
    # The second listener's loop is closed, which must not disturb who asks.
    client = InferenceClient(model="chat")
    assert client.complete([UserMessage("Hello")]).text


def test_long_bodies_and_answers_do_not_fill_the_memory(azinfer_endpoint: LocalEndpoint) -> None:
    client = InferenceClient(model="chat", timeout=60)
    for _ in range(4):
        client.complete([UserMessage("x" * 20_000_000)])
    entries = azinfer_endpoint.requests[:]
    assert len(entries) == 3
    assert sum(entry.size for entry in entries) <= 64 * 1024 * 1024
    assert entries[-1].body["messages"][0]["content"] == "x" * 20_000_000
    answer = client.complete([UserMessage("x" * 95_000)], max_tokens=20_000)
    (*_, entry) = azinfer_endpoint.requests
    assert len(entry.answer) == 64 * 1024
    assert entry.answer_size > len(answer.text) > 95_000


def test_recordings_of_open_responses_are_limited_together() -> None:
    log = RequestLog()
    scope = {"method": "GET", "path": "/", "query_string": b"", "headers": []}
    recorders = [
        ExchangeRecorder(log, scope, RequestTrace(), str(number), lambda: 0.0)
        for number in range(500)
    ]
    part = bytes(range(256)) * 40
    for _ in range(10):
        for each in recorders:
            each.record({"type": "http.response.body", "body": part, "more_body": True})
    assert log.open_bytes <= 8 * 1024 * 1024 + 500 * 4 * 1024
    for each in recorders:
        each.finish()
    assert log.open_bytes == 0
    answers = [entry.raw_answer for entry in log]
    assert max(map(len, answers)) <= 64 * 1024
    assert min(map(len, answers)) >= 4 * 1024
    assert all((part * 10).startswith(each) for each in answers)


def upload(endpoint: LocalEndpoint, content: bytes, **fields: str) -> LogEntry:
    httpx.post(
        f"{endpoint.url}/openai/v1/files",
        files={"file": ("lines.jsonl", content, "application/jsonl")},
        data=fields,
        headers={"api-key": endpoint.key},
        timeout=60,
    )
    return endpoint.requests[-1]


def test_the_log_has_uploads(azinfer_endpoint: LocalEndpoint) -> None:
    file = {"filename": "lines.jsonl", "content_type": "application/jsonl", "bytes": 9}
    entry = upload(azinfer_endpoint, b'{"a": 1}\n', purpose="batch")
    assert entry.status == 200
    assert entry.body == entry.form == {"purpose": "batch", "file": file}
    result = entry.to_wire()
    assert result["body"] == entry.body
    assert '\r\n\r\n{"a": 1}\n\r\n--' in result["raw_body"]
    refused = upload(azinfer_endpoint, b'{"a": 1}\n', purpose="fun")
    assert (refused.status, refused.body) == (400, {"purpose": "fun", "file": file})


def test_uploads_do_not_fill_the_memory(azinfer_endpoint: LocalEndpoint) -> None:
    """A field after the file is shown though it is not among the bytes that are kept."""
    content = b"x" * 5_000_000
    form = b'--b\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n' + content
    form += b'\r\n--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b--\r\n'
    headers = {
        "api-key": azinfer_endpoint.key,
        "content-type": "multipart/form-data; boundary=b",
    }
    httpx.post(f"{azinfer_endpoint.url}/openai/v1/files", content=form, headers=headers)
    entry = azinfer_endpoint.requests[-1]
    file = {"filename": "f", "content_type": None, "bytes": len(content)}
    assert (entry.status, entry.form) == (200, {"file": file, "purpose": "batch"})
    assert entry.raw_body == form[: 64 * 1024]
    long = upload(azinfer_endpoint, b"", purpose="y" * 900_000)
    assert long.body["purpose"] == "y" * 1000 + "…"
    # The beginnings of what was sent and of the refusal, which quotes it.
    assert long.size < 2 * 64 * 1024 + 4000


def test_the_log_has_the_start_of_a_broken_upload(
    azinfer_endpoint: LocalEndpoint,
) -> None:
    httpx.post(
        f"{azinfer_endpoint.url}/openai/v1/files",
        content=b"--b\r\nno form at all",
        headers={
            "api-key": azinfer_endpoint.key,
            "content-type": "multipart/form-data; boundary=b",
        },
    )
    (entry,) = azinfer_endpoint.requests
    assert (entry.status, entry.body) == (400, None)
    assert entry.raw_body == b"--b\r\nno form at all"


PROJECT = """
from azinfer.core import InferenceClient, UserMessage

def test_my_program(azinfer_endpoint):
    assert "Hello" in InferenceClient(model="chat").complete([UserMessage("Hello")]).text
    assert azinfer_endpoint.requests[-1].deployment == "chat"

def test_another(azinfer_endpoint):
    assert not azinfer_endpoint.requests
"""


def test_the_fixture_works_in_another_project(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PROJECT)
    pytester.runpytest_subprocess("-p", "no:asyncio", "-W", "error").assert_outcomes(passed=2)


def test_pytest_starts_without_the_local_endpoint(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import sys\n\ndef test_it():\n    assert 'azinfer.local.api.app' not in sys.modules\n"
    )
    pytester.runpytest_subprocess("-p", "no:asyncio").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("method", "path", "hint"),
    [
        ("POST", "/v1/chat/completions", "POST /openai/v1/chat/completions"),
        ("POST", "/openai/chat/completions", "POST /openai/v1/chat/completions"),
        ("POST", "/openai/v1/chat/completion", "POST /openai/v1/chat/completions"),
        ("POST", "/OpenAI/v1/embedding", "POST /openai/v1/embeddings"),
        ("POST", "/openai/v1/models/chat/completions", "POST /openai/v1/chat/completions"),
        (
            "POST",
            "/openai/deployment/gpt-4.1/chat/completions",
            "POST /openai/deployments/{deployment}/chat/completions",
        ),
        ("GET", "/openai/v1/chat/completions", "POST /openai/v1/chat/completions"),
        ("POST", "/v1/messages", "POST /anthropic/v1/messages"),
    ],
)
def test_a_request_without_a_route_is_logged_with_the_nearest(
    azinfer_endpoint: LocalEndpoint, method: str, path: str, hint: str
) -> None:
    answer = httpx.request(method, azinfer_endpoint.url + path, json={"model": "chat"})
    assert answer.status_code in (404, 405)
    (entry,) = azinfer_endpoint.requests
    assert (entry.method, entry.path, entry.status) == (method, path, answer.status_code)
    assert entry.hint == f"no such route; did you mean {hint}?"
    assert entry.request_id == answer.headers["apim-request-id"]
    assert entry.answer == answer.text
    assert entry.to_wire()["hint"] == entry.hint


@pytest.mark.parametrize("path", ["/nothing/like/it", "/openai/v1/chat/completion" + "s" * 200])
def test_a_request_like_no_route_is_logged_without_a_suggestion(
    azinfer_endpoint: LocalEndpoint, path: str
) -> None:
    httpx.post(azinfer_endpoint.url + path)
    assert [each.hint for each in azinfer_endpoint.requests] == ["no such route"]


def test_what_browsers_request_by_themselves_is_not_logged(azinfer_endpoint: LocalEndpoint) -> None:
    assert httpx.get(f"{azinfer_endpoint.url}/favicon.ico").status_code == 404
    assert len(azinfer_endpoint.requests) == 0
