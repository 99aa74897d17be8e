"""A streamed answer of Anthropic Messages: events become chunks, and the whole they add up to.

Source: "Streaming messages" of Anthropic's documentation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from azinfer.core.chunks import ChatCompletionChunk, Delta, ToolCallChunk
from azinfer.core.completions import ChatCompletion, Json
from azinfer.core.decoding import decode_json, invalid_response
from azinfer.core.error_responses import from_response
from azinfer.core.json_fields import as_index, as_object, as_objects, as_text
from azinfer.core.wires.messages.answer import decode, finish_reason, usage_of
from azinfer.core.wires.reader import WireReader, object_in
from azinfer.core.wires.turns import join_chunks

# The deltas that add to a text: the delta's field, and the block's.
_TEXTS = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("signature", "signature"),
    "input_json_delta": ("partial_json", "input"),
}


class _OpenBlock:
    """One content block, as far as it has come."""

    def __init__(self, block: Json, number: int | None) -> None:
        self.block = block
        self.number = number
        self.pieces: dict[str, list[str]] = {}

    def value(self) -> Json:
        """Return the block, with its pieces joined."""
        texts = {field: "".join(pieces) for field, pieces in self.pieces.items()}
        if "input" in texts and not texts["input"]:
            texts["input"] = "{}"
        return {**self.block, **texts}


class MessagesReader(WireReader):
    """Reads one streamed message from its bytes, sans I/O."""

    _decode_whole = decode

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._blocks: dict[int, _OpenBlock] = {}
        self._has_thought = False
        self._calls = 0

    def completion(self) -> ChatCompletion:
        """Return the answer as far as it has come."""
        content = [block.value() for _, block in sorted(self._blocks.items())]
        return self._decode({**self._head, "content": content})

    def _read(self, name: bytes, data: bytes) -> ChatCompletionChunk | None:
        try:
            raw = msgspec.json.decode(data)
        except (ValueError, RecursionError):
            return join_chunks(map(self._event, self._split_events(data)))
        return self._event(raw)

    def _split_events(self, data: bytes) -> Iterator[Any]:
        """Yield the events of one line; services under load put two on one line."""
        text = data.decode(errors="replace").strip()
        if text == "[DONE]":  # sent by some gateways
            self._is_ended = True
            return
        decoder, values = json.JSONDecoder(), []
        try:
            while text:
                raw, end = decoder.raw_decode(text)
                values.append(raw)
                text = text[end:].lstrip()
                text = text.removeprefix("data:").lstrip()
        except (ValueError, RecursionError):
            decode_json(data, self._headers, "an event of the stream")
        yield from values

    def _event(self, raw: Any) -> ChatCompletionChunk | None:
        if raw.__class__ is not dict:
            raise invalid_response("an event that is not an object", raw)
        kind = raw.get("type")
        if kind == "content_block_delta":
            return self._delta(raw)
        if handle := _HANDLERS.get(str(kind)):
            return handle(self, raw)
        if raw.get("error"):
            raise from_response(200, self._headers, msgspec.json.encode(raw))
        self.done = kind == "message_stop"
        return None if kind in _SILENT else self._chunk(raw)

    def _delta(self, raw: Json) -> ChatCompletionChunk:
        block, delta = self._blocks.get(as_index(raw.get("index")) or 0), raw.get("delta")
        if block is None or delta.__class__ is not dict:
            raise invalid_response("a delta without its block", raw)
        names = _TEXTS.get(str(delta.get("type")))
        if names is None:
            if citation := delta.get("citation"):
                before = as_objects(block.block.get("citations"))
                block.block["citations"] = [*before, citation]
            return self._chunk(raw)
        text = delta.get(names[0]) or ""
        if text.__class__ is not str:
            raise invalid_response("a delta that is not text", raw)
        return self._add(block, names[1], text, raw)

    def _add(self, block: _OpenBlock, field: str, text: str, raw: Json) -> ChatCompletionChunk:
        """Return the chunk for a piece of a block."""
        pieces = block.pieces.get(field)
        if pieces is None:
            pieces = block.pieces[field] = []
        is_first = not any(pieces)
        pieces.append(text)
        if field == "text":
            delta = Delta(text or None)
        elif field == "thinking":
            apart = "\n\n" if text and is_first and self._has_thought else ""
            self._has_thought = self._has_thought or bool(text)
            delta = Delta(None, f"{apart}{text}" or None)
        elif field == "input" and block.number is not None:
            delta = Delta(tool_calls=(ToolCallChunk(block.number, None, None, text),))
        else:
            return self._chunk(raw)
        return self._chunk(raw, delta)

    def _start_message(self, raw: Json) -> ChatCompletionChunk:
        message = object_in(raw, "message")
        # It may come twice; then what came before it does not count.
        self._set_head({**message, "usage": dict(as_object(message.get("usage")))})
        self._blocks.clear()
        self._calls = 0
        return self._chunk(raw, usage=usage_of(message.get("usage")))

    def _start_block(self, raw: Json) -> ChatCompletionChunk:
        block = object_in(raw, "content_block")
        number, delta = None, Delta()
        if block.get("type") == "tool_use":
            number, self._calls = self._calls, self._calls + 1
            name = as_text(block.get("name")) or None
            call = ToolCallChunk(number, as_text(block.get("id")) or None, name, "")
            delta = Delta(tool_calls=(call,))
        index = as_index(raw.get("index"))
        index = len(self._blocks) if index is None else index
        opened = self._blocks[index] = _OpenBlock(dict(block), number)
        chunk = self._chunk(raw, delta)
        # Usually empty; text that is here already is not sent in pieces.
        rest = {name: text for name in ("text", "thinking") if (text := as_text(block.get(name)))}
        if number is not None and block.get("input"):
            rest["input"] = msgspec.json.encode(block["input"]).decode()
        return (
            join_chunks([chunk, *(self._add(opened, *each, raw) for each in rest.items())]) or chunk
        )

    def _end(self, raw: Json) -> ChatCompletionChunk:
        changes = as_object(raw.get("delta"))
        counts = as_object(self._head.get("usage"))
        self._head |= {key: value for key, value in changes.items() if value}
        self._head["usage"] = counts
        # Some relays send zeros at the end for counts that they do not know.
        counts |= {key: value for key, value in as_object(raw.get("usage")).items() if value}
        return self._chunk(raw, Delta(), finish_reason(self._head), usage=usage_of(counts))

    def _whole(self, raw: Any) -> list[ChatCompletionChunk]:
        self._decode(raw)
        chunks = [self._start_message({"type": "message_start", "message": raw})]
        for at, block in enumerate(raw["content"]):
            chunks.append(self._start_block({"index": at, "content_block": block}))
        return [*chunks, self._end({"delta": {}, "usage": raw.get("usage")})]

    def _has_answer(self) -> bool:
        return bool(self._head or self._blocks)

    def _is_complete(self) -> bool:
        return self._head.get("stop_reason") is not None


_HANDLERS: dict[str, Callable[[MessagesReader, Json], ChatCompletionChunk]] = {
    "content_block_start": MessagesReader._start_block,
    "message_start": MessagesReader._start_message,
    "message_delta": MessagesReader._end,
}
_SILENT = ("ping", "content_block_stop", "message_stop")
