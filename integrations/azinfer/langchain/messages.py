"""Translation to core: LangChain messages and tools (`responses` translates answers back)."""

from __future__ import annotations

import json
import mimetypes
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.block_translators.openai import convert_to_openai_data_block
from langchain_core.utils.function_calling import convert_to_openai_tool

from azinfer.core import (
    ConfigurationError,
    strict_schema,
)

Json = dict[str, Any]

# The key under which an AIMessage has the state of an answer, as core calls it.
STATE = "azinfer_state"
# Follows the streamed arguments of a call that must not run, after the closing characters.
_MARK = re.compile(r" /\* not valid: the model wrote all but the (\d) characters before this \*/\Z")


def to_messages(messages: Sequence[BaseMessage]) -> list[Json]:
    """Return LangChain messages in the wire form.

    Raises:
        ConfigurationError: A content block cannot be sent; the text names it.
    """
    return [_message(message) for message in messages]


def to_tools(tools: Sequence[Any], strict: bool | None) -> list[Json]:
    """Return tools of any form that LangChain knows in the wire form."""
    wire = [convert_to_openai_tool(tool, strict=strict) for tool in tools]
    return [_strict(tool) for tool in wire] if strict else wire


def mark_invalid(closing: str) -> str:
    """Return the text that marks streamed arguments as invalid JSON.

    Args:
        closing: The characters that make them invalid.
    """
    mark = f" /* not valid: the model wrote all but the {len(closing)} characters before this */"
    return closing + mark


def without_mark(arguments: str) -> str:
    """Return the arguments of an invalid call as the model wrote them."""
    mark = _MARK.search(arguments)
    return arguments[: mark.start() - int(mark[1])] if mark else arguments


def _strict(tool: Json) -> Json:
    """Return a tool whose schema is strict: LangChain keeps defaults, which services refuse."""
    function = tool.get("function")
    if not function or "parameters" not in function:
        return tool
    parameters = strict_schema(function["parameters"])
    return {**tool, "function": {**function, "parameters": parameters}}


def to_tool_choice(choice: str | bool | Mapping[str, Any], tools: Sequence[Json]) -> Any:
    """Return a tool choice of any form that LangChain knows in the wire form.

    Raises:
        ConfigurationError: It names a tool that does not exist.
    """
    if choice is True or choice == "any":
        return "required"
    if isinstance(choice, Mapping) or choice in ("auto", "none", "required"):
        return choice
    names = [tool["function"]["name"] for tool in tools if "function" in tool]
    if choice not in names:
        raise ConfigurationError(
            f"tool_choice={choice!r} is not the name of a tool; choose from {names}"
        )
    return {"type": "function", "function": {"name": choice}}


def _message(message: BaseMessage) -> Json:
    if isinstance(message, AIMessage):
        return _assistant(message)
    if isinstance(message, ToolMessage):
        return _tool_answer(message)
    named = {"name": message.name} if message.name else {}
    return {"role": _role(message), "content": _content(message), **named}


def _role(message: BaseMessage) -> str:
    if isinstance(message, HumanMessage):
        return "user"
    if isinstance(message, SystemMessage):
        return str(message.additional_kwargs.get("__openai_role__", "system"))
    if isinstance(message, ChatMessage):
        return message.role
    if isinstance(message, FunctionMessage):
        return "function"
    raise ConfigurationError(f"a {type(message).__name__} cannot be sent to a model")


def _assistant(message: AIMessage) -> Json:
    parts = list(_parts(message))
    text = "".join(part["text"] for part in parts if part["type"] == "text")
    if media := [part["type"] for part in parts if part["type"] != "text"]:
        raise ConfigurationError(f"an AIMessage with {media[0]} cannot be sent back to a model")
    wire: Json = {"role": "assistant"}
    calls = [
        _call(call["id"], call["name"], json.dumps(call["args"], ensure_ascii=False))
        for call in message.tool_calls
    ]
    calls += [
        _call(call["id"], call["name"] or "", without_mark(call["args"] or "") or "{}")
        for call in message.invalid_tool_calls
    ]
    more = message.additional_kwargs
    if more.get("function_call") and not calls:
        raise ConfigurationError(
            "an AIMessage with function_call, the old form, cannot be sent: pass tool_calls"
        )
    state = more.get(STATE)
    if text or not calls:
        wire["content"] = text or ("" if state else more.get("refusal") or "")
    # Core sends them to the models that need them back.
    if reasoning := more.get("reasoning_content"):
        wire["reasoning_content"] = reasoning
    if state:
        wire["state"] = state
    if calls:
        wire["tool_calls"] = calls
    if audio := more.get("audio"):
        wire["audio"] = {"id": audio["id"]}
    return wire


def _call(call_id: str | None, name: str, arguments: str) -> Json:
    function = {"name": name, "arguments": arguments}
    return {"id": call_id or "", "type": "function", "function": function}


def _content(message: BaseMessage) -> str | list[Json]:
    if isinstance(message.content, str):
        return message.content
    return list(_parts(message)) or ""


def _tool_answer(message: ToolMessage) -> Json:
    content: Any = message.content
    if not isinstance(content, str):
        content = list(_parts(message))
        if all(part["type"] == "text" for part in content):
            content = "\n".join(part["text"] for part in content)
    failed = {"is_error": True} if message.status == "error" else {}
    return {"role": "tool", "tool_call_id": message.tool_call_id, "content": content, **failed}


def _parts(message: BaseMessage) -> Iterator[Json]:
    """Return the content of a message, in the form of any provider, in the wire form."""
    for block in message.content_blocks:
        translate = _BLOCKS.get(block["type"])
        if translate is None:
            raise ConfigurationError(
                f"{type(message).__name__} with a content block of the type {block['type']!r}, "
                f"which no deployment accepts: {str(block)[:200]}"
            )
        yield from translate(dict(block))


def _text(block: Json) -> Iterator[Json]:
    if text := block.get("text") or block.get("refusal"):
        yield {"type": "text", "text": text}


def _data(block: Json) -> Iterator[Json]:
    more = {**(block.get("extras") or {}), **block}
    if block["type"] == "file" and "base64" in block and not more.get("filename"):
        # The wire requires a file name with the right extension.
        block["filename"] = f"document{mimetypes.guess_extension(block.get('mime_type', '')) or ''}"
    try:
        wire = convert_to_openai_data_block(block)
    except (KeyError, ValueError) as error:
        raise ConfigurationError(
            f"a content block of the type {block['type']!r} cannot be sent ({error}); pass "
            "base64 and mime_type, or an image's url"
        ) from error
    if more.get("detail") and "image_url" in wire:
        wire["image_url"]["detail"] = more["detail"]
    yield wire


def _plain(block: Json) -> Iterator[Json]:
    if not isinstance(block.get("text"), str):
        raise ConfigurationError("a block of plain text needs its text; URLs are not fetched")
    yield {"type": "text", "text": block["text"]}


def _other(block: Json) -> Iterator[Json]:
    value = block.get("value")
    if isinstance(value, Mapping) and isinstance(value.get("text"), str):
        yield {"type": "text", "text": value["text"]}
    elif isinstance(value, Mapping) and isinstance(value.get("image_url"), str):
        yield {"type": "image_url", "image_url": {"url": value["image_url"]}}
    elif not isinstance(value, Mapping) or value.get("type") not in _SILENT:
        raise ConfigurationError(f"a content block cannot be sent: {str(value)[:200]}")


# Models' thoughts are never sent back, and calls are a field of the message besides its content.
_SILENT_BLOCKS = ("reasoning", "tool_call", "tool_call_chunk", "invalid_tool_call")
_SILENT = (
    *("thinking", "redacted_thinking", "reasoning", "reasoning_content"),
    *("tool_use", "function_call"),
)
_BLOCKS: dict[str, Callable[[Json], Iterator[Json]]] = {
    "text": _text,
    "text-plain": _plain,
    "image": _data,
    "audio": _data,
    "file": _data,
    "refusal": _text,
    "non_standard": _other,
    **dict.fromkeys(_SILENT_BLOCKS, lambda block: iter(())),
}
