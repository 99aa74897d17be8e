"""A request of the Responses API, checked and read as a chat.

Source: "Create a model response" of the Azure OpenAI REST API.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from azinfer.local.api.responses.tools import chat_choice, chat_tools
from azinfer.local.resource.model_families import LOGPROBS
from azinfer.local.wire.body import BodyReader, Json
from azinfer.local.wire.errors import ErrorResponse, bad_request, unsupported_parameter
from azinfer.local.wire.shared_options import (
    EFFORTS,
    VERBOSITIES,
    check_nested,
    check_shared_options,
)

FIELDS = frozenset(
    """background conversation include input instructions max_output_tokens max_tool_calls metadata
    model parallel_tool_calls previous_response_id prompt prompt_cache_key prompt_cache_retention
    reasoning safety_identifier service_tier store stream stream_options temperature text
    tool_choice tools top_logprobs top_p truncation user""".split()  # noqa: SIM905
)
# The fields of a response: those of the request, with their defaults, and others.
_DEFAULTS: Json = {
    "background": False,
    "content_filters": None,
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "output": [],
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "prompt_cache_retention": None,
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "usage": None,
    "user": None,
}
_MOST_LIKELY = 20
_NESTED: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "reasoning": {"effort": EFFORTS, "summary": ("auto", "concise", "detailed")},
    "text": {"verbosity": VERBOSITIES},
}
_INCLUDED = (
    *("code_interpreter_call.outputs", "computer_call_output.output.image_url"),
    *("file_search_call.results", "message.input_image.image_url", LOGPROBS),
    *("reasoning.encrypted_content", "web_search_call.action.sources", "web_search_call.results"),
)
_SHARED = ("stream", "temperature", "top_p", "parallel_tool_calls")


def check_response_request(body: Json, surface: str, strict: bool) -> None:
    """Raise if a field is not valid, or not supported.

    Raises:
        ErrorResponse: A field is not valid or not supported; the error names it.
    """
    if body.get("input") in (None, "", []):
        message = "Missing required parameter: 'input'."
        raise bad_request(surface, message, "input", "missing_required_parameter")
    check_shared_options(body, surface)
    for name, values in _NESTED.items():
        check_nested(body, surface, name, values)
    BodyReader(body, surface).whole("max_tool_calls", 1, 10**6)
    if body.get("prompt"):
        raise unsupported_parameter(surface, "prompt", body["prompt"])
    _check_logprobs(body, surface)
    if body.get("background") and body.get("store") is False:
        message = "Background mode requires 'store' to be true."
        raise bad_request(surface, message, "background")
    limit, least = body.get("max_output_tokens"), 16 if strict else 1
    if isinstance(limit, int) and limit < least:
        message = (
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= "
            f"{least}, but got {limit} instead."
        )
        raise bad_request(surface, message, "max_output_tokens", "integer_below_min_value")


def _check_logprobs(body: Json, surface: str) -> None:
    included = _read_typed(body, "include", list, surface) or ()
    if not all(isinstance(each, str) for each in included):
        message = "Invalid type for 'include': expected a list of texts."
        raise bad_request(surface, message, "include", "invalid_type")
    for at, each in enumerate(included):
        if each not in _INCLUDED:
            raise BodyReader(body, surface).unsupported(f"include.{at}", each, _INCLUDED)
    likely = _read_typed(body, "top_logprobs", int, surface) or 0
    if isinstance(likely, bool) or not 0 <= likely <= _MOST_LIKELY:
        message = f"Invalid 'top_logprobs': expected a number from 0 to {_MOST_LIKELY}."
        raise bad_request(surface, message, "top_logprobs")


def as_chat(body: Json, messages: list[Json], surface: str) -> Json:
    """Return the request as the body of a chat completion."""
    if body.get("instructions"):
        messages = [{"role": "system", "content": body["instructions"]}, *messages]
    chat = {"messages": messages, **{name: body[name] for name in _SHARED if name in body}}
    if "max_output_tokens" in body:
        chat["max_completion_tokens"] = body["max_output_tokens"]
    if LOGPROBS in (body.get("include") or ()):
        chat |= {"logprobs": True, "top_logprobs": body.get("top_logprobs") or 0}
    tools = chat_tools(_read_typed(body, "tools", list, surface) or (), surface)
    if tools:
        chat["tools"] = tools
    choice = chat_choice(body.get("tool_choice", "auto"), body, tools, surface)
    if choice is not None:
        chat["tool_choice"] = choice
    if wanted := (_read_typed(body, "text", dict, surface) or {}).get("format"):
        chat["response_format"] = _format(wanted, surface)
    return chat


def _read_typed(body: Json, name: str, kind: type, surface: str) -> Any:
    value = body.get(name)
    if value is not None and not isinstance(value, kind):
        raise bad_request(surface, f"Invalid type for '{name}'.", name, "invalid_type")
    return value


def _format(wanted: Any, surface: str) -> Json:
    """Return a chat's nested format from a response's flat one."""
    kind = wanted.get("type") if isinstance(wanted, Mapping) else None
    if kind not in ("text", "json_object", "json_schema"):
        raise _wrong_format(surface, "type", "'text.format.type' must name a format.")
    if kind != "json_schema":
        return {"type": kind}
    for name, type_ in (("name", str), ("schema", Mapping)):
        if not isinstance(wanted.get(name), type_):
            message = f"Missing required parameter: 'text.format.{name}'."
            raise _wrong_format(surface, name, message)
    described = {name: value for name, value in wanted.items() if name != "type"}
    return {"type": kind, "json_schema": described}


def _wrong_format(surface: str, field: str, message: str) -> ErrorResponse:
    return bad_request(surface, message, f"text.format.{field}")


def response_head(body: Json, response_id: str, model: str) -> Json:
    """Return the fields that a response has from its beginning."""
    repeated = {name: body[name] for name in _DEFAULTS if name in body}
    usual = {"description": None, "parameters": None, "strict": True}
    tools = [{**usual, **each} for each in body.get("tools") or ()]
    reasoning = {"effort": None, "summary": None, **(body.get("reasoning") or {})}
    text = {"format": {"type": "text"}, "verbosity": "medium", **(body.get("text") or {})}
    head = {"id": response_id, "object": "response", "created_at": int(time.time())}
    settings = {"model": model, "reasoning": reasoning, "text": text, "tools": tools}
    return {**head, **_DEFAULTS, **repeated, **settings}
