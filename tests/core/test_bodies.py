"""Bodies that real services sent, each with its public source, and how they are parsed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from azinfer.core import ChatCompletion, Clock, ContentFilterError, InferenceError
from azinfer.core.decoding import decode_completion, decode_model_info
from azinfer.core.deployment_lists import from_pages
from azinfer.core.embeddings import Embeddings
from azinfer.core.error_responses import from_response
from azinfer.core.errors import InvalidResponseError, StreamInterruptedError
from azinfer.core.retries import retry_after
from azinfer.core.streaming import ChatReader

BODIES = [
    json.loads(line)
    for line in Path(__file__).with_name("bodies.jsonl").read_text("utf-8").splitlines()
]


def of_kind(*kinds: str, refused: bool = False) -> pytest.MarkDecorator:
    chosen = [
        body
        for body in BODIES
        if body["kind"] in kinds and bool(body["means"].get("refused")) == refused
    ]
    return pytest.mark.parametrize("body", chosen, ids=[body["name"] for body in chosen])


def test_every_body_is_asserted_and_has_a_source() -> None:
    assert len(BODIES) == 72
    assert len({body["name"] for body in BODIES}) == 72
    assert all(body["source"] and body["means"] for body in BODIES)


@of_kind("error")
def test_an_error_body_is_parsed(body: dict[str, Any]) -> None:
    means, headers = dict(body["means"]), httpx.Headers(body["headers"])
    error = from_response(body["status"], headers, body["body"].encode())
    wait = retry_after(body["status"], headers, Clock(), error.message)
    assert type(error).__name__ == means.pop("error")
    assert error.status == body["status"]
    if isinstance(error, ContentFilterError):
        assert dict(error.categories) == means.pop("categories")
    assert [[list(each.loc), each.message] for each in error.details] == means.pop("details", [])
    results = {
        "code": error.code,
        "message": error.message,
        "param": error.param,
        "request_id": error.request_id,
        "retry_after": wait,
    }
    assert {name: fact for name, fact in results.items() if fact is not None} == means


@of_kind("chat")
def test_a_chat_completion_is_parsed(body: dict[str, Any]) -> None:
    raw = json.loads(body["body"])
    answer = decode_completion(raw, httpx.Headers(body["headers"]))
    assert describe_answer(answer) == body["means"]
    assert answer.raw == json.loads(body["body"])


@of_kind("stream")
@pytest.mark.parametrize("size", [1, 7, 4096, 10**6])
def test_a_stream_is_parsed_the_same_however_it_is_cut(body: dict[str, Any], size: int) -> None:
    means, data = dict(body["means"]), body["body"].encode()
    reader = ChatReader(httpx.Headers(body["headers"]))
    chunks: list[Any] = []
    for start in range(0, len(data), size):
        chunks += reader.feed(data[start : start + size])
    if means.pop("interrupted", False):
        with pytest.raises(StreamInterruptedError) as caught:
            reader.finish()
        assert caught.value.partial is not None
        assert caught.value.partial.text == means["text"]
    else:
        chunks += reader.finish()
    assert len(chunks) == means.pop("chunks")
    assert "".join(chunk.text for chunk in chunks) == means["text"]
    assert describe_answer(reader.completion()) == means


@of_kind("embedding")
def test_embeddings_are_parsed(body: dict[str, Any]) -> None:
    raw, means = json.loads(body["body"]), body["means"]
    answer = Embeddings.from_wire(raw, httpx.Headers(body["headers"]), means["shape"][0], None)
    assert answer.model == means["model"]
    assert [len(vector) for vector in answer.vectors] == [means["shape"][1]] * means["shape"][0]
    starts = [[round(number, 5) for number in vector[:3]] for vector in answer.vectors]
    assert starts == means["starts"]
    assert answer.usage
    assert [answer.usage.prompt_tokens, answer.usage.total_tokens] == means["usage"]


@of_kind("info")
def test_model_info_is_parsed(body: dict[str, Any]) -> None:
    info = decode_model_info(json.loads(body["body"]))
    results = {
        "model_name": info.model_name,
        "model_type": info.model_type,
        "provider": info.provider,
    }
    assert results == body["means"]


@of_kind("deployments")
def test_deployments_are_parsed(body: dict[str, Any]) -> None:
    if body["means"].get("empty"):
        assert body["body"] == ""
        return
    raw = json.loads(body["body"])
    result = from_pages([raw if "value" in raw else {"value": [raw]}])
    assert [
        [
            each.name,
            each.model_name,
            each.model_version,
            each.model_format,
            each.capacity_type,
            each.capacity,
            each.content_filter,
            [[limit.key, limit.count, limit.renewal_period] for limit in each.rate_limits],
        ]
        for each in result.values()
    ] == body["means"]["deployments"]


@of_kind("chat", "info", refused=True)
def test_an_answer_of_another_operation_is_an_error(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidResponseError, match="no choices"):
        decode_completion(json.loads(body["body"]), {})


@of_kind("stream", refused=True)
def test_a_stream_of_another_operation_is_an_error(body: dict[str, Any]) -> None:
    reader = ChatReader({})
    list(reader.feed(body["body"].encode()))
    with pytest.raises(InferenceError):
        reader.finish()


def describe_answer(answer: ChatCompletion) -> dict[str, Any]:
    """Return the fields of an answer that have a value."""
    usage = answer.usage
    results = set(answer.choices[0].content_filter_results)
    for prompt in answer.prompt_filter_results:
        results |= set(prompt.get("content_filter_results", {}))
    values = {
        "model": answer.model,
        "finish_reason": answer.finish_reason,
        "text": answer.text,
        "reasoning": answer.reasoning,
        "tool_calls": [
            [call.id, call.function.name, call.function.arguments] for call in answer.tool_calls
        ]
        or None,
        "usage": usage
        and [
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.total_tokens,
            usage.cached_tokens,
            usage.reasoning_tokens,
        ],
        "filters": sorted(results) or None,
    }
    return {name: fact for name, fact in values.items() if fact is not None}
