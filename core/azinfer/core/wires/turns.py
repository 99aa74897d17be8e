"""Earlier answers of a conversation: what their wire kept, with the caller's edits applied."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from msgspec.structs import replace

from azinfer.core.chunks import ChatCompletionChunk, ChunkChoice, Delta, ToolCallChunk
from azinfer.core.completions import Json
from azinfer.core.wires.state import foreign_wire, same_arguments

Kind: TypeAlias = Literal["text", "call", "other"]


@dataclass(frozen=True, slots=True)
class EarlierCall:
    """One call of an earlier answer, in whatever form our schema has it.

    Attributes:
        id: The call's id.
        is_custom: Whether it calls a free-form tool.
        name: The tool's name.
        text: The arguments as JSON, or the input of a free-form tool.
    """

    id: str
    is_custom: bool
    name: str
    text: str

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> EarlierCall:
        """Read a call of a message in our schema."""
        is_custom = raw.get("type") == "custom"
        inner = raw.get("custom" if is_custom else "function")
        inner = inner if isinstance(inner, Mapping) else {}
        text = inner.get("input" if is_custom else "arguments")
        return cls(str(raw.get("id") or ""), is_custom, str(inner.get("name") or ""), text or "")

    def text_over(self, before: str) -> str:
        """Return the arguments as the model wrote them, unless the caller changed them."""
        text = self.text or ("" if self.is_custom else "{}")
        return before if before and same_arguments(text, before) else text


def edited_turn(
    message: Json,
    items: Sequence[Json],
    texts: Sequence[str],
    kind_of: Callable[[Json], tuple[Kind, str]],
) -> Iterator[Json | str | tuple[EarlierCall, Json]]:
    """Return the parts of an earlier answer in their order.

    What the caller removed or changed since counts: a text in place of the wire's texts, and
    calls as they are now. What the wire alone can read stays where it was.

    Args:
        message: The assistant's message in our schema.
        items: What its wire kept; empty if another wire, or nobody, made it.
        texts: The texts in these items.
        kind_of: The kind of an item, and the id of a call.

    Returns:
        For each part an item as it was kept, a text, or a call with its item (or an empty one).
    """
    text = text_of_content(message.get("content")) or str(message.get("refusal") or "")
    if not items and not message.get("tool_calls"):
        return iter((text,) if text else ())  # as nearly all turns are
    return _merged_turn(message, text, items, texts, kind_of)


def _merged_turn(
    message: Json,
    text: str,
    items: Sequence[Json],
    texts: Sequence[str],
    kind_of: Callable[[Json], tuple[Kind, str]],
) -> Iterator[Json | str | tuple[EarlierCall, Json]]:
    calls = {call.id: call for call in map(EarlierCall.of, message.get("tool_calls") or ())}
    is_unedited = text in (texts or ("",))
    rest = "" if is_unedited else text
    for item in items:
        kind, call_id = kind_of(item)
        if rest and kind != "other":
            yield rest
            rest = ""
        if kind == "other" or (kind == "text" and is_unedited):
            yield item
        elif kind == "call" and (call := calls.pop(call_id, None)):
            yield call, item
    if rest:
        yield rest
    for call in calls.values():
        yield call, {}


def note_losses(changes: dict[str, None], message: Json, wire: str) -> None:
    """Add to the changes what a message has and a wire without names has no place for."""
    if message.get("name") and message["role"] != "tool":
        changes["messages without name"] = None
    if made_by := foreign_wire(message, wire):
        changes[f"messages without the state of the {made_by} wire"] = None


def image_of(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the image of a part in our schema, which may be its URL alone."""
    image = part.get("image_url")
    return image if isinstance(image, Mapping) else {"url": image}


def text_of_content(content: Any) -> str:
    """Return the text of a message in our schema, or its refusal; other parts have none."""
    if isinstance(content, list):
        return "".join(
            str(part.get(part["type"]) or "")
            for part in content
            if isinstance(part, Mapping) and part.get("type") in ("text", "refusal")
        )
    return content or ""


def _joined_calls(chunks: Iterable[ToolCallChunk]) -> tuple[ToolCallChunk, ...]:
    """Return the parts of calls in one chunk, one for each call, as readers expect them."""
    calls: dict[int, ToolCallChunk] = {}
    for chunk in chunks:
        if before := calls.get(chunk.index):
            chunk = replace(before, arguments=before.arguments + chunk.arguments)
        calls[chunk.index] = chunk
    return tuple(calls.values())


def join_chunks(parts: Iterable[ChatCompletionChunk | None]) -> ChatCompletionChunk | None:
    """Return several chunks of one choice as one; None without chunks."""
    chunks = [chunk for chunk in parts if chunk is not None]
    if len(chunks) < 2:
        return chunks[0] if chunks else None
    choices = [choice for chunk in chunks for choice in chunk.choices]
    deltas = [choice.delta for choice in choices]
    delta = Delta(
        "".join(each.content or "" for each in deltas) or None,
        "".join(each.reasoning or "" for each in deltas) or None,
        _joined_calls(call for each in deltas for call in each.tool_calls),
        "".join(each.refusal or "" for each in deltas) or None,
    )
    last = choices[-1] if choices else ChunkChoice(0, delta)
    choice = ChunkChoice(0, delta, last.finish_reason, None, last.content_filter_results)
    newest = chunks[-1]
    return ChatCompletionChunk((choice,), newest.usage, newest.raw, newest.id, newest.model)
