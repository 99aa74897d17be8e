"""Bodies that real services sent on the two newer wires, and how they are parsed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azinfer.core import ChatCompletion, ContentFilterError, InferenceError
from azinfer.core.error_responses import from_response
from azinfer.core.wires.wire import wire_named

WIRES = ("responses", "messages")
BODIES = [
    {"wire": wire, **json.loads(line)}
    for wire in WIRES
    for line in Path(__file__).with_name(f"{wire}.jsonl").read_text("utf-8").splitlines()
]


def of_kind(kind: str) -> pytest.MarkDecorator:
    chosen = [body for body in BODIES if body["kind"] == kind]
    ids = [f"{body['wire']}-{body['name']}" for body in chosen]
    return pytest.mark.parametrize("body", chosen, ids=ids)


def test_every_body_is_asserted_and_has_a_source() -> None:
    assert len(BODIES) == 68
    assert len({(body["wire"], body["name"]) for body in BODIES}) == 68
    assert all(body["source"] and body["means"] for body in BODIES)


@of_kind("answer")
def test_a_complete_answer_is_parsed(body: dict[str, Any]) -> None:
    answer = wire_named(body["wire"]).decode(body["body"], {})
    assert meaning(answer) == body["means"]
    assert answer.raw == body["body"]


@of_kind("stream")
@pytest.mark.parametrize("size", [1, 7, 4096, 10**6])
@pytest.mark.parametrize("names", [True, False], ids=["named events", "bare events"])
def test_a_stream_is_parsed_the_same_however_it_is_cut(
    body: dict[str, Any], size: int, names: bool
) -> None:
    data = stream_of(body["body"], names)
    assert read(body["wire"], data, [size]) == body["means"]


@given(st.data())
def test_a_stream_is_parsed_the_same_wherever_it_is_cut(data: st.DataObject) -> None:
    body = data.draw(st.sampled_from([each for each in BODIES if each["kind"] == "stream"]))
    sizes = data.draw(st.lists(st.integers(1, 5000), min_size=1, max_size=20))
    assert read(body["wire"], stream_of(body["body"], True), sizes) == body["means"]


@of_kind("error")
def test_an_error_body_is_parsed(body: dict[str, Any]) -> None:
    error = from_response(body["status"], {}, json.dumps(body["body"]).encode())
    assert meaning_of_error(error) == body["means"]


def stream_of(events: list[dict[str, Any]], names: bool) -> bytes:
    heads = [f"event: {event['type']}\n" if names else "" for event in events]
    texts = [json.dumps(event) for event in events]
    return "".join(
        f"{head}data: {text}\n\n" for head, text in zip(heads, texts, strict=True)
    ).encode()


def read(wire: str, data: bytes, sizes: list[int]) -> dict[str, Any]:
    """Return the answer of a stream that arrives in pieces of these sizes in turn."""
    reader = wire_named(wire).reader({}, None, "", None)
    chunks: list[Any] = []
    at = turn = 0
    try:
        while at < len(data):
            size = sizes[turn % len(sizes)]
            chunks += reader.feed(data[at : at + size])
            at, turn = at + size, turn + 1
        chunks += reader.finish()
    except InferenceError as error:
        return meaning_of_error(error)
    answer = reader.completion()
    assert "".join(chunk.text for chunk in chunks) == answer.text
    assert "".join(chunk.reasoning for chunk in chunks) == (answer.reasoning or "")
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == [
        answer.finish_reason
    ]
    assert [chunk.usage for chunk in chunks if chunk.usage][-1] == answer.usage
    calls: dict[int, list[str]] = {}
    for chunk in chunks:
        for call in chunk.tool_calls:
            parts = calls.setdefault(call.index, ["", "", ""])
            parts[:] = (
                parts[0] + (call.id or ""),
                parts[1] + (call.name or ""),
                parts[2] + call.arguments,
            )
    assert [[each.id, each.function.name] for each in answer.tool_calls] == [
        parts[:2] for parts in calls.values()
    ]
    assert [each.function.arguments for each in answer.tool_calls] == [
        parts[2] or "{}" for parts in calls.values()
    ]
    return meaning(answer)


def meaning(answer: ChatCompletion) -> dict[str, Any]:
    """Return the fields of an answer that have a value."""
    choice = answer.choices[0]
    message, usage = choice.message, answer.usage
    filters = set(choice.content_filter_results)
    for prompt in answer.prompt_filter_results:
        filters |= set(prompt["content_filter_results"])
    facts = {
        "finish_reason": answer.finish_reason,
        "text": answer.text,
        "reasoning": answer.reasoning,
        "tool_calls": [
            [call.id, call.function.name, call.function.arguments] for call in answer.tool_calls
        ]
        or None,
        "refusal": message.refusal,
        "usage": usage
        and [
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.total_tokens,
            usage.cached_tokens,
            usage.reasoning_tokens,
        ],
        "filters": sorted(filters) or None,
        "state": message.state and [item["type"] for item in message.state["items"]],
    }
    return {name: fact for name, fact in facts.items() if fact is not None}


def meaning_of_error(error: InferenceError) -> dict[str, Any]:
    """Return the fields of an error that have a value."""
    facts = {
        "error": type(error).__name__,
        "status": error.status,
        "code": error.code,
        "param": error.param,
        "message": error.message,
        "categories": dict(error.categories) if isinstance(error, ContentFilterError) else None,
    }
    return {name: fact for name, fact in facts.items() if fact is not None}
