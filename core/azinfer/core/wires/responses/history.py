"""A conversation in our schema as items of the Responses API.

On a resource's endpoint, items are sent back without ids: an id refers to something stored, and
nothing is stored. A project's endpoint requires the ids of reasoning.

Source: "Use the Azure OpenAI Responses API", encrypted reasoning items; the order of items is
that in which they were received.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from azinfer.core.completions import Json
from azinfer.core.json_fields import as_objects, as_text
from azinfer.core.wires.responses.answer import BETWEEN, CALLS
from azinfer.core.wires.state import is_of, items_of
from azinfer.core.wires.turns import EarlierCall, Kind, edited_turn, image_of, note_losses
from azinfer.core.wires.wire import Situation

# This model refuses reasoning items of more than one answer.
_ONE_REASONING = r"(?i)(?:.*/)?gpt-6-astra"


class Input:
    """Builds the `input` of one request.

    Attributes:
        changes: What was changed or left out, for `routing.adapted`.
    """

    def __init__(self, situation: Situation) -> None:
        self._situation = situation
        self._custom: set[str] = set()
        self.changes: dict[str, None] = {}

    def of(self, messages: Sequence[Json]) -> list[Json]:
        """Return the items of a conversation, in its order."""
        items = [item for message in messages for item in self._message(message)]
        kinds = [item.get("type") for item in items]
        if "reasoning" in kinds and self._takes_one_reasoning():
            *earlier, _ = [item for item in items if item.get("type") == "reasoning"]
            items = [item for item in items if item not in earlier]
            self.changes |= {"messages with the newest reasoning alone": None}
        return _from_compaction(items) if "compaction" in kinds else items

    def _takes_one_reasoning(self) -> bool:
        is_known = re.match(_ONE_REASONING, self._situation.model_id or "")
        return bool(is_known or self._situation.learned.get("reasoning items"))

    def _message(self, message: Json) -> Iterator[Json]:
        role, content = message["role"], _content(message.get("content") or "")
        note_losses(self.changes, message, "responses")
        if role == "assistant":
            yield from self._assistant(message)
        elif role == "tool":
            call_id = message.get("tool_call_id")
            kind = "custom_tool_call" if call_id in self._custom else "function_call"
            yield {"type": f"{kind}_output", "call_id": call_id, "output": content}
        else:
            yield {"type": "message", "role": role, "content": content}

    def _assistant(self, message: Json) -> Iterator[Json]:
        """Yield an earlier answer: its own items if this wire made it, else its text and calls."""
        items = items_of(message, "responses") or []
        if items and not is_of(message, self._situation.resource):
            self.changes["messages without what another resource encrypted"] = None
            items = [item for item in items if "encrypted_content" not in item]
        for part in edited_turn(message, items, _texts(items), _kind):
            if isinstance(part, str):
                text = {"type": "output_text", "text": part, "annotations": []}
                yield {"type": "message", "role": "assistant", "content": [text]}
            elif isinstance(part, tuple):
                yield self._call(*part)
            elif part.get("type") != "reasoning" or part.get("encrypted_content"):
                yield self._echo_item(part)

    def _echo_item(self, item: Json) -> Json:
        """Return an item that this wire wrote, as it is sent back."""
        if item.get("type") == "message":
            phase = {"phase": item["phase"]} if item.get("phase") else {}
            content = [_part_back(part) for part in item.get("content") or ()]
            return {"type": "message", "role": "assistant", "content": content, **phase}
        if item.get("type") != "reasoning":
            return item
        own_id = {"id": item.get("id")} if self._situation.in_project else {}
        summary = item.get("summary") or []
        encrypted = {"encrypted_content": item["encrypted_content"]}
        return {"type": "reasoning", **own_id, "summary": summary, **encrypted}

    def _call(self, call: EarlierCall, item: Json) -> Json:
        if call.is_custom:
            self._custom.add(call.id)
        kind = "custom_tool_call" if call.is_custom else "function_call"
        text = call.text_over(str(item.get(CALLS[kind]) or ""))
        wire = {"type": kind, "call_id": call.id, "name": call.name, CALLS[kind]: text}
        return {**wire, "namespace": item["namespace"]} if item.get("namespace") else wire


def _texts(items: Sequence[Json]) -> tuple[str, ...]:
    """Return the texts that a caller may have read: all, without commentary, or a refusal."""
    whole, final, refusal = [], [], ""
    for item in items:
        parts = as_objects(item.get("content")) if item.get("type") == "message" else []
        refusal += "".join(as_text(part.get("refusal")) for part in parts)
        if text := "".join(str(part.get("text") or "") for part in parts):
            whole.append(text)
            final += [text] if item.get("phase") != "commentary" else []
    return (BETWEEN.join(whole), BETWEEN.join(final)) if whole else (refusal,)


def _kind(item: Json) -> tuple[Kind, str]:
    if item.get("type") in CALLS:
        return "call", str(item.get("call_id"))
    return ("text" if item.get("type") == "message" else "other"), ""


def _from_compaction(items: list[Json]) -> list[Json]:
    """Return the items from the last compaction on, which replaces all items before it."""
    at = max(at for at, item in enumerate(items) if item["type"] == "compaction")
    kept = [item for item in items[:at] if item.get("role") in ("system", "developer")]
    return [*kept, *items[at:]]


def _content(content: Any) -> Any:
    """Return a message's content: its text, or parts under the names of this wire."""
    return [_part(part) for part in content] if isinstance(content, list) else content


def _part(part: Any) -> Any:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "text":
        return {"type": "input_text", "text": part.get("text")}
    if kind == "image_url":
        image = {"detail": "auto", **image_of(part)}
        return {"type": "input_image", "image_url": image.get("url"), "detail": image["detail"]}
    if kind == "file" and isinstance(file := part.get("file"), Mapping):
        return {"type": "input_file", **file}
    return part


def _part_back(part: Json) -> Json:
    if part.get("type") != "output_text":
        return part
    annotations = part.get("annotations") or []
    return {"type": "output_text", "text": part.get("text") or "", "annotations": annotations}
