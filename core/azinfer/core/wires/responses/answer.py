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
from azinfer.core.wires.reader import model_of
from azinfer.core.wires.state import new_state

# The items that are calls, and the field of their arguments.
CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
# Stands between the texts of two items.
BETWEEN = "\n\n"
_TEXT = (str, type(None))


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
    if not isinstance(output, list):
        raise invalid_response("no output", raw)
    contents = _Contents(output, id_prefix, wants_json(raw, response_format))
    if raw.get("status") in ("failed", "cancelled"):
        raise failure(raw, headers)
    filters = as_objects(raw.get("content_filters"))
    choice = Choice(
        0,
        contents.message(raw, routing),
        finish_reason(raw, has_calls=bool(contents.calls)),
        {"content": contents.logprobs} if contents.logprobs else None,
        filter_results(filters),
    )
    prompt = [each for each in filters if each.get("source_type") == "prompt"]
    return ChatCompletion(
        id=str(raw.get("id") or ""),
        model=model_of(raw, routing),
        created=as_count(raw.get("created_at")),
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


def finish_reason(raw: Json, *, has_calls: bool) -> str | None:
    """Return why an answer ended, in the words of our schema; None while it goes on."""
    status = raw.get("status") or "completed"
    if status == "incomplete":
        reason = str(as_object(raw.get("incomplete_details")).get("reason"))
        return "content_filter" if reason == "content_filter" else "length"
    if status != "completed":
        return None
    return "tool_calls" if has_calls else "stop"


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


def filter_results(filters: Sequence[Json]) -> Json:
    """Return what the content filter found in the answer."""
    results: Json = {}
    for entry in filters:
        if entry.get("source_type") != "prompt":
            results |= as_object(entry.get("content_filter_results"))
    return results


def wants_json(raw: Json, response_format: Any) -> bool:
    """Return whether JSON was requested, which commentary must not be mixed with."""
    text_format = as_object(as_object(raw.get("text")).get("format"))
    return text_format.get("type", "text") != "text" or isinstance(response_format, type)


class _Contents:
    """What the items of an output add up to.

    Attributes:
        calls: The calls of tools.
        logprobs: The log probabilities of the text's tokens.
    """

    def __init__(self, output: Sequence[Any], id_prefix: str, is_json: bool) -> None:
        self.calls: list[ToolCall] = []
        self.logprobs: list[Json] = []
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._refusals: list[str] = []
        for at, item in enumerate(output):
            if item.__class__ is not dict:
                raise invalid_response("no output", output)
            kind = item.get("type")
            if kind == "message":
                is_aside = is_json and item.get("phase") == "commentary"
                self._add_message(item, self._thoughts if is_aside else self._texts)
            elif kind == "reasoning":
                # Its summary, or the text of open-weight models.
                parts = [*_parts(item, "summary"), *_parts(item, "content")]
                self._thoughts += [part["text"] for part in parts if part.get("text")]
            elif is_call(item):
                self.calls.append(_call(item, f"{id_prefix}{at}"))

    def _add_message(self, item: Json, texts: list[str]) -> None:
        text = ""
        for part in _parts(item, "content"):
            text += part.get("text") or ""
            self._refusals.append(as_text(part.get("refusal")))
            if logprobs := part.get("logprobs"):
                self.logprobs += as_objects(logprobs)
        if text:
            texts.append(text)

    def message(self, raw: Json, routing: Routing | None) -> Message:
        """Return the message that they are."""
        content, refusal = BETWEEN.join(self._texts), "".join(self._refusals)
        is_whole = raw.get("status", "completed") in ("completed", "incomplete")
        return Message(
            content if content or not (self.calls or refusal) else None,
            reasoning=BETWEEN.join(self._thoughts) or None,
            tool_calls=tuple(self.calls),
            refusal=refusal or None,
            audio=None,
            raw=raw,
            state=new_state("responses", routing, raw["output"]) if is_whole else None,
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


def _parts(item: Json, name: str) -> Sequence[Json]:
    """Return the parts in a field of an item.

    Raises:
        InvalidResponseError: It has something that is not a part, or a text that is not one.
    """
    parts = item.get(name)
    if parts is None:
        return ()
    if not isinstance(parts, list) or not all(map(_is_part, parts)):
        raise invalid_response(f"an item with invalid {name}", item)
    return parts


def _is_part(value: Any) -> bool:
    return value.__class__ is dict and isinstance(value.get("text"), _TEXT)
