"""A request in our schema as Anthropic Messages take it.

Sources: "Create a Message", "Adaptive thinking", "Extended thinking" and "Structured outputs" of
Anthropic's documentation; "Claude models in Microsoft Foundry" for what Foundry lacks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from azinfer.core.completions import Json
from azinfer.core.errors import ConfigurationError, InferenceError
from azinfer.core.wires.fields import check_carried, without_idle
from azinfer.core.wires.messages.history import Turns
from azinfer.core.wires.wire import Encoded, Mended, Situation

# This wire requires a limit of the answer; thinking counts towards it.
_LIMIT, _LIMIT_THINKING = 16_384, 32_768
_LEAST_BUDGET = 1024
_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 24_576}
_EFFORTS = {"minimal": "low"}
# These models think within a budget, all later ones adaptively.
_BY_BUDGET = r"(?i)(?:.*/)?claude-(?:3\b|\w+-4(?:-[0-5])?(?:[-@]20\d{6})?$)"
# Fields that have another form here.
_REWRITTEN = frozenset(
    {
        *("messages", "max_tokens", "max_completion_tokens", "stop", "tools", "tool_choice"),
        *("parallel_tool_calls", "response_format", "reasoning_effort", "stream_options"),
        *("user", "safety_identifier", "metadata", "n", "seed", "logprobs", "top_logprobs"),
    }
)
# Fields that do not change the meaning of a request: left out, and recorded.
_WITHOUT = ("verbosity", "store", "prompt_cache_key", "prompt_cache_retention")
_LIMITS_OF_SCHEMAS = frozenset(
    {
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minLength", "maxLength", "pattern", "minItems", "maxItems", "uniqueItems"),
    }
)
# Source: JSON Schema 2020-12, core and validation; `definitions` of draft 7.
_SCHEMAS_BY_NAME = frozenset(
    {"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"}
)
_LITERAL = frozenset({"const", "enum", "default", "examples"})
_MODES = {"auto": "auto", "none": "none", "required": "any"}

_FOREIGN_THINKING = r"(?i)`?(?:signature|thinking)`? .*(?:invalid|modif|prefix)|invalid `signature`"
_NOT_ADAPTIVE = r"(?i)adaptive thinking is not supported"
_NO_PREFILL = r"(?i)prefill|must end with a user message"
# Follows an answer that the model is not to continue, but to go on after.
_NEXT_TURN = {"role": "user", "content": "Continue."}
_CONTINUED = "messages with a last turn of the user"
_NOT_BY_BUDGET = r"(?i)thinking\.type\.enabled\W* is not supported"


def encode(body: Json, situation: Situation) -> Encoded:
    """Return a request as Anthropic Messages take it.

    Args:
        body: The request in our schema, which is that of chat completions.
        situation: What is known about the model and the resource.

    Raises:
        ConfigurationError: It has something that this wire cannot carry.
    """
    check_carried(body, "messages")
    body = without_idle(body, "messages")
    turns = Turns(body["messages"])
    changes = turns.changes
    wire: Json = {"max_tokens": 0, "messages": turns.messages}
    if "prefill" in situation.learned and turns.messages[-1]["role"] == "assistant":
        wire["messages"].append(_NEXT_TURN)
        changes[_CONTINUED] = None
    if turns.system:
        plain = all(block.keys() == {"type", "text"} for block in turns.system)
        texts = [block.get("text", "") for block in turns.system]
        wire["system"] = "\n\n".join(texts) if plain else turns.system
    for name in _WITHOUT:
        if name in body:
            changes[f"without {name}"] = None
    wire |= {
        key: value for key, value in body.items() if key not in _REWRITTEN and key not in _WITHOUT
    }
    wire |= _rename_fields(body, changes)
    wire |= _thinking(body, situation)
    if wanted := _format(body.get("response_format"), changes):
        wire["output_config"] = {**wire.get("output_config", {}), "format": wanted}
    wire |= _tools(body, changes)
    wire["max_tokens"] = _limit(body, wire, situation)
    if situation.stream:
        wire["stream"] = True
    return Encoded(wire, tuple(changes))


def mend(body: Json, error: InferenceError) -> Mended | None:
    """Return another body after a refusal, or None where nothing can be done."""
    message = error.message
    if re.search(_FOREIGN_THINKING, message):
        turns = [_without_thinking(turn) for turn in body["messages"]]
        if turns != body["messages"]:
            return Mended({**body, "messages": turns}, "messages without unreadable thinking")
    if re.search(_NO_PREFILL, message) and body["messages"][-1]["role"] == "assistant":
        turns = [*body["messages"], _NEXT_TURN]
        return Mended({**body, "messages": turns}, _CONTINUED, {"prefill": ""})
    thinking = body.get("thinking") or {}
    if thinking.get("type") == "adaptive" and re.search(_NOT_ADAPTIVE, message):
        effort = (body.get("output_config") or {}).get("effort", "medium")
        enabled = _by_budget(effort, body["max_tokens"])
        rest = {key: value for key, value in body.items() if key != "output_config"}
        config = {k: v for k, v in (body.get("output_config") or {}).items() if k != "effort"}
        rest |= {"output_config": config} if config else {}
        return Mended({**rest, **enabled}, "thinking by budget", {"thinking": "enabled"})
    if thinking.get("type") == "enabled" and re.search(_NOT_BY_BUDGET, message):
        change = {"thinking": {"type": "adaptive"}}
        return Mended({**body, **change}, "adaptive thinking", {"thinking": "adaptive"})
    return None


def _rename_fields(body: Json, changes: dict[str, None]) -> Json:
    wire: Json = {}
    if stop := body.get("stop"):
        wire["stop_sequences"] = stop
    metadata = dict(body.get("metadata") or {})
    user = body.get("safety_identifier") or body.get("user") or metadata.pop("user_id", None)
    if user:
        wire["metadata"] = {"user_id": user}
    if metadata:
        changes["without metadata"] = None
    return wire


def _thinking(body: Json, situation: Situation) -> Json:
    """Return how much to think: an effort, or a budget for models that know only that."""
    effort = body.get("reasoning_effort")
    if not effort or "thinking" in body:
        return {}
    if effort == "none":
        return {"thinking": {"type": "disabled"}}
    learned = situation.learned.get("thinking")
    by_budget = bool(re.match(_BY_BUDGET, situation.model_id or ""))
    if learned == "enabled" or (by_budget and not learned):
        return _by_budget(effort, _limit(body, {"thinking": {}}, situation))
    config = {**(body.get("output_config") or {}), "effort": _EFFORTS.get(effort, effort)}
    # Without `display`, newer models send their thinking without its text.
    return {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": config}


def _by_budget(effort: str, limit: int) -> Json:
    budget = min(_BUDGETS.get(effort, _BUDGETS["xhigh"]), limit - 1)
    if budget < _LEAST_BUDGET:
        raise ConfigurationError(
            f"max_tokens={limit} leaves no room to think: pass more than {_LEAST_BUDGET}, or "
            "leave out reasoning_effort",
            param="max_tokens",
        )
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


def _limit(body: Json, wire: Json, situation: Situation) -> int:
    requested: int | None = body.get("max_completion_tokens") or body.get("max_tokens")
    if requested is not None:
        return requested
    thinks = wire.get("thinking", {"type": "disabled"}).get("type") != "disabled"
    limit = _LIMIT_THINKING if thinks else _LIMIT
    most = situation.facts.max_output if situation.facts else None
    return min(limit, most or limit)


def _tools(body: Json, changes: dict[str, None]) -> Json:
    tools, choice = body.get("tools") or [], body.get("tool_choice")
    if isinstance(choice, Mapping) and choice.get("type") == "allowed_tools":
        allowed = choice.get("allowed_tools") or choice
        names = {_name(each) for each in allowed.get("tools") or ()}
        tools = [tool for tool in tools if _name(tool) in names]
        choice = allowed.get("mode", "auto")
        changes["allowed_tools → those tools alone"] = None
    if not tools:
        return {}
    wire: Json = {"tools": [_tool(tool) for tool in tools]}
    chosen = _choice(choice) if choice else {}
    if body.get("parallel_tool_calls") is False and chosen.get("type") != "none":
        chosen = {"type": "auto", **chosen, "disable_parallel_tool_use": True}
    return {**wire, "tool_choice": chosen} if chosen else wire


def _tool(tool: Any) -> Any:
    """Return a tool in the form of this wire; service-side tools are sent as they are."""
    if not isinstance(tool, Mapping) or tool.get("type") != "function":
        return tool
    function = tool.get("function") or tool
    schema = {"type": "object", **(function.get("parameters") or {"properties": {}})}
    known = {key: function[key] for key in ("name", "description") if function.get(key)}
    strict = {"strict": True} if function.get("strict") else {}
    return {**known, "input_schema": schema, **strict}


def _choice(choice: Any) -> Json:
    if isinstance(choice, str):
        return {"type": _MODES.get(choice, choice)}
    if choice.get("type") == "function":
        return {"type": "tool", "name": _name(choice)}
    return dict(choice)


def _name(tool: Any) -> Any:
    """Return the name of a tool or of a choice, nested as on chat or flat."""
    return (tool.get("function") or tool).get("name") if isinstance(tool, Mapping) else None


def _format(wanted: Any, changes: dict[str, None]) -> Json | None:
    if not wanted or wanted.get("type") != "json_schema":
        return None
    moved: dict[str, None] = {}
    schema = (wanted.get("json_schema") or {}).get("schema")
    if not isinstance(schema, Mapping):
        raise ConfigurationError(
            "response_format has no schema, which the Messages wire needs: pass "
            "json_schema={'name': …, 'schema': …}",
            param="response_format",
        )
    schema = _move_limits(schema, moved)
    if moved:
        changes[f"schema: {', '.join(moved)} → description"] = None
    return {"type": "json_schema", "schema": schema}


def _move_limits(schema: Any, moved: dict[str, None]) -> Any:
    """Return a schema with its limits, which are refused here, moved to descriptions."""
    if isinstance(schema, list):
        return [_move_limits(each, moved) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    limits = {key: schema[key] for key in schema if key in _LIMITS_OF_SCHEMAS and "type" in schema}
    plain = {
        key: _move_limits_below(key, value, moved)
        for key, value in schema.items()
        if key not in limits
    }
    if limits:
        moved.update(dict.fromkeys(limits))
        text = ", ".join(f"{key}: {value}" for key, value in limits.items())
        plain["description"] = f"{plain.get('description', '')} {{{text}}}".strip()
    return plain


def _move_limits_below(key: str, value: Any, moved: dict[str, None]) -> Any:
    """Return the value of a keyword: schemas, schemas by name, or a literal of the caller."""
    if key in _LITERAL:
        return value
    if key in _SCHEMAS_BY_NAME and isinstance(value, Mapping):
        return {name: _move_limits(each, moved) for name, each in value.items()}
    return _move_limits(value, moved)


def _without_thinking(turn: Json) -> Json:
    if turn["role"] != "assistant" or isinstance(turn["content"], str):
        return turn
    kinds = ("thinking", "redacted_thinking")
    return {**turn, "content": [each for each in turn["content"] if each.get("type") not in kinds]}
