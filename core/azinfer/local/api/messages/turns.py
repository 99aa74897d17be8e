"""Turns of Messages: the rules of their order, and the same conversation as messages of a chat.

Source: "Handle tool calls" of Anthropic's documentation; the wording of refusals as recorded in
vercel/ai (`anthropic-issue-21832-unexpected-tool-use-id.json`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from azinfer.local.api.messages.blocks import as_parts, read_blocks, text_of
from azinfer.local.resource.sealing import Seal
from azinfer.local.wire.anthropic_errors import anthropic_error
from azinfer.local.wire.body import Json


def read_turns(body: Json, seal: Seal) -> list[Json]:
    """Return the turns of a request, alternately user and assistant, their content as blocks.

    Raises:
        ErrorResponse: A turn is not valid, or the result of a call does not follow it directly.
    """
    turns: list[Json] = []
    messages = body.get("messages")
    if not isinstance(messages, list):
        problem = "Field required" if messages is None else "Input should be a valid list"
        raise anthropic_error(f"messages: {problem}")
    if not messages:
        raise anthropic_error("messages: at least one message is required")
    for at, message in enumerate(messages):
        role = _role(message, at)
        blocks = read_blocks(message.get("content"), f"messages.{at}", seal)
        if not blocks and (role == "user" or at < len(messages) - 1):
            raise anthropic_error(
                f"messages.{at}: all messages must have non-empty content except for the optional "
                "final assistant message"
            )
        if turns and turns[-1]["role"] == role:
            turns[-1] = {"role": role, "content": [*turns[-1]["content"], *blocks]}
        else:
            turns.append({"role": role, "content": blocks})
    _check_calls(turns)
    return turns


def _role(message: Any, at: int) -> str:
    role = message.get("role") if isinstance(message, Mapping) else None
    if role == "system":
        raise anthropic_error(
            'messages: Unexpected role "system". The Messages API accepts a top-level `system` '
            'parameter, not "system" as an input message role.'
        )
    if role not in ("user", "assistant"):
        raise anthropic_error(f"messages.{at}.role: Input should be 'user' or 'assistant'")
    if at == 0 and role != "user":
        raise anthropic_error('messages: first message must use the "user" role')
    return str(role)


def _check_calls(turns: Sequence[Json]) -> None:
    """Raise unless the results of all calls of a turn come first in the next one."""
    for at, turn in enumerate(turns):
        calls = [block["id"] for block in _of(turn, "tool_use")]
        before = turns[at - 1] if at else None
        expected = [block["id"] for block in _of(before, "tool_use")] if before else []
        for place, block in enumerate(turn["content"]):
            if block["type"] == "tool_result" and block["tool_use_id"] not in expected:
                raise anthropic_error(
                    f"messages.{at}.content.{place}: unexpected `tool_use_id` found in "
                    f"`tool_result` blocks: {block['tool_use_id']}. Each `tool_result` block must "
                    "have a corresponding `tool_use` block in the previous message."
                )
        if calls and at < len(turns) - 1:
            missing = [each for each in calls if each not in _first_results(turns[at + 1])]
            if missing:
                raise _without_results(at, missing)
        elif calls:
            raise _without_results(at, calls)


def _without_results(at: int, calls: Sequence[str]) -> Exception:
    return anthropic_error(
        f"messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately "
        f"after: {', '.join(calls)}. Each `tool_use` block must have a corresponding "
        "`tool_result` block in the next message."
    )


def _first_results(turn: Json) -> list[str]:
    """Return the calls that the results at the beginning of a turn answer."""
    ids = []
    for block in turn["content"]:
        if block["type"] != "tool_result":
            break
        ids.append(block["tool_use_id"])
    return ids


def _of(turn: Json, kind: str) -> list[Json]:
    return [block for block in turn["content"] if block["type"] == kind]


def as_chat_messages(system: Any, turns: Sequence[Json]) -> list[Json]:
    """Return a conversation as messages of a chat; thinking stays out of it."""
    messages: list[Json] = []
    if text := text_of(system):
        messages.append({"role": "system", "content": text})
    for turn in turns:
        messages += _assistant(turn) if turn["role"] == "assistant" else _user(turn)
    return messages


def _assistant(turn: Json) -> list[Json]:
    texts = [block["text"] for block in _of(turn, "text")]
    calls = [
        {
            "id": block["id"],
            "type": "function",
            "function": {"name": block["name"], "arguments": json.dumps(block["input"])},
        }
        for block in _of(turn, "tool_use")
    ]
    message: Json = {"role": "assistant", "content": "".join(texts) or None}
    return [{**message, "tool_calls": calls} if calls else message]


def _user(turn: Json) -> list[Json]:
    messages = [
        {"role": "tool", "tool_call_id": block["tool_use_id"], "content": _result(block)}
        for block in _of(turn, "tool_result")
    ]
    parts = as_parts(turn["content"])
    if len(parts) == 1 and parts[0]["type"] == "text":
        messages.append({"role": "user", "content": parts[0]["text"]})
    elif parts:
        messages.append({"role": "user", "content": parts})
    return messages


def _result(block: Json) -> Any:
    content = block.get("content")
    if isinstance(content, list) and any(each["type"] != "text" for each in content):
        return as_parts(content)
    return text_of(content)
