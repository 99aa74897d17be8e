"""Replies of an upstream server, read into pieces, vectors and errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from azinfer.local.engines.base import EngineError, Piece
from azinfer.local.engines.upstream_body import (
    interrupted,
    invalid_upstream_response,
    may_quote,
    redact,
)
from azinfer.local.wire.body import Json
from azinfer.local.wire.json import read_json

_PASSED_ON = ("retry-after", "retry-after-ms", "x-ms-retry-after-ms")
# Fields of a choice and of its message that pieces carry by name.
_CHOICE = frozenset(["index", "message", "delta", "finish_reason"])
_MESSAGE = frozenset(["role", "content", "tool_calls", "reasoning_content", "reasoning"])
Read = TypeVar("Read")


def read_reply(reader: Callable[[Any], Read], payload: Any, url: str, secret: str = "") -> Read:
    """Return the value that a reader creates from JSON of an upstream.

    Args:
        reader: The reader.
        payload: The JSON.
        url: The upstream's URL, for errors.
        secret: The upstream's credential, which errors leave out.

    Raises:
        EngineError: The JSON does not follow the protocol.
    """
    try:
        return reader(payload)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise invalid_upstream_response(url, redact(repr(error), secret)) from None


def read_completion(answer: Json) -> Piece:
    """Return a whole answer as its only piece."""
    choices = answer.get("choices")
    if not choices:
        raise LookupError("it has no choices")
    usage = answer.get("usage") or {}
    message = choices[0].get("message") or {}
    return Piece(
        _text(message, "content"),
        count(usage, "completion_tokens"),
        _text(choices[0], "finish_reason") or "stop",
        count(usage, "prompt_tokens"),
        reasoning=_reasoning(message),
        calls=_calls(message),
        usage=usage or None,
        more=_others(choices[0], _CHOICE),
        message=_others(message, _MESSAGE),
    )


def read_chunk(chunk: Json) -> list[Piece]:
    """Return the pieces of one chunk of a stream."""
    usage = chunk.get("usage") or None
    pieces = []
    for choice in chunk.get("choices") or ():
        delta = choice.get("delta") or {}
        text, reasoning = _text(delta, "content"), _reasoning(delta)
        calls = _calls(delta)
        pieces.append(
            Piece(
                text,
                int(bool(text or reasoning or calls)),
                _text(choice, "finish_reason") or None,
                None,
                reasoning=reasoning,
                calls=calls,
                usage=None,
                more=_others(choice, _CHOICE),
                message=_others(delta, _MESSAGE),
            )
        )
    if usage is not None:
        pieces.append(Piece("", 0, None, count(usage, "prompt_tokens"), usage=usage))
    return pieces


def _reasoning(message: Mapping[str, Any]) -> str:
    return _text(message, "reasoning_content") or _text(message, "reasoning")


def _text(message: Mapping[str, Any], name: str) -> str:
    text = message.get(name) or ""
    if not isinstance(text, str):
        raise TypeError(f"its {name} is not a text")
    return text


def count(usage: Mapping[str, Any], name: str) -> int:
    """Return a count of a usage; 0 if it is missing.

    Raises:
        TypeError: A count is not a number.
    """
    # All of them are added up later.
    counts = [usage.get(each) for each in ("prompt_tokens", "completion_tokens")]
    if not all(isinstance(count, int | None) for count in counts):
        raise TypeError(f"its usage {dict(usage)!r} has no counts")
    return usage.get(name) or 0


def _calls(message: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    calls = message.get("tool_calls") or ()
    for call in calls:
        for name in ("name", "arguments"):
            _text(call.get("function") or {}, name)
        _text(call, "id")
    return calls


def _others(fields: Mapping[str, Any], known: frozenset[str]) -> Json | None:
    return {
        name: value for name, value in fields.items() if name not in known and value is not None
    } or None


def read_event(data: bytes, url: str, secret: str) -> Json:
    """Return the JSON of an event of a stream.

    Args:
        data: The data of the event.
        url: The upstream's URL, for errors.
        secret: The upstream's credential, which is left out.

    Raises:
        EngineError: The event is an error, or not a JSON object.
    """
    try:
        event = read_json(data)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        raise invalid_upstream_response(url, "an event is not a JSON object")
    chunk: Json = redact(event, secret) if may_quote(data, secret) else event
    if chunk.get("error"):
        raise _error(chunk, 502, {}, url)
    return chunk


def read_object(content: bytes | bytearray, url: str, secret: str) -> Json:
    """Return the JSON of a whole answer.

    Args:
        content: The body of the answer.
        url: The upstream's URL, for errors.
        secret: The upstream's credential, which is left out.

    Raises:
        EngineError: The body is not a JSON object.
    """
    try:
        answer = read_json(bytes(content))
    except (ValueError, RecursionError) as error:
        raise interrupted(url, f"its response is not valid JSON ({error})") from None
    if not isinstance(answer, dict):
        raise interrupted(url, "its response is not a JSON object")
    clear: Json = redact(answer, secret) if may_quote(content, secret) else answer
    return clear


def read_error(
    status: int, headers: Mapping[str, str], body: bytes | bytearray, url: str, secret: str
) -> EngineError:
    """Return the error of an answer with a bad status.

    Args:
        status: The status.
        headers: The headers, by their names in lower case.
        body: Its body, or the beginning of it.
        url: The upstream's URL.
        secret: The upstream's credential, which is left out.
    """
    if not 400 <= status <= 599:
        return invalid_upstream_response(url, f"it has the status {status}")
    kept = {name: headers[name] for name in _PASSED_ON if name in headers}
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        payload = body.decode("utf-8", "replace").strip()[:1000]
    return _error(redact(payload, secret), status, redact(kept, secret), url)


def _error(payload: Any, status: int, headers: dict[str, str], url: str) -> EngineError:
    """Return the error in any of the shapes that servers use."""
    error = payload.get("error") or payload if isinstance(payload, dict) else payload
    if not isinstance(error, dict):
        error = {"message": error}
    message = error.get("message") or error.get("detail") or f"the upstream answered {status}"
    if not isinstance(message, str):
        message = json.dumps(message)
    code = str(error.get("code") or status)
    if status in (401, 403):
        # The client's own key is right; the endpoint's key for the upstream is wrong.
        message = f"the upstream {url} refused its credential: {message}"
    known = ("message", "code", "detail")
    more = {name: value for name, value in error.items() if name not in known}
    return EngineError(message, code, status=status, headers=headers, more=more)
