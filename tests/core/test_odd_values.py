"""Every JSON type in every field that is read: a value or a typed error."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from azinfer.core import Clock, InferenceError
from azinfer.core.decoding import decode_json, decode_model_info, usage_from_headers
from azinfer.core.deployment_lists import from_pages, next_page
from azinfer.core.embeddings import Embeddings
from azinfer.core.error_responses import from_response
from azinfer.core.retries import retry_after
from azinfer.core.wires.wire import wire_named
from raw_server import chat, events, part

ODD: list[Any] = [
    *(None, True, False, 0, -1, 1, 1.0, 1.5, 1e300, 2**70, "", "x", "1", "[]", "{}", "9" * 5000),
    *([], [None], [True], [1], ["x"], [[]], [{}], {}, {"a": 1}, {"message": 1}, [{"loc": 1}]),
]
FILTERS = [{"prompt_index": 0, "content_filter_results": {"hate": {"filtered": False}}}]
CALL = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
USAGE = {
    "prompt_tokens": 3,
    "completion_tokens": 2,
    "total_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 1},
}
MESSAGE = {
    "role": "assistant",
    "content": [{"type": "text", "text": "a"}, {"type": "thinking", "thinking": [{"text": "b"}]}],
    "tool_calls": [CALL],
    "refusal": "no",
    "reasoning_content": "r",
    "audio": {"id": "a", "data": "AAAA", "transcript": "t"},
}
EXTRAS = {
    "logprobs": {"content": [{"token": "a"}]},
    "content_filter_results": {"hate": {"filtered": True, "severity": "low"}},
}
CHAT = {**chat(), "usage": USAGE, "prompt_filter_results": FILTERS}
CHAT["choices"] = [{"index": 0, "finish_reason": "stop", "message": MESSAGE, **EXTRAS}]
CHUNK = {**CHAT, "choices": [{"index": 0, "finish_reason": None, "delta": MESSAGE, **EXTRAS}]}
RESPONSE: dict[str, Any] = {
    "id": "r",
    "object": "response",
    "created_at": 1,
    "model": "m",
    "status": "incomplete",
    "error": None,
    "incomplete_details": {"reason": "max_output_tokens"},
    "text": {"format": {"type": "text"}},
    "content_filters": [{"source_type": "prompt", "content_filter_results": {"hate": {}}}],
    "output": [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}], "content": []},
        {
            "type": "message",
            "phase": "commentary",
            "content": [
                {"type": "output_text", "text": "a", "logprobs": [{"token": "a"}]},
                {"type": "refusal", "refusal": "no"},
            ],
        },
        {"type": "function_call", "call_id": "c", "id": "i", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "d", "name": "g", "input": "x"},
    ],
    "usage": {
        "input_tokens": 1,
        "output_tokens": 1,
        "total_tokens": 2,
        "input_tokens_details": {"cached_tokens": 1},
        "output_tokens_details": {"reasoning_tokens": 1},
    },
}
CLAUDE_USAGE = {
    "input_tokens": 1,
    "output_tokens": 1,
    "cache_read_input_tokens": 1,
    "cache_creation_input_tokens": 1,
}
CLAUDE: dict[str, Any] = {
    "id": "m",
    "type": "message",
    "model": "m",
    "stop_reason": "end_turn",
    "content": [
        {"type": "thinking", "thinking": "t", "signature": "s"},
        {"type": "text", "text": "a", "citations": [{"type": "x"}]},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
    ],
    "usage": CLAUDE_USAGE,
}
ERROR = {
    "error": {
        "message": "m",
        "code": "c",
        "type": "t",
        "param": "p",
        "status": 400,
        "innererror": {"code": "i", "content_filter_result": EXTRAS["content_filter_results"]},
        "content_filters": [{"content_filter_results": EXTRAS["content_filter_results"]}],
        "details": [{"loc": ["body", "x"], "msg": "m", "input": 1}],
        "provider_specific_fields": {"message": "p"},
    },
    "detail": {"loc": ["body", "x"], "msg": "m"},
    "errors": [{"message": "m"}],
    "fault": {"faultstring": "f", "detail": {"errorcode": "e"}},
    "type": "error",
    "request_id": "r",
}
VECTORS = {
    "data": [{"index": 0, "object": "embedding", "embedding": [1.0]}],
    "model": "m",
    "usage": {"prompt_tokens": 1, "total_tokens": 1},
}
INFO = {"model_name": "m", "model_type": "chat", "model_provider_name": "p"}
SKU = {"name": "Standard", "capacity": 1}
ARM = {
    "name": "d",
    "sku": SKU,
    "properties": {
        "model": {"name": "m", "version": "1", "format": "OpenAI"},
        "raiPolicyName": "p",
        "capabilities": {"chat": "true"},
        "rateLimits": [{"key": "request", "renewalPeriod": 10, "count": 1}],
    },
}
PROJECT = {"name": "d", "type": "ModelDeployment", "modelName": "m", "sku": SKU, "capabilities": {}}
PAGE = {"value": [ARM, PROJECT], "nextLink": "https://a.example/x?api-version=1"}
CLASSIC = {"data": [{"id": "d", "model": "m"}]}


def places_in(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of each value inside another."""
    yield place
    if isinstance(value, dict | list):
        for step in value if isinstance(value, dict) else range(len(value)):
            yield from places_in(value[step], (*place, step))


def odd_forms(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield copies of a value with one field of another type each, and the path of this field."""
    for place in places_in(value):
        for odd in ODD:
            form = {"": copy.deepcopy(value)}
            inside: Any = form
            for step in ("", *place)[:-1]:
                inside = inside[step]
            inside[("", *place)[-1]] = odd
            yield f"{'.'.join(map(str, place))} = {odd!r:.20}", form[""]


def look_at(value: Any) -> None:
    """Use a value as callers do."""
    pickle.dumps(value)
    repr(value)
    str(value)
    for name in ("text", "reasoning", "tool_calls", "finish_reason", "usage", "parsed"):
        getattr(value, name, None)
    for choice in getattr(value, "choices", ()):
        for name in ("incomplete_tool_calls", "message", "delta"):
            getattr(choice, name, None)


def whole(wire: str) -> Callable[[Any], Any]:
    def read(raw: Any) -> Any:
        body = json.dumps(raw).encode()
        return wire_named(wire).decode(decode_json(body, {}), {}, None, "call_", None)

    return read


def stream_reader(wire: str, before: list[Any], after: list[Any]) -> Callable[[Any], Any]:
    def read(raw: Any) -> Any:
        reader = wire_named(wire).reader({}, None, "", None)
        chunks = [*reader.feed(events(*before, raw, *after, done=wire == "chat"))]
        for chunk in [*chunks, *reader.finish()]:
            look_at(chunk)
        return reader.completion()

    return read


def error(raw: Any) -> Any:
    body = json.dumps(raw).encode()
    failure = from_response(400, {}, body)
    failure.retry_after = retry_after(400, {}, Clock(), failure.message)
    from_response(200, {}, body)
    look_at(pickle.loads(pickle.dumps(failure)))
    return failure


def lists(raw: Any) -> Any:
    page = raw if isinstance(raw, dict) else {}
    next_page([page], "https://a.example/list?api-version=1")
    return from_pages([page])


def embed(raw: Any) -> Any:
    body = json.dumps(raw).encode()
    for encoding in ("base64", "int8", "ubinary"):
        try:
            Embeddings.from_wire(decode_json(body, {}), {}, 1, encoding)
        except InferenceError:
            continue
    return Embeddings.from_wire(decode_json(body, {}), {}, 1)


CREATED = {"type": "response.created", "response": {"id": "r", "model": "m"}}
DONE = {"type": "response.completed", "response": {**RESPONSE, "status": "completed"}}
BEGUN = {"type": "message_start", "message": {**CLAUDE, "content": []}}
STOPPED = {"type": "message_stop"}
ITEM = {"type": "response.output_item.done", "output_index": 0, "item": {}}
DELTA = {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "x"}
BLOCK = {"type": "content_block_start", "index": 0, "content_block": {}}
PIECE = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}}
END = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": CLAUDE_USAGE}
READERS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "chat": (CHAT, whole("chat")),
    "chunk": (CHUNK, stream_reader("chat", [part("a")], [part("b", "stop")])),
    "first chunk": (CHUNK, stream_reader("chat", [], [part("b", "stop")])),
    "response": (RESPONSE, whole("responses")),
    "first event": (CREATED, stream_reader("responses", [], [DONE])),
    "delta": (DELTA, stream_reader("responses", [CREATED], [DONE])),
    "last event": (DONE, stream_reader("responses", [CREATED, DELTA], [])),
    "only event": (DONE, stream_reader("responses", [], [])),
    "message": (CLAUDE, whole("messages")),
    "start": (BEGUN, stream_reader("messages", [], [END, STOPPED])),
    "piece": (
        PIECE,
        stream_reader("messages", [BEGUN, {**BLOCK, "content_block": {}}], [END, STOPPED]),
    ),
    "end": (END, stream_reader("messages", [BEGUN], [STOPPED])),
    "error": (ERROR, error),
    "list": (PAGE, lists),
    "classic list": (CLASSIC, lists),
    "vectors": (VECTORS, embed),
    "info": (INFO, lambda raw: decode_model_info(decode_json(json.dumps(raw).encode(), {}))),
}
for item in RESPONSE["output"]:
    READERS[f"item {item['type']}"] = (
        {**ITEM, "item": item},
        stream_reader("responses", [CREATED], [DONE]),
    )
for block in CLAUDE["content"]:
    READERS[f"block {block['type']}"] = (
        {**BLOCK, "content_block": block},
        stream_reader("messages", [BEGUN], [END, STOPPED]),
    )


@pytest.mark.parametrize("name", READERS)
def test_every_type_in_every_field_is_a_value_or_a_typed_error(name: str) -> None:
    value, read = READERS[name]
    try:
        look_at(read(value))
    except InferenceError as failure:
        pytest.fail(f"the form without an odd value: {failure}")
    wrong = []
    for place, form in odd_forms(value):
        try:
            look_at(read(form))
        except InferenceError as failure:
            if not str(failure).isprintable():
                wrong.append(f"{place}: {failure}")
        except Exception as failure:
            wrong.append(f"{place}: {failure!r:.100}")
    assert not wrong, "\n".join([f"{len(wrong)} wrong", *wrong[:200]])


HEADERS = (
    *("retry-after", "retry-after-ms", "x-ms-retry-after-ms", "x-ratelimit-timeremaining"),
    *("x-ratelimit-reset-requests", "x-ratelimit-reset-tokens", "prompt_token_len"),
    *("sampling_token_len", "num-tokens", "ms-azureml-model-error-statuscode", "x-request-id"),
)
HEADER_VALUES: tuple[str, ...] = (
    "",
    "x",
    "-1",
    "1.5",
    "1e999",
    "nan",
    "inf",
    "٣",
    "²",
    "9" * 5000,
    "\x00",
    "true",
)
HEADER_VALUES += ("Thu, 01 Jan 9999 00:00:00 GMT", "Thu, 99 Foo 2099 99:99:99 GMT", "0x10", "_1")


@pytest.mark.parametrize("value", HEADER_VALUES, ids=range(len(HEADER_VALUES)))
@pytest.mark.parametrize("name", HEADERS)
def test_every_header_may_have_any_value(name: str, value: str) -> None:
    headers: Mapping[str, str] = {
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-remaining-tokens": "0",
        "prompt_token_len": "1",
        "sampling_token_len": "1",
        name: value,
    }
    wait = retry_after(429, headers, Clock())
    assert wait is None or 0 < wait < float("inf")
    usage = usage_from_headers(headers)
    assert usage is None or 0 <= usage.total_tokens < 10**12
    failure = from_response(424, headers, b"")
    assert str(failure).isprintable()
    assert isinstance(failure.status, int)
