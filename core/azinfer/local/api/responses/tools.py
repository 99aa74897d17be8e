"""Tools of the Responses API: functions, free-form tools, and those of the service itself.

Source: "Create a model response" of the Azure OpenAI REST API, `OpenAI.Tool`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from azinfer.local.wire.body import Json
from azinfer.local.wire.errors import bad_request

# The service's own tools: their items are scripted, nothing is searched or run here.
SERVICE_TOOLS = {
    "web_search": "web_search_call",
    "web_search_preview": "web_search_call",
    "file_search": "file_search_call",
    "code_interpreter": "code_interpreter_call",
    "image_generation": "image_generation_call",
    "mcp": "mcp_call",
}
SERVICE_ITEMS = frozenset([*SERVICE_TOOLS.values(), "mcp_list_tools", "mcp_approval_request"])
PREFIXES = {"web_search_call": "ws", "file_search_call": "fs", "code_interpreter_call": "ci"}
PREFIXES |= {"image_generation_call": "ig", "mcp_call": "mcp", "mcp_list_tools": "mcpl"}
# The schema for a free-form tool, whose input is one text.
_INPUT = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
}


def chat_tools(tools: Sequence[Any], surface: str) -> list[Json]:
    """Return the tools of a response that an engine may call, in the nested form of a chat.

    Raises:
        ErrorResponse: A tool has a type that does not exist here.
    """
    listed = (_chat_tool(tool, at, surface) for at, tool in enumerate(tools))
    return [tool for tool in listed if tool is not None]


def _chat_tool(tool: Any, at: int, surface: str) -> Json | None:
    kind = _type(tool)
    if kind in SERVICE_TOOLS:
        return None
    if kind == "custom":
        known = {name: tool[name] for name in ("name", "description") if tool.get(name)}
        return {"type": "function", "function": {**known, "parameters": _INPUT}}
    if kind != "function":
        known_kinds = ", ".join(["function", "custom", *SERVICE_TOOLS])
        message = f"Tools of type {kind!r} are not supported here. Supported: {known_kinds}."
        raise bad_request(surface, message, f"tools[{at}].type")
    fields = ("name", "description", "parameters", "strict")
    function = {name: tool[name] for name in fields if tool.get(name) is not None}
    return {"type": "function", "function": function}


def _type(tool: Any) -> str | None:
    kind = tool.get("type") if isinstance(tool, Mapping) else None
    return kind if isinstance(kind, str) else None


def custom_names(tools: Any) -> frozenset[str]:
    """Return the names of a response's free-form tools."""
    listed = tools if isinstance(tools, list) else []
    return frozenset(str(tool.get("name")) for tool in listed if _type(tool) == "custom")


def chat_choice(choice: Any, body: Json, tools: Sequence[Json], surface: str) -> Any:
    """Return a tool choice in the form of a chat; None if there is nothing to choose from.

    Raises:
        ErrorResponse: It has a type that does not exist here, or that no tool has.
    """
    if not isinstance(choice, Mapping):
        listed = body.get("tools")
        return choice if tools or (choice != "auto" and not listed) else None
    kind = _type(choice)
    if kind in ("function", "custom"):
        return {"type": "function", "function": {"name": choice.get("name")}}
    if kind in SERVICE_TOOLS and kind in map(_type, body.get("tools") or ()):
        return "auto" if tools else None
    message = f"A tool choice of type {kind!r} is not supported here."
    raise bad_request(surface, message, "tool_choice.type")


def custom_input(arguments: str) -> str:
    """Return the input of a free-form tool: the one text that an engine wrote, or all of it."""
    with suppress(ValueError, RecursionError):
        value = json.loads(arguments)
        if isinstance(value, dict) and isinstance(text := value.get("input"), str):
            return text
    return arguments


def service_item(item: Mapping[str, Any], item_id: str) -> Json:
    """Return a scripted item of a service-side tool in the form of an answer."""
    prefix = PREFIXES.get(str(item["type"]), "st")
    return {"id": f"{prefix}_{item_id}", "status": "completed", **item}
