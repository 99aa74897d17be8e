"""Odd values in every field of a request and of an upstream's answer: none breaks the endpoint."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from azinfer.local import LocalDeployment, LocalEndpoint, UpstreamEngine
from pictures import DATA_URL
from raw_server import RawServer, chunked_answer, events, raw, reply

# As JSON, for some are no values that Python would write, or read.
ODD = [
    *("null", "true", "0", "-1", "0.5", "1e999", "-1e999", "NaN", '""', '"x"', '"\\ud800"'),
    *("1" + "0" * 400, "-1" + "0" * 400, "[]", "[null]", "[[]]", "{}", '{"a": {"b": []}}'),
]
FUNCTION = {
    "name": "f",
    "description": "d",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}
SCHEMA = {
    "type": "object",
    "properties": {
        "whole": {"type": "integer", "minimum": 1, "maximum": 4, "multipleOf": 2},
        "text": {"type": "string", "minLength": 1, "maxLength": 5, "pattern": "a+"},
        "list": {"type": "array", "items": {"enum": [1]}, "minItems": 1, "maxItems": 2},
        "either": {"anyOf": [{"const": 1}, {"$ref": "#/$defs/named"}]},
    },
    "required": ["whole"],
    "additionalProperties": False,
    "$defs": {"named": {"type": ["string", "null"], "format": "date"}},
}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
PICTURE = {"type": "image_url", "image_url": {"url": "http://x/y", "detail": "low"}}
MESSAGES = [
    {"role": "system", "content": "s"},
    {"role": "user", "name": "n", "content": [{"type": "text", "text": "a"}, PICTURE]},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c", "content": "x"},
]
NUMBERS = {"temperature": 1, "top_p": 1, "frequency_penalty": 0, "presence_penalty": 0}
COMMON = {**NUMBERS, "seed": 1, "n": 1, "stop": ["x"], "user": "u", "logit_bias": {"1": 1}}
CHAT = {
    **COMMON,
    "model": "chat",
    "messages": MESSAGES,
    "stream": False,
    "max_tokens": 5,
    "parallel_tool_calls": True,
    "metadata": {"a": "b"},
    "modalities": ["text"],
    "user_security_context": {"end_user_id": "x"},
    "prediction": {"type": "content", "content": "x"},
    "tools": [{"type": "function", "function": FUNCTION}],
    "tool_choice": "none",
}
NAMED = {"type": "function", "function": {"name": "f"}}
CALLING = {
    **{name: value for name, value in CHAT.items() if name != "max_tokens"},
    "max_completion_tokens": 5,
    "tool_choice": NAMED,
    "stream": True,
    "stream_options": {"include_usage": True},
}
SCHEMA_FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "n", "strict": False, "schema": SCHEMA},
}
RESPONSE = {
    "model": "chat",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "s"},
    ],
    "instructions": "i",
    "tools": [{"type": "function", **FUNCTION}],
    "tool_choice": {"type": "function", "name": "f"},
    "max_output_tokens": 20,
    "temperature": 1,
    "top_p": 1,
    "metadata": {"a": "b"},
    "store": True,
    "stream": False,
    "text": {"format": {"type": "text"}},
    "reasoning": {"effort": "low"},
    "truncation": "auto",
    "user": "u",
    "parallel_tool_calls": True,
}
VECTORS = {"model": "chat", "input": ["a", "b"], "dimensions": 3, "encoding_format": "float"}
IMAGES = {**VECTORS, "input": [{"image": DATA_URL, "text": "x"}], "input_type": "text"}
TEXTS = {**COMMON, "prompt": ["a"], "echo": True, "max_tokens": 3, "stream": False}
BATCH = {
    "input_file_id": "file",
    "endpoint": "/v1/chat/completions",
    "completion_window": "24h",
    "metadata": {"a": "b"},
    "output_expires_after": {"anchor": "created_at", "seconds": 1_209_600},
}
SKU = {"sku": {"name": "Standard", "capacity": 1}, "tags": {"a": "b"}}
LIMITS = [
    {"key": "request", "renewalPeriod": 10, "count": 500},
    {"key": "token", "renewalPeriod": 60, "count": 100_000},
]
DEPLOYMENT = {
    **SKU,
    "properties": {
        "model": {"format": "OpenAI", "name": "chat", "version": "1", "publisher": "p"},
        "raiPolicyName": "Microsoft.Default",
        "versionUpgradeOption": "NoAutoUpgrade",
        "spilloverDeploymentName": "chat",
        "rateLimits": LIMITS,
    },
}
FAULT = {"kind": "status", "status": 429, "body": {"a": 1}, "headers": {"a": "b"}, "after": 1}
FAULTS = {"faults": [{**FAULT, "every": 1, "times": 1, "probability": 1, "seed": 1}]}
ANSWER = {"text": "x", "tool_calls": [{"name": "f", "arguments": {"a": 1}}], "reasoning": "r"}
COUNTED = {"prompt_tokens": 1, "completion_tokens": 1, "contains": "hi", "matches": "h", "times": 1}
SCRIPT = {"answers": [{**ANSWER, **COUNTED, "finish_reason": "stop"}]}
LATENCY = {"first_token": 0.0, "per_token": 0.0}
ARM = (
    "/subscriptions/s/resourceGroups/g/providers/p/accounts/a/deployments/other"
    "?api-version=2025-09-01"
)
ASKED: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/openai/v1/chat/completions", {**CHAT, "response_format": SCHEMA_FORMAT}),
    ("POST", "/models/chat/completions", CALLING),
    ("POST", "/openai/v1/responses", RESPONSE),
    ("POST", "/openai/responses", {**RESPONSE, "stream": True}),
    ("POST", "/openai/v1/embeddings", VECTORS),
    ("POST", "/models/embeddings", {**VECTORS, "input_type": "text"}),
    ("POST", "/models/images/embeddings", IMAGES),
    ("POST", "/openai/deployments/chat/completions", TEXTS),
    ("POST", "/openai/v1/batches", BATCH),
    ("PUT", ARM, DEPLOYMENT),
    ("PATCH", ARM, SKU),
    ("PUT", "/_azinfer/faults/other", FAULTS),
    ("PUT", "/_azinfer/scripts/other", SCRIPT),
    ("PUT", "/_azinfer/latency/other", LATENCY),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to each part of a value."""
    if path:
        yield path
    named = value.items() if isinstance(value, dict) else ()
    for name, part in enumerate(value) if isinstance(value, list) else named:
        yield from places(part, (*path, name))


def replace_value(body: dict[str, Any], path: tuple[Any, ...], odd: str) -> str:
    """The body as JSON, with an odd value in one place."""
    whole = copy.deepcopy(body)
    part: Any = whole
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = "here"
    return json.dumps(whole).replace('"here"', odd)


@pytest.fixture
def own() -> Iterator[httpx.Client]:
    """A client of an endpoint that a test may change, with two deployments of one model."""
    deployments = [LocalDeployment("chat"), LocalDeployment("other", "chat")]

    async def sleep(seconds: float) -> None:
        """Wait for no latency."""

    with LocalEndpoint(deployments, key="k", sleep=sleep) as endpoint:
        headers = {"api-key": "k", "content-type": "application/json"}
        with httpx.Client(base_url=endpoint.url, headers=headers, timeout=20) as client:
            yield client


@pytest.mark.parametrize(("method", "url", "body"), ASKED, ids=[url[:40] for _, url, _ in ASKED])
def test_odd_values_break_nothing(
    own: httpx.Client, caplog: pytest.LogCaptureFixture, method: str, url: str, body: dict[str, Any]
) -> None:
    caplog.set_level(logging.WARNING)
    if "batches" in url:
        form: dict[str, Any] = {"files": {"file": b"{}"}, "data": {"purpose": "batch"}}
        alone = httpx.Client(base_url=own.base_url, headers={"api-key": "k"})
        with alone:
            file = alone.post("/openai/v1/files", **form).json()
        body = {**body, "input_file_id": file["id"]}
    answer = own.request(method, url, json=body)
    assert answer.status_code in (200, 201), answer.text
    chat = {"model": "other", "messages": [{"role": "user", "content": "hi"}]}
    for path in places(body):
        for odd in ODD:
            answer = own.request(method, url, content=replace_value(body, path, odd))
            assert answer.status_code < 500, (path, odd)
            if url.startswith(("/subscriptions", "/_azinfer")) and answer.status_code < 300:
                # What was taken is used.
                result = own.post("/openai/v1/chat/completions", json=chat)
                assert "apim-request-id" in result.headers, (path, odd)
                assert own.get("/_azinfer/deployments").status_code == 200
                assert own.get(ARM).status_code == 200
            assert not caplog.records, (path, odd)


USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}}
LOGPROBS = {"content": [{"token": "a", "logprob": -1.0, "top_logprobs": []}]}
UPSTREAM_MESSAGE = {
    "role": "assistant",
    "content": "Hi.",
    "reasoning_content": "r",
    "tool_calls": [CALL],
}
UPSTREAM_ANSWERS = [
    (
        "chat/completions",
        {"model": "up", "messages": [{"role": "user", "content": "hi"}]},
        {
            "choices": [
                {
                    "index": 0,
                    "message": UPSTREAM_MESSAGE,
                    "finish_reason": "stop",
                    "logprobs": LOGPROBS,
                }
            ],
            "usage": USAGE,
        },
    ),
    (
        "chat/completions",
        {"model": "up", "messages": [{"role": "user", "content": "hi"}], "stream": True},
        {
            "choices": [
                {
                    "index": 0,
                    "delta": {**UPSTREAM_MESSAGE, "tool_calls": [{"index": 0, **CALL}]},
                    "finish_reason": "stop",
                    "logprobs": LOGPROBS,
                }
            ],
            "usage": USAGE,
        },
    ),
    (
        "embeddings",
        {"model": "up", "input": "text"},
        {"data": [{"index": 0, "embedding": [0.6, 0.8]}], "usage": {"prompt_tokens": 1}},
    ),
]


@pytest.mark.parametrize(
    ("path", "options", "fields"), UPSTREAM_ANSWERS, ids=["chat", "stream", "embeddings"]
)
def test_odd_values_from_an_upstream_break_nothing(
    server: RawServer,
    caplog: pytest.LogCaptureFixture,
    path: str,
    options: dict[str, Any],
    fields: dict[str, Any],
) -> None:
    caplog.set_level(logging.WARNING)
    engine = UpstreamEngine(f"{server.url}/v1", timeout=10)
    with (
        LocalEndpoint([LocalDeployment("up", engine=engine)], key="k") as endpoint,
        httpx.Client(base_url=f"{endpoint.url}/openai/v1", headers={"api-key": "k"}) as http,
    ):
        for place in places(fields):
            for odd in ODD:
                body = replace_value(fields, place, odd)
                streams = options.get("stream", False)
                server.will(raw(chunked_answer(events(body)), "keep") if streams else reply(body))
                answer = http.post(path, json=options)
                assert answer.status_code in (200, 502), (place, odd, answer.text)
                assert not caplog.records, (place, odd)
