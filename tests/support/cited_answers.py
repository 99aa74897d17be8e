"""One answer that names its sources, on every wire, whole and streamed."""

from __future__ import annotations

from typing import Any

from raw_server import chat, events, part, reply, stream

TEXT = "It is so. See B."
URL = "https://a.example"
PLACE = (6, 8)
_NOTE = {"type": "url_citation", "url": URL, "title": "A", "start_index": 6, "end_index": 8}
_FILE = {"type": "file_citation", "file_id": "f-1", "filename": "B", "index": 9}
_ANNOTATIONS = [_NOTE, _FILE]
_SEARCH = {"type": "web_search_result_location", "url": URL, "title": "A", "cited_text": "Yes"}
_PAGE = {"type": "page_location", "document_title": "B", "file_id": "f-1", "cited_text": "No"}
_BLOCKS: list[dict[str, Any]] = [
    {"type": "text", "text": "It is "},
    {"type": "text", "text": "so", "citations": [_SEARCH]},
    {"type": "text", "text": ". See B.", "citations": [_PAGE]},
]


def _chat() -> tuple[Any, Any]:
    streamed = events(part("It is so."), part(" See B.", "stop", annotations=_ANNOTATIONS))
    return chat(TEXT, message={"annotations": _ANNOTATIONS}), streamed


def _responses() -> tuple[Any, Any]:
    content = [{"type": "output_text", "text": TEXT, "annotations": _ANNOTATIONS}]
    item = {"type": "message", "role": "assistant", "content": content}
    response = {"id": "r", "model": "m", "status": "completed", "output": [item]}
    delta = {"type": "response.output_text.delta", "output_index": 0, "content_index": 0}
    end = {"type": "response.completed", "response": response}
    return response, events({**delta, "delta": "It is so."}, end, done=False)


def _messages() -> tuple[Any, Any]:
    message = {"type": "message", "id": "m", "model": "m", "content": _BLOCKS}
    end = {"stop_reason": "end_turn"}
    parts: list[Any] = [{"type": "message_start", "message": {**message, "content": []}}]
    for at, block in enumerate(_BLOCKS):
        empty = {"type": "text", "text": ""}
        deltas: list[Any] = [{"type": "text_delta", "text": block["text"]}]
        notes = block.get("citations", ())
        deltas += [{"type": "citations_delta", "citation": each} for each in notes]
        parts.append({"type": "content_block_start", "index": at, "content_block": empty})
        parts += [{"type": "content_block_delta", "index": at, "delta": each} for each in deltas]
    parts += [{"type": "message_delta", "delta": end}, {"type": "message_stop"}]
    return {**message, **end}, events(*parts, done=False)


_WIRES = {"chat": _chat, "responses": _responses, "messages": _messages}


def cited_replies(wire: str) -> tuple[Any, Any]:
    """Return the answer of a wire as a server sends it whole, and in parts."""
    whole, parts = _WIRES[wire]()
    return reply(whole), stream(parts)
