"""An answer of the Responses API as a ChatCompletion.

Source: "The response object" of the Azure OpenAI v1 REST reference.
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
from azinfer.core.decoding import full_arguments, invalid_response, parser_of, usage_from_headers
from azinfer.core.error_responses import from_response
from azinfer.core.errors import APIStatusError
from azinfer.core.json_fields import as_count, as_object, as_objects, as_text
from azinfer.core.routing import Routing
from azinfer.core.wires.state import new_state

# The items that are calls, and the field of their arguments.
CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
_BETWEEN = "\n\n"


def decode(
    raw: Any,
    headers: Mapping[str, str],
    routing: Routing | None = None,
    id_prefix: str = "call_",
    response_format: Any = None,
) -> ChatCompletion:
    """Return the completion that a body contains; arguments as in `decode_completion`.

    Raises:
        APIStatusError: The service failed under the status 200.
        InvalidResponseError: This is not a response.
    """
    output = raw.get("output") if isinstance(raw, dict) else None
    if not isinstance(output, list) or not all(isinstance(item, dict) for item in output):
        raise invalid_response("no output", raw)
    for item in output:
        _check_content(item)
    if raw.get("status") in ("failed", "cancelled"):
        raise failure(raw, headers)
    parts = [part for part in _parts(output) if part.get("logprobs")]
    logprobs = [entry for part in parts for entry in as_objects(part["logprobs"])]
    prompt = [each for each in _filters(raw) if each.get("source_type") == "prompt"]
    created = raw.get("created_at")
    choice = Choice(
        0,
        _message(raw, routing, id_prefix, response_format),
        finish_reason(raw, output),
        {"content": logprobs} if logprobs else None,
        filter_results(raw),
    )
    return ChatCompletion(
        id=str(raw.get("id") or ""),
        model=model_of(raw, routing),
        created=as_count(created),
        choices=(choice,),
        usage=usage_of(raw.get("usage")) or usage_from_headers(headers),
        prompt_filter_results=tuple(
            {"prompt_index": at, "content_filter_results": each.get("content_filter_results")}
            for at, each in enumerate(prompt)
        ),
        routing=routing,
        raw=raw,
        _parse=parser_of(response_format),
    )


def model_of(raw: Json, routing: Routing | None) -> str | None:
    """Return the model that answered, which Azure names in a header and not in the body."""
    return (routing.served_model if routing else None) or as_text(raw.get("model")) or None


def finish_reason(raw: Json, output: Sequence[Json]) -> str | None:
    """Return why an answer ended, in the words of our schema; None while it goes on."""
    status = raw.get("status") or "completed"
    if status == "incomplete":
        reason = str(as_object(raw.get("incomplete_details")).get("reason"))
        return "content_filter" if reason == "content_filter" else "length"
    if status != "completed":
        return None
    return "tool_calls" if any(is_call(item) for item in output) else "stop"


def is_call(item: Json) -> bool:
    """Return whether an output item is a call of a tool."""
    return as_text(item.get("type")) in CALLS


def failure(raw: Json, headers: Mapping[str, str]) -> APIStatusError:
    """Return the error that a failed or cancelled response stands for."""
    status = raw.get("status")
    message = f"The service ended the response with the status {status!r}."
    error = raw.get("error") or {"code": f"response_{status}", "message": message}
    return from_response(200, headers, msgspec.json.encode({"error": error}))


def usage_of(counts: Any) -> Usage | None:
    """Return the token counts, or None if it has no usage yet."""
    if not isinstance(counts, dict):
        return None
    read, written = as_count(counts.get("input_tokens")), as_count(counts.get("output_tokens"))
    details = as_object(counts.get("input_tokens_details"))
    thought = as_object(counts.get("output_tokens_details")).get("reasoning_tokens")
    return Usage(
        read,
        written,
        as_count(counts.get("total_tokens")) or read + written,
        cached_tokens=as_count(details.get("cached_tokens")),
        reasoning_tokens=as_count(thought),
        raw=counts,
        cache_write_tokens=as_count(details.get("cache_write_tokens")),
    )


def filter_results(raw: Json) -> Json:
    """Return what the content filter found in the answer."""
    results: Json = {}
    for entry in _filters(raw):
        if entry.get("source_type") != "prompt":
            results |= as_object(entry.get("content_filter_results"))
    return results


def texts_of(output: Sequence[Json]) -> tuple[str, ...]:
    """Return the text of an answer as it may be read: all of it, or without commentary."""
    texts = [(_text(item), item.get("phase")) for item in output]
    whole = [text for text, _ in texts if text]
    final = [text for text, phase in texts if text and phase != "commentary"]
    return (_BETWEEN.join(whole), _BETWEEN.join(final)) if whole else ()


def refusal_of(output: Sequence[Json]) -> str:
    """Return why the model refuses to answer; empty if it does not refuse."""
    return "".join(as_text(part["refusal"]) for part in _parts(output) if "refusal" in part)


def wants_json(raw: Json, response_format: Any) -> bool:
    """Return whether JSON was requested, which commentary must not be mixed with."""
    text_format = as_object(as_object(raw.get("text")).get("format"))
    return text_format.get("type", "text") != "text" or isinstance(response_format, type)


def _message(raw: Json, routing: Routing | None, id_prefix: str, response_format: Any) -> Message:
    output = raw["output"]
    whole, final = texts_of(output) or ("", "")
    is_json = wants_json(raw, response_format)
    content = final if is_json else whole
    thoughts = [
        _text(item) if is_json and item.get("phase") == "commentary" else _reasoning_of(item)
        for item in output
    ]
    calls = tuple(
        _call(item, f"{id_prefix}{at}") for at, item in enumerate(output) if is_call(item)
    )
    refusal = refusal_of(output)
    is_whole = raw.get("status", "completed") in ("completed", "incomplete")
    return Message(
        content if content or not (calls or refusal) else None,
        reasoning=_BETWEEN.join(filter(None, thoughts)) or None,
        tool_calls=calls,
        refusal=refusal or None,
        audio=None,
        raw=raw,
        state=new_state("responses", routing, output) if is_whole else None,
    )


def _call(item: Json, made_id: str) -> ToolCall:
    if not isinstance(item.get("name"), str):
        raise invalid_response("a tool call without a name", item)
    call_id = str(item.get("call_id") or item.get("id") or made_id)
    if item["type"] == "custom_tool_call":
        return ToolCall(call_id, Function(item["name"], str(item.get("input") or "")), "custom")
    return ToolCall(
        call_id, Function(item["name"], full_arguments(str(item.get("arguments") or "")))
    )


def _check_content(item: Json) -> None:
    """Raise if an item has something other than parts with texts."""
    if item.get("type") not in ("message", "reasoning"):
        return
    for name in ("summary", "content"):
        if (parts := item.get(name)) is None:
            continue
        texts = [part.get("text") for part in as_objects(parts)]
        is_list = isinstance(parts, list) and len(parts) == len(texts)
        if not is_list or not all(text is None or isinstance(text, str) for text in texts):
            raise invalid_response(f"an item with invalid {name}", item)


def _parts(output: Sequence[Json]) -> list[Json]:
    messages = (item for item in output if item.get("type") == "message")
    return [part for item in messages for part in as_objects(item.get("content"))]


def _text(item: Json) -> str:
    if item.get("type") != "message":
        return ""
    parts = as_objects(item.get("content"))
    return "".join([str(part["text"]) for part in parts if part.get("text")])


def _reasoning_of(item: Json) -> str:
    """Return the reasoning of one item: its summary, or the text of open-weight models."""
    if item.get("type") != "reasoning":
        return ""
    parts = [*as_objects(item.get("summary")), *as_objects(item.get("content"))]
    return _BETWEEN.join(str(part["text"]) for part in parts if part.get("text"))


def _filters(raw: Json) -> list[Json]:
    return as_objects(raw.get("content_filters"))
