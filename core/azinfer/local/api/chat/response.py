"""Responses of chats: the choices of engines in the wire form of completions and chunks.

It shares nothing with the client's reader, so a mistake in one cannot hide in the other.
Source: "Get chat completions" of the model inference REST API, "Create chat completion" of the
Azure OpenAI REST API.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from azinfer.local.engines.base import EngineError, Piece
from azinfer.local.wire.body import Json
from azinfer.local.wire.json import json_text, write_json


@dataclass(slots=True, kw_only=True)
class GeneratedChoice:
    """What an engine wrote for one choice.

    The number of prompt tokens is an estimate until the engine reports it.
    """

    texts: list[str] = field(default_factory=list)
    finish_reason: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    filter_results: Json = field(default_factory=dict)
    tool_calls: list[Json] = field(default_factory=list)
    service_items: list[Json] = field(default_factory=list)
    reasonings: list[str] = field(default_factory=list)
    usage: Json | None = None
    more: Json = field(default_factory=dict)
    message: Json = field(default_factory=dict)
    stop: str | None = None
    reasoning_tokens: int = 0
    cached_tokens: int | None = None

    @property
    def text(self) -> str:
        """All of its text."""
        return "".join(self.texts)

    @property
    def reasoning(self) -> str:
        """All of the reasoning before the text."""
        return "".join(self.reasonings)

    def add(self, piece: Piece) -> Json:
        """Add a piece, and return it as a stream's delta."""
        delta: Json = dict(piece.message) if piece.message else {}
        if piece.text:
            self.texts.append(piece.text)
            delta["content"] = piece.text
        if piece.reasoning:
            self.reasonings.append(piece.reasoning)
            delta["reasoning_content"] = piece.reasoning
        if piece.service_items:
            delta["service_items"] = [dict(each) for each in piece.service_items]
            self.service_items += delta["service_items"]
        if piece.calls:
            delta["tool_calls"] = [self._call(part) for part in piece.calls]
        self._count(piece)
        if piece.more:
            _merge(self.more, piece.more)
        if piece.message:
            _merge(self.message, piece.message)
        return delta

    def _count(self, piece: Piece) -> None:
        self.completion_tokens += piece.tokens
        if piece.reasoning:
            self.reasoning_tokens += piece.tokens
        if piece.finish_reason is not None:
            self.finish_reason = piece.finish_reason
        if piece.prompt_tokens is not None:
            self.prompt_tokens = piece.prompt_tokens
        if piece.cached_tokens is not None:
            self.cached_tokens = piece.cached_tokens
        if piece.usage is not None:
            self.usage = dict(piece.usage)
        if piece.stop:
            self.stop = piece.stop

    def _call(self, part: Mapping[str, Any]) -> Json:
        """Add a part of a call; without an index, a name begins a new call."""
        function = part.get("function") or {}
        name, arguments = function.get("name"), function.get("arguments") or ""
        index = part.get("index")
        if not isinstance(index, int):
            index = len(self.tool_calls) - (not name)
        index = min(max(index, 0), len(self.tool_calls))
        if index == len(self.tool_calls):
            call_id = part.get("id") or f"call_{index}"
            self.tool_calls.append(tool_call(call_id, name or "", arguments))
            return {"index": index, **tool_call(call_id, name or "", arguments)}
        self.tool_calls[index]["function"]["arguments"] += arguments
        return {"index": index, "function": {"arguments": arguments}}


def _merge(fields: Json, more: Mapping[str, Any]) -> None:
    """Add fields of a choice or message; texts and lists of log probabilities are extended."""
    for name, value in more.items():
        old = fields.get(name)
        if isinstance(old, str) and isinstance(value, str):
            fields[name] = old + value
        elif isinstance(old, dict) and isinstance(value, Mapping):
            lists = [key for key, each in old.items() if isinstance(each, list)]
            fields[name] = {**value, **{key: old[key] + (value.get(key) or []) for key in lists}}
        else:
            fields[name] = value


class ResponseWriter(Protocol):
    """Writes one response, as one body or as server-sent events."""

    def whole(self, choices: Sequence[GeneratedChoice]) -> Json:
        """Return the whole body."""
        ...

    def first(self) -> bytes:
        """Return the events before any choice; may be empty."""
        ...

    def chunk(
        self,
        index: int,
        delta: Json,
        finish_reason: str | None = None,
        filter_results: Json | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return the events for one more part of a choice, which has the form of a chat's delta.

        `more` has other fields of the choice. With `content_filter_offsets` it is the
        annotation of an asynchronous filter, which comes later than the text.
        """
        ...

    def last(self, choices: Sequence[GeneratedChoice]) -> bytes:
        """Return the events after all choices."""
        ...

    def error_events(self, error: EngineError) -> bytes:
        """Return the events that end a stream early."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatWriter:
    """Writes one chat completion, as one body or as events.

    Attributes:
        id: The id of the completion.
        created: Seconds since 1970.
        model: The name of the model.
        include_usage: Whether a stream reports its usage.
        openai: Whether to write the fields that only OpenAI's own API has.
        calls_whole: Whether tool calls have Mistral's form: ids of nine letters and digits, and
            each call whole in the last chunk of a stream.
        chunk_usage: Returns the usage to report on a chunk without being asked, or None; it gets
            whether the chunk ends a choice. None if chunks never have a usage.
        prompt_results: What the content filter found in the prompt.
    """

    id: str
    created: int
    model: str
    include_usage: bool = False
    openai: bool = False
    calls_whole: bool = False
    chunk_usage: Callable[[bool], Json | None] | None = None
    prompt_results: Json = field(default_factory=dict)
    _pending_calls: dict[int, GeneratedChoice] = field(default_factory=dict, init=False)
    _text_heads: dict[int, str] = field(default_factory=dict, init=False, repr=False)

    def whole(self, choices: Sequence[GeneratedChoice]) -> Json:
        """Return the whole body."""
        return {
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [self._choice(at, written) for at, written in enumerate(choices)],
            "usage": usage(choices),
            **self._prompt(),
        }

    def first(self) -> bytes:
        """Return the event with the filter's results for the prompt; empty without results."""
        return (
            event({"id": "", **_CHUNK, "choices": [], **self._prompt()}) if self._prompt() else b""
        )

    def chunk(
        self,
        index: int,
        delta: Json,
        finish_reason: str | None = None,
        filter_results: Json | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return the event that adds to one choice."""
        if not (finish_reason or more or filter_results) and self._is_text(delta):
            return self._text_chunk(index, delta["content"])
        if more and "content_filter_offsets" in more:
            late = {"index": index, "finish_reason": finish_reason, **more}
            return event({"id": "", **_CHUNK, "choices": [late]})
        if "service_items" in delta:
            return b""  # only Responses have them
        choice: Json = {"index": index, "delta": delta, "finish_reason": finish_reason}
        if self.calls_whole and not self._collect_calls(choice):
            return b""
        if more:
            choice |= more
        if filter_results:
            choice["content_filter_results"] = filter_results
        payload: Json = {"choices": [choice]}
        if self.chunk_usage and (usage := self.chunk_usage(finish_reason is not None)):
            payload["usage"] = usage
        return self._event(payload)

    def last(self, choices: Sequence[GeneratedChoice]) -> bytes:
        """Return the usage, if it was requested, and the end of the stream."""
        payload = {"choices": [], "usage": usage(choices)}
        return (self._event(payload) if self.include_usage else b"") + DONE

    def error_events(self, error: EngineError) -> bytes:
        """Return the error and the end of the stream."""
        return event(stream_error(error)) + DONE

    def _choice(self, index: int, written: GeneratedChoice) -> Json:
        choice = _choice(index, written, self.openai)
        if self.calls_whole and written.tool_calls:
            choice["finish_reason"] = "tool_calls"
            choice["message"]["content"] = written.text
            choice["message"]["tool_calls"] = [_mistral_call(each) for each in written.tool_calls]
        return choice

    def _collect_calls(self, choice: Json) -> bool:
        """Keep parts of calls until the end of a choice; return whether to send its chunk."""
        delta: Json = choice["delta"]
        choice["logprobs"] = None
        pending = self._pending_calls.setdefault(choice["index"], GeneratedChoice())
        parts = delta.pop("tool_calls", ())
        pending.add(Piece("", 0, calls=parts))
        if "role" in delta:
            delta["content"] = ""
        if choice["finish_reason"] is None or not pending.tool_calls:
            return bool(delta or choice["finish_reason"])
        choice["finish_reason"] = "tool_calls"
        calls = map(_mistral_call, pending.tool_calls)
        choice["delta"] = {
            "tool_calls": [{"function": each["function"], "id": each["id"]} for each in calls]
        }
        return True

    def _prompt(self) -> Json:
        return prompt_filter_results(self.prompt_results)

    def _is_text(self, delta: Json) -> bool:
        """Return whether the chunk of a part has nothing but its text."""
        if self.calls_whole or self.chunk_usage:
            return False
        return len(delta) == 1 and isinstance(delta.get("content"), str)

    def _text_chunk(self, index: int, text: str) -> bytes:
        """Return the event that adds a text, which is most of the events of a stream."""
        head = self._text_heads.get(index)
        if head is None:
            choice: Json = {"index": index, "delta": {"content": ""}, "finish_reason": None}
            head = self._event({"choices": [choice]}).decode().removesuffix(_TEXT_END)
            self._text_heads[index] = head
        return f'{head}{json_text(text)}}},"finish_reason":null}}]}}\n\n'.encode()

    def _event(self, payload: Json) -> bytes:
        head = {"id": self.id, "object": "chat.completion.chunk", "created": self.created}
        return event({**head, "model": self.model, **payload})


def prompt_filter_results(results: Json) -> Json:
    """Return the field with the filter's results for the prompt; empty without results."""
    if not results:
        return {}
    return {"prompt_filter_results": [{"prompt_index": 0, "content_filter_results": results}]}


_LETTERS = string.ascii_letters + string.digits
_TEXT_END = '""},"finish_reason":null}]}\n\n'
_CHUNK: Json = {"object": "", "created": 0, "model": ""}
DONE = b"data: [DONE]\n\n"


def event(payload: Json) -> bytes:
    """Return a server-sent event."""
    return b"data: " + write_json(payload) + b"\n\n"


def stream_error(error: EngineError) -> Json:
    """Return an error in the middle of a stream.

    The status is sent already, so clients class the error by its code and its type.
    """
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    fields = {"message": str(error), "type": kind, "param": None, "code": error.code}
    return {"error": {**fields, **error.more}}


def tool_call(call_id: str, name: str, arguments: str) -> Json:
    """Return a tool call."""
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def _mistral_call(call: Json) -> Json:
    """Return a call with an id as Mistral's models write it, always the same for the same id."""
    digest = hashlib.blake2b(call["id"].encode(errors="replace"), digest_size=9).digest()
    return {**call, "id": "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest)}


def reasoning_tokens(written: GeneratedChoice) -> int:
    """Return how many tokens of a choice were reasoning."""
    details = (written.usage or {}).get("completion_tokens_details") or {}
    return details.get("reasoning_tokens") or written.reasoning_tokens


def usage(choices: Sequence[GeneratedChoice]) -> Json:
    """Return the usage of a response; the prompt counts once for all choices."""
    if len(choices) == 1 and choices[0].usage is None and choices[0].cached_tokens is None:
        # What nearly all have, three times for each request.
        read, wrote = choices[0].prompt_tokens, choices[0].completion_tokens
        return {"prompt_tokens": read, "completion_tokens": wrote, "total_tokens": read + wrote}
    usages = [_usage(written) for written in choices]
    read = max((each["prompt_tokens"] for each in usages), default=0)
    wrote = sum(each["completion_tokens"] for each in usages)
    total = {"prompt_tokens": read, "completion_tokens": wrote, "total_tokens": read + wrote}
    return {**usages[0], **total} if len(usages) == 1 else total


def _usage(written: GeneratedChoice) -> Json:
    counts = {
        "prompt_tokens": written.prompt_tokens,
        "completion_tokens": written.completion_tokens,
    }
    reported = written.usage or {}
    if written.cached_tokens is not None:
        reported = {"prompt_tokens_details": {"cached_tokens": written.cached_tokens}, **reported}
    known = {name: count for name, count in counts.items() if reported.get(name) is None}
    return {**counts, **reported, **known}


def _choice(index: int, written: GeneratedChoice, openai: bool) -> Json:
    message: Json = {"role": "assistant", "content": written.text}
    message |= {"refusal": None, **written.message} if openai else written.message
    if written.reasoning:
        message["reasoning_content"] = written.reasoning
    if written.tool_calls:
        message["content"] = written.text or None
        message["tool_calls"] = written.tool_calls
    choice = {"index": index, "message": message, "finish_reason": written.finish_reason}
    if openai:
        choice["logprobs"] = None
    if written.filter_results:
        choice["content_filter_results"] = written.filter_results
    return {**choice, **written.more}
