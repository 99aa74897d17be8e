"""A conversation in our schema as turns of Anthropic Messages.

Source: "Messages API", `messages`, and "Handle tool calls" of Anthropic's documentation.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from azinfer.core.completions import Json
from azinfer.core.wires.state import items_of
from azinfer.core.wires.turns import EarlierCall, Kind, edited_turn, image_of, note_losses

_DATA_URL = r"data:([^;,]+)(?:;[^,]*)?,(.*)"
_CALL_ID = r"[a-zA-Z0-9_-]{1,64}"
# The first turn must be the user's; where there is none, this one begins the conversation.
_FIRST_TURN = {"type": "text", "text": "Begin."}


class Turns:
    """Builds `system` and `messages` of one request.

    Attributes:
        system: The instructions before the conversation, as blocks.
        messages: The turns: user and assistant alternate.
        changes: What was changed or left out, for `routing.adapted`.
    """

    def __init__(self, messages: Sequence[Json]) -> None:
        self.system: list[Json] = []
        self.messages: list[Json] = []
        self.changes: dict[str, None] = {}
        for message in messages:
            self._message(message)
        if not self.messages or self.messages[0]["role"] != "user":
            self.messages.insert(0, {"role": "user", "content": [_FIRST_TURN]})
            self.changes["messages with a first turn of the user"] = None
        for turn in self.messages:
            # The results of all calls must come first; otherwise they are refused.
            blocks = sorted(turn["content"], key=lambda each: each.get("type") != "tool_result")
            is_text = len(blocks) == 1 and blocks[0].keys() == {"type", "text"}
            turn["content"] = blocks[0]["text"] if is_text else blocks

    def _message(self, message: Json) -> None:
        role, content = message["role"], message.get("content")
        note_losses(self.changes, message, "messages")
        if role in ("system", "developer") and not self.messages:
            self.system += self._blocks(content)
        elif role == "assistant":
            self._add("assistant", list(self._assistant(message)))
        elif role == "tool":
            self._add("user", [self._result(message)])
        else:
            if role != "user":
                self.changes[f"role {role} → user in the middle of the conversation"] = None
            self._add("user", self._blocks(content))

    def _add(self, role: str, blocks: list[Json]) -> None:
        """Append blocks to the last turn if it is of the same role, else as a new turn."""
        if self.messages and self.messages[-1]["role"] == role:
            self.messages[-1]["content"] += blocks
        elif blocks:
            self.messages.append({"role": role, "content": blocks})

    def _assistant(self, message: Json) -> Iterator[Json]:
        """Yield an earlier answer: its own blocks if this wire made it, else its text and calls."""
        blocks = items_of(message, "messages") or []
        text = "".join(str(block.get("text") or "") for block in blocks if _is_text(block))
        for part in edited_turn(message, blocks, [text] if text else (), _kind):
            if isinstance(part, str):
                yield {"type": "text", "text": part}
            elif isinstance(part, tuple):
                call, block = part
                arguments = call.text_over(_json(block.get("input")))
                yield {
                    "type": "tool_use",
                    "id": self._call_id(call.id),
                    "name": call.name,
                    "input": self._object(call, arguments),
                }
            elif part.get("text") != "":  # an empty text is refused
                yield part

    def _object(self, call: EarlierCall, arguments: str) -> Any:
        try:
            value = msgspec.json.decode(arguments or "{}")
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            return value
        self.changes[f"arguments of {call.name} → an object"] = None
        return {"arguments": arguments}

    def _result(self, message: Json) -> Json:
        content = message.get("content") or ""
        block: Json = {
            "type": "tool_result",
            "tool_use_id": self._call_id(str(message.get("tool_call_id") or "")),
            "content": self._blocks(content) if isinstance(content, list) else content,
        }
        return {**block, "is_error": True} if message.get("is_error") else block

    def _call_id(self, call_id: str) -> str:
        if re.fullmatch(_CALL_ID, call_id):
            return call_id
        self.changes["tool-call ids → letters and digits"] = None
        return f"toolu_{hashlib.blake2b(call_id.encode(), digest_size=12).hexdigest()}"

    def _blocks(self, content: Any) -> list[Json]:
        if isinstance(content, list):
            return [self._block(part) for part in content]
        return [{"type": "text", "text": content or ""}]

    def _block(self, part: Any) -> Any:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "image_url":
            image = image_of(part)
            if image.get("detail"):
                self.changes["images without detail"] = None
            return {"type": "image", "source": _source(str(image.get("url") or ""))}
        if kind == "file" and isinstance(file := part.get("file"), Mapping):
            title = {"title": file["filename"]} if file.get("filename") else {}
            if file.get("file_id"):
                source: Json = {"type": "file", "file_id": file["file_id"]}
            else:
                source = _source(str(file.get("file_data") or file.get("file_url") or ""))
            return {"type": "document", "source": source, **title}
        return part


def _source(url: str) -> Json:
    """Return the source of an image or document: base64 with its media type, or a URL."""
    if match := re.fullmatch(_DATA_URL, url, re.DOTALL):
        return {"type": "base64", "media_type": match[1], "data": match[2]}
    return {"type": "url", "url": url}


def _kind(block: Json) -> tuple[Kind, str]:
    if block.get("type") == "tool_use":
        return "call", str(block.get("id"))
    return ("text" if _is_text(block) else "other"), ""


def _is_text(block: Json) -> bool:
    return block.get("type") == "text"


def _json(value: Any) -> str:
    return msgspec.json.encode(value or {}).decode()
