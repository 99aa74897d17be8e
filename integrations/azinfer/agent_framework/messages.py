"""Translation to the wire: messages with their contents, tools, and the choice of a tool."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from agent_framework import Content, FunctionTool, Message, normalize_tools, validate_tool_mode

from azinfer.core import ConfigurationError, media_part

Json = dict[str, Any]
# The place of a message's `state`: on contents of reasoning, which sessions store.
STATE = "state"
# The framework's own state, which no service accepts.
_STATE = ("function_approval_request", "function_approval_response", "text_reasoning", "usage")


def to_messages(messages: Sequence[Message]) -> list[Json]:
    """Return messages in core's form; each result of a function becomes a message of its own.

    Args:
        messages: The messages, oldest first.

    Raises:
        ConfigurationError: A content cannot be sent; the text names its type.
    """
    wire: list[Json] = []
    for message in messages:
        rest = []
        author = {"name": message.author_name} if message.author_name else {}
        for each in message.contents:
            if each.type == "function_result":
                wire.append(_result(each))
            else:
                rest.append(each)
        if message.role == "assistant":
            wire += _assistant(rest, author)
        elif parts := list(_parts(rest)):
            role = "user" if message.role == "tool" else message.role
            wire.append({"role": role, "content": _join_parts(parts, role), **author})
    return wire


def write_tools(options: Json) -> None:
    """Write the tools, their choice and `parallel_tool_calls` of a request in the wire form.

    Tools that the choice does not allow are left out; without tools the other two mean nothing.
    """
    definitions, choice = options.pop("tools", None), options.pop("tool_choice", None)
    several = options.pop("allow_multiple_tool_calls", None)
    if not definitions:
        return
    tools = []
    for each in normalize_tools(definitions):
        functions = getattr(each, "functions", [each])  # an MCP server has several tools
        tools += [f.to_json_schema_spec() if isinstance(f, FunctionTool) else f for f in functions]
    mode = validate_tool_mode(choice) or {}
    if (allowed := mode.get("allowed_tools")) is not None:
        tools = [tool for tool in tools if tool.get("function", {}).get("name") in allowed]
    if tools:
        choice = mode.get("required_function_name") or mode.get("mode")
        options |= {"tools": tools, "tool_choice": choice, "parallel_tool_calls": several}


def _result(result: Content) -> Json:
    parts = list(_parts(result.items or ()))
    content = _join_parts(parts, "tool") if parts else _json(result.result)
    error = {"is_error": True} if result.exception else {}
    return {"role": "tool", "tool_call_id": result.call_id or "", "content": content, **error}


def _assistant(contents: Iterable[Content], author: Json) -> Iterator[Json]:
    texts = {"text": "", "text_reasoning": ""}
    calls: list[Json] = []
    state = None
    for each in contents:
        if each.type in texts:
            texts[each.type] += each.text or ""
            state = each.additional_properties.get(STATE) or state
        elif each.type == "function_call" and not each.informational_only:
            function = {"name": each.name, "arguments": _json(each.arguments) or "{}"}
            calls.append({"id": each.call_id, "type": "function", "function": function})
    text, thought = texts.values()
    content = {"content": text} if text or not calls else {}
    # Core knows what to send back to a model, and leaves out the rest.
    more = {"tool_calls": calls, "reasoning_content": thought, STATE: state}
    more = {name: value for name, value in more.items() if value}
    if text or more:
        yield {"role": "assistant", **content, **more, **author}


def _join_parts(parts: list[Json], role: str) -> str | list[Json]:
    """Return parts of instructions, or a single part, as one text."""
    if (role != "user" or len(parts) == 1) and all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _json(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, default=str, ensure_ascii=False)


def _parts(contents: Iterable[Content]) -> Iterator[Json]:
    for each in contents:
        if each.type == "text":
            yield {"type": "text", "text": each.text}
        elif each.type in ("data", "uri"):
            more = each.additional_properties
            detail, name = more.get("detail"), each.name or more.get("filename")
            detail = detail if isinstance(detail, str) else None
            yield media_part(each.uri or "", each.media_type or "", name=name, detail=detail)
        elif each.type == "hosted_file":
            yield {"type": "file", "file": {"file_id": each.file_id}}
        elif each.type not in _STATE:
            raise ConfigurationError(f"content of type {each.type!r} cannot be sent in a message")
