"""Messages of a chat: checked one by one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from azinfer.local.wire.body import BodyReader, Json

# Other surfaces serve models of many makers, whose parts differ.
_PARTS = ("text", "image_url", "input_audio", "refusal", "audio", "file")
_NAME = r"[^\s<|\\/>]+"
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")


def check_messages(body: BodyReader) -> list[Json]:
    """Return the messages of a chat after checking each.

    Raises:
        ErrorResponse: A message is not valid; the error names it.
    """
    messages = body.body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise body.error("messages", "'messages' must be a list of at least one message.")
    open_calls: set[str] = set()
    for at, message in enumerate(messages):
        _check_message(body, message, f"messages.{at}", open_calls)
    return messages


def _check_message(body: BodyReader, message: Any, where: str, open_calls: set[str]) -> None:
    role = message.get("role") if isinstance(message, Mapping) else None
    if role not in _ROLES:
        values = ", ".join(f"'{each}'" for each in _ROLES)
        message = f"Invalid value: {role!r}. Supported values are: {values}."
        raise body.error(f"{where}.role", message)
    content = message.get("content")
    if content is None and role not in ("assistant", "tool"):
        raise body.error(f"{where}.content", "Invalid value for 'content': expected a string.")
    if body.openai:
        _check_name(body, message.get("name"), where)
    if isinstance(content, list):
        _check_parts(body, content, f"{where}.content")
    elif content is not None and not isinstance(content, str):
        raise body.error(f"{where}.content", "Invalid type for 'content'.", "invalid_type")
    if role == "assistant":
        open_calls.update(_call_ids(body, message.get("tool_calls"), where))
    if role == "tool" and str(message.get("tool_call_id")) not in open_calls:
        raise body.error(
            f"{where}.role",
            "Invalid parameter: messages with role 'tool' must be a response to a preceding "
            "message with 'tool_calls'.",
        )


def _check_name(body: BodyReader, name: Any, where: str) -> None:
    if isinstance(name, str) and not re.fullmatch(_NAME, name):
        message = (
            f"Invalid '{where}.name': string does not match pattern. Expected a string that "
            f"matches the pattern '^{_NAME}$'."
        )
        raise body.error(f"{where}.name", message)


def _check_parts(body: BodyReader, parts: list[Any], where: str) -> None:
    if body.openai and not parts:
        message = (
            f"Invalid '{where}': empty array. Expected an array with minimum length 1, but got an "
            "empty array instead."
        )
        raise body.error(where, message, "empty_array")
    for at, part in enumerate(parts):
        if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
            place = f"{where}.{at}.type"
            raise body.error(place, f"Missing required parameter: '{place}'.")
        if body.openai and part["type"] not in _PARTS:
            raise body.unsupported(f"{where}.{at}.type", part["type"], _PARTS)


def _call_ids(body: BodyReader, calls: Any, where: str) -> list[str]:
    if calls is None:
        return []
    if not isinstance(calls, list):
        raise body.error(f"{where}.tool_calls", "'tool_calls' must be a list.", "invalid_type")
    ids = []
    for at, call in enumerate(calls):
        place = f"{where}.tool_calls.{at}"
        for name in ("id", "type", "function"):
            if not isinstance(call, Mapping) or not call.get(name):
                raise body.error(
                    f"{place}.{name}",
                    f"Missing required parameter: '{place}.{name}'.",
                    "missing_required_parameter",
                )
        function = call["function"]
        if not isinstance(function, Mapping) or not isinstance(function.get("arguments"), str):
            raise body.error(f"{place}.function.arguments", "'arguments' must be a JSON string.")
        ids.append(str(call["id"]))
    return ids
