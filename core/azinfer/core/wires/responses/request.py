"""A request in our schema as the Responses API takes it.

Nothing is stored on the service unless the caller passes `store=True`: each request has the whole
history, with encrypted reasoning in it.

Source: "Create response" of the Azure OpenAI v1 REST reference, and "Use the Azure OpenAI
Responses API", reasoning items.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from azinfer.core.completions import Json
from azinfer.core.errors import InferenceError
from azinfer.core.wires.fields import check_carried, without_idle
from azinfer.core.wires.responses.history import Input
from azinfer.core.wires.wire import Encoded, Mended, Situation

_ENCRYPTED = "reasoning.encrypted_content"
_LOGPROBS = "message.output_text.logprobs"
# Services accept this for every model with summaries; without it they send no summary.
_SUMMARY = "auto"
_LIMITS = ("max_completion_tokens", "max_tokens")
# Chat nests these below their type; all other tools and choices have one form on every wire.
_OUR_TOOLS = ("function", "custom")
_NESTED_CHOICES = (*_OUR_TOOLS, "allowed_tools")
_GROUPED = frozenset({"reasoning", "text", "reasoning_effort", "verbosity", "response_format"})
# Fields that have another form or no meaning here: usage is always sent.
_REWRITTEN = frozenset(
    {
        *("messages", *_LIMITS, *_GROUPED, "tools", "tool_choice", "logprobs", "stream_options"),
        *("include", "store", "n", "stop", "seed"),
    }
)

_NO_INCLUDE = r"(?i)\binclude\b|encrypted content is not supported"
_NO_SUMMARY = r"(?i)reasoning\.summary|reasoning summar"
_UNREADABLE = r"(?i)encrypted content .*could not be|invalid_encrypted_content"
_TWO_REASONINGS = r"(?i)conflicting authenticated continuation"
_UNKNOWN_ITEM = r"Item (?:with id )?'([^']+)' (?:not found|of type)"


def encode(body: Json, situation: Situation) -> Encoded:
    """Return a request as the Responses API takes it.

    Args:
        body: The request in our schema, which is that of chat completions.
        situation: What is known about the model and the resource.

    Raises:
        ConfigurationError: It has something that this wire cannot carry.
    """
    check_carried(body, "responses")
    body = without_idle(body, "responses")
    history = Input(situation)
    wire: Json = {"input": history.of(body["messages"])}
    wire |= {key: value for key, value in body.items() if key not in _REWRITTEN}
    for name in _LIMITS:
        if name in body:
            wire.setdefault("max_output_tokens", body[name])
    wire["store"] = body.get("store", False)
    if include := _include(body, situation):
        wire["include"] = include
    wire |= _group_fields(body, situation)
    if tools := body.get("tools"):
        wire["tools"] = [_tool(tool) for tool in tools]
    if choice := body.get("tool_choice"):
        wire["tool_choice"] = _choice(choice)
    if situation.stream:
        wire["stream"] = True
        options = body.get("stream_options") or {}
        if rest := {key: options[key] for key in options if key != "include_usage"}:
            wire["stream_options"] = rest
    return Encoded(wire, tuple(history.changes))


def mend(body: Json, error: InferenceError) -> Mended | None:
    """Return another body after a refusal, or None where nothing can be done.

    Reasoning that the service cannot read costs quality, not correctness: it is left out, and
    the request sent again.
    """
    text = f"{error.code} {error.message}"
    if re.search(_UNREADABLE, text):
        return _filter_reasoning(body, None, "unreadable reasoning", {})
    if re.search(_TWO_REASONINGS, text):
        newest = next(
            (item for item in reversed(body["input"]) if item.get("type") == "reasoning"), None
        )
        change = "all reasoning but the newest"
        return _filter_reasoning(body, newest, change, {"reasoning items": "newest"})
    if match := re.search(_UNKNOWN_ITEM, text):
        return _without_ids(body, match[1])
    text = f"{error.param} {text}"
    if re.search(_NO_SUMMARY, text) and (body.get("reasoning") or {}).get("summary") == _SUMMARY:
        group = {key: value for key, value in body["reasoning"].items() if key != "summary"}
        return Mended({**body, "reasoning": group}, "without summaries", {"reasoning summary": ""})
    if "include" in body and re.search(_NO_INCLUDE, text):
        rest = [each for each in body["include"] if each != _ENCRYPTED]
        if len(rest) < len(body["include"]):
            left = {key: value for key, value in body.items() if key != "include"}
            left |= {"include": rest} if rest else {}
            return Mended(left, "without include", {"include": ""})
    return None


def _include(body: Json, situation: Situation) -> list[str]:
    """Return what else to ask for: encrypted reasoning, where the model may have it."""
    include = dict.fromkeys(body.get("include") or ())
    if body.get("logprobs"):
        include[_LOGPROBS] = None
    thinks = situation.facts is None or situation.facts.reasoning is not False
    if thinks and "include" not in situation.learned:
        include[_ENCRYPTED] = None
    return list(include)


def _group_fields(body: Json, situation: Situation) -> Json:
    """Return the fields that are groups on this wire: `reasoning` and `text`."""
    if _GROUPED.isdisjoint(body):
        return {}
    reasoning, text = dict(body.get("reasoning") or {}), dict(body.get("text") or {})
    if effort := body.get("reasoning_effort"):
        reasoning["effort"] = effort
        if effort != "none" and "reasoning summary" not in situation.learned:
            reasoning.setdefault("summary", _SUMMARY)
    if verbosity := body.get("verbosity"):
        text["verbosity"] = verbosity
    if wanted := body.get("response_format"):
        text["format"] = _format(wanted)
    groups = {"reasoning": reasoning, "text": text}
    return {name: group for name, group in groups.items() if group}


def _format(wanted: Mapping[str, Any]) -> Json:
    described = wanted.get("json_schema")
    return {"type": wanted["type"], **described} if described else dict(wanted)


def _flat(value: Any, kinds: Collection[str]) -> Any:
    """Return a value of one of some kinds without the nesting of chat, any other as it is."""
    kind = value.get("type") if isinstance(value, Mapping) else None
    inner = value.get(kind) if kind in kinds else None
    return {"type": kind, **inner} if isinstance(inner, Mapping) else value


def _tool(tool: Any) -> Any:
    """Return a tool; service-side tools are sent as they are."""
    flat = _flat(tool, _OUR_TOOLS)
    kind = flat.get("type") if isinstance(flat, Mapping) else None
    if kind == "function":
        # If `strict` is left out, this wire tries true; chat completions take false.
        return {**flat, "strict": bool(flat.get("strict"))}
    # A grammar is nested on chat, and flat here.
    wanted = flat.get("format") if kind == "custom" else None
    return {**flat, "format": _flat(wanted, ("grammar",))} if wanted else flat


def _choice(choice: Any) -> Any:
    flat = _flat(choice, _NESTED_CHOICES)
    if not isinstance(flat, Mapping) or flat.get("type") != "allowed_tools":
        return flat
    tools = [_flat(tool, _OUR_TOOLS) for tool in flat.get("tools") or ()]
    return {"type": "allowed_tools", "mode": flat.get("mode", "auto"), "tools": tools}


def _filter_reasoning(
    body: Json, kept: Json | None, what: str, learned: Mapping[str, str]
) -> Mended | None:
    """Return a body without all reasoning but one item; None where that changes nothing."""
    items = [item for item in body["input"] if item.get("type") != "reasoning" or item is kept]
    if len(items) == len(body["input"]):
        return None
    return Mended({**body, "input": items}, f"messages without {what}", learned)


def _without_ids(body: Json, item_id: str) -> Mended | None:
    """Return a body without the ids of items that refer to something stored.

    Service-side calls keep their ids, since they are refused without them; a call that the
    service does not know is left out. A reference that the caller wrote stays, and so does its
    refusal.
    """
    items = []
    for item in body["input"]:
        if item.get("type") in _PLAIN:
            items.append({key: value for key, value in item.items() if key != "id"})
        elif item.get("id") != item_id or item.get("type") == "item_reference":
            items.append(item)
    if items == body["input"]:
        return None
    return Mended({**body, "input": items}, "messages without ids of items")


_PLAIN = frozenset({"message", "reasoning", "function_call", "custom_tool_call"})
