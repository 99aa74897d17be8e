"""The request log and the pytest plugin that rests on it."""

from __future__ import annotations

import httpx
import pytest

from azinfer.core import InferenceClient, InferenceError, UserMessage
from azinfer.local import LocalEndpoint

pytest_plugins = ["pytester"]


def test_the_log_has_what_was_sent_and_no_credential(azinfer_endpoint: LocalEndpoint) -> None:
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


def test_the_log_has_what_could_not_be_read(azinfer_endpoint: LocalEndpoint) -> None:
    headers = {"api-key": azinfer_endpoint.key}
    url = f"{azinfer_endpoint.url}/models/chat/completions?api-version=preview"
    httpx.post(url, content=b"{", headers=headers)
    httpx.post(url, json=[1], headers=headers)
    httpx.post(url, json={}, headers={"api-key": "wrong"})
    found = [(each.body, each.status) for each in azinfer_endpoint.requests]
    assert found == [(None, 400), ([1], 400), (None, 401)]
    assert azinfer_endpoint.requests[0].query == {"api-version": "preview"}


def test_the_log_is_empty_when_a_test_begins(azinfer_endpoint: LocalEndpoint) -> None:
    assert len(azinfer_endpoint.requests) == 0


def test_the_log_does_not_grow_for_ever(azinfer_endpoint: LocalEndpoint) -> None:
    headers = {"api-key": azinfer_endpoint.key}
    with httpx.Client(base_url=azinfer_endpoint.url, headers=headers) as http:
        for _ in range(1005):
            http.get("/openai/v1/models")
    assert len(azinfer_endpoint.requests) == 1000


PROJECT = """
from azinfer.core import InferenceClient, UserMessage

def test_my_program(azinfer_endpoint):
    assert "Hello" in InferenceClient(model="chat").complete([UserMessage("Hello")]).text
    assert azinfer_endpoint.requests[-1].deployment == "chat"

def test_another(azinfer_endpoint):
    assert not azinfer_endpoint.requests
"""


def test_the_fixture_works_in_a_project_of_its_own(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PROJECT)
    pytester.runpytest_subprocess("-p", "no:asyncio", "-W", "error").assert_outcomes(passed=2)


def test_pytest_starts_without_the_local_endpoint(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import sys\n\ndef test_it():\n    assert 'azinfer.local.server' not in sys.modules\n"
    )
    pytester.runpytest_subprocess("-p", "no:asyncio").assert_outcomes(passed=1)
