"""Streamed chat completions: events become chunks, which add up to a completion.

Source: "Create chat completion", `stream`, of the REST references.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from azinfer.core.choice_parts import ChoiceAccumulator
from azinfer.core.chunks import ChatCompletionChunk, ChunkChoice
from azinfer.core.completions import (
    ChatCompletion,
    Choice,
    Json,
    Message,
    Usage,
)
from azinfer.core.decoding import (
    decode_completion,
    decode_json,
    decode_usage,
    invalid_response,
    last_counts,
    list_field,
    parser_of,
    usage_from_headers,
)
from azinfer.core.error_responses import from_response
from azinfer.core.json_fields import as_count, as_index, as_objects, as_text
from azinfer.core.routing import Routing
from azinfer.core.stream_reader import StreamReader


class ChatReader(StreamReader):
    """Reads one streamed chat completion from its bytes; it does no I/O itself.

    Args:
        headers: The headers of the response.
        routing: Where the request went.
        seed: Text that makes generated ids of tool calls unique.
        response_format: What the caller passed as `response_format`.
    """

    def __init__(
        self,
        headers: Mapping[str, str],
        routing: Routing | None = None,
        seed: str = "",
        response_format: Any = None,
    ) -> None:
        super().__init__(headers, routing, seed, response_format)
        self._choices: dict[int, ChoiceAccumulator] = {}
        self._head: Json = {}
        self._headed = False
        self._id = ""
        self._model: str | None = None
        self._usage: Usage | None = None
        self._prompt_results: list[Json] = []

    def completion(self) -> ChatCompletion:
        """Return the completion as far as it has come."""
        choices = tuple(choice.choice() for _, choice in sorted(self._choices.items()))
        head = self._head
        created = head.get("created")
        return ChatCompletion(
            id=str(head.get("id") or ""),
            model=as_text(head.get("model")) or None,
            created=as_count(created),
            choices=choices or (Choice(0, Message()),),
            usage=self._usage or usage_from_headers(self._headers),
            prompt_filter_results=tuple(self._prompt_results),
            routing=self.routing,
            raw=head,
            _parse=parser_of(self._response_format),
        )

    def _whole(self, raw: Any) -> list[ChatCompletionChunk]:
        """Return the chunks of one JSON response, which some proxies send instead of a stream."""
        decode_completion(raw, self._headers)
        parts = [
            {**choice, "delta": choice.get("message"), "message": None} for choice in raw["choices"]
        ]
        return [self._chunk({**raw, "choices": parts})]

    def _rest_chunks(self) -> list[ChatCompletionChunk]:
        return [
            self._new_chunk((ChunkChoice(choice.index, delta),))
            for choice in self._choices.values()
            if (delta := choice.flush())
        ]

    def _has_answer(self) -> bool:
        return bool(self._choices)

    def _is_complete(self) -> bool:
        return all(choice.finish_reason for choice in self._choices.values())

    def _read(self, name: bytes, data: bytes) -> ChatCompletionChunk | None:
        """Return the chunk of an event, if it has one."""
        is_object = data.startswith(b"{")  # as all but the last one
        if not is_object and (data.startswith(b"[DONE]") or data.strip() == b"[DONE]"):
            self.done = True
            return None
        raw = decode_json(data, self._headers, "an event of the stream")
        if raw.__class__ is not dict:
            if raw is None:
                return None
            raise invalid_response("an event that is not an object", raw)
        if name == b"error":
            raise from_response(200, self._headers, data)
        return self._chunk(raw)

    def _chunk(self, raw: Json) -> ChatCompletionChunk:
        if not self._headed:
            self._read_head(raw)
        usage = None
        if raw.get("usage").__class__ is dict:
            self._usage = usage = last_counts(self._usage, decode_usage(raw["usage"]))
        if results := raw.get("prompt_filter_results"):
            self._prompt_results += as_objects(results)
        parts = raw.get("choices")
        if parts.__class__ is list and len(parts) == 1:
            choices = (self._choice(parts[0]),)
            return ChatCompletionChunk(choices, usage, raw, self._id, self._model)
        return self._new_chunk(tuple(map(self._choice, list_field(raw, "choices"))), usage, raw)

    def _read_head(self, raw: Json) -> None:
        # The first chunks may have only filter results, with empty id and model.
        self._headed = bool(raw.get("id"))
        self._head |= {key: raw[key] for key in raw.keys() - {"choices", "usage"}}
        self._id = as_text(self._head.get("id"))
        self._model = as_text(self._head.get("model")) or None

    def _new_chunk(
        self, choices: tuple[ChunkChoice, ...], usage: Usage | None = None, raw: Json | None = None
    ) -> ChatCompletionChunk:
        return ChatCompletionChunk(choices, usage, raw or {}, self._id, self._model)

    def _choice(self, raw: Any) -> ChunkChoice:
        if raw.__class__ is not dict:
            raise invalid_response("a choice that is not an object", raw)
        index = raw.get("index")
        if index.__class__ is not int:
            index = as_index(index) or 0
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = ChoiceAccumulator(index, self._seed)
        return choice.add_text(raw) or choice.add(raw)
