"""Legacy completions on the classic surface, called with a plain HTTP client.

The expected bodies follow "Create completion" of the Azure OpenAI REST API.
"""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from azinfer.core import RateLimit
from azinfer.local import (
    ContentFilter,
    EngineError,
    LocalDeployment,
    LocalEndpoint,
    Piece,
    Prompt,
    SyntheticEngine,
)

URL = "/openai/deployments/{}/completions?api-version=2024-10-21"


def ask(http: httpx.Client, name: str = "fixed", **body: Any) -> httpx.Response:
    return http.post(URL.format(name), json={"prompt": "The capital of France is", **body})


def choice(text: str, index: int = 0, finish_reason: str | None = "stop") -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish_reason}


def test_a_completion_has_the_documented_form(http: httpx.Client) -> None:
    answer = ask(http)
    body = answer.json()
    assert body.pop("id").startswith("cmpl-")
    assert isinstance(body.pop("created"), int)
    assert body == {
        "object": "text_completion",
        "model": "mistral-large-2411",
        "choices": [choice("Paris.")],
        "usage": {"prompt_tokens": 11, "completion_tokens": 2, "total_tokens": 13},
    }
    assert answer.headers["x-ms-deployment-name"] == "fixed"


def test_each_prompt_gets_n_answers(http: httpx.Client) -> None:
    answer = ask(http, "mistral-large", prompt=["a", "b"], n=2).json()
    says = "This is a synthetic answer to: "
    texts = [says + "a", says + "a", says + "b", says + "b"]
    assert answer["choices"] == [choice(text, at) for at, text in enumerate(texts)]
    alone = ask(http, "mistral-large", prompt="a").json()["usage"]
    assert answer["usage"]["prompt_tokens"] == 2 * alone["prompt_tokens"]
    assert answer["usage"]["completion_tokens"] == 4 * alone["completion_tokens"]


def test_echo_and_stop_are_obeyed(http: httpx.Client) -> None:
    answer = ask(http, "mistral-large", prompt="one two", echo=True, stop=" two").json()
    assert answer["choices"] == [choice("one twoThis is a synthetic answer to: one")]
    answer = ask(http, "mistral-large", prompt="one two", max_tokens=2).json()
    assert answer["choices"] == [choice("This is", finish_reason="length")]
    words = " ".join(["word"] * 40)
    assert ask(http, "mistral-large", prompt=words).json()["usage"]["completion_tokens"] == 16


def test_a_completion_is_streamed(http: httpx.Client) -> None:
    body: dict[str, Any] = {
        "stream": True,
        "stream_options": {"include_usage": True},
        "echo": True,
        "n": 2,
    }
    answer = ask(http, **body)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    *lines, done = [line for line in answer.text.split("\n") if line]
    assert done == "data: [DONE]"
    *chunks, last = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert {chunk["object"] for chunk in chunks} == {"text_completion"}
    assert [chunk["choices"][0] for chunk in chunks] == [
        choice(text, index, reason)
        for index in (0, 1)
        for text, reason in (
            ("The capital of France is", None),
            ("Paris", None),
            (".", None),
            ("", "stop"),
        )
    ]
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": 15}


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"prompt": []}, "prompt", "invalid_value"),
        ({"prompt": [[1, 2]]}, "prompt", "invalid_value"),
        ({"prompt": {"a": 1}}, "prompt", "invalid_value"),
        ({"echo": "yes"}, "echo", "invalid_value"),
        ({"suffix": "end"}, "suffix", "unsupported_parameter"),
        ({"best_of": 3}, "best_of", "unsupported_parameter"),
        ({"n": 100, "prompt": ["a", "b"]}, "n", "invalid_value"),
        ({"temperature": 9}, "temperature", "invalid_value"),
    ],
)
def test_a_wrong_field_is_named(
    http: httpx.Client, body: dict[str, Any], param: str, code: str
) -> None:
    answer = ask(http, **body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, code)


def test_only_the_classic_surface_has_completions(http: httpx.Client) -> None:
    for base in ("/openai/v1", "/models", ""):
        answer = http.post(f"{base}/completions", json={"model": "fixed", "prompt": "a"})
        assert answer.status_code == 404
    answer = ask(http, "embed")
    assert answer.json()["error"]["code"] == "OperationNotSupported"


def test_filters_and_limits_apply_to_completions() -> None:
    deployment = LocalDeployment(
        "guarded",
        content_filter=ContentFilter(words={"violence": {"bomb": "high"}}),
        rate_limits=(RateLimit("request", 2, 60),),
    )
    with (
        LocalEndpoint([deployment]) as endpoint,
        httpx.Client(base_url=endpoint.url, headers={"api-key": endpoint.key}) as http,
    ):
        assert ask(http, "guarded", prompt="a bomb").json()["error"]["code"] == "content_filter"
        body = ask(http, "guarded").json()
        result = body["choices"][0]["content_filter_results"]
        assert result["violence"] == {"filtered": False, "severity": "safe"}
        assert body["prompt_filter_results"][0]["content_filter_results"] == result
        streamed = ask(http, "guarded", stream=True).text
        assert '"prompt_filter_results"' in streamed.partition("\n")[0]
        assert ask(http, "guarded").status_code == 429


def test_a_failure_in_the_middle_is_reported() -> None:
    class Failing(SyntheticEngine):
        async def chat(self, prompt: Prompt) -> Any:
            yield Piece("Once")
            raise EngineError("the context is full", "context_length_exceeded")

    with (
        LocalEndpoint([LocalDeployment("failing", engine=Failing())]) as endpoint,
        httpx.Client(base_url=endpoint.url, headers={"api-key": endpoint.key}) as http,
    ):
        result = ask(http, "failing", stream=True).text
    *_, error, done, rest = result.split("\n\n")
    assert json.loads(error.removeprefix("data: "))["error"]["code"] == "context_length_exceeded"
    assert (done, rest) == ("data: [DONE]", "")
