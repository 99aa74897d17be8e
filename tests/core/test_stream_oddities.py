"""What services do in streams and histories that no reference describes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from azinfer.core import AssistantMessage, InvalidResponseError
from azinfer.core.completions import Message, Usage
from azinfer.core.decoding import decode_completion
from azinfer.core.embeddings import Embeddings
from azinfer.core.messages import messages_to_wire
from azinfer.core.streaming import ChatReader
from azinfer.core.wires.wire import wire_named
from client_driver import ClientDriver
from raw_server import RawServer, chat, events, part, reply, stream, vectors

Ask = Callable[..., ClientDriver]


def counts(prompt: int, completion: int, **more: Any) -> dict[str, Any]:
    total = prompt + completion
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total, **more}


USAGES: dict[str, tuple[list[Any], Usage]] = {
    "zeros at the end": ([counts(3, 2), counts(0, 0)], Usage(3, 2, 5)),
    "null at the end": ([counts(3, 2), None], Usage(3, 2, 5)),
    "running counts": ([counts(3, 1), counts(3, 2), counts(3, 3)], Usage(3, 3, 6)),
    "half of it zero": ([counts(3, 1), counts(0, 2)], Usage(3, 2, 5)),
    "each count once": ([counts(3, 0), counts(0, 2)], Usage(3, 2, 5)),
    "only zeros": ([counts(0, 0)], Usage(0, 0, 0)),
    "floats": ([counts(3, 2.0)], Usage(3, 2, 5)),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", USAGES)
def test_the_last_counts_that_are_not_zero_are_the_usage(
    ask: Ask, server: RawServer, name: str
) -> None:
    usages, usage = USAGES[name]
    parts = [{"choices": [], "usage": each} for each in usages]
    server.will(stream(events(part("a", "stop"), *parts)))
    streamed = ask().stream()
    assert streamed.completion.usage == usage
    shown = [chunk.usage for chunk in streamed.chunks if chunk.usage]
    assert shown[-1] == usage


def test_zeros_at_the_end_of_messages_do_not_count() -> None:
    message = {"id": "m", "content": [], "usage": {"input_tokens": 3, "output_tokens": 1}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    parts = [
        {"type": "message_start", "message": message},
        {**end, "usage": {"input_tokens": 0, "output_tokens": 2}},
        {**end, "usage": {"input_tokens": 0, "output_tokens": 0}},
        {"type": "message_stop"},
    ]
    reader = wire_named("messages").reader({}, None, "", None)
    list(reader.feed(events(*parts, done=False)))
    assert reader.completion().usage == Usage(3, 2, 5)


def call(index: Any, arguments: str | None = None, **more: Any) -> dict[str, Any]:
    function = {} if arguments is None else {"function": {"arguments": arguments}}
    return {"index": index, **function, **more}


def first_part(index: Any, name: str) -> dict[str, Any]:
    return {"index": index, "id": name, "function": {"name": name, "arguments": ""}}


CALLS: dict[str, list[list[Any]]] = {
    "an index alone": [[first_part(0, "f")], [{"index": 0}], [call(0, "{}")]],
    "function null": [[first_part(0, "f")], [{"index": 0, "function": None}], [call(0, "{}")]],
    "nothing at all": [[first_part(0, "f")], [{}], [call(0, "{}")]],
    "an index alone at the end": [[first_part(0, "f")], [call(0, "{}")], [{"index": 0}]],
}


@pytest.mark.parametrize("name", CALLS)
def test_a_part_that_says_nothing_is_skipped_after_a_call_began(
    ask: Ask, server: RawServer, name: str
) -> None:
    parts = [part(tool_calls=calls) for calls in CALLS[name]]
    server.will(stream(events(*parts, part(None, "tool_calls"))))
    (calls,) = ask().stream().completion.tool_calls
    assert (calls.id, calls.function.name, calls.function.arguments) == ("f", "f", "{}")


def test_a_part_that_says_nothing_before_any_call_is_an_error(ask: Ask, server: RawServer) -> None:
    server.will(stream(events(part(tool_calls=[{"index": 0}]), part(None, "stop"))))
    with pytest.raises(InvalidResponseError, match="without a function"):
        ask().stream()


@pytest.mark.parametrize("kind", [int, float])
def test_an_index_may_be_written_with_a_fraction(kind: Callable[[int], Any]) -> None:
    one, two = kind(0), kind(1)
    parts = [
        part(tool_calls=[first_part(one, "f"), first_part(two, "g")]),
        part(tool_calls=[call(two, '{"x":1}'), call(one, "{}")]),
    ]
    reader = ChatReader({})
    list(reader.feed(events(*parts, part(None, "tool_calls"))))
    calls = [
        (each.function.name, each.function.arguments) for each in reader.completion().tool_calls
    ]
    assert calls == [("f", "{}"), ("g", '{"x":1}')]
    reader = ChatReader({})
    parts = [part("b", index=two), part("a", index=one)]
    list(reader.feed(events(*parts, part(None, "stop", two), part(None, "stop", one))))
    assert [each.message.content for each in reader.completion().choices] == ["a", "b"]
    choices = [{**chat(text)["choices"][0], "index": at} for text, at in [("b", two), ("a", one)]]
    whole = decode_completion({"choices": choices}, {}).choices
    assert [(each.index, each.message.content) for each in whole] == [(1, "b"), (0, "a")]
    data = [{"index": two, "embedding": [2.0]}, {"index": one, "embedding": [1.0]}]
    assert [each[0] for each in Embeddings.from_wire({"data": data}, {}, 2)] == [1.0, 2.0]


@pytest.mark.parametrize("index", [True, False, 0.5, "1", [0], {}])
def test_what_is_not_an_index_of_a_vector_is_an_error(index: Any) -> None:
    with pytest.raises(InvalidResponseError):
        Embeddings.from_wire({"data": [{"index": index, "embedding": [1.0]}]}, {}, 1)


@pytest.mark.parametrize("encoding", [None, "base64", "int8", "ubinary"])
def test_a_vector_has_numbers_only(ask: Ask, server: RawServer, encoding: str | None) -> None:
    for row in ([True], [1, True], ["1"], [None], [[1]]):
        server.will(reply(vectors(row)))
        with pytest.raises(InvalidResponseError):
            ask("/models", model="m").embed("a", encoding_format=encoding)


def whole(text: str | None, finish: Any = None, delta: Any = None, **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, **more}
    choice = {"index": 0, "finish_reason": finish, "message": message}
    return {"choices": [choice if delta is None else {**choice, "delta": delta}]}


TEXTS: dict[str, list[Any]] = {
    "the same beside each delta": [
        whole("hel", None, {"content": "hel"}),
        whole("lo", "stop", {"content": "lo"}),
    ],
    "all so far beside each delta": [
        whole("hel", None, {"content": "hel"}),
        whole("hello", "stop", {"content": "lo"}),
    ],
    "all at the end beside an empty delta": [part("hel"), part("lo"), whole("hello", "stop", {})],
    "all at the end beside no delta": [part("hel"), part("lo"), whole("hello", "stop")],
    "more at the end than the deltas had": [part("hel"), whole("hello", "stop", {})],
    "messages instead of deltas": [whole("hel"), whole("lo", "stop")],
    "only at the end": [part(), whole("hello", "stop", {"content": ""})],
}


@pytest.mark.parametrize("name", TEXTS)
def test_no_text_is_lost_or_doubled_where_a_chunk_has_a_message(
    ask: Ask, server: RawServer, name: str
) -> None:
    server.will(stream(events(*TEXTS[name])))
    streamed = ask().stream()
    assert streamed.text == streamed.completion.text == "hello"


def test_calls_and_refusals_beside_a_delta_count_once() -> None:
    calls = [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]
    reader = ChatReader({})
    list(reader.feed(events(whole(None, None, {"tool_calls": calls, "refusal": "No."}))))
    more = whole(None, "stop", {}, tool_calls=calls, refusal="No.")
    reader = ChatReader({})
    parts = [part(tool_calls=calls, refusal="No."), more]
    list(reader.feed(events(*parts)))
    message = reader.completion().choices[0].message
    assert (len(message.tool_calls), message.refusal) == (1, "No.")
    reader = ChatReader({})
    list(reader.feed(events(more)))
    message = reader.completion().choices[0].message
    assert (len(message.tool_calls), message.refusal) == (1, "No.")


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
HISTORY: list[tuple[Any, dict[str, Any]]] = [
    (Message(None, refusal="No."), {"content": "No."}),
    (Message(None), {"content": ""}),
    (AssistantMessage(), {"content": ""}),
    ({"role": "assistant", "content": None, "refusal": "No."}, {"content": "No."}),
    ({"role": "assistant", "content": None, "tool_calls": []}, {"content": ""}),
    ({"role": "assistant", "content": None, "tool_calls": None}, {"content": ""}),
    ({"role": "assistant", "content": None, "tool_calls": [CALL]}, {"tool_calls": [CALL]}),
    ({"role": "assistant", "content": "a", "refusal": None}, {"content": "a"}),
    ({"role": "assistant"}, {"content": ""}),
]


@pytest.mark.parametrize(("message", "sent"), HISTORY)
def test_no_null_and_no_refusal_is_lost_on_the_way_back(message: Any, sent: dict[str, Any]) -> None:
    assert messages_to_wire([message]) == [{"role": "assistant", **sent}]


def test_a_result_without_text_goes_back_as_text() -> None:
    message = {"role": "tool", "tool_call_id": "c", "content": None}
    assert messages_to_wire([message]) == [{**message, "content": ""}]


def steps_of(count: int) -> int:
    """The lines of Python that reading a stream with many tool calls runs."""
    parts = [
        part(tool_calls=[{"index": at, "id": f"c{at}", "function": {"name": "f"}}])
        for at in range(count)
    ]
    loose = [part(tool_calls=[{"id": f"d{at}", "function": {"name": "g"}}]) for at in range(count)]
    data = events(*parts, *loose)
    steps = 0

    def trace(*_: Any) -> Any:
        nonlocal steps
        steps += 1
        return trace

    reader = ChatReader({})
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        list(reader.feed(data))
    finally:
        sys.settrace(before)
    assert len(reader.completion().tool_calls) == 2 * count
    return steps


def test_reading_tool_calls_takes_linear_time() -> None:
    assert steps_of(800) < 9 * steps_of(100)
