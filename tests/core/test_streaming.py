"""Streams: all rules of server-sent events, the chunks, and the answer that they form."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import azinfer.core
from azinfer.core import (
    APIStatusError,
    ChatCompletionChunk,
    ChunkChoice,
    ConfigurationError,
    ContentFilterError,
    Delta,
    InferenceError,
    InvalidResponseError,
    RateLimitError,
    StreamInterruptedError,
    ToolCallChunk,
)
from azinfer.core.reasoning import Splitter, split
from azinfer.core.sse import EventDecoder
from azinfer.core.streaming import ChatReader
from client_driver import ClientDriver, open_driver
from raw_server import (
    Peer,
    RawServer,
    chat,
    chunked_answer,
    events,
    failure,
    part,
    raw,
    reply,
    stream,
)

Ask = Callable[..., ClientDriver]


@pytest.mark.parametrize(
    ("data", "event"),
    [
        (b"data: a\n\n", (b"", b"a")),
        (b"event: x\ndata: a\n\n", (b"x", b"a")),
        (b"data: a", None),
        (b": ping\n\n", None),
        (b"event: x\n\n", None),
        (b"id: 1\ndata: a\n\n", None),
        (b"data: a\ndata: b\n\n", None),
        (b"data: a\r\n\r\n\n", None),
    ],
)
def test_a_whole_event_is_recognised_alone(data: bytes, event: tuple[bytes, bytes] | None) -> None:
    decoder = EventDecoder()
    assert decoder.whole_event(data) is None  # a byte-order mark may come first
    decoder.feed(b"data: first\n\n")
    assert decoder.whole_event(data) == event
    decoder.feed(b"data: cut")
    assert decoder.whole_event(data) is None


def decode(data: bytes, *cuts: int) -> list[tuple[bytes, bytes]]:
    decoder = EventDecoder()
    results = []
    for start, end in zip((0, *cuts), (*cuts, len(data)), strict=True):
        results += decoder.feed(data[start:end])
    return results + decoder.finish()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"data: a\n\n", [(b"", b"a")]),
        (b"data:a\n\n", [(b"", b"a")]),
        (b"data:  a\n\n", [(b"", b" a")]),
        (b"data: a\r\n\r\ndata: b\r\r", [(b"", b"a"), (b"", b"b")]),
        (b"data: a\ndata: b\n\n", [(b"", b"a\nb")]),
        (b": comment\nid: 1\nretry: 5\ndata: a\n\n", [(b"", b"a")]),
        (b"event: error\ndata: a\n\ndata: b\n\n", [(b"error", b"a"), (b"", b"b")]),
        (b"\xef\xbb\xbfdata: a\n\n", [(b"", b"a")]),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [(b"", b"a")]),
        (b"data: a", [(b"", b"a")]),
        (b"data:\n\n\n\ndata: a\n\n", [(b"", b"a")]),
        ("data: \u0085\u2028\n\n".encode(), [(b"", "\u0085\u2028".encode())]),
        (b"data: a\x0b\x0c\n\n", [(b"", b"a\x0b\x0c")]),
        (b"datum: a\n\n", []),
    ],
)
def test_events_are_those_of_the_standard(data: bytes, expected: list[tuple[bytes, bytes]]) -> None:
    assert decode(data) == expected


def test_events_are_the_same_wherever_they_are_cut_once_or_twice() -> None:
    data = b"data: a\ndata: b\n\ndata: c\r\ndata: d\r\n\r\ndata: e\n\ndata: f\n\n"
    whole = [(b"", b"a\nb"), (b"", b"c\nd"), (b"", b"e"), (b"", b"f")]
    for first in range(len(data) + 1):
        for second in range(first, len(data) + 1):
            assert decode(data, first, second) == whole, (first, second)


line = st.sampled_from(
    [b"data: a", b"data:b", b'data: {"x": "\xc3\xa9"}', b"event: e", b": c", b"", b"id: 1", b"data"]
)


@given(
    st.lists(st.tuples(line, st.sampled_from([b"\n", b"\r\n", b"\r"])), max_size=12),
    st.data(),
)
def test_events_are_the_same_however_the_bytes_are_cut(
    lines: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    whole = b"".join(text + end for text, end in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    assert decode(whole, *cuts) == decode(whole)


PIECES = ["<think>", "</think>", "<th", "ink>", "</thi", "nk>", "a", "\n", " ", "é", "<", ">"]


@given(st.lists(st.sampled_from(PIECES), max_size=10), st.data())
def test_reasoning_is_split_the_same_however_the_text_is_cut(
    pieces: list[str], data: st.DataObject
) -> None:
    text = "".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    splitter = Splitter()
    thought = message = ""
    for start, end in zip((0, *cuts), (*cuts, len(text)), strict=True):
        more, rest = splitter.feed(text[start:end])
        thought, message = thought + more, message + rest
    more, rest = splitter.finish()
    streamed = (thought + more, message + rest)
    if text.lstrip().startswith("<think>"):
        whole = split(text)
        assert (streamed[0], streamed[1]) == (whole[0], whole[1])
    else:
        assert streamed == ("", text)


@given(st.lists(st.binary(max_size=30), max_size=6))
def test_any_bytes_are_a_stream_or_a_typed_error(parts: list[bytes]) -> None:
    reader = ChatReader({})
    try:
        for each in parts:
            list(reader.feed(each))
        reader.finish()
    except InferenceError:
        pass


KEYS = [
    "choices",
    "delta",
    "index",
    "content",
    "tool_calls",
    "function",
    "name",
    "error",
    "id",
    "arguments",
    "usage",
    "finish_reason",
    "message",
    "logprobs",
    "code",
    "prompt_filter_results",
    "content_filter_results",
    "reasoning_content",
    "refusal",
]
json_value = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(st.lists(st.dictionaries(st.sampled_from(["choices", "usage", "id"]), json_value)))
def test_any_events_are_a_stream_or_a_typed_error(payloads: list[Any]) -> None:
    reader = ChatReader({})
    try:
        list(reader.feed(events(*payloads)))
        reader.finish()
    except InferenceError:
        pass


def test_a_stream_is_read_while_it_comes_and_adds_up(ask: Ask, server: RawServer) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    server.will(
        stream(
            events(
                {"id": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
                part("", role="assistant"),
                part("hel"),
                part("lo"),
                part(None, "stop"),
                {"choices": [], "usage": usage},
            )
        )
    )
    read = ask().stream()
    assert [chunk.text for chunk in read.chunks] == ["", "", "hel", "lo", "", ""]
    assert [chunk.finish_reason for chunk in read.chunks][-2:] == ["stop", None]
    answer = read.completion
    assert (answer.id, answer.model, answer.text) == ("c1", "m", "hello")
    assert answer.finish_reason == "stop"
    assert answer.prompt_filter_results == ({"prompt_index": 0},)
    assert answer.usage is not None
    assert answer.usage.total_tokens == 5
    assert read.chunks[-1].usage == answer.usage
    assert read.stream.routing == answer.routing
    assert answer.routing is not None
    assert answer.routing.attempts[0].status == 200


def test_reasoning_is_streamed_apart(ask: Ask, server: RawServer) -> None:
    tagged = [part("<th"), part("ink>2+"), part("2</thi"), part("nk>\n\n4"), part(None, "stop")]
    field = [part(None, None, reasoning_content="2+2"), part("4", "stop")]
    alone = [part(text) for text in ("<think>", "\n", "2+2", "\n", "</think>", "\n", "4")]
    server.will(stream(events(*tagged)), stream(events(*field)), stream(events(*alone)))
    for _ in range(3):
        read = ask().stream()
        assert (read.reasoning, read.text) == ("2+2", "4")
        assert (read.completion.reasoning, read.completion.text) == ("2+2", "4")


def test_reasoning_is_emitted_once_it_cannot_be_a_tag(ask: Ask, server: RawServer) -> None:
    texts = ("<think>", "abc", "d</", "e</th", "ink>", "4", "5")
    server.will(stream(events(*map(part, texts), part(None, "stop"))))
    chunks = ask().stream().chunks
    assert [chunk.reasoning for chunk in chunks] == ["", "abc", "d", "</e", "", "", "", ""]
    assert [chunk.text for chunk in chunks] == ["", "", "", "", "", "4", "5", ""]


def test_text_that_only_looks_like_a_tag_is_not_lost(ask: Ask, server: RawServer) -> None:
    server.will(stream(events(part("<thi"), part(None, "stop"))))
    assert ask().stream().text == "<thi"
    server.will(stream(events(part("<thi"))))
    assert ask().stream().text == "<thi"


def test_several_choices_are_kept_apart(ask: Ask, server: RawServer) -> None:
    parts = [part("a", index=1), part("b"), part("c", "stop", 1), part("d", "length")]
    server.will(stream(events(*parts)))
    answer = ask().stream(n=2).completion
    assert [choice.message.content for choice in answer.choices] == ["bd", "ac"]
    assert [choice.finish_reason for choice in answer.choices] == ["length", "stop"]


@pytest.mark.parametrize("index", [{}, {"index": None}, {"index": "0"}], ids=repr)
def test_a_choice_without_an_index_is_the_first(
    ask: Ask, server: RawServer, index: dict[str, Any]
) -> None:
    parts = [part("a"), part("b", "stop")]
    for each in parts:
        del each["choices"][0]["index"]
        each["choices"][0] |= index
    server.will(stream(events(*parts)))
    choices = ask("/models").stream().completion.choices
    assert [(each.index, each.message.content) for each in choices] == [(0, "ab")]


def call(index: Any = None, id: Any = None, name: Any = None, arguments: Any = None) -> Any:
    function = {"name": name, "arguments": arguments}
    fields = {"index": index, "id": id}
    return {
        **{key: value for key, value in fields.items() if value is not None},
        "function": {key: value for key, value in function.items() if value is not None},
    }


@pytest.mark.parametrize(
    ("parts", "calls"),
    [
        ([[call(0, "a", "f", "")], [call(0, arguments='{"x"')], [call(0, arguments=":1}")]], "af"),
        ([[call(0, "a", "f", '{"x":1}')]], "af"),
        ([[call(None, "a", "f", '{"x":1}')]], "af"),
        ([[call(None, "a", "f", '{"x"')], [call(None, None, None, ":1}")]], "af"),
        ([[call(None, "a", "f", '{"x"')], [call(None, "a", None, ":1}")]], "af"),
        ([[call(0, "a", "", "")], [call(0, "a", "f", {"x": 1})]], "af"),
        (
            [
                [call(0, "a", "f", '{"x"')],
                [call(1, "b", "g", "{}")],
                [call(0, arguments=":1}")],
                [call(1, arguments="")],
            ],
            "af bg",
        ),
        ([[call(0, "a", "f", '{"x":1}'), call(0, "b", "g", "{}")]], "af bg"),
        ([[call(None, "a", "f", '{"x":1}')], [call(None, "b", "g", "{}")]], "af bg"),
        ([[call(1, "b", "g", "{}")], [call(0, "a", "f", '{"x":1}')]], "af bg"),
    ],
)
def test_tool_calls_are_assembled_however_they_come(
    ask: Ask, server: RawServer, parts: list[Any], calls: str
) -> None:
    chunks = [part(None, None, tool_calls=each) for each in parts]
    server.will(stream(events(*chunks, part(None, "tool_calls"))))
    read = ask().stream()
    arguments = {"f": '{"x":1}', "g": "{}"}
    expected = [(each[0], each[1], arguments[each[1]]) for each in calls.split()]
    streamed_calls = read.completion.tool_calls
    assert [
        (each.id, each.function.name, each.function.arguments) for each in streamed_calls
    ] == expected
    streamed: dict[int, list[Any]] = {}
    for piece in (piece for chunk in read.chunks for piece in chunk.tool_calls):
        call = streamed.setdefault(piece.index, [None, None, ""])
        call[:2] = [call[0] or piece.id, call[1] or piece.name]
        call[2] += piece.arguments
    assert sorted(map(tuple, streamed.values())) == sorted(expected)


def test_a_call_without_an_id_gets_one(ask: Ask, server: RawServer) -> None:
    chunk = part(None, "stop", tool_calls=[call(0, None, "f", "{}")])
    server.will(stream(events(chunk)))
    first, second = ask().stream().completion, ask().stream().completion
    assert first.finish_reason == "tool_calls"
    assert first.tool_calls[0].id.startswith("call_")
    assert first.tool_calls[0].id != second.tool_calls[0].id


@given(st.permutations([0, 0, 0, 1, 1, 1, 2, 2, 2]))
def test_calls_do_not_depend_on_how_their_parts_interleave(order: list[int]) -> None:
    seen = [0, 0, 0]
    reader = ChatReader({})
    for index in order:
        text = ["[", f"{index}", "]"][seen[index]]
        first = {"id": f"i{index}", "name": f"f{index}"} if not seen[index] else {}
        seen[index] += 1
        list(
            reader.feed(events(part(None, None, tool_calls=[call(index, arguments=text, **first)])))
        )
        reader.done = False
    calls = reader.completion().tool_calls
    assert [(each.id, each.function.arguments) for each in calls] == [
        (f"i{index}", f"[{index}]") for index in range(3)
    ]


def test_logprobs_and_filter_results_add_up(ask: Ask, server: RawServer) -> None:
    chunks = [part("a"), part("b"), part(None, "stop")]
    chunks[0]["choices"][0] |= {"logprobs": {"content": [1], "refusal": None}}
    chunks[1]["choices"][0] |= {
        "logprobs": {"content": [2], "refusal": []},
        "content_filter_results": {"hate": {"filtered": False}},
    }
    chunks[2]["choices"][0] |= {"content_filter_results": {"violence": {"filtered": False}}}
    server.will(stream(events(*chunks)))
    choice = ask().stream().completion.choices[0]
    assert choice.logprobs == {"content": [1, 2], "refusal": []}
    assert set(choice.content_filter_results) == {"hate", "violence"}


def test_sound_is_streamed(ask: Ask, server: RawServer) -> None:
    # Each chunk's data ends where a group of three bytes does not.
    sounds = [
        {"id": "a1", "transcript": "Hel"},
        {"data": "AQ==", "transcript": "lo"},
        {"data": "AgM="},
        {"expires_at": 9},
    ]
    parts = [part(None, None, audio=sound) for sound in sounds]
    server.will(stream(events(*parts, part(None, "stop"))))
    read = ask().stream()
    assert [chunk.choices[0].delta.audio for chunk in read.chunks] == [*sounds, None]
    assert read.completion.choices[0].message.audio == {
        "id": "a1",
        "expires_at": 9,
        "transcript": "Hello",
        "data": "AQID",
    }
    server.will(stream(events(part(None, None, audio={"data": "A"}))))
    with pytest.raises(InvalidResponseError, match="audio that is not base64"):
        ask().stream()


def test_a_refusal_is_streamed(ask: Ask, server: RawServer) -> None:
    parts = [part(None, None, refusal="I "), part(None, "stop", refusal="won't")]
    server.will(stream(events(*parts)))
    read = ask().stream()
    assert [chunk.choices[0].delta.refusal for chunk in read.chunks] == ["I ", "won't"]
    assert read.completion.choices[0].message.refusal == "I won't"


def test_the_chunks_after_the_finish_are_read(ask: Ask, server: RawServer) -> None:
    late = {"choices": [{"index": 0, "content_filter_offsets": {}, "finish_reason": None}]}
    server.will(stream(events(part("a", "stop"), late)))
    assert ask().stream().completion.finish_reason == "stop"


def test_nothing_after_done_is_read(ask: Ask, server: RawServer) -> None:
    server.will(stream(events(part("a", "stop")) + b" data: x\n\ndata: broken\n\n"))
    assert ask().stream().text == "a"


@pytest.mark.parametrize(
    "body",
    [
        chunked_answer(events(part("a", "stop"), done=False)),
        chunked_answer(events(part("a"), done=True)),
        chunked_answer(events(part("a", "stop"), "null", done=False)),
        chunked_answer(b"data: " + json.dumps(part("a", "stop")).encode()),
        chunked_answer(events(part("a", "stop"), " [DONE] ", done=False)),
        chunked_answer(events(part("a", "stop")), content_type=""),
        chunked_answer(json.dumps(chat("a")).encode(), content_type="application/json"),
        chunked_answer(b" \n" + json.dumps(chat("a")).encode()),
        chunked_answer(b"\xef\xbb\xbf" + json.dumps(chat("a")).encode()),
    ],
)
def test_a_complete_stream_has_no_error(ask: Ask, server: RawServer, body: bytes) -> None:
    server.will(raw(body, "keep"))
    read = ask().stream()
    assert read.text == read.completion.text == "a"


def test_an_unrequested_stream_is_read(ask: Ask, server: RawServer) -> None:
    body = events(part("hel"), part("lo", "stop"))
    server.will(*(reply(lead + body, content_type="text/event-stream") for lead in (b"", b": x\n")))
    driver = ask()
    assert [driver.complete().text, driver.complete().text] == ["hello", "hello"]


INTERRUPTED = "what came is in .partial"


@pytest.mark.parametrize(
    ("body", "raised", "expected", "partial"),
    [
        (events(part("hel"), done=False), StreamInterruptedError, INTERRUPTED, "hel"),
        (events(part("hel"), done=False) + b'data: {"a', StreamInterruptedError, "inside", "hel"),
        (
            events(part("hel"), done=False) + b'data: {"a":"\xc3',
            StreamInterruptedError,
            "inside",
            "hel",
        ),
        (events(part("hel"), "{broken"), InvalidResponseError, "not valid JSON", "hel"),
        (events(part("hel"), [1]), InvalidResponseError, "not an object", "hel"),
        (events(part("hel"), {"choices": {}}), InvalidResponseError, "not a list", "hel"),
        (events(part("hel"), {"choices": [1]}), InvalidResponseError, "not an object", "hel"),
        (events(part("hel"), part(4)), InvalidResponseError, "neither text", "hel"),
        (events(part("hel"), part("a", 1)), InvalidResponseError, "finish reason", "hel"),
        (
            events(part("hel"), part(None, None, reasoning_content=1)),
            InvalidResponseError,
            "reasoning",
            "hel",
        ),
        (
            events(part("hel"), part(None, None, tool_calls=[1])),
            InvalidResponseError,
            "tool call",
            "hel",
        ),
        (
            events(part("hel"), failure("content_filter", "blocked")),
            ContentFilterError,
            "blocked",
            "hel",
        ),
        (
            events(part("hel"), failure("429", "slow down")),
            RateLimitError,
            "slow down",
            "hel",
        ),
        (
            events(part("hel"), done=False) + b'event: error\ndata: {"message":"oops"}\n\n',
            APIStatusError,
            "oops",
            "hel",
        ),
        (events(failure("400", "early")), APIStatusError, "early", None),
        (b"", InvalidResponseError, "no response in it", None),
        (events(), InvalidResponseError, "no response in it", None),
        (b"<html>Sign in</html>", InvalidResponseError, "<html>Sign in", None),
        (b'{"error":{"code":"400","message":"no"}}', APIStatusError, "no", None),
        (b'{"choices":[]}', InvalidResponseError, "no choices", None),
        (b'{"choices":', InvalidResponseError, "the stream is not valid JSON", None),
        (b"[1]", InvalidResponseError, "no choices", None),
    ],
)
def test_an_incomplete_stream_is_an_error(
    ask: Ask,
    server: RawServer,
    body: bytes,
    raised: type[InferenceError],
    expected: str,
    partial: str | None,
) -> None:
    server.will(raw(chunked_answer(body) if body else chunked_answer(b"\n"), "keep"))
    with pytest.raises(raised, match=expected) as caught:
        ask().stream()
    error = caught.value
    assert (error.deployment, len(server.received)) == ("gpt-4.1", 1)
    assert (error.partial.text if error.partial else None) == partial


def test_an_event_without_end_is_refused() -> None:
    decoder = EventDecoder()
    for _ in range(16):
        decoder.feed(b"data: " + b"x" * 1_000_000)
    with pytest.raises(InvalidResponseError, match="longer than"):
        decoder.feed(b"data: " + b"x" * 1_000_000)


def test_the_connection_of_a_stream_is_reused(ask: Ask, server: RawServer) -> None:
    ended = threading.Event()

    def late_end(peer: Peer) -> None:
        peer.send(chunked_answer(events(part("a", "stop")))[:-5])
        ended.wait(0.02)  # never set: the end comes in a packet of its own
        peer.send(b"0\r\n\r\n")

    server.will(late_end)
    driver = ask()
    assert [driver.stream().text for _ in range(3)] == ["a"] * 3
    assert server.connections == 1


def test_a_stream_is_complete_before_its_connection_ends(ask: Ask, server: RawServer) -> None:
    server.will(raw(chunked_answer(events(part("a", "stop")))[:-5], "stall"))
    assert ask().stream().completion.text == "a"
    assert server.wait_until(lambda: server.open_connections == 0)


def test_leaving_a_stream_early_closes_its_connection(ask: Ask, server: RawServer) -> None:
    server.will(raw(chunked_answer(events(part("a"), done=False))[:-5], "stall"))
    ask().read(lambda chunk: True)
    assert server.wait_until(lambda: server.open_connections == 0)


def test_an_abandoned_stream_closes_its_connection(server: RawServer) -> None:
    server.will(raw(chunked_answer(events(part("a"), done=False))[:-5], "stall"))
    with open_driver("sync", f"{server.url}/models", "k", "m") as driver:
        chunks = driver.client.stream([{"role": "user"}])
        next(chunks)
        del chunks
        gc.collect()
        assert server.wait_until(lambda: server.open_connections == 0)


def test_a_stream_that_was_never_read_closes_its_connection(server: RawServer) -> None:
    server.will(raw(chunked_answer(events(part("a"), done=False))[:-5], "stall"))
    with open_driver("sync", f"{server.url}/models", "k", "m") as driver:
        driver.client.stream([{"role": "user"}]).close()
        assert server.wait_until(lambda: server.open_connections == 0)


def test_a_cancelled_stream_closes_its_connection(server: RawServer) -> None:
    server.will(raw(chunked_answer(events(part("a"), done=False))[:-5], "stall"))
    with open_driver("async", f"{server.url}/models", "k", "m") as driver:

        async def cancel() -> None:
            begun = asyncio.Event()

            async def read_stream() -> None:
                async with driver.client.stream([{"role": "user"}]) as chunks:
                    async for _ in chunks:
                        begun.set()

            task = asyncio.create_task(read_stream())
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        driver.run(cancel())
        assert server.wait_until(lambda: server.open_connections == 0)


def test_a_sync_stream_is_open_when_it_is_returned(server: RawServer) -> None:
    server.will(reply(failure("unknown_model"), 404))
    with (
        open_driver("sync", f"{server.url}/models", "k", "m") as driver,
        pytest.raises(InferenceError),
    ):
        driver.client.stream([{"role": "user"}])


def test_reading_an_unopened_async_stream_is_an_error(server: RawServer) -> None:
    server.will(stream(events(part("a"), part("b", "stop"))))
    with open_driver("async", f"{server.url}/models", "k", "m") as driver:
        chunks = driver.client.stream([{"role": "user"}])
        with pytest.raises(ConfigurationError, match="async with"):
            chunks.completion  # noqa: B018
        driver.run(chunks.aclose())

        async def begun_without_a_block() -> str:
            text: str = (await anext(chunks)).text
            async with chunks:
                return text + "".join([chunk.text async for chunk in chunks])

        assert driver.run(begun_without_a_block()) == "ab"


def test_a_stream_is_an_iterator_and_closing_twice_is_harmless(server: RawServer) -> None:
    server.will(stream(events(part("a", "stop"))))
    with open_driver("sync", f"{server.url}/models", "k", "m") as driver:
        with driver.client.stream([{"role": "user"}]) as chunks:
            assert next(chunks).text == "a"
            assert list(chunks) == []
        chunks.close()


def test_chunks_have_the_id_and_the_model_of_the_completion(ask: Ask, server: RawServer) -> None:
    first = {"id": "", "model": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}
    server.will(stream(events(first, part("a"), part("b", "stop"))))
    read = ask().stream()
    ids = [(chunk.id, chunk.model) for chunk in read.chunks]
    assert ids[0] == ("", None)
    assert set(ids[1:]) == {(read.completion.id, read.completion.model)}
    assert read.completion.id


def test_chunks_compare_print_and_travel_by_their_content() -> None:
    choices = (ChunkChoice(0, Delta("Paris", tool_calls=(ToolCallChunk(0, "1", "f", "{}"),))),)
    chunk = ChatCompletionChunk(choices, raw={"secret": "event"}, id="c", model="m")
    same = ChatCompletionChunk(choices, id="c", model="m")
    assert chunk == same != ChatCompletionChunk(id="c", model="m")
    assert (chunk != same) is False
    assert chunk != "Paris"
    assert "Embeddings" in dir(azinfer.core)
    assert "secret" not in repr(chunk)
    assert "Paris" in repr(chunk)
    copies = [copy.deepcopy(chunk), pickle.loads(pickle.dumps(chunk))]
    assert [each.raw for each in copies] == [chunk.raw] * 2
    assert copies == [chunk] * 2
    assert {ChatCompletionChunk(id="c"), ChatCompletionChunk(id="c", raw={"a": 1})} == {
        ChatCompletionChunk(id="c")
    }
    with pytest.raises(AttributeError):
        chunk.id = "other"  # type: ignore[misc]
