"""Generation: the choices of one chat while an engine writes them: text and tool calls."""

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
from azinfer.local.engines.schema.budget import run_in_thread
from azinfer.local.resource.content_filter import ContentFilter, StreamingFilter
from azinfer.local.resource.rate_limits import estimate_tokens
from azinfer.local.wire.body import Json

_DEFAULT_MAX_TOKENS = 512
# The characters after which an asynchronous filter reports its results.
_ANNOTATION_INTERVAL = 1000
_SCHEMA_CODE = "invalid_json_schema"
_call_numbers = itertools.count(1)


class Generation:
    """The choices of one chat while they are written.

    Args:
        request: The request.
        engine: The engine that writes.
        content_filter: The filter that ends a blocked choice.
        similarity: The similarity of texts, to choose tools; None to compare words.
        start: The index of its first choice in the response.
        seed: The seed of a request that sends none.
        body: The whole body of the request, for engines that get it; by default it is
            made from the request.

    Attributes:
        choices: The choices so far.
    """

    def __init__(
        self,
        request: ChatRequest,
        engine: ChatEngine,
        content_filter: ContentFilter,
        *,
        similarity: tool_selection.Similarity | None,
        start: int = 0,
        seed: int | None = None,
        body: Json | None = None,
    ) -> None:
        self._request = request
        self._engine = engine
        self._capabilities = capabilities_of(engine)
        self._filter = content_filter
        self._has_filter = content_filter.active and content_filter.completion != "off"
        self._similarity = similarity
        self._start = start
        # Engines report the prompt's tokens at the end, and some answers have no end.
        self._estimate = estimate_tokens([last_text([each]) for each in request.messages], 0)
        self.choices: list[GeneratedChoice] = []
        self._prompt = Prompt(
            request.messages,
            request.max_tokens or _DEFAULT_MAX_TOKENS,
            temperature=request.temperature,
            top_p=request.top_p,
            stop=request.stop,
            seed=seed if request.seed is None else request.seed,
            json_schema=request.json_schema,
            stream=request.stream,
            logprobs=request.logprobs,
            request=body or _body(request),
            # A filter that ends an answer counts the tokens until there.
            whole=not (request.stream or self._has_filter),
        )

    async def generate(self, index: int) -> GeneratedChoice:
        """Return one choice when it is complete."""
        written = GeneratedChoice(prompt_tokens=self._estimate)
        self.choices.append(written)
        async with aclosing(await self._open_choice(index, written)) as pieces:
            async for piece in pieces:
                written.add(piece)
        return written

    async def events(self, form: ResponseWriter) -> AsyncGenerator[bytes]:
        """Yield server-sent events as soon as a part of a choice is written."""
        self.choices = [
            GeneratedChoice(prompt_tokens=self._estimate) for _ in range(self._request.n)
        ]
        for at, written in enumerate(self.choices):
            async with aclosing(await self._open_choice(at, written)) as pieces:
                async for event in _choice_events(form, self._start + at, written, pieces):
                    yield event

    async def _open_choice(self, index: int, written: GeneratedChoice) -> AsyncGenerator[Piece]:
        """Return the pieces of one choice that may be sent."""
        prompt = self._prompt_for(index)
        calls: list[tool_selection.Call] = []
        if self._request.tools and not self._capabilities.passes_requests_through:
            calls = await tool_selection.select_calls(self._request, self._similarity)
        pieces = self._call_tools(prompt, calls) if calls else open_chat(self._engine, prompt)
        schema = self._prompt.json_schema
        # A stop text may cut JSON anywhere.
        if schema is not None and not (
            calls or prompt.stop or self._capabilities.passes_requests_through
        ):
            pieces = _check_schema(schema, pieces)
        if self._has_filter:
            late = self._request.stream and self._filter.mode == "asynchronous"
            stream_filter = self._filter.stream_filter(late)
            if late:
                return _annotate_late(pieces, stream_filter)
            return _hold_back(pieces, stream_filter, written)
        return pieces

    def _prompt_for(self, index: int) -> Prompt:
        """Return the prompt of one choice; with a fixed seed each choice has its own."""
        seed = self._prompt.seed
        return self._prompt if seed is None else replace(self._prompt, seed=seed + index)

    async def _call_tools(
        self, prompt: Prompt, calls: Sequence[tool_selection.Call]
    ) -> AsyncGenerator[Piece]:
        """Yield tool calls, with arguments by an engine that does not know tools."""
        is_named = self._request.tool_choice == "named"
        reason, read = "stop" if is_named else "tool_calls", 0
        for index, call in enumerate(calls):
            call_id = f"call_{next(_call_numbers):08d}{uuid.uuid4().hex[:12]}"
            function = {"name": call.function["name"], "arguments": ""}
            yield Piece("", 0, calls=[{"index": index, "id": call_id, "function": function}])
            copies = self._capabilities.copies_arguments
            arguments_prompt = await run_in_thread(
                tool_selection.arguments_prompt, prompt, call, copies
            )
            schema = arguments_prompt.json_schema or {}
            async with aclosing(
                _check_schema(schema, open_chat(self._engine, arguments_prompt))
            ) as pieces:
                async for piece in pieces:
                    reason = "length" if piece.finish_reason == "length" else reason
                    read += piece.prompt_tokens or 0
                    part = {"index": index, "function": {"arguments": piece.text}}
                    parts = [part] if piece.text else ()
                    yield Piece("", piece.tokens, calls=parts, more=piece.more)
        yield Piece("", 0, reason, read)


def _body(request: ChatRequest) -> Json:
    """Return the body of a chat completion for a request of another operation."""
    choice: Any = request.tool_choice
    if request.named_tool is not None:
        choice = {"type": "function", "function": {"name": request.named_tool}}
    schema = {"name": "answer", "schema": request.json_schema}
    body = {
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
        "logprobs": None if request.logprobs is None else True,
        "top_logprobs": request.logprobs or None,
    }
    if request.json_schema is None:
        body["response_format"] = None
    return {name: value for name, value in body.items() if value is not None}


async def _choice_events(
    form: ResponseWriter, index: int, written: GeneratedChoice, pieces: AsyncIterator[Piece]
) -> AsyncGenerator[bytes]:
    """Yield the events of one choice."""
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


async def _check_schema(
    schema: Mapping[str, Any], pieces: AsyncGenerator[Piece]
) -> AsyncGenerator[Piece]:
    """Pass JSON through; raise at its end if it violates the schema."""
    texts = []
    async with aclosing(pieces):
        async for piece in pieces:
            texts.append(piece.text)
            if piece.finish_reason == "stop":
                problem = await run_in_thread(_schema_problem, "".join(texts), schema)
                if problem is not None:
                    message = f"the model's answer violates the JSON Schema: {problem}"
                    raise EngineError(message, _SCHEMA_CODE)
            yield piece


def _schema_problem(text: str, schema: Mapping[str, Any]) -> str | None:
    from azinfer.local.engines.schema import validation

    try:
        return validation.verify(json.loads(text), schema)
    except ValueError as error:
        return str(error)


async def _hold_back(
    pieces: AsyncGenerator[Piece], stream_filter: StreamingFilter, written: GeneratedChoice
) -> AsyncGenerator[Piece]:
    """Pass on what the filter has checked; end the answer if the filter blocks it."""
    async with aclosing(pieces):
        async for piece in pieces:
            text = stream_filter.feed(piece.text)
            if piece.finish_reason is not None:
                text += stream_filter.flush()
            if stream_filter.blocked or piece.finish_reason is not None:
                written.filter_results = stream_filter.results()
            if stream_filter.blocked:
                yield replace(piece, text=text, finish_reason="content_filter")
                return
            yield replace(piece, text=text)


async def _annotate_late(
    pieces: AsyncGenerator[Piece], stream_filter: StreamingFilter
) -> AsyncGenerator[Piece]:
    """Pass on an answer at once, with the filter's annotations from time to time."""
    async with aclosing(pieces):
        async for piece in pieces:
            stream_filter.feed(piece.text)
            yield piece
            if annotations := stream_filter.annotations(
                _ANNOTATION_INTERVAL if piece.finish_reason is None else 1
            ):
                reason = "content_filter" if stream_filter.blocked else None
                yield Piece("", 0, reason, more=annotations)
            if stream_filter.blocked:
                return
