"""Contents of prompts and answers, in the forms of both versions of the conventions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from azinfer.core.completions import ChatCompletion, Choice
from azinfer.core.messages import messages_to_wire

_EVENTS = {
    "assistant": "gen_ai.assistant.message",
    "developer": "gen_ai.system.message",
    "system": "gen_ai.system.message",
    "tool": "gen_ai.tool.message",
    "user": "gen_ai.user.message",
}


def input_messages(messages: Sequence[Any]) -> str:
    """Return a conversation in the form of the newest conventions: JSON of messages in parts."""
    return _json([_message(each) for each in messages_to_wire(messages)])


def output_messages(answer: ChatCompletion) -> str:
    """Return the messages of an answer in the form of the newest conventions."""
    return _json(
        [
            {**_message(_wire(each)), "finish_reason": each.finish_reason or ""}
            for each in answer.choices
        ]
    )


def input_events(messages: Sequence[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the names and bodies of the events of version 1.36 for a conversation."""
    for message in messages_to_wire(messages):
        body = {
            "content": message.get("content"),
            "id": message.get("tool_call_id"),
            "tool_calls": message.get("tool_calls"),
        }
        name = _EVENTS.get(str(message.get("role")), "gen_ai.user.message")
        yield name, _plain({key: value for key, value in body.items() if value is not None})


def output_events(answer: ChatCompletion) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the names and bodies of the events of version 1.36 for an answer."""
    for choice in answer.choices:
        body = {
            "index": choice.index,
            "finish_reason": choice.finish_reason or "",
            "message": _wire(choice),
        }
        yield "gen_ai.choice", _plain(body)


def _wire(choice: Choice) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": "assistant"}
    if choice.message.content is not None:
        wire["content"] = choice.message.content
    if choice.message.tool_calls:
        wire["tool_calls"] = [call.to_wire() for call in choice.message.tool_calls]
    return wire


def _message(wire: Mapping[str, Any]) -> dict[str, Any]:
    parts = list(_parts(wire))
    return {"role": str(wire.get("role")), "parts": parts}


def _parts(wire: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    content = wire.get("content")
    if wire.get("role") == "tool":
        yield {"type": "tool_call_response", "id": wire.get("tool_call_id"), "response": content}
        return
    if isinstance(content, str):
        yield {"type": "text", "content": content}
    else:
        yield from _content_parts(content or ())
    for call in wire.get("tool_calls") or ():
        function = call.get("function") or call.get("custom") or {}
        yield {
            "type": "tool_call",
            "id": call.get("id"),
            "name": function.get("name"),
            "arguments": function.get("arguments", function.get("input")),
        }


def _content_parts(parts: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for part in parts:
        if part.get("type") == "text":
            yield {"type": "text", "content": part.get("text")}
        else:
            yield dict(part)


def _plain(value: Any) -> Any:
    """Return a body with the types that events accept."""
    return json.loads(_json(value))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
