"""Content blocks of Messages, checked one by one and read as parts of a chat.

Source: "Create a Message" of Anthropic's API reference, `messages.content`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from azinfer.local.resource.sealing import Seal
from azinfer.local.wire.anthropic_errors import anthropic_error
from azinfer.local.wire.body import Json

_KINDS = ("text", "image", "document", "thinking", "redacted_thinking", "tool_use", "tool_result")
_SIGNATURE = "Invalid `signature` in `thinking` block"
_CHANGED = (
    "`thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified. "
    "These blocks must remain as they were in the original response."
)


def read_blocks(content: Any, where: str, seal: Seal) -> list[Json]:
    """Return the blocks of a turn, each checked; a text is one block.

    Args:
        content: The content of the turn.
        where: What errors call the turn, for example `messages.0`.
        seal: Opens the signatures of thinking blocks.

    Raises:
        ErrorResponse: A block is not valid; the error names it.
    """
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    if not isinstance(content, list):
        raise anthropic_error(f"{where}.content: Input should be a valid list")
    for at, block in enumerate(content):
        _check(block, f"{where}.content.{at}", seal)
    return content


def _check(block: Any, where: str, seal: Seal) -> None:
    kind = block.get("type") if isinstance(block, Mapping) else None
    if kind not in _KINDS:
        kinds = ", ".join(f"'{each}'" for each in _KINDS)
        raise anthropic_error(
            f"{where}: Input tag '{kind}' found using 'type' does not match any of the expected "
            f"tags: {kinds}"
        )
    if check := _CHECKS.get(str(kind)):
        check(block, where, seal)


def _text(block: Json, where: str, seal: Seal) -> None:
    if not _field(block, "text", str, where):
        raise anthropic_error(f"{where}: text content blocks must be non-empty")


def _source(block: Json, where: str, seal: Seal) -> None:
    source = _field(block, "source", Mapping, where)
    fields = {"base64": "data", "url": "url", "text": "data", "content": "content"}
    kind = source.get("type")
    if kind not in fields:
        raise anthropic_error(f"{where}.source.type: Input should be one of {', '.join(fields)}")
    if fields[kind] not in source:
        raise anthropic_error(f"{where}.source.{kind}.{fields[kind]}: Field required")


def _thinking(block: Json, where: str, seal: Seal) -> None:
    """Check that a thinking block is unchanged: with its text, or without if it was omitted."""
    _field(block, "signature", str, where)
    thought = seal.open(block["signature"])
    if thought is None:
        raise anthropic_error(f"{where}: {_SIGNATURE}")
    if block.get("thinking") not in ("", thought):
        raise anthropic_error(f"{where}: {_CHANGED}")


def _check_redacted(block: Json, where: str, seal: Seal) -> None:
    if seal.open(_field(block, "data", str, where)) is None:
        raise anthropic_error(f"{where}: Invalid `data` in `redacted_thinking` block")


def _tool_use(block: Json, where: str, seal: Seal) -> None:
    _field(block, "id", str, where)
    _field(block, "name", str, where)
    if not isinstance(block.get("input"), Mapping):
        raise anthropic_error(f"{where}.tool_use.input: Input should be a valid dictionary")


def _tool_result(block: Json, where: str, seal: Seal) -> None:
    _field(block, "tool_use_id", str, where)
    content = block.get("content")
    if isinstance(content, list):
        for at, each in enumerate(content):
            _check(each, f"{where}.tool_result.content.{at}", seal)
    elif not isinstance(content, str | None):
        raise anthropic_error(f"{where}.tool_result.content: Input should be a valid string")


def _field(block: Json, name: str, kind: Any, where: str) -> Any:
    if name not in block:
        raise anthropic_error(f"{where}.{block['type']}.{name}: Field required")
    if not isinstance(block[name], kind):
        expected = "string" if kind is str else "dictionary"
        raise anthropic_error(f"{where}.{block['type']}.{name}: Input should be a valid {expected}")
    return block[name]


_CHECKS: dict[str, Callable[[Json, str, Seal], None]] = {
    "text": _text,
    "image": _source,
    "document": _source,
    "thinking": _thinking,
    "redacted_thinking": _check_redacted,
    "tool_use": _tool_use,
    "tool_result": _tool_result,
}


def as_parts(blocks: list[Json]) -> list[Json]:
    """Return text, images and documents as parts of a chat message."""
    return [part for block in blocks if (part := _part(block)) is not None]


def _part(block: Json) -> Json | None:
    if block["type"] == "text":
        return {"type": "text", "text": block["text"]}
    if block["type"] == "image":
        return {"type": "image_url", "image_url": {"url": _url(block["source"])}}
    if block["type"] != "document":
        return None
    source = block["source"]
    if source["type"] == "text":
        return {"type": "text", "text": str(source["data"])}
    if source["type"] == "content":
        return {"type": "text", "text": text_of(source["content"])}
    name = block.get("title") or "document"
    return {"type": "file", "file": {"filename": name, "file_data": _url(source)}}


def _url(source: Mapping[str, Any]) -> str:
    if source["type"] == "url":
        return str(source["url"])
    return f"data:{source.get('media_type', 'application/octet-stream')};base64,{source['data']}"


def text_of(content: Any) -> str:
    """Return the text of a content: a text, or the text blocks of a list."""
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    return "\n".join(
        str(block.get("text") or "") for block in blocks if isinstance(block, Mapping)
    ).strip("\n")
