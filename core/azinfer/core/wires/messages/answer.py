"""An answer of Anthropic Messages as a ChatCompletion.

Source: "Create a Message", response, and "Handling stop reasons" of Anthropic's documentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from azinfer.core.completions import (
    ChatCompletion,
    Choice,
    Function,
    Json,
    Message,
    ToolCall,
    Usage,
)
from azinfer.core.decoding import invalid_response, parser_of
from azinfer.core.json_fields import as_count, as_object, as_text
from azinfer.core.routing import Routing
from azinfer.core.wires.state import new_state

_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_REFUSED = "The model refused to answer."


def decode(
    raw: Any,
    headers: Mapping[str, str],
    routing: Routing | None = None,
    id_prefix: str = "call_",
    response_format: Any = None,
) -> ChatCompletion:
    """Return the completion that a body contains; arguments as in `decode_completion`.

    Raises:
        InvalidResponseError: This is not a message.
    """
    blocks = raw.get("content") if isinstance(raw, dict) else None
    if not isinstance(blocks, list) or not all(isinstance(each, dict) for each in blocks):
        raise invalid_response("no content", raw)
    return ChatCompletion(
        id=str(raw.get("id") or ""),
        model=as_text(raw.get("model")) or None,
        created=0,
        choices=(Choice(0, _message(raw, blocks, routing), finish_reason(raw)),),
        usage=usage_of(raw.get("usage")),
        prompt_filter_results=(),
        routing=routing,
        raw=raw,
        _parse=parser_of(response_format),
    )


def finish_reason(raw: Json) -> str | None:
    """Return why an answer ended, in the words of our schema where it has one."""
    reason = raw.get("stop_reason")
    return _FINISH.get(str(reason), str(reason)) if reason else None


def usage_of(counts: Any) -> Usage | None:
    """Return the token counts; tokens of the prompt are the sum of three numbers here."""
    if not isinstance(counts, dict):
        return None
    cached = as_count(counts.get("cache_read_input_tokens"))
    kept = as_count(counts.get("cache_creation_input_tokens"))
    read = as_count(counts.get("input_tokens")) + cached + kept
    written = as_count(counts.get("output_tokens"))
    details = as_object(counts.get("output_tokens_details"))
    thought = as_count(details.get("thinking_tokens"))
    return Usage(
        read,
        written,
        read + written,
        cached_tokens=cached,
        reasoning_tokens=thought,
        raw=counts,
        cache_write_tokens=kept,
    )


def _message(raw: Json, blocks: Sequence[Json], routing: Routing | None) -> Message:
    for block in blocks:
        _check_content(block)
    thoughts = [text for each in blocks if (text := as_text(each.get("thinking")))]
    texts = [as_text(each.get("text")) for each in blocks if each.get("type") == "text"]
    calls = tuple(_call(each) for each in blocks if each.get("type") == "tool_use")
    refusal = None
    if raw.get("stop_reason") == "refusal":
        # The text before a refusal must not be used.
        texts, calls = [], ()
        refusal = as_text(as_object(raw.get("stop_details")).get("explanation")) or _REFUSED
    is_whole = raw.get("stop_reason") not in (None, "refusal")
    return Message(
        "".join(texts) if texts or not (calls or refusal) else None,
        reasoning="\n\n".join(thoughts) if thoughts else None,
        tool_calls=calls,
        refusal=refusal,
        audio=None,
        raw=raw,
        state=new_state("messages", routing, _parse_inputs(blocks)) if is_whole else None,
    )


def _check_content(block: Json) -> None:
    """Raise if a block has no text or input of the kind that it should have."""
    texts = (block.get("text"), block.get("thinking"))
    is_odd = any(text is not None and not isinstance(text, str) for text in texts)
    if block.get("type") == "tool_use":
        is_odd = is_odd or not isinstance(block.get("input") or "", str | dict)
    if is_odd:
        raise invalid_response("a block with invalid content", block)


def _call(block: Json) -> ToolCall:
    if not isinstance(block.get("name"), str):
        raise invalid_response("a tool call without a name", block)
    input_value = block.get("input")
    arguments = (
        input_value
        if isinstance(input_value, str)
        else msgspec.json.encode(input_value or {}).decode()
    )
    return ToolCall(str(block.get("id") or ""), Function(block["name"], arguments or "{}"))


def _parse_inputs(blocks: Sequence[Json]) -> list[Json]:
    """Return the blocks as they are sent back; the input of a streamed call came as text."""
    return [
        {**block, "input": _object(block["input"])}
        if isinstance(block.get("input"), str)
        else block
        for block in blocks
    ]


def _object(text: str) -> Any:
    try:
        return msgspec.json.decode(text or "{}")
    except (ValueError, RecursionError):
        return {}  # cut off by the limit; such a call must not be run
