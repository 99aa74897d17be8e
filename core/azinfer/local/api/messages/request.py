"""A request of Messages, checked field by field and read as a chat.

Sources: "Create a Message", "Extended thinking" and "Prompt caching" of Anthropic's
documentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from azinfer.local.api.chat.request import ChatRequest, parse_chat_request
from azinfer.local.api.messages.blocks import text_of
from azinfer.local.api.messages.turns import as_chat_messages, read_turns
from azinfer.local.engines.base import Prompt
from azinfer.local.engines.synthetic import count_prompt_tokens, split
from azinfer.local.resource.prompt_cache import Prefix, prefix_key
from azinfer.local.resource.sealing import Seal
from azinfer.local.wire.anthropic_errors import anthropic_error
from azinfer.local.wire.body import Json
from azinfer.local.wire.surfaces import ANTHROPIC

FIELDS = frozenset(
    """cache_control container context_management inference_geo max_tokens mcp_servers messages
    metadata model output_config output_format service_tier speed stop_sequences stream system
    temperature thinking thread tool_choice tools top_k top_p""".split()  # noqa: SIM905
)
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_TIERS = ("auto", "standard_only")
_LEAST_BUDGET = 1024
_BREAKPOINTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagesRequest:
    """A request for a message, after its check.

    Attributes:
        chat: The same request as a chat.
        chat_body: The body of that chat, for engines that get the whole request.
        thinks: Whether the answer may show thinking.
        shows_thinking: Whether thinking blocks have their text, or the signature alone.
        prefixes: The beginnings of the prompt to cache, shortest first.
        prompt_tokens: The estimated length of the prompt.
    """

    chat: ChatRequest
    chat_body: Json
    thinks: bool
    shows_thinking: bool
    prefixes: Sequence[Prefix]
    prompt_tokens: int


def parse_messages_request(body: Json, seal: Seal) -> MessagesRequest:
    """Return the checked request of a body; only to count tokens, it needs no `max_tokens`.

    Raises:
        ErrorResponse: The body is not valid; the error names the field.
    """
    _check_simple(body)
    turns = read_turns(body, seal)
    messages = as_chat_messages(_system(body), turns)
    thinking = _thinking(body)
    chat_body = {"model": body.get("model"), "messages": messages, **_options(body)}
    chat_body |= _tools(body)
    chat = parse_chat_request(chat_body, ANTHROPIC)
    return MessagesRequest(
        chat=chat,
        chat_body=chat_body,
        thinks=thinking.get("type") != "disabled",
        shows_thinking=thinking.get("display") != "omitted",
        prefixes=_prefixes(body, turns),
        prompt_tokens=count_prompt_tokens(Prompt(messages)),
    )


def check_limit(body: Json) -> None:
    """Raise unless the request says how long the answer may be.

    Raises:
        ErrorResponse: `max_tokens` is missing or not a positive integer.
    """
    limit = body.get("max_tokens")
    if limit is None:
        raise anthropic_error("max_tokens: Field required")
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise anthropic_error("max_tokens: Input should be a valid integer")
    if limit < 1:
        raise anthropic_error("max_tokens: Input should be greater than or equal to 1")


def _check_simple(body: Json) -> None:
    """Check the fields that have no counterpart in a chat."""
    if not isinstance(body.get("stream", False), bool):
        raise anthropic_error("stream: Input should be a valid boolean")
    top_k = body.get("top_k", 0)
    if isinstance(top_k, bool) or not isinstance(top_k, int):
        raise anthropic_error("top_k: Input should be a valid integer")
    if top_k < 0:
        raise anthropic_error("top_k: Input should be greater than or equal to 0")
    if body.get("service_tier", "auto") not in _TIERS:
        raise anthropic_error("service_tier: Input should be 'auto' or 'standard_only'")
    _check_metadata(body.get("metadata", {}))


def _check_metadata(metadata: Any) -> None:
    if not isinstance(metadata, Mapping):
        raise anthropic_error("metadata: Input should be a valid dictionary")
    for name, value in metadata.items():
        if name != "user_id":
            raise anthropic_error(f"metadata.{name}: Extra inputs are not permitted")
        if not isinstance(value, str | None):
            raise anthropic_error("metadata.user_id: Input should be a valid string")


def _system(body: Json) -> Any:
    system = body.get("system")
    if system is None or isinstance(system, str):
        return system
    texts = isinstance(system, list) and all(
        isinstance(each, Mapping) and isinstance(each.get("text"), str) for each in system
    )
    if not texts:
        raise anthropic_error("system: Input should be a valid string or a list of text blocks")
    return system


def _thinking(body: Json) -> Json:
    thinking = body.get("thinking") or {}
    if not isinstance(thinking, Mapping):
        raise anthropic_error("thinking: Input should be a valid dictionary")
    kind = thinking.get("type")
    if thinking and kind not in ("enabled", "disabled", "adaptive"):
        raise anthropic_error(
            f"thinking: Input tag '{kind}' found using 'type' does not match any of the expected "
            "tags: 'adaptive', 'disabled', 'enabled'"
        )
    if kind == "enabled":
        budget = thinking.get("budget_tokens")
        if not isinstance(budget, int):
            raise anthropic_error("thinking.enabled.budget_tokens: Field required")
        if budget < _LEAST_BUDGET:
            raise anthropic_error(
                "thinking.enabled.budget_tokens: Input should be greater than or equal to "
                f"{_LEAST_BUDGET}"
            )
        if budget >= body.get("max_tokens", budget + 1):
            raise anthropic_error("`max_tokens` must be greater than `thinking.budget_tokens`.")
        if (body.get("tool_choice") or {}).get("type") in ("any", "tool"):
            raise anthropic_error("Thinking may not be enabled when tool_choice forces tool use.")
    return dict(thinking)


def _options(body: Json) -> Json:
    """Return the fields of a chat that have a counterpart here."""
    options: Json = {"stream": bool(body.get("stream"))}
    if "max_tokens" in body:
        options["max_tokens"] = body["max_tokens"]
    options |= _sampling(body)
    if stops := body.get("stop_sequences"):
        options["stop"] = _stops(stops)
    config = body.get("output_config") or {}
    if not isinstance(config, Mapping):
        raise anthropic_error("output_config: Input should be a valid dictionary")
    if effort := config.get("effort"):
        options["reasoning_effort"] = effort
    if wanted := config.get("format") or body.get("output_format"):
        options["response_format"] = _format(wanted)
    return options


def _sampling(body: Json) -> Json:
    options: Json = {}
    for name, most in (("temperature", 1), ("top_p", 1)):
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise anthropic_error(f"{name}: Input should be a valid number")
        if not 0 <= value <= most:
            raise anthropic_error(f"{name}: range: 0..{most}")
        options[name] = value
    return options


def _stops(stops: Any) -> list[str]:
    if not isinstance(stops, list) or not all(isinstance(each, str) for each in stops):
        raise anthropic_error("stop_sequences: Input should be a valid list of strings")
    if not all(each.strip() for each in stops):
        raise anthropic_error("stop_sequences: each stop sequence must contain non-whitespace")
    return stops


def _format(wanted: Any) -> Json:
    schema = wanted.get("schema") if isinstance(wanted, Mapping) else None
    if not isinstance(schema, Mapping) or wanted.get("type") != "json_schema":
        raise anthropic_error("output_config.format: Input should be a JSON Schema format")
    described = {"name": "answer", "schema": dict(schema), "strict": True}
    return {"type": "json_schema", "json_schema": described}


def _tools(body: Json) -> Json:
    tools, choice = body.get("tools"), body.get("tool_choice")
    if tools is not None and not isinstance(tools, list):
        raise anthropic_error("tools: Input should be a valid list")
    chosen = _choice(choice)
    if not tools:
        if chosen not in (None, "none"):
            raise anthropic_error("tool_choice may only be specified while providing tools")
        return {}
    chat: Json = {"tools": [_tool(tool, at) for at, tool in enumerate(tools)]}
    names = [tool["name"] for tool in tools]
    if len(set(names)) < len(names):
        raise anthropic_error("tools: Tool names must be unique.")
    if chosen is not None:
        chat["tool_choice"] = chosen
        chat["parallel_tool_calls"] = not (choice or {}).get("disable_parallel_tool_use")
    return chat


def _tool(tool: Any, at: int) -> Json:
    if not isinstance(tool, Mapping):
        raise anthropic_error(f"tools.{at}: Input should be a valid dictionary")
    if tool.get("type") not in (None, "custom"):
        raise anthropic_error(f"tools.{at}: tools of type {tool['type']!r} are not supported here.")
    if not isinstance(tool.get("name"), str):
        raise anthropic_error(f"tools.{at}.custom.name: Field required")
    schema = tool.get("input_schema")
    if not isinstance(schema, Mapping):
        raise anthropic_error(f"tools.{at}.custom.input_schema: Field required")
    if schema.get("type") != "object":
        raise anthropic_error(f"tools.{at}.custom.input_schema.type: Input should be 'object'")
    function = {"name": tool["name"], "parameters": dict(schema)}
    if tool.get("description"):
        function["description"] = tool["description"]
    return {"type": "function", "function": function}


def _choice(choice: Any) -> Any:
    if choice is None:
        return None
    kind = choice.get("type") if isinstance(choice, Mapping) else None
    if kind == "tool":
        return {"type": "function", "function": {"name": choice.get("name")}}
    if kind not in _CHOICES:
        raise anthropic_error(
            f"tool_choice: Input tag '{kind}' found using 'type' does not match any of the "
            "expected tags: 'auto', 'any', 'tool', 'none'"
        )
    return _CHOICES[kind]


def _prefixes(body: Json, turns: Sequence[Json]) -> list[Prefix]:
    """Return the beginnings of the prompt up to each breakpoint: tools, then system, then turns."""
    system = body.get("system")
    system = system if isinstance(system, list) else [{"type": "text", "text": system or ""}]
    blocks = [*(body.get("tools") or ()), *system]
    blocks += [{**block, "role": turn["role"]} for turn in turns for block in turn["content"]]
    if isinstance(control := body.get("cache_control"), Mapping):
        blocks[-1] = {"cache_control": control, **blocks[-1]}
    prefixes, parts, tokens = [], [], 0
    for block in blocks:
        control = block.get("cache_control")
        part = {key: value for key, value in block.items() if key != "cache_control"}
        parts.append(part)
        tokens += len(split(text_of([block])))
        if isinstance(control, Mapping):
            seconds = 3600 if control.get("ttl") == "1h" else 300
            prefixes.append(Prefix(prefix_key(body.get("model"), *parts), tokens, seconds))
    if len(prefixes) > _BREAKPOINTS:
        raise anthropic_error(
            f"A maximum of {_BREAKPOINTS} blocks with cache_control may be provided. Found "
            f"{len(prefixes)}."
        )
    return prefixes
