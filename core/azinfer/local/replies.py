"""Replies: what an upstream answered, read into pieces and errors."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import httpx

from azinfer.local.engines import EngineError, Piece
from azinfer.local.fields import Json

_PASSED_ON = ("retry-after", "retry-after-ms", "x-ms-retry-after-ms")
# Fields of a choice and of its message that pieces carry by name.
_CHOICE = frozenset(["index", "message", "delta", "finish_reason"])
_MESSAGE = frozenset(["role", "content", "tool_calls", "reasoning_content", "reasoning"])


def whole(answer: Json, url: str) -> Piece:
    """A whole answer as its only piece."""
    choices = answer.get("choices") or [{}]
    usage = answer.get("usage") or {}
    message = choices[0].get("message") or {}
    return Piece(
        message.get("content") or "",
        int(usage.get("completion_tokens") or 0),
        choices[0].get("finish_reason") or "stop",
        int(usage.get("prompt_tokens") or 0),
        _reasoning(message),
        message.get("tool_calls") or (),
        usage or None,
        _others(choices[0], _CHOICE),
        _others(message, _MESSAGE),
    )


def pieces(chunk: Json) -> list[Piece]:
    """The pieces of one chunk of a stream."""
    usage = chunk.get("usage") or None
    pieces = []
    for choice in chunk.get("choices") or ():
        delta = choice.get("delta") or {}
        text, reasoning = delta.get("content") or "", _reasoning(delta)
        calls = delta.get("tool_calls") or ()
        pieces.append(
            Piece(
                text,
                int(bool(text or reasoning or calls)),
                choice.get("finish_reason"),
                None,
                reasoning,
                calls,
                None,
                _others(choice, _CHOICE),
                _others(delta, _MESSAGE),
            )
        )
    if usage is not None:
        pieces.append(Piece("", 0, None, int(usage.get("prompt_tokens") or 0), usage=usage))
    return pieces


def _reasoning(message: Mapping[str, Any]) -> str:
    return message.get("reasoning_content") or message.get("reasoning") or ""


def _others(told: Mapping[str, Any], known: frozenset[str]) -> Json | None:
    return {
        name: value for name, value in told.items() if name not in known and value is not None
    } or None


async def chunks(response: httpx.Response, url: str) -> AsyncGenerator[Json]:
    """The JSON of each event, as soon as its line is there."""
    held = b""
    async for data in response.aiter_bytes():
        *lines, held = (held + data).split(b"\n")
        for line in lines:
            name, _, value = line.strip().partition(b":")
            if name != b"data" or not value.strip():
                continue
            if value.strip() == b"[DONE]":
                return
            yield _event(value, url)


def _event(value: bytes, url: str) -> Json:
    try:
        chunk = json.loads(value)
    except ValueError:
        chunk = None
    if not isinstance(chunk, dict):
        raise EngineError(
            f"the upstream {url} sent an event that is no JSON object",
            "upstream_malformed",
            status=502,
        )
    if chunk.get("error"):
        raise _error(chunk, 502, {}, url)
    return chunk


def failure(response: httpx.Response, body: bytes, url: str) -> EngineError:
    """The error of an answer with a bad status."""
    headers = {name: response.headers[name] for name in _PASSED_ON if name in response.headers}
    try:
        told = json.loads(body)
    except ValueError:
        told = body.decode("utf-8", "replace").strip()[:1000]
    return _error(told, response.status_code, headers, url)


def _error(told: Any, status: int, headers: dict[str, str], url: str) -> EngineError:
    """An error in any of the shapes that servers have for it."""
    error = told.get("error") or told if isinstance(told, dict) else told
    if not isinstance(error, dict):
        error = {"message": error}
    message = error.get("message") or error.get("detail") or f"the upstream answered {status}"
    if not isinstance(message, str):
        message = json.dumps(message)
    code = str(error.get("code") or status)
    if status in (401, 403):
        # The client's own key is right; it is the endpoint's that is not.
        message = f"the upstream {url} refused its credential: {message}"
    known = ("message", "code", "detail")
    more = {name: value for name, value in error.items() if name not in known}
    return EngineError(message, code, status=status, headers=headers, more=more)
