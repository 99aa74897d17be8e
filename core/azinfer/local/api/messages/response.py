"""The wire form of a message: the whole object, or named events that build it up.

Sources: "Create a Message" of Anthropic's API reference, response, and "Streaming messages".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from azinfer.local.api.chat.response import GeneratedChoice, event, reasoning_tokens, usage
from azinfer.local.engines.base import EngineError
from azinfer.local.resource.prompt_cache import CacheUse
from azinfer.local.wire.anthropic_errors import error_type
from azinfer.local.wire.body import Json

_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageHead:
    """What is known about an answer before it is written.

    Attributes:
        id: The id of the message.
        model: The name of the model.
        prompt_tokens: The estimated length of the prompt.
        cache: How much of the prompt the cache had.
        thinks: Whether the answer may show thinking.
        shows_thinking: Whether thinking blocks have their text, or the signature alone.
    """

    id: str
    model: str
    prompt_tokens: int
    cache: CacheUse
    thinks: bool
    shows_thinking: bool

    def usage(self, prompt_tokens: int, output_tokens: int, thinking_tokens: int = 0) -> Json:
        """Return the usage: what was cached does not count as input tokens."""
        read = min(self.cache.read, prompt_tokens)
        written = min(self.cache.written, prompt_tokens - read)
        long_written = min(self.cache.long_written, written)
        return {
            "input_tokens": prompt_tokens - read - written,
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": written - long_written,
                "ephemeral_1h_input_tokens": long_written,
            },
            "output_tokens": output_tokens,
            "output_tokens_details": {"thinking_tokens": thinking_tokens},
            "service_tier": "standard",
        }


@dataclass(slots=True, kw_only=True)
class MessagesWriter:
    """One message while it is written.

    Attributes:
        head: What is known about it beforehand.
        sign: Returns the signature of a thinking block.
        keep: Called with the content of the complete answer, unless it is a refusal.
        prompt_results: What the content filter found in the prompt, which has no field here.
    """

    head: MessageHead
    sign: Callable[[str], str]
    keep: Callable[[list[Json]], None]
    prompt_results: Json = field(default_factory=dict)
    _content: list[Json] = field(default_factory=list)
    _is_open: bool = False
    _thought: list[str] = field(default_factory=list)
    _has_begun: bool = False

    def whole(self, choices: Sequence[GeneratedChoice]) -> Json:
        """Return the whole answer."""
        written = choices[0]
        if written.reasoning and self.head.thinks:
            self._content.append(self._thinking(written.reasoning))
        if written.text:
            self._content.append({"type": "text", "text": written.text})
        for call in written.tool_calls:
            function = call["function"]
            block = _tool_use(call["id"], function["name"], _object(function["arguments"]))
            self._content.append(block)
        end = self._end(written)
        return {**self._message(), "content": self._content, **end}

    def first(self) -> bytes:
        """Return nothing: an error before the first token is an HTTP error."""
        return b""

    def chunk(
        self,
        index: int,
        delta: Json,
        finish_reason: str | None = None,
        filter_results: Json | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return the events that add one part; empty where it adds nothing."""
        events = b"" if self._has_begun else self._begin()
        if (thought := delta.get("reasoning_content")) and self.head.thinks:
            events += self._add_thinking(thought)
        if text := delta.get("content"):
            events += self._add_text(text)
        for call in delta.get("tool_calls") or ():
            events += self._add_call(call)
        return events

    def last(self, choices: Sequence[GeneratedChoice]) -> bytes:
        """Return the events that end it."""
        events = b"" if self._has_begun else self._begin()
        events += self._close()
        for block in self._content:
            if block["type"] == "tool_use":
                block["input"] = _object(block["input"])
        end = self._end(choices[0])
        counts = end.pop("usage")
        events += _event("message_delta", delta=end, usage=counts)
        return events + _event("message_stop")

    def error_events(self, error: EngineError) -> bytes:
        """Return the event that ends a stream early; only its type says which error it is."""
        fields = {"type": error_type(error.status), "message": str(error)}
        return _event("error", error=fields)

    def _begin(self) -> bytes:
        self._has_begun = True
        message = {
            **self._message(),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": self.head.usage(self.head.prompt_tokens, 1),
        }
        return _event("message_start", message=message) + _event("ping")

    def _message(self) -> Json:
        head = {"id": self.head.id, "type": "message", "role": "assistant"}
        return {**head, "model": self.head.model}

    def _end(self, written: GeneratedChoice) -> Json:
        """Return why the answer ended and its usage, and store the answer."""
        reason = _REASONS.get(written.finish_reason, written.finish_reason)
        sequence = written.stop if reason == "end_turn" else None
        if sequence is not None:
            reason = "stop_sequence"
        if reason == "end_turn" and written.tool_calls:
            reason = "tool_use"
        end: Json = {"stop_reason": reason, "stop_sequence": sequence}
        if reason == "refusal":
            end["stop_details"] = None
        else:
            self.keep(self._content)
        counts = usage([written])
        tokens = (counts["prompt_tokens"], counts["completion_tokens"])
        return {**end, "usage": self.head.usage(*tokens, reasoning_tokens(written))}

    def _add_thinking(self, text: str) -> bytes:
        events = b""
        if self._open_kind() != "thinking":
            block = {"type": "thinking", "thinking": "", "signature": ""}
            events += self._open(block)
        self._thought.append(text)
        if self.head.shows_thinking:
            events += self._delta(type="thinking_delta", thinking=text)
        return events

    def _add_text(self, text: str) -> bytes:
        events = b"" if self._open_kind() == "text" else self._open({"type": "text", "text": ""})
        self._content[-1]["text"] += text
        return events + self._delta(type="text_delta", text=text)

    def _add_call(self, call: Json) -> bytes:
        function, events = call["function"], b""
        if "id" in call:
            events += self._open(_tool_use(call["id"], function["name"], {}))
            self._content[-1]["input"] = ""
        if text := function["arguments"]:
            self._content[-1]["input"] += text
            events += self._delta(type="input_json_delta", partial_json=text)
        return events

    def _open_kind(self) -> str | None:
        return self._content[-1]["type"] if self._is_open else None

    def _open(self, block: Json) -> bytes:
        """Return the events that end the newest block and begin another."""
        events = self._close()
        index = len(self._content)
        self._content.append(dict(block))
        self._is_open = True
        return events + _event("content_block_start", index=index, content_block=block)

    def _close(self) -> bytes:
        if not self._is_open:
            return b""
        events, block = b"", self._content[-1]
        if block["type"] == "thinking":
            block |= self._thinking("".join(self._thought))
            self._thought.clear()
            # Exactly one: some clients keep the last one, and some join all of them.
            events += self._delta(type="signature_delta", signature=block["signature"])
        elif block["type"] == "tool_use" and not block["input"]:
            events += self._delta(type="input_json_delta", partial_json="")
        self._is_open = False
        return events + _event("content_block_stop", index=len(self._content) - 1)

    def _delta(self, **delta: Any) -> bytes:
        return _event("content_block_delta", index=len(self._content) - 1, delta=delta)

    def _thinking(self, text: str) -> Json:
        shown = text if self.head.shows_thinking else ""
        return {"type": "thinking", "thinking": shown, "signature": self.sign(text)}


def _tool_use(call_id: str, name: str, arguments: Json) -> Json:
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}


def _object(arguments: str) -> Json:
    """Return the arguments of a call; empty if a limit cut them off."""
    try:
        value = json.loads(arguments or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\n".encode() + event({"type": kind, **fields})
