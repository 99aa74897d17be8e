"""The synthetic engine: deterministic text, JSON and vectors, with nothing to download."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from azinfer.local.engines.base import EngineCapabilities, Piece, Prompt, last_text
from azinfer.local.engines.schema.sample import make_sample
from azinfer.local.engines.vision import descriptors
from azinfer.local.engines.vision.decoding import decode_image

# After so many tokens, others have their turn.
_AT_ONCE = 200
_FAINT = 1e-4
_LENGTH = 384
_TOKEN = re.compile(r"\s*(?:\w{1,12}|[^\w\s])|\s+$")


class SyntheticEngine:
    """Answers at once, always the same, and honestly synthetic.

    It repeats the question as its answer, fills JSON Schemas with what it finds in the question,
    gives texts that share words similar vectors, and images that look alike.

    Args:
        text: What to answer; left out, the question is repeated.
        dimensions: The length of its vectors; left out, that of the model which a deployment
            says it is, or 384 where that is unknown.
    """

    capabilities = EngineCapabilities(chat=True, embeddings=True, images=True)

    def __init__(self, text: str | None = None, *, dimensions: int | None = None) -> None:
        self.dimensions = dimensions or _LENGTH
        self._has_default_dimensions = dimensions is None
        self._text = text

    def with_default_dimensions(self, dimensions: int) -> SyntheticEngine:
        """Return the engine with vectors of this length, or itself where its length was chosen."""
        if not self._has_default_dimensions:
            return self
        engine = SyntheticEngine(self._text, dimensions=dimensions)
        engine._has_default_dimensions = True
        return engine

    async def chat(self, prompt: Prompt) -> AsyncIterator[Piece]:
        """Write the answer token by token."""
        question = last_text(prompt.messages)
        if prompt.json_schema is not None:
            text = json.dumps(make_sample(prompt.json_schema, question))
        elif self._text is not None:
            text = self._text
        else:
            text = f"This is a synthetic answer to: {question}"
        cut, stop = min(
            ((text.find(each), each) for each in prompt.stop if each in text),
            default=(len(text), None),
        )
        tokens = split(text[:cut])
        reason = "stop" if len(tokens) <= prompt.max_tokens else "length"
        for at, token in enumerate(tokens[: prompt.max_tokens], 1):
            yield Piece(token)
            if not at % _AT_ONCE:
                await asyncio.sleep(0)
        yield Piece(
            "", 0, reason, count_prompt_tokens(prompt), stop=stop if reason == "stop" else None
        )

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """Vectors of the words in each text: the more words two share, the nearer they are."""
        vectors = [self._vector(re.findall(r"\w+", text.lower())) for text in texts]
        return vectors, sum(len(split(text)) for text in texts)

    async def embed_images(self, inputs: Sequence[tuple[bytes, str | None]]) -> list[list[float]]:
        """Vectors of how each image looks, and of the words of its text.

        Raises:
            EngineError: An image cannot be read.
        """
        return [
            await asyncio.to_thread(self._embed_image, at, data, text or "")
            for at, (data, text) in enumerate(inputs)
        ]

    async def aclose(self) -> None:
        """There is nothing to give back."""

    def _embed_image(self, at: int, data: bytes, text: str) -> list[float]:
        looks = [0.0] * self.dimensions
        for place, number in enumerate(descriptors.describe(decode_image(data, at))):
            looks[place % self.dimensions] += number * (-1 if place // self.dimensions % 2 else 1)
        words = self._vector(re.findall(r"\w+", text.lower())) if text else [0.0] * self.dimensions
        whole = [a + b for a, b in zip(looks, words, strict=True)]
        length = math.sqrt(sum(number * number for number in whole)) or 1.0
        return [float(number / length) for number in whole]

    def _vector(self, words: Sequence[str]) -> list[float]:
        # So little in all dimensions that likeness is that of the words, and that no vector is
        # nothing where it is cut to a few.
        every = hashlib.shake_128(" ".join(words).encode(errors="replace")).digest(self.dimensions)
        numbers = [(byte - 127.5) * _FAINT for byte in every]
        for word in words or [""]:
            for seed in range(4):
                digest = hashlib.blake2b(f"{seed}{word}".encode(errors="replace"), digest_size=8)
                number = int.from_bytes(digest.digest(), "little")
                numbers[number % self.dimensions] += 1.0 if number >> 63 else -1.0
        length = math.sqrt(sum(number * number for number in numbers)) or 1.0
        return [number / length for number in numbers]


def split(text: str) -> list[str]:
    """Return the tokens of a text: words, parts of long words and signs, each with its space."""
    return _TOKEN.findall(text)


def count_prompt_tokens(prompt: Prompt) -> int:
    """Return how many tokens a prompt is."""
    return sum(4 + len(split(_text(message))) for message in prompt.messages)


def _text(message: Mapping[str, Any]) -> str:
    return last_text([message]) + json.dumps(message.get("tool_calls") or "")
