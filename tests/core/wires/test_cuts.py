"""Streams of every wire that break off: each ends as a typed error with all that came."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from azinfer.core import AsyncInferenceClient, InferenceClient, StreamInterruptedError, UserMessage
from azinfer.core.completions import Json
from azinfer.core.endpoint_knowledge import forget_endpoints
from azinfer.core.wires.wire import wire_named
from raw_server import RawServer, stream

ASK = [UserMessage("hi")]
HEADERS = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
TEXT, ARGUMENTS = "Ça va ☃", '{"a":"é"}'
MESSAGE = {"type": "message", "role": "assistant"}
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": ARGUMENTS}
OUTPUT: list[Json] = [
    {**MESSAGE, "content": [{"type": "output_text", "text": TEXT, "annotations": []}]},
    CALL,
]


def _chat() -> Iterator[Any]:
    call = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": ""}}
    deltas: list[Json] = [{"content": "Ça "}, {"content": "va ☃"}, {"tool_calls": [call]}]
    deltas += [
        {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}
        for piece in ('{"a":', '"é"}')
    ]
    for delta in deltas:
        yield {"id": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {"id": "x", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}


def _responses() -> Iterator[Any]:
    yield {"type": "response.created", "response": {"id": "r", "status": "in_progress"}}
    yield {"type": "response.output_item.added", "output_index": 0, "item": MESSAGE}
    for piece in ("Ça ", "va ☃"):
        yield {"type": "response.output_text.delta", "output_index": 0, "delta": piece}
    yield {"type": "response.output_item.done", "output_index": 0, "item": OUTPUT[0]}
    begun = {**CALL, "arguments": ""}
    yield {"type": "response.output_item.added", "output_index": 1, "item": begun}
    for piece in ('{"a":', '"é"}'):
        kind = "response.function_call_arguments.delta"
        yield {"type": kind, "output_index": 1, "delta": piece}
    yield {"type": "response.output_item.done", "output_index": 1, "item": CALL}
    response = {"id": "r", "status": "completed", "output": OUTPUT}
    yield {"type": "response.completed", "response": response}


def _messages() -> Iterator[Any]:
    def delta(at: int, kind: str, name: str, text: str) -> Json:
        return {"type": "content_block_delta", "index": at, "delta": {"type": kind, name: text}}

    yield {"type": "message_start", "message": {"id": "m", "content": []}}
    text = {"type": "text", "text": ""}
    yield {"type": "content_block_start", "index": 0, "content_block": text}
    yield from (delta(0, "text_delta", "text", piece) for piece in ("Ça ", "va ☃"))
    yield {"type": "content_block_stop", "index": 0}
    call = {"type": "tool_use", "id": "c1", "name": "f", "input": {}}
    yield {"type": "content_block_start", "index": 1, "content_block": call}
    for piece in ('{"a":', '"é"}'):
        yield delta(1, "input_json_delta", "partial_json", piece)
    yield {"type": "content_block_stop", "index": 1}
    yield {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {}}
    yield {"type": "message_stop"}


EVENTS = {"chat": _chat, "responses": _responses, "messages": _messages}
WIRES = pytest.mark.parametrize("wire", list(EVENTS))


def frames_of(wire: str) -> list[bytes]:
    """The events of an answer with a text and a call, as bytes."""
    events = EVENTS[wire]()
    return [f"data: {json.dumps(each, ensure_ascii=False)}\n\n".encode() for each in events]


def check_partial(partial: Any, text: str, arguments: str) -> None:
    """Check that a partial answer has all that came in chunks, and nothing made up."""
    assert TEXT.startswith(partial.text)
    assert partial.text.startswith(text)
    (whole,) = [call.function.arguments for call in partial.tool_calls] or [""]
    assert whole == "{}" or ARGUMENTS.startswith(whole)
    assert whole.startswith(arguments)


@WIRES
def test_a_stream_may_break_off_at_any_byte(wire: str) -> None:
    data = b"".join(frames_of(wire))
    is_whole = []
    for end in range(1, len(data) + 1):
        reader = wire_named(wire).reader(HEADERS)
        chunks: list[Any] = []
        try:
            chunks += reader.feed(data[:end])
            chunks += reader.finish()
        except StreamInterruptedError as error:
            text = "".join(chunk.text for chunk in chunks)
            arguments = "".join(call.arguments for chunk in chunks for call in chunk.tool_calls)
            if error.partial is None:
                assert not text + arguments
            else:
                check_partial(error.partial, text, arguments)
        else:
            answer = reader.completion()
            assert (answer.text, answer.tool_calls[0].function.arguments) == (TEXT, ARGUMENTS)
            assert answer.finish_reason == "tool_calls"
            is_whole.append(end)
    # An answer is whole from the event that says why it ended.
    assert is_whole
    assert data.index(b"tool_" if wire != "responses" else b"response.completed") < is_whole[0]


@pytest.fixture
def server() -> Iterator[RawServer]:
    forget_endpoints()
    server = RawServer().start()
    yield server
    server.stop()


@WIRES
async def test_clients_raise_where_a_stream_breaks_off(server: RawServer, wire: Any) -> None:
    frames = frames_of(wire)
    whole = len(frames) - (2 if wire == "messages" else 1)  # events before the end is known
    bodies = [b"".join(frames[:count]) + b"data: {" for count in range(1, whole + 1)]
    server.will(*(stream(body) for body in bodies for _ in range(2)))
    options: Any = {"wire": wire, "max_retries": 0}
    with InferenceClient(server.url, "a-key", "m", **options) as client:
        async with AsyncInferenceClient(server.url, "a-key", "m", **options) as other:
            for _ in bodies:
                with pytest.raises(StreamInterruptedError) as caught, client.stream(ASK) as chunks:
                    list(chunks)
                with pytest.raises(StreamInterruptedError) as also:
                    async with other.stream(ASK) as parts:
                        _ = [part async for part in parts]
                partial = caught.value.partial
                assert partial is not None
                assert also.value.partial is not None
                assert partial.choices == also.value.partial.choices
                check_partial(partial, "", "")
    assert len(server.received) == 2 * len(bodies)
