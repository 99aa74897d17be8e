"""The synthetic engine: deterministic text, JSON and vectors, with nothing to download."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import itertools
import json
import math
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from azinfer.local.engines.base import EngineCapabilities, EngineError, Piece, Prompt, last_text
from azinfer.local.engines.requirements import check_installed
from azinfer.local.engines.schema.budget import OverBudgetError, run_in_thread
from azinfer.local.engines.synthetic_vectors import vector_of
from azinfer.local.turns import take_turn
from azinfer.local.worker_threads import run_in_worker

# The tokens after which other tasks have their turn.
_AT_ONCE = 10
# The most characters that are counted or embedded inside the event loop.
_SHORT, _SLICE = 20_000, 64 * 1024
_LONGEST_ANSWER, _MOST_TOKENS = 100_000, 16_384
# Texts up to here may come again, and their tokens are remembered.
_OFTEN = 2000
# Longer pieces begin with many spaces.
_SHORT_PIECE = 128
_LENGTH = 384
# What `json_object` asks for.
_ANY_OBJECT = {"type": "object"}
# What a model might have written instead, for log probabilities.
_ALTERNATIVES = (
    *(" the", " a", " of", " to", " and", " in", " is", " it", " that", " for", " on", " with"),
    *(" as", " was", " by", " this", " an", " or", " are", " not", " be"),
)
_SPACE = re.compile(r"(?<=\S)\s")
_TOKEN = re.compile(r"\s*(?:\w{1,12}|[^\w\s])|\s+$")


class SyntheticEngine:
    """Answers at once, always the same, and says that the answer is synthetic.

    It repeats the question as its answer, fills JSON Schemas (also those in the text of the
    prompt) with values from the question, and returns similar vectors for texts that share words
    and for images that look alike.

    Args:
        text: The answer; by default the question is repeated.
        dimensions: The length of its vectors; by default that of the deployment's model, or 384
            if the model is unknown.

    Example:
        >>> from azinfer.core import InferenceClient
        >>> from azinfer.local import LocalDeployment, LocalEndpoint
        >>> deployment = LocalDeployment("embed", engine=SyntheticEngine(dimensions=8))
        >>> with LocalEndpoint([deployment]) as endpoint:
        ...     client = InferenceClient(endpoint.url, endpoint.key, model="embed")
        ...     len(client.embed(["a"]).vectors[0])
        8
    """

    capabilities = EngineCapabilities(chat=True, embeddings=True, images=True, logprobs=True)

    def __init__(self, text: str | None = None, *, dimensions: int | None = None) -> None:
        self.dimensions = dimensions or _LENGTH
        self._has_default_dimensions = dimensions is None
        self._text = text
        self._counter = PromptCounter()

    def with_default_dimensions(self, dimensions: int) -> SyntheticEngine:
        """Return the engine with vectors of this length, or itself if its length was chosen."""
        if not self._has_default_dimensions:
            return self
        engine = SyntheticEngine(self._text, dimensions=dimensions)
        engine._has_default_dimensions = True
        return engine

    async def chat(self, prompt: Prompt) -> AsyncIterator[Piece]:
        """Write the answer token by token."""
        question = last_text(prompt.messages)
        limit = prompt.max_tokens
        prompted = None
        if self._text is None and prompt.json_schema in (None, _ANY_OBJECT):
            prompted = await _prompted_answer(prompt.messages)
        if prompted is not None:
            text = prompted
        elif prompt.json_schema is not None:
            text = await run_in_thread(_sample_text, prompt.json_schema, question)
        elif self._text is not None:
            text = self._text
        else:
            # No model writes more, and many choices for a long question would fill the memory.
            text = f"This is a synthetic answer to: {question[:_LONGEST_ANSWER]}"
            limit = min(limit, _MOST_TOKENS)
        cut, stop = min(
            ((text.find(each), each) for each in prompt.stop if each in text),
            default=(len(text), None),
        )
        tokens = _tokens(text[:cut])
        written = itertools.islice(tokens, limit)
        while some := list(itertools.islice(written, _AT_ONCE)):
            for piece in _pieces(some, prompt):
                yield piece
            if len(some) == _AT_ONCE:
                await take_turn()
        reason = "stop" if next(tokens, None) is None else "length"
        count = await self._counter.count(prompt)
        yield _last_piece(reason, count, stop if reason == "stop" else None)

    async def embed(self, texts: Sequence[str]) -> tuple[Sequence[Sequence[float]], int]:
        """Return vectors of the words in each text: the more two share, the nearer they are."""
        if sum(map(len, texts)) <= _SHORT:
            return self._embed(texts)
        return await run_in_worker(self._embed, texts)

    def _embed(self, texts: Sequence[str]) -> tuple[Sequence[Sequence[float]], int]:
        return [vector_of(text, self.dimensions) for text in texts], sum(map(count_tokens, texts))

    async def embed_images(self, inputs: Sequence[tuple[bytes, str | None]]) -> list[list[float]]:
        """Return vectors of how each image looks, and of the words of its text.

        Raises:
            EngineError: An image cannot be read, or the extra `models` is not installed.
        """
        from azinfer.local.engines.vision.decoding import check_sizes

        try:
            check_installed("PIL", "numpy")
        except ModuleNotFoundError as error:
            raise EngineError(str(error)) from None
        await run_in_worker(check_sizes, [data for data, _ in inputs])
        return [
            await run_in_worker(self._embed_image, at, data, text or "")
            for at, (data, text) in enumerate(inputs)
        ]

    async def aclose(self) -> None:
        """Do nothing: there is nothing to free."""

    def _embed_image(self, at: int, data: bytes, text: str) -> list[float]:
        from azinfer.local.engines.vision import descriptors
        from azinfer.local.engines.vision.decoding import decode_image

        looks = [0.0] * self.dimensions
        for place, number in enumerate(descriptors.describe(decode_image(data, at))):
            looks[place % self.dimensions] += number * (-1 if place // self.dimensions % 2 else 1)
        words = vector_of(text, self.dimensions) if text else [0.0] * self.dimensions
        whole = [a + b for a, b in zip(looks, words, strict=True)]
        length = math.sqrt(sum(number * number for number in whole)) or 1.0
        return [float(number / length) for number in whole]


def _pieces(tokens: Sequence[str], prompt: Prompt) -> Iterator[Piece]:
    """Yield the pieces of some tokens."""
    if prompt.logprobs is not None:
        for token in tokens:
            yield Piece(token, more=_logprobs(token, prompt.logprobs))
    elif prompt.whole:
        yield _piece("".join(tokens), len(tokens))
    else:
        yield from map(_piece, tokens)


def _piece(text: str, tokens: int = 1) -> Piece:
    """Return the piece of some tokens; the same words come again and again."""
    return _short_piece(text, tokens) if len(text) <= _SHORT_PIECE else Piece(text, tokens)


@functools.lru_cache(maxsize=4096)
def _short_piece(text: str, tokens: int) -> Piece:
    return Piece(text, tokens)


@functools.lru_cache(maxsize=1024)
def _last_piece(reason: str, prompt_tokens: int, stop: str | None) -> Piece:
    return Piece("", 0, reason, prompt_tokens, stop=stop)


def _logprobs(token: str, alternatives: int) -> Mapping[str, Any]:
    """Return invented log probabilities of a token: always the same, its own the highest."""
    number = hashlib.blake2b(token.encode(errors="replace"), digest_size=1).digest()[0]
    own = -(number + 1) / 512
    others = [word for word in _ALTERNATIVES if word != token]
    likely = [(token, own), *((word, own - 3 - at / 2) for at, word in enumerate(others))]
    entries = [
        {"token": text, "logprob": logprob, "bytes": list(text.encode(errors="replace"))}
        for text, logprob in likely[: max(1, alternatives)]
    ]
    content = {**entries[0], "top_logprobs": entries[:alternatives]}
    return {"logprobs": {"content": [content], "refusal": None}}


async def _prompted_answer(messages: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the answer that the text of the prompt describes, or None if it describes none."""
    from azinfer.local.engines.schema.field_prompts import OUTPUT_FIELDS
    from azinfer.local.engines.schema.prompted import SCHEMA_WORDS

    texts = [last_text([message]) for message in messages]
    if any(words in text for text in texts for words in (*SCHEMA_WORDS, OUTPUT_FIELDS)):
        return await run_in_thread(_prompted_sample, messages)
    return None


def _prompted_sample(messages: Sequence[Mapping[str, Any]]) -> str | None:
    from azinfer.local.engines.schema import sample, validation
    from azinfer.local.engines.schema.field_prompts import find_fields
    from azinfer.local.engines.schema.prompted import find_schema

    description = find_fields(messages)
    if description is None and (pair := find_schema(messages)) is not None:
        description = *pair, json.dumps
    if description is None:
        return None
    schema, text, write = description
    try:
        validation.check(schema, "the schema in the prompt")
        return write(sample.make_sample(schema, text))
    except (EngineError, OverBudgetError):
        return None  # it was no schema for an answer, or one that nothing conforms to


def _sample_text(schema: Mapping[str, Any], text: str) -> str:
    # Most programs send no schema.
    from azinfer.local.engines.schema.sample import make_sample

    return json.dumps(make_sample(schema, text))


def _tokens(text: str) -> Iterator[str]:
    """Yield the tokens of a text; a long one is not split before they are needed."""
    if len(text) <= _OFTEN:
        return iter(_split_often(text))
    return (match[0] for match in _TOKEN.finditer(text))


@functools.lru_cache(maxsize=256)
def _split_often(text: str) -> tuple[str, ...]:
    """Return the tokens of a short text, such as a fixed answer or a system prompt."""
    return tuple(_TOKEN.findall(text))


def split(text: str) -> list[str]:
    """Return the tokens of a text: words, parts of long words and signs, each with its space."""
    return _TOKEN.findall(text)


def count_tokens(text: str) -> int:
    """Return how many tokens a text is, in slices that let other threads run in between."""
    if len(text) <= _OFTEN:
        return len(_split_often(text))
    count = start = 0
    while start < len(text):
        # A token begins with its space, so a slice that ends before one has whole tokens.
        space = _SPACE.search(text, start + _SLICE, start + 2 * _SLICE)
        # Without any space, long words are cut where their parts of 12 characters end.
        end = space.start() if space else start + 2 * _SLICE - 2 * _SLICE % 12
        count += len(_TOKEN.findall(text[start:end]))
        start = end
    return count


def count_prompt_tokens(prompt: Prompt) -> int:
    """Return how many tokens a prompt is."""
    return sum(4 + count_tokens(_text(message)) for message in prompt.messages)


class PromptCounter:
    """Counts the tokens of prompts; those of a long one in a worker, once for all choices."""

    def __init__(self) -> None:
        self._newest: tuple[object, asyncio.Future[int]] | None = None

    async def count(self, prompt: Prompt) -> int:
        """Return how many tokens a prompt is."""
        if sum(len(last_text([message])) for message in prompt.messages) <= _SHORT:
            return count_prompt_tokens(prompt)
        loop, newest = asyncio.get_running_loop(), self._newest
        if newest is None or newest[0] is not prompt.messages or newest[1].get_loop() is not loop:
            task = asyncio.ensure_future(run_in_worker(count_prompt_tokens, prompt))
            self._newest = newest = prompt.messages, task
        return await asyncio.shield(newest[1])


def _text(message: Mapping[str, Any]) -> str:
    calls = message.get("tool_calls")
    return last_text([message]) + (json.dumps(calls) if calls else '""')
