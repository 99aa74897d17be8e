"""One chat completion while an engine writes it: text, calls of tools, whole or in events."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from azinfer.local.api.chat import tool_selection
from azinfer.local.api.chat.request import ChatRequest
from azinfer.local.api.chat.response import GeneratedChoice, ResponseWriter
from azinfer.local.engines.base import (
    ChatEngine,
    EngineError,
    Piece,
    Prompt,
    capabilities_of,
    last_text,
    open_chat,
)
from azinfer.local.engines.schema import validation
from azinfer.local.resource.content_filter import ContentFilter, StreamingFilter
from azinfer.local.resource.rate_limits import estimate_tokens
from azinfer.local.wire.body import Json

_DEFAULT_MAX_TOKENS = 512
# How many characters an asynchronous filter lets out before it tells what it found.
_LATE = 1000
_NOT_HELD = "invalid_json_schema"
_call_numbers = itertools.count(1)


class Generation:
    """One chat completion while it is written.

    Args:
        request: What was asked.
        engine: What writes.
        content_filter: What ends a choice that it finds fault with.
        likeness: How near texts are, to choose a tool by; None where nothing here knows.
        start: The index of its first choice in the whole answer.
        body: The whole body of the request, for engines that call tools themselves; left out,
            one is made of what was asked.

    Attributes:
        choices: What was written so far.
    """

    def __init__(
        self,
        request: ChatRequest,
        engine: ChatEngine,
        content_filter: ContentFilter,
        *,
        similarity: tool_selection.Similarity | None,
        start: int = 0,
        body: Json | None = None,
    ) -> None:
        self._request = request
        self._engine = engine
        self._capabilities = capabilities_of(engine)
        self._filter = content_filter
        self._similarity = similarity
        self._start = start
        # Engines tell at the end how long the prompt was, and some answers have no end.
        self._guessed = estimate_tokens([last_text([each]) for each in request.messages], 0)
        self.choices: list[GeneratedChoice] = []
        self._prompt = Prompt(
            request.messages,
            request.max_tokens or _DEFAULT_MAX_TOKENS,
            request.temperature,
            request.top_p,
            request.stop,
            request.seed,
            request.json_schema,
            request.stream,
            body or _body(request),
        )

    async def generate(self, index: int) -> GeneratedChoice:
        """One choice, whole."""
        written = GeneratedChoice(prompt_tokens=self._guessed)
        self.choices.append(written)
        async with aclosing(self._choice(index, written)) as pieces:
            async for piece in pieces:
                written.add(piece)
        return written

    async def events(self, form: ResponseWriter) -> AsyncGenerator[bytes]:
        """Its choices as server-sent events, each as soon as it is written."""
        self.choices = [
            GeneratedChoice(prompt_tokens=self._guessed) for _ in range(self._request.n)
        ]
        for at, written in enumerate(self.choices):
            async with aclosing(self._choice(at, written)) as pieces:
                async for event in _streamed(form, self._start + at, written, pieces):
                    yield event

    async def _choice(self, index: int, written: GeneratedChoice) -> AsyncGenerator[Piece]:
        """The pieces of one choice that may go out."""
        prompt = self._seeded(index)
        calls: list[tool_selection.Call] = []
        if self._request.tools and not self._capabilities.passes_requests_through:
            calls = await tool_selection.chosen(self._request, self._similarity)
        pieces = self._called(prompt, calls) if calls else open_chat(self._engine, prompt)
        schema = self._prompt.json_schema
        # A stop may cut JSON anywhere, as it was asked to.
        if schema is not None and not (
            calls or prompt.stop or self._capabilities.passes_requests_through
        ):
            pieces = _held_to(schema, pieces)
        if self._filter.active and self._filter.completion != "off":
            late = self._request.stream and self._filter.mode == "asynchronous"
            passing = self._filter.passing(late)
            pieces = _told_late(pieces, passing) if late else _held(pieces, passing, written)
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece

    def _seeded(self, index: int) -> Prompt:
        """What to ask for one choice, so that choices differ though the seed is fixed."""
        seed = self._prompt.seed
        return self._prompt if seed is None else replace(self._prompt, seed=seed + index)

    async def _called(
        self, prompt: Prompt, calls: Sequence[tool_selection.Call]
    ) -> AsyncGenerator[Piece]:
        """Calls of tools, their arguments written by an engine that knows no tools."""
        named = self._request.tool_choice == "named"
        reason, read = "stop" if named else "tool_calls", 0
        for index, call in enumerate(calls):
            call_id = f"call_{next(_call_numbers):08d}{uuid.uuid4().hex[:12]}"
            told = {"name": call.function["name"], "arguments": ""}
            yield Piece("", 0, calls=[{"index": index, "id": call_id, "function": told}])
            copied = self._capabilities.copies_arguments
            asked = tool_selection.asking_for(prompt, call, copied)
            schema = asked.json_schema or {}
            async with aclosing(_held_to(schema, open_chat(self._engine, asked))) as pieces:
                async for piece in pieces:
                    reason = "length" if piece.finish_reason == "length" else reason
                    read += piece.prompt_tokens or 0
                    part = {"index": index, "function": {"arguments": piece.text}}
                    yield Piece("", piece.tokens, calls=[part] if piece.text else ())
        yield Piece("", 0, reason, read)


def _body(request: ChatRequest) -> Json:
    """A request of another operation as the body of a chat completion."""
    choice: Any = request.tool_choice
    if request.named_tool is not None:
        choice = {"type": "function", "function": {"name": request.named_tool}}
    schema = {"name": "answer", "schema": request.json_schema}
    told = {
        "messages": request.messages,
        "model": request.model,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop": list(request.stop) or None,
        "tools": request.tools or None,
        "tool_choice": choice if request.tools else None,
        "parallel_tool_calls": request.parallel if request.tools else None,
        "response_format": {"type": "json_schema", "json_schema": schema},
    }
    if request.json_schema is None:
        told["response_format"] = None
    return {name: value for name, value in told.items() if value is not None}


async def _streamed(
    form: ResponseWriter, index: int, written: GeneratedChoice, pieces: AsyncIterator[Piece]
) -> AsyncGenerator[bytes]:
    """One choice as events."""
    begun = ended = False
    async for piece in pieces:
        delta = written.add(piece)
        if not begun:
            begun = True
            content = None if piece.calls else ""
            yield form.chunk(index, {"role": "assistant", "content": content})
        late = piece.more is not None and "content_filter_offsets" in piece.more
        if piece.more is not None:
            yield form.chunk(index, delta, piece.finish_reason if late else None, more=piece.more)
        elif delta:
            yield form.chunk(index, delta)
        if piece.finish_reason is not None and not ended:
            ended = True
            if not late:
                yield form.chunk(index, {}, written.finish_reason, written.filter_results)
    if not ended:
        yield form.chunk(index, {}, written.finish_reason, written.filter_results)


async def _held_to(
    schema: Mapping[str, Any], pieces: AsyncGenerator[Piece]
) -> AsyncGenerator[Piece]:
    """JSON, and an error at its end where it is not what it was to be."""
    said = []
    async with aclosing(pieces):
        async for piece in pieces:
            said.append(piece.text)
            if piece.finish_reason == "stop" and (broken := _broken("".join(said), schema)):
                raise EngineError(f"the model did not hold to the JSON Schema: {broken}", _NOT_HELD)
            yield piece


def _broken(said: str, schema: Mapping[str, Any]) -> str | None:
    try:
        return validation.verify(json.loads(said), schema)
    except ValueError as error:
        return str(error)


async def _held(
    pieces: AsyncGenerator[Piece], passing: StreamingFilter, written: GeneratedChoice
) -> AsyncGenerator[Piece]:
    """What a filter lets out of an answer, which ends where it finds fault."""
    async with aclosing(pieces):
        async for piece in pieces:
            text = passing.take(piece.text)
            if piece.finish_reason is not None:
                text += passing.end()
            if passing.blocked or piece.finish_reason is not None:
                written.filter_results = passing.results()
            if passing.blocked:
                yield replace(piece, text=text, finish_reason="content_filter")
                return
            yield replace(piece, text=text)


async def _told_late(
    pieces: AsyncGenerator[Piece], passing: StreamingFilter
) -> AsyncGenerator[Piece]:
    """An answer that goes out at once, and from time to time what a filter found in it."""
    async with aclosing(pieces):
        async for piece in pieces:
            passing.take(piece.text)
            yield piece
            if told := passing.late(_LATE if piece.finish_reason is None else 1):
                reason = "content_filter" if passing.blocked else None
                yield Piece("", 0, reason, more=told)
            if passing.blocked:
                return
