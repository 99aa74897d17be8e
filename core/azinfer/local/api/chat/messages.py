"""Messages: those of a chat, checked one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from azinfer.local.wire.body import BodyReader, Json

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")


def messages(given: BodyReader) -> list[Json]:
    """The messages of a chat, each of which is one.

    Raises:
        ErrorResponse: One is not; the answer names it.
    """
    told = given.body.get("messages")
    if not isinstance(told, list) or not told:
        raise given.wrong("messages", "'messages' must be a list of at least one message.")
    open_calls: set[str] = set()
    for at, message in enumerate(told):
        _message(given, message, f"messages.{at}", open_calls)
    return told


def _message(given: BodyReader, message: Any, where: str, open_calls: set[str]) -> None:
    role = message.get("role") if isinstance(message, Mapping) else None
    if role not in _ROLES:
        raise given.wrong(f"{where}.role", f"Invalid value: {role!r}. Supported: {_ROLES}.")
    content = message.get("content")
    if content is None and role not in ("assistant", "tool"):
        raise given.wrong(f"{where}.content", "Invalid value for 'content': expected a string.")
    if isinstance(content, list):
        _parts(given, content, f"{where}.content")
    elif content is not None and not isinstance(content, str):
        raise given.wrong(f"{where}.content", "Invalid type for 'content'.", "invalid_type")
    if role == "assistant":
        open_calls.update(_called(given, message.get("tool_calls"), where))
    if role == "tool" and str(message.get("tool_call_id")) not in open_calls:
        raise given.wrong(
            f"{where}.role",
            "Invalid parameter: messages with role 'tool' must be a response to a preceding "
            "message with 'tool_calls'.",
        )


def _parts(given: BodyReader, parts: list[Any], where: str) -> None:
    for at, part in enumerate(parts):
        if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
            place = f"{where}.{at}.type"
            raise given.wrong(place, f"Missing required parameter: '{place}'.")


def _called(given: BodyReader, calls: Any, where: str) -> list[str]:
    if calls is None:
        return []
    if not isinstance(calls, list):
        raise given.wrong(f"{where}.tool_calls", "'tool_calls' must be a list.", "invalid_type")
    ids = []
    for at, call in enumerate(calls):
        place = f"{where}.tool_calls.{at}"
        for name in ("id", "type", "function"):
            if not isinstance(call, Mapping) or not call.get(name):
                raise given.wrong(
                    f"{place}.{name}",
                    f"Missing required parameter: '{place}.{name}'.",
                    "missing_required_parameter",
                )
        function = call["function"]
        if not isinstance(function, Mapping) or not isinstance(function.get("arguments"), str):
            raise given.wrong(f"{place}.function.arguments", "'arguments' must be a JSON string.")
        ids.append(str(call["id"]))
    return ids
