"""One chat completion while an engine writes it: text, calls of tools, whole or in events."""

from __future__ import annotations

import contextlib
import itertools
import uuid
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any

from azinfer.local import tools
from azinfer.local.answers import Form, Written, tool_call
from azinfer.local.engines import Prompt
from azinfer.local.filters import ContentFilter, is_blocked
from azinfer.local.requests import ChatRequest, Json

_DEFAULT_MAX_TOKENS = 512
_call_numbers = itertools.count(1)


class Writing:
    """One chat completion while it is written.

    Args:
        request: What was asked.
        engine: What writes.
        content_filter: What ends a choice that it finds fault with.
        likeness: How near texts are, to choose a tool by; None where nothing here knows.
        start: The index of its first choice in the whole answer.

    Attributes:
        choices: What a stream wrote so far.
    """

    def __init__(
        self,
        request: ChatRequest,
        engine: Any,
        content_filter: ContentFilter,
        likeness: tools.Likeness | None,
        start: int = 0,
    ) -> None:
        self._request = request
        self._engine = engine
        self._filter = content_filter
        self._likeness = likeness
        self._start = start
        self.choices: list[Written] = []
        self._prompt = Prompt(
            request.messages,
            request.max_tokens or _DEFAULT_MAX_TOKENS,
            request.temperature,
            request.top_p,
            request.stop,
            request.seed,
            request.json_schema,
        )

    async def written(self, index: int) -> Written:
        """One choice, whole."""
        calls = await tools.chosen(self._request, self._likeness)
        if calls:
            return await self._called(calls)
        written = Written()
        async with contextlib.aclosing(self._pieces(self._seeded(index), written)) as texts:
            written.text = "".join([text async for text in texts])
        return written

    def _passes(self, text: str, written: Written) -> bool:
        """Whether the filter lets a choice go on; else it ends here."""
        if self._filter.active:
            written.filter_results = self._filter.results(text)
            if is_blocked(written.filter_results):
                written.finish_reason = "content_filter"
                return False
        return True

    async def events(self, form: Form) -> AsyncGenerator[bytes]:
        """Its choices as server-sent events, each as soon as it is written."""
        calls = await tools.chosen(self._request, self._likeness)
        choices = self.choices = [Written() for _ in range(self._request.n)]
        for at, written in enumerate(choices):
            index = self._start + at
            if calls:
                choices[at] = written = await self._called(calls)
                yield form.chunk(index, {"role": "assistant", "content": None})
                for delta in _call_deltas(written.tool_calls):
                    yield form.chunk(index, {"tool_calls": [delta]})
            else:
                async with contextlib.aclosing(self._pieces(self._seeded(at), written)) as texts:
                    text = await anext(texts, "")
                    yield form.chunk(index, {"role": "assistant", "content": ""})
                    if text:
                        yield form.chunk(index, {"content": text})
                    async for text in texts:
                        yield form.chunk(index, {"content": text})
            yield form.chunk(index, {}, written.finish_reason, written.filter_results)

    def _seeded(self, index: int) -> Prompt:
        """What to ask for one choice, so that choices differ though the seed is fixed."""
        seed = self._prompt.seed
        return self._prompt if seed is None else replace(self._prompt, seed=seed + index)

    async def _pieces(self, prompt: Prompt, written: Written) -> AsyncGenerator[str]:
        """The texts of one choice; what they cost is written down meanwhile."""
        said = ""
        async with contextlib.aclosing(self._engine.chat(prompt)) as pieces:
            async for piece in pieces:
                written.completion_tokens += piece.tokens
                if piece.finish_reason is not None:
                    written.finish_reason = piece.finish_reason
                    written.prompt_tokens = piece.prompt_tokens or 0
                if piece.text:
                    said += piece.text
                    if not self._passes(said, written):
                        return
                    yield piece.text

    async def _called(self, functions: Sequence[Json]) -> Written:
        whole = Written(finish_reason="tool_calls")
        if self._request.tool_choice == "named":
            whole.finish_reason = "stop"
        for function in functions:
            part, prompt = Written(), tools.asking_for(self._prompt, function)
            async with contextlib.aclosing(self._pieces(prompt, part)) as pieces:
                texts = [text async for text in pieces]
            call_id = f"call_{next(_call_numbers):08d}{uuid.uuid4().hex[:12]}"
            whole.tool_calls.append(tool_call(call_id, function["name"], "".join(texts)))
            whole.completion_tokens += part.completion_tokens
            whole.prompt_tokens += part.prompt_tokens
        return whole


def _call_deltas(calls: Sequence[Json]) -> list[Json]:
    """Calls as the service streams them: first the name, then the arguments in parts."""
    deltas: list[Json] = []
    for index, call in enumerate(calls):
        arguments = call["function"]["arguments"]
        function = {"name": call["function"]["name"], "arguments": ""}
        deltas.append({"index": index, **call, "function": function})
        for at in range(0, len(arguments), 16):
            deltas.append({"index": index, "function": {"arguments": arguments[at : at + 16]}})
    return deltas
