"""Answers: what engines wrote, in the wire form of chat completions, chunks and embeddings.

Written apart from the client's reader, so that a mistake in one does not hide in the other.
Source: "Get chat completions", "Get embeddings" and "Get info" of the model inference REST API,
"Create chat completion" of the Azure OpenAI REST API.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Json = dict[str, Any]


@dataclass
class Written:
    """What an engine wrote for one choice."""

    text: str = ""
    finish_reason: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    filter_results: Json = field(default_factory=dict)
    tool_calls: list[Json] = field(default_factory=list)


class Form(Protocol):
    """The wire form of one answer, whole or in server-sent events."""

    def whole(self, choices: Sequence[Written]) -> Json:
        """The whole answer."""
        ...

    def first(self) -> bytes:
        """The events before any choice; empty where there are none."""
        ...

    def chunk(
        self,
        index: int,
        delta: Json,
        finish_reason: str | None = None,
        filter_results: Json | None = None,
    ) -> bytes:
        """The events that tell of one more part of a choice; parts are those of chat."""
        ...

    def last(self, choices: Sequence[Written]) -> bytes:
        """The events after all choices."""
        ...

    def failed(self, message: str, code: str) -> bytes:
        """The events that end a stream early."""
        ...


@dataclass(frozen=True, slots=True)
class Frame:
    """What all parts of one chat completion say alike.

    Attributes:
        id: Its id.
        created: Seconds since 1970.
        model: What the back end calls itself.
        include_usage: Whether a stream tells what it cost.
        openai: Whether the answer has the fields that only OpenAI's own API tells.
        prompt_results: What the filter found in the prompt.
    """

    id: str
    created: int
    model: str
    include_usage: bool = False
    openai: bool = False
    prompt_results: Json = field(default_factory=dict)

    def whole(self, choices: Sequence[Written]) -> Json:
        """The whole answer."""
        return {
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [_choice(at, written, self.openai) for at, written in enumerate(choices)],
            "usage": usage(choices),
            **self._prompt(),
        }

    def first(self) -> bytes:
        """The event that tells what the filter found in the prompt; empty where it did not look."""
        return (
            event({"id": "", **_CHUNK, "choices": [], **self._prompt()}) if self._prompt() else b""
        )

    def chunk(
        self,
        index: int,
        delta: Json,
        finish_reason: str | None = None,
        filter_results: Json | None = None,
    ) -> bytes:
        """One event of a stream that adds to one choice."""
        choice: Json = {"index": index, "delta": delta, "finish_reason": finish_reason}
        if filter_results:
            choice["content_filter_results"] = filter_results
        return self._event({"choices": [choice]})

    def last(self, choices: Sequence[Written]) -> bytes:
        """What the answer cost, where that was asked, and the end."""
        told = {"choices": [], "usage": usage(choices)}
        return (self._event(told) if self.include_usage else b"") + DONE

    def failed(self, message: str, code: str) -> bytes:
        """The error, and the end."""
        return event({"error": {"code": code, "message": message}}) + DONE

    def _prompt(self) -> Json:
        return prompt_filter_results(self.prompt_results)

    def _event(self, payload: Json) -> bytes:
        head = {"id": self.id, "object": "chat.completion.chunk", "created": self.created}
        return event({**head, "model": self.model, **payload})


def prompt_filter_results(found: Json) -> Json:
    """The field that tells what the filter found in the prompt; none where it did not look."""
    if not found:
        return {}
    return {"prompt_filter_results": [{"prompt_index": 0, "content_filter_results": found}]}


_CHUNK: Json = {"object": "", "created": 0, "model": ""}
DONE = b"data: [DONE]\n\n"


def event(payload: Json) -> bytes:
    """A server-sent event."""
    return b"data: " + json.dumps(payload, separators=(",", ":")).encode() + b"\n\n"


def tool_call(call_id: str, name: str, arguments: str) -> Json:
    """One call of a tool."""
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def usage(choices: Sequence[Written]) -> Json:
    """What an answer cost; the prompt counts once, however many choices there are."""
    read = max((written.prompt_tokens for written in choices), default=0)
    wrote = sum(written.completion_tokens for written in choices)
    return {"prompt_tokens": read, "completion_tokens": wrote, "total_tokens": read + wrote}


def embeddings(
    vectors: Sequence[Sequence[float]],
    model: str,
    tokens: int,
    dimensions: int | None,
    encoding: str,
    answer_id: str,
) -> Json:
    """The answer to an embeddings request.

    Args:
        vectors: What the engine gave, shape `(n, its dimensions)`.
        model: What the back end calls itself.
        tokens: How many tokens were read.
        dimensions: To how many numbers vectors are cut, and made unit vectors again.
        encoding: `"float"`, `"base64"`, or one that makes the vectors smaller.
        answer_id: The id of the answer.
    """
    data = [
        {
            "object": "embedding",
            "index": at,
            "embedding": _encoded(_cut(each, dimensions), encoding),
        }
        for at, each in enumerate(vectors)
    ]
    counts = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"id": answer_id, "object": "list", "model": model, "data": data, "usage": counts}


def _choice(index: int, written: Written, openai: bool) -> Json:
    message: Json = {"role": "assistant", "content": written.text}
    if written.tool_calls:
        message = {"role": "assistant", "content": None, "tool_calls": written.tool_calls}
    choice = {"index": index, "message": message, "finish_reason": written.finish_reason}
    if openai:
        message["refusal"] = choice["logprobs"] = None
    if written.filter_results:
        choice["content_filter_results"] = written.filter_results
    return choice


def _cut(vector: Sequence[float], dimensions: int | None) -> Sequence[float]:
    if dimensions is None or dimensions >= len(vector):
        return vector
    kept = vector[:dimensions]
    length = math.sqrt(sum(number * number for number in kept)) or 1.0
    return [number / length for number in kept]


def _encoded(vector: Sequence[float], encoding: str) -> Any:
    if encoding == "base64":
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    if encoding in ("int8", "uint8"):
        shift = 0 if encoding == "int8" else 128
        return [round(max(-1.0, min(1.0, number)) * 127) + shift for number in vector]
    if encoding in ("binary", "ubinary"):
        # The signs of eight dimensions a byte, the first in the most significant bit; signed
        # bytes are 128 less. So Cohere's models pack them ("int8 & binary embeddings").
        eights = [vector[at : at + 8] for at in range(0, len(vector), 8)]
        bits = ["".join("1" if number > 0 else "0" for number in each) for each in eights]
        shift = 128 if encoding == "binary" else 0
        return [int(each.ljust(8, "0"), 2) - shift for each in bits]
    return list(vector)
