"""A streamed answer of the Responses API: events become chunks, and the whole they add up to.

Events belong together by `output_index` and the index of the part, never by the ids of items,
which relays were seen to change from event to event.

Source: "Streaming events" of the Responses API reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

import msgspec

from azinfer.core.chunks import ChatCompletionChunk, Delta, ToolCallChunk
from azinfer.core.completions import ChatCompletion, Json
from azinfer.core.decoding import decode_json, invalid_response
from azinfer.core.json_fields import as_index, as_objects, as_text
from azinfer.core.wires.reader import WireReader, object_in
from azinfer.core.wires.responses.answer import (
    CALLS,
    decode,
    failure,
    filter_results,
    finish_reason,
    is_call,
    usage_of,
    wants_json,
)
from azinfer.core.wires.turns import join_chunks

# The events with a piece of a part: the kind of the part, the field with its index, and the item
# that it belongs to, for streams that begin with a delta.
_DELTAS = {
    "response.output_text.delta": ("output_text", "content_index", "message"),
    "response.refusal.delta": ("refusal", "content_index", "message"),
    "response.reasoning_summary_text.delta": ("summary_text", "summary_index", "reasoning"),
    "response.reasoning_text.delta": ("reasoning_text", "content_index", "reasoning"),
    "response.function_call_arguments.delta": ("arguments", "", "function_call"),
    "response.custom_tool_call_input.delta": ("input", "", "custom_tool_call"),
}
# These events repeat what came in pieces, or say that nothing has come yet.
_REPEATED = (
    *("response.queued", "response.in_progress", "response.content_part.added"),
    *("response.reasoning_summary_part.added", ".done"),
)
_FIRST, _NOTE = "response.created", "response.output_text.annotation.added"
_LAST = ("response.completed", "response.incomplete")


class _OpenItem:
    """One output item, as far as it has come."""

    def __init__(self, item: Json) -> None:
        self.item = item
        self.is_done = False
        self.number: int | None = None  # among the calls
        self.pieces: dict[tuple[str, int], list[str]] = {}
        self.notes: dict[int, list[Any]] = {}  # the sources that a text names

    def value(self) -> Json:
        """Return the item; if it is not done, what has been streamed of it."""
        if self.is_done:
            return self.item
        item: Json = {**self.item, "status": "in_progress"}
        for (part, at), pieces in sorted(self.pieces.items()):
            text = "".join(pieces)
            if part in CALLS.values():
                item[part] = text
                continue
            place = "summary" if part == "summary_text" else "content"
            value: Json = {"type": part, "refusal" if part == "refusal" else "text": text}
            if part == "output_text" and at in self.notes:
                value["annotations"] = self.notes[at]
            item[place] = [*(item.get(place) or ()), value]
        return item


class ResponsesReader(WireReader):
    """Reads one streamed response from its bytes, sans I/O."""

    _decode_whole = decode

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._items: dict[int, _OpenItem] = {}
        self._calls = 0
        self._failed: Json | None = None
        # The part that last wrote to each channel (text, reasoning).
        self._written: dict[str, Any] = {}

    def completion(self) -> ChatCompletion:
        """Return the answer as far as it has come."""
        raw = {**self._head, "status": self._head.get("status", "completed")}
        if not self.done:
            raw["status"] = "in_progress"
        if not self.done or not raw.get("output"):
            raw["output"] = [item.value() for _, item in sorted(self._items.items())]
        return self._decode(raw)

    def _read(self, name: bytes, data: bytes) -> ChatCompletionChunk | None:
        raw = None
        with suppress(ValueError, RecursionError):
            raw = msgspec.json.decode(data)
        if raw.__class__ is dict and (
            fields := _DELTAS.get(str(raw.get("type") or name.decode(errors="replace")))
        ):
            return self._piece(*fields, raw)  # a delta is not an error in disguise
        if data.strip() == b"[DONE]":
            self._is_ended = True
            return None
        raw = decode_json(data, self._headers, "an event of the stream")
        if raw.__class__ is not dict:
            raise invalid_response("an event that is not an object", raw)
        return self._event(as_text(raw.get("type")) or name.decode(errors="replace"), raw)

    def _event(self, kind: str, raw: Json) -> ChatCompletionChunk | None:
        """Return the chunk of an event that is not a piece of a part."""
        if kind in _LAST:
            return self._end(raw)
        if kind.startswith("response.output_item."):
            return join_chunks(self._item(raw, is_done=kind.endswith(".done")))
        if kind == "response.failed":
            self._failed = object_in(raw, "response")
            # Azure's content filter says why in the next event.
            if self._failed.get("error"):
                raise failure(self._failed, self._headers)
            return None
        if kind == _FIRST:
            self._set_head(object_in(raw, "response"))
        if kind == _NOTE:
            _, item = self._item_of(raw, "message")
            place = as_index(raw.get("content_index")) or 0
            item.notes[place] = [*item.notes.get(place, ()), raw.get("annotation")]
        # Progress of service-side tools, and unknown events, can be read in `raw`.
        return None if kind.endswith(_REPEATED) else self._chunk(raw)

    def _piece(self, part: str, place: str, owner: str, raw: Json) -> ChatCompletionChunk:
        """Return the chunk for a piece of text, of reasoning or of a call's arguments."""
        text = raw.get("delta")
        if text.__class__ is not str:
            raise invalid_response("a delta that is not text", raw)
        index, item = self._item_of(raw, owner)
        return self._add(index, item, (part, as_index(raw.get(place)) or 0), text, raw)

    def _item_of(self, raw: Json, kind: str) -> tuple[int, _OpenItem]:
        """Return the item of a part, and its index; a stream may begin in the middle of one."""
        index = as_index(raw.get("output_index"))
        if index is None:
            index = max(self._items, default=0)
        item = self._items.get(index)
        if item is None:
            item = self._items[index] = _OpenItem({"type": kind})
        return index, item

    def _add(
        self, index: int, item: _OpenItem, key: tuple[str, int], text: str, raw: Json
    ) -> ChatCompletionChunk:
        pieces = item.pieces.get(key)
        is_first = pieces is None
        if pieces is None:
            pieces = item.pieces[key] = []
        pieces.append(text)
        part = key[0]
        if part == "output_text" and not self._is_aside(item):
            return self._chunk(raw, Delta(self._apart("text", index, text) if is_first else text))
        if part == "refusal":
            return self._chunk(raw, Delta(refusal=text))
        if part in CALLS.values():
            if item.number is None:  # its id and name, which chunks begin with, are yet to come
                return self._chunk(raw)
            return self._chunk(
                raw, Delta(tool_calls=(ToolCallChunk(item.number, None, None, text),))
            )
        own = index if part == "output_text" else (index, key)
        return self._chunk(
            raw, Delta(None, self._apart("reasoning", own, text) if is_first else text)
        )

    def _apart(self, channel: str, own: Any, text: str) -> str:
        """Return a piece, separated from the text of another part before it."""
        before = self._written.get(channel, own)
        self._written[channel] = own
        return text if before == own else f"\n\n{text}"

    def _is_aside(self, item: _OpenItem) -> bool:
        """Return whether a message is commentary on an answer in JSON: the two must not mix."""
        is_commentary = item.item.get("phase") == "commentary"
        return is_commentary and wants_json(self._head, self._response_format)

    def _item(self, raw: Json, *, is_done: bool) -> Iterator[ChatCompletionChunk]:
        """Yield what an item has at its beginning, or at its end, and was not sent in pieces."""
        item, index = object_in(raw, "item"), as_index(raw.get("output_index"))
        if index is None:
            index = max(self._items, default=-1) + (not is_done or not self._items)
        opened = self._items.get(index)
        if opened is None:
            opened = self._items[index] = _OpenItem(item)
        if is_call(item) and opened.number is None:
            opened.item = item
            yield self._chunk_of_call(opened, raw)
        if is_done:
            opened.item, opened.is_done = item, True
            for key, text in _parts(item):
                came = "".join(opened.pieces.get(key, ()))
                if text.startswith(came) and text != came:
                    yield self._add(index, opened, key, text[len(came) :], raw)

    def _chunk_of_call(self, item: _OpenItem, raw: Json) -> ChatCompletionChunk:
        call = item.item
        kind = "custom" if call["type"] == "custom_tool_call" else "function"
        call_id = as_text(call.get("call_id")) or as_text(call.get("id")) or None
        name = as_text(call.get("name")) or None
        came = "".join(item.pieces.get((CALLS[call["type"]], 0), ()))
        # It is counted among the calls, which its index in the output does not.
        item.number, self._calls = self._calls, self._calls + 1
        chunk = ToolCallChunk(item.number, call_id, name, came, kind)
        return self._chunk(raw, Delta(tool_calls=(chunk,)))

    def _end(self, raw: Json) -> ChatCompletionChunk:
        response = object_in(raw, "response")
        self._set_head(response)
        chunks = [
            chunk
            for at, item in self._unfinished_items(as_objects(response.get("output")))
            for chunk in self._item({"item": item, "output_index": at}, is_done=True)
        ]
        self.done = True
        last = self._chunk(
            raw,
            Delta(),
            finish_reason(response, has_calls=self._calls > 0),
            usage=usage_of(response.get("usage")),
            filters=filter_results(as_objects(response.get("content_filters"))),
        )
        return join_chunks([*chunks, last]) or last

    def _unfinished_items(self, output: Sequence[Json]) -> list[tuple[int, Json]]:
        """Return the items of a complete answer that were not done before, each with its index.

        An item is matched by its index, or else as the next of its type, since some relays count
        differently in events and in the answer.
        """
        came = {at: item.item.get("type") for at, item in sorted(self._items.items())}
        kinds = [item.get("type") for item in output]
        exact = {at for at, kind in enumerate(kinds) if at in came and came[at] == kind}
        rest = {at: kind for at, kind in came.items() if at not in exact}
        free = count(max((len(output), *came)) + 1)
        unfinished = []
        for at, item in enumerate(output):
            place = at
            if at not in exact:
                same = (each for each, kind in rest.items() if kind == kinds[at])
                place = next(same, at if at not in came else next(free))
                rest.pop(place, None)
            if not self._is_done(place):
                unfinished.append((place, item))
        return unfinished

    def _is_done(self, index: int) -> bool:
        return index in self._items and self._items[index].is_done

    def _whole(self, raw: Any) -> list[ChatCompletionChunk]:
        self._decode(raw)
        return [self._end({"type": _LAST[0], "response": raw})]

    def _has_answer(self) -> bool:
        return bool(self._head or self._items or self._failed)

    def _rest_chunks(self) -> list[ChatCompletionChunk]:
        if self._failed is not None and not self.done:
            raise failure(self._failed, self._headers)
        return []


def _parts(item: Json) -> Iterator[tuple[tuple[str, int], str]]:
    """Yield the parts of a complete item, each with the key of its pieces."""
    if field := CALLS.get(str(item.get("type"))):
        yield (field, 0), as_text(item.get(field))
    for place in ("summary", "content"):
        for at, part in enumerate(as_objects(item.get(place))):
            kind = str(part.get("type"))
            yield (kind, at), as_text(part.get("refusal" if kind == "refusal" else "text"))
