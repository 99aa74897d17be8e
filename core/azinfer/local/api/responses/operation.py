"""The Responses API: a request read as a chat, its answer told as items, kept for later turns.

Source: "Create a model response" of the Azure OpenAI REST API.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from starlette.responses import Response

from azinfer.local.api.chat.operation import answered
from azinfer.local.api.chat.request import chat_request
from azinfer.local.api.context import Asked
from azinfer.local.api.pagination import page
from azinfer.local.api.responses.items import Items
from azinfer.local.api.responses.response import ResponseForm
from azinfer.local.resource.model_families import check_response
from azinfer.local.resource.state import Service
from azinfer.local.resource.storage.response_store import Stored
from azinfer.local.wire import errors
from azinfer.local.wire.body import Json
from azinfer.local.wire.errors import Refusal, bad_request, unsupported_parameter
from azinfer.local.wire.json import AsciiResponse

_FIELDS = frozenset(
    """background conversation include input instructions max_output_tokens max_tool_calls metadata
    model parallel_tool_calls previous_response_id prompt prompt_cache_key prompt_cache_retention
    reasoning safety_identifier service_tier store stream stream_options temperature text
    tool_choice tools top_logprobs top_p truncation user""".split()  # noqa: SIM905
)
# What is told again as it was asked, and what else is told.
_TOLD: Json = {
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
_OBJECTS = ("metadata", "reasoning", "stream_options", "text")
_SHARED = ("stream", "temperature", "top_p", "parallel_tool_calls")


async def create(service: Service, asked: Asked) -> Response:
    """Answer `POST responses`."""
    body = await service.body(asked, _FIELDS)
    deployment = service.deployment(asked, body.get("model"), "responses")
    _check(body, asked.surface, service.strict)
    check_response(body, deployment, asked.surface)
    items = Items(asked.surface, service.conversations.item)
    own = [
        {"id": f"in_{asked.id}_{at}", **item} for at, item in enumerate(items.read(body["input"]))
    ]
    messages = items.messages([*_before(service, asked, body), *own])
    request = chat_request(_as_chat(body, messages, asked.surface), asked.surface)
    head = _head(body, f"resp_{asked.id}", deployment.name)

    def keep(response: Json) -> None:
        if response["store"]:
            service.conversations.keep(Stored(response, own))

    padded = (body.get("stream_options") or {}).get("include_obfuscation") is not False
    forming = partial(ResponseForm, head, keep, padded)
    return await answered(service, asked, deployment, [request], forming)


async def get(service: Service, asked: Asked) -> Response:
    """Answer `GET responses/{id}`."""
    return AsciiResponse(_stored(service, asked).response)


async def delete(service: Service, asked: Asked) -> Response:
    """Answer `DELETE responses/{id}`."""
    stored = _stored(service, asked)
    service.conversations.forget(stored.response["id"])
    told = {"id": stored.response["id"], "object": "response.deleted", "deleted": True}
    return AsciiResponse(told)


async def input_items(service: Service, asked: Asked) -> Response:
    """Answer `GET responses/{id}/input_items`."""
    items = [
        {"status": "completed", **item, **({"content": _whole(item)} if "role" in item else {})}
        for item in _stored(service, asked).items
    ]
    if asked.http.query_params.get("order") != "asc":
        items.reverse()
    return AsciiResponse(page(items, asked))


def _stored(service: Service, asked: Asked) -> Stored:
    name = asked.http.path_params["response"]
    stored = service.conversations.get(name)
    if stored is None:
        raise errors.missing(f"Response with id '{name}' not found.")
    return stored


def _whole(item: Json) -> list[Json]:
    """The content of a message as parts."""
    content = item["content"]
    if not isinstance(content, str):
        return list(content)
    if item["role"] == "assistant":
        return [{"type": "output_text", "text": content, "annotations": []}]
    return [{"type": "input_text", "text": content}]


def _check(body: Json, surface: str, strict: bool) -> None:
    """Refuse what is wrong, or what no engine does.

    Raises:
        Refusal: The answer names the field.
    """
    if body.get("input") in (None, "", []):
        message = "Missing required parameter: 'input'."
        raise bad_request(surface, message, "input", "missing_required_parameter")
    for name in _OBJECTS:
        if not isinstance(body.get(name) or {}, Mapping):
            message = f"Invalid type for '{name}': expected an object."
            raise bad_request(surface, message, name, "invalid_type")
    for name in ("background", "conversation", "prompt", "top_logprobs"):
        if body.get(name):
            raise unsupported_parameter(surface, name, body[name])
    limit, least = body.get("max_output_tokens"), 16 if strict else 1
    if isinstance(limit, int) and limit < least:
        message = (
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= "
            f"{least}, but got {limit} instead."
        )
        raise bad_request(surface, message, "max_output_tokens", "integer_below_min_value")


def _before(service: Service, asked: Asked, body: Json) -> Sequence[Json]:
    """What was said in the turns before."""
    previous = body.get("previous_response_id")
    if previous is None:
        return ()
    said = service.conversations.until(previous) if isinstance(previous, str) else None
    if said is None:
        message = f"Previous response with id '{previous}' not found."
        param = "previous_response_id"
        raise bad_request(asked.surface, message, param, "previous_response_not_found")
    return said


def _as_chat(body: Json, messages: list[Json], surface: str) -> Json:
    """The same request in the words of chat."""
    if body.get("instructions"):
        messages = [{"role": "system", "content": body["instructions"]}, *messages]
    chat = {"messages": messages, **{name: body[name] for name in _SHARED if name in body}}
    if "max_output_tokens" in body:
        chat["max_completion_tokens"] = body["max_output_tokens"]
    if tools := _typed(body, "tools", list, surface):
        chat["tools"] = [_tool(each, at, surface) for at, each in enumerate(tools)]
    choice = body.get("tool_choice", "auto")
    if isinstance(choice, Mapping):
        choice = {"type": "function", "function": {"name": _named(choice, surface)}}
    if "tools" in chat or choice != "auto":
        chat["tool_choice"] = choice
    if wanted := (_typed(body, "text", dict, surface) or {}).get("format"):
        chat["response_format"] = _format(wanted, surface)
    return chat


def _typed(body: Json, name: str, kind: type, surface: str) -> Any:
    value = body.get(name)
    if value is not None and not isinstance(value, kind):
        raise bad_request(surface, f"Invalid type for '{name}'.", name, "invalid_type")
    return value


def _tool(tool: Any, at: int, surface: str) -> Json:
    """A tool, flat in a response and nested in a chat."""
    kind = tool.get("type") if isinstance(tool, Mapping) else None
    if kind != "function":
        message = f"Tools of type {kind!r} are not supported here, only functions."
        raise bad_request(surface, message, f"tools[{at}].type")
    fields = ("name", "description", "parameters", "strict")
    given = {name: tool[name] for name in fields if tool.get(name) is not None}
    return {"type": "function", "function": given}


def _named(choice: Mapping[str, Any], surface: str) -> Any:
    if choice.get("type") != "function":
        message = f"A tool choice of type {choice.get('type')!r} is not supported here."
        raise bad_request(surface, message, "tool_choice.type")
    return choice.get("name")


def _format(wanted: Any, surface: str) -> Json:
    """A format, flat in a response and nested in a chat."""
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


def _wrong_format(surface: str, field: str, message: str) -> Refusal:
    return bad_request(surface, message, f"text.format.{field}")


def _head(body: Json, response_id: str, model: str) -> Json:
    """What the response says from its beginning on."""
    asked = {name: body[name] for name in _TOLD if name in body}
    usual = {"description": None, "parameters": None, "strict": True}
    tools = [{**usual, **each} for each in body.get("tools") or ()]
    reasoning = {"effort": None, "summary": None, **(body.get("reasoning") or {})}
    text = {"format": {"type": "text"}, "verbosity": "medium", **(body.get("text") or {})}
    head = {"id": response_id, "object": "response", "created_at": int(time.time())}
    told = {"model": model, "reasoning": reasoning, "text": text, "tools": tools}
    return {**head, **_TOLD, **asked, **told}
