"""Decoding: JSON bodies of responses become the values of `completions.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from azinfer.core import reasoning
from azinfer.core.completions import (
    ChatCompletion,
    Choice,
    Function,
    Json,
    Message,
    ModelInfo,
    ToolCall,
    Usage,
)
from azinfer.core.error_bodies import is_error
from azinfer.core.error_responses import from_response
from azinfer.core.errors import InvalidResponseError
from azinfer.core.json_fields import (
    as_count,
    as_index,
    as_object,
    as_objects,
    as_text,
    count_of_digits,
)
from azinfer.core.json_text import json_text
from azinfer.core.routing import Routing
from azinfer.core.structured_output import adapter_of

_MESSAGE_KEYS = frozenset(
    {"role", "content", "tool_calls", "reasoning_content", "refusal", "audio"}
)
_COUNT_HEADERS = (
    ("prompt_token_len", "sampling_token_len"),
    ("prompt-token-len", "sampling-token-len"),
    ("num-tokens", "sampling-token-len"),
)


# What only answers have, on each wire.
_ANSWERS = frozenset({"choices", "output", "stop_reason"})


def decode_json(body: bytes, headers: Mapping[str, str], what: str = "the response") -> Any:
    """Return a body as JSON, whatever its content type says.

    Args:
        body: The body.
        headers: The headers of the response, for an error in the body.
        what: What messages call the body.

    Raises:
        APIStatusError: The body is an error, although the status was 200.
        InvalidResponseError: The body is not JSON; the message shows how it begins.
    """
    try:
        # As nearly all bodies and events begin; the others may have blanks in front.
        raw = msgspec.json.decode(body if body.startswith(b"{") else json_text(body))
    except (ValueError, RecursionError) as error:
        start = body[:200].decode(errors="replace")
        raise InvalidResponseError(
            f"{what} is not valid JSON ({error}): {start!r}" if body else f"{what} is empty",
            raw=body[:10_000],
        ) from None
    if raw.__class__ is dict and not raw.get("error") and not _ANSWERS.isdisjoint(raw):
        return raw
    if is_error(raw):
        raise from_response(200, headers, body)
    return raw


def invalid_response(what: str, raw: Any) -> InvalidResponseError:
    """Return the error for a response that does not follow the protocol.

    Args:
        what: What the response has instead, for example "a choice without a message".
        raw: The part of it that is wrong.
    """
    return InvalidResponseError(f"the response has {what}: {str(raw)[:200]}")


def decode_completion(
    raw: Any,
    headers: Mapping[str, str],
    routing: Routing | None = None,
    id_prefix: str = "call_",
    response_format: Any = None,
) -> ChatCompletion:
    """Return the completion that a body contains.

    Args:
        raw: The body as JSON.
        headers: The headers of the response, for token counts that the body lacks.
        routing: Where the request went.
        id_prefix: Start of the ids of tool calls to which the model gave none.
        response_format: What the caller passed as `response_format`, for `parsed`.

    Raises:
        InvalidResponseError: The body is not a chat completion.
    """
    choices = raw.get("choices") if isinstance(raw, dict) else None
    if not isinstance(choices, list) or not choices:
        raise invalid_response("no choices", raw)
    counts = raw.get("usage")
    created = raw.get("created")
    return ChatCompletion(
        id=str(raw.get("id") or ""),
        model=as_text(raw.get("model")) or None,
        created=as_count(created),
        choices=tuple([decode_choice(each, at, id_prefix) for at, each in enumerate(choices)]),
        usage=decode_usage(counts) if isinstance(counts, dict) else usage_from_headers(headers),
        prompt_filter_results=tuple(as_objects(raw.get("prompt_filter_results"))),
        routing=routing,
        raw=raw,
        _parse=parser_of(response_format),
    )


def parser_of(response_format: Any) -> Callable[[ChatCompletion], Any] | None:
    """Return what reads a completion as a value of a type; None if the format is not a type."""
    return partial(_parse, response_format) if isinstance(response_format, type) else None


def _parse(kind: type, completion: ChatCompletion) -> Any:
    if refusal := completion.choices[0].message.refusal:
        raise InvalidResponseError(f"the model refused: {refusal}")
    try:
        return adapter_of(kind).validate_json(completion.text)
    except ValueError as error:
        cut = "; it ran out of tokens (raise max_tokens)" * (completion.finish_reason == "length")
        raise InvalidResponseError(
            f"the response is not a valid {kind.__name__}{cut}: {error}"
        ) from error


def decode_choice(raw: Any, position: int, id_prefix: str) -> Choice:
    """Return one choice; one whose output was filtered may have no message."""
    if not isinstance(raw, dict):
        raise invalid_response("a choice that is not an object", raw)
    reason = raw.get("finish_reason")
    if reason is not None and not isinstance(reason, str):
        raise invalid_response("a finish reason that is not text", reason)
    if reason == "content_filter" and not raw.get("message"):
        message = Message()
    else:
        message = decode_message(raw.get("message"), f"{id_prefix}{position}")
    if message.tool_calls and reason == "stop":
        reason = "tool_calls"
    index = as_index(raw.get("index"))
    return Choice(
        position if index is None else index,
        message,
        reason,
        as_object(raw.get("logprobs")) or None,
        as_object(raw.get("content_filter_results")),
    )


def decode_message(raw: Any, id_prefix: str) -> Message:
    """Return one message, its reasoning apart from its content."""
    if not isinstance(raw, dict) or _MESSAGE_KEYS.isdisjoint(raw):
        raise invalid_response("a choice without a message", raw)
    thought, content = None, raw.get("content")
    if content.__class__ is not str:
        thought, content = text_of(content)
    if content and thought is None:
        thought, content = reasoning.split(content)
    field = raw.get("reasoning_content") or raw.get("reasoning")
    calls: tuple[ToolCall, ...] = ()
    if "tool_calls" in raw:
        calls = tuple(
            decode_tool_call(call, f"{id_prefix}{position}")
            for position, call in enumerate(list_field(raw, "tool_calls"))
        )
    return Message(
        content,
        reasoning=field if isinstance(field, str) else thought,
        tool_calls=calls,
        refusal=as_text(raw.get("refusal")) or None,
        audio=as_object(raw.get("audio")) or None,
        raw=raw,
    )


def decode_tool_call(raw: Any, default_id: str) -> ToolCall:
    """Return one tool call, with `default_id` where the model gave none."""
    function = raw.get("function") if isinstance(raw, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise invalid_response("a tool call without a function name", raw)
    call_id = raw.get("id")
    return ToolCall(
        call_id if isinstance(call_id, str) and call_id else default_id,
        Function(function["name"], full_arguments(arguments_of(function.get("arguments")))),
    )


def text_of(content: Any) -> tuple[str | None, str | None]:
    """Return reasoning and text of a message's content: a string, null, or a list of parts."""
    if content is None or isinstance(content, str):
        return None, content
    if not isinstance(content, list):
        raise invalid_response("content that is neither text nor parts", content)
    thoughts: list[str] = []
    texts: list[str] = []
    for part in content:
        if not isinstance(part, dict):
            raise invalid_response("a content part that is not an object", part)
        # Mistral's reasoning models nest: {"type": "thinking", "thinking": [{"text": …}]}.
        if isinstance(inner := part.get("thinking"), str | list):
            thoughts.append(inner if isinstance(inner, str) else text_of(inner)[1] or "")
        elif isinstance(part.get("text"), str):
            texts.append(part["text"])
    return ("".join(thoughts) if thoughts else None), "".join(texts)


def arguments_of(value: Any) -> str:
    """Return a tool call's arguments as a JSON string; some models send the object itself."""
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()


def full_arguments(text: str) -> str:
    """Return the arguments of a call, or `"{}"` if it has no arguments.

    Some models call a tool without parameters with nothing, with null or with an empty list.
    """
    return "{}" if "".join(text.split()) in NO_ARGUMENTS else text


# What stands for no arguments, without its blanks.
NO_ARGUMENTS = ("", "null", "[]")


def list_field(raw: Json, key: str) -> list[Any]:
    """Return a field that may be a list, null or absent."""
    value = raw.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise invalid_response(f"{key} that is not a list", value)
    return value


def decode_usage(raw: Json) -> Usage:
    """Return token counts from any field that a model uses for them."""
    counted = raw.get
    prompt, completion = as_count(counted("prompt_tokens")), as_count(counted("completion_tokens"))
    read, written = counted("prompt_tokens_details"), counted("completion_tokens_details")
    cached = as_count(read.get("cached_tokens")) if isinstance(read, dict) else 0
    thought = as_count(written.get("reasoning_tokens")) if isinstance(written, dict) else 0
    return Usage(
        prompt,
        completion,
        as_count(counted("total_tokens")) or prompt + completion,
        cached,
        thought or as_count(counted("reasoning_tokens")),
        raw,
    )


def last_counts(before: Usage | None, counts: Usage) -> Usage:
    """Return the last counts that are not zero; some services end a stream with zeros."""
    if before is None or (counts.prompt_tokens and counts.completion_tokens):
        return counts
    if not counts.total_tokens:
        return before
    prompt = counts.prompt_tokens or before.prompt_tokens
    completion = counts.completion_tokens or before.completion_tokens
    return Usage(
        prompt,
        completion,
        max(counts.total_tokens, prompt + completion),
        cached_tokens=counts.cached_tokens or before.cached_tokens,
        reasoning_tokens=counts.reasoning_tokens or before.reasoning_tokens,
        raw=counts.raw,
    )


def usage_from_headers(headers: Mapping[str, str]) -> Usage | None:
    """Return counts that serverless endpoints and Cohere's models send as headers."""
    for read, written in _COUNT_HEADERS:
        if headers.get(read, "").isdecimal():
            prompt = count_of_digits(headers[read])
            completion = count_of_digits(headers.get(written, ""))
            return Usage(prompt, completion, prompt + completion)
    return None


def decode_model_info(raw: Any) -> ModelInfo:
    """Return the model that a body describes; the many spellings of types become one.

    Raises:
        InvalidResponseError: The body does not describe a model.
    """
    if not isinstance(raw, dict) or not isinstance(raw.get("model_name"), str):
        raise invalid_response("no model_name", raw)
    kind = str(raw.get("model_type") or "").lower().replace("-", "_").replace(" ", "_")
    kind = kind.replace("(s)", "").removesuffix("s")
    kind = {"text_embedding": "embedding", "chat": "chat_completion"}.get(kind, kind)
    return ModelInfo(raw["model_name"], kind, str(raw.get("model_provider_name") or ""), raw)
