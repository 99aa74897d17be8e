"""The synthetic engine: deterministic text, JSON and vectors, with nothing to download."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from azinfer.local.engines import EngineError, Piece, Prompt, last_text

_TOKEN = re.compile(r"\s*(?:\w{1,12}|[^\w\s])|\s+$")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_QUOTED = re.compile(r"[\"'\u201c\u2018]([^\"'\u201d\u2019]+)[\"'\u201d\u2019]")
# A run of capitalised words that does not begin a sentence: "San Francisco, CA".
_NAMES = re.compile(r"(?<=[a-z0-9,] )[A-Z][\w-]*(?:[,.]? [A-Z][\w-]*)*")
_DEEPEST = 12


class SyntheticEngine:
    """Answers at once, always the same, and honestly synthetic.

    It repeats the question as its answer, fills JSON Schemas with what it finds in the question,
    and gives texts that share words similar vectors.

    Args:
        text: What to answer; left out, the question is repeated.
        dimensions: The length of its vectors.
    """

    def __init__(self, text: str | None = None, *, dimensions: int = 384) -> None:
        self.dimensions = dimensions
        self._text = text

    async def chat(self, prompt: Prompt) -> AsyncIterator[Piece]:
        """Write the answer token by token."""
        asked = last_text(prompt.messages)
        if prompt.json_schema is not None:
            text = json.dumps(_Filler(asked, prompt.json_schema).value())
        elif self._text is not None:
            text = self._text
        else:
            text = f"This is a synthetic answer to: {asked}"
        cut = min((at for at in map(text.find, prompt.stop) if at >= 0), default=len(text))
        tokens = split(text[:cut])
        reason = "stop" if len(tokens) <= prompt.max_tokens else "length"
        for token in tokens[: prompt.max_tokens]:
            yield Piece(token)
        yield Piece("", 0, reason, read(prompt))

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """Vectors of the words in each text: the more words two share, the nearer they are."""
        vectors = [self._vector(re.findall(r"\w+", text.lower())) for text in texts]
        return vectors, sum(len(split(text)) for text in texts)

    async def embed_images(self, inputs: Sequence[tuple[bytes, str | None]]) -> list[list[float]]:
        """Vectors of the bytes of each image, and of the words of its text."""
        return [
            self._vector([hashlib.blake2b(data).hexdigest(), *re.findall(r"\w+", text or "")])
            for data, text in inputs
        ]

    async def aclose(self) -> None:
        """There is nothing to give back."""

    def _vector(self, words: Sequence[str]) -> list[float]:
        numbers = [0.0] * self.dimensions
        for word in words or [""]:
            for seed in range(4):
                digest = hashlib.blake2b(f"{seed}{word}".encode(errors="replace"), digest_size=8)
                number = int.from_bytes(digest.digest(), "little")
                numbers[number % self.dimensions] += 1.0 if number >> 63 else -1.0
        length = math.sqrt(sum(number * number for number in numbers)) or 1.0
        return [number / length for number in numbers]


def split(text: str) -> list[str]:
    """The tokens of a text: words, pieces of long words and signs, with the space before them."""
    return _TOKEN.findall(text)


def read(prompt: Prompt) -> int:
    """How many tokens a prompt is."""
    return sum(4 + len(split(_said(message))) for message in prompt.messages)


def _said(message: Mapping[str, Any]) -> str:
    return last_text([message]) + json.dumps(message.get("tool_calls") or "")


class _Filler:
    """Fills a JSON Schema with numbers, names and quotations of a text, in their order."""

    def __init__(self, text: str, schema: Mapping[str, Any]) -> None:
        self._schema = schema
        self._text = text
        self._numbers = iter(_NUMBER.findall(text))
        self._names = _names_in(text)

    def value(self) -> Any:
        """A value that the whole schema allows."""
        return self._fill(self._schema, 0)

    def _fill(self, schema: Any, depth: int) -> Any:
        if not isinstance(schema, Mapping) or depth > _DEEPEST:
            return None
        if "$ref" in schema:
            return self._fill(_resolved(self._schema, schema["$ref"]), depth + 1)
        if "const" in schema:
            return schema["const"]
        if choices := schema.get("enum"):
            words = rf"\b(?i:{'|'.join(re.escape(str(each)) for each in choices)})\b"
            said = re.search(words, self._text)
            named = said[0].lower() if said else None
            return next((each for each in choices if str(each).lower() == named), choices[0])
        for key in ("anyOf", "oneOf", "allOf"):
            if options := schema.get(key):
                return self._fill(self._best(options), depth + 1)
        return self._typed(schema, depth)

    def _best(self, options: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        return next((each for each in options if each.get("type") != "null"), options[0])

    def _typed(self, schema: Mapping[str, Any], depth: int) -> Any:
        kind = schema.get("type") or ("object" if "properties" in schema else "string")
        if isinstance(kind, list):
            kind = next((each for each in kind if each != "null"), "null")
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            count = max(1, schema.get("minItems", 1))
            return [self._fill(schema.get("items", {}), depth + 1) for _ in range(count)]
        if kind in ("integer", "number"):
            return self._number(schema, kind == "integer")
        return self._string(schema) if kind == "string" else {"boolean": True}.get(kind)

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        if not properties and not depth:  # JSON of any kind: what the text names in quotes
            quoted = re.findall(r"[`'\"](\w+)[`'\"]", self._text)
            properties = {name: {"type": "string"} for name in quoted}
        required = set(schema.get("required") or properties)
        # Deep down only what must be, so that schemas that contain themselves end.
        needed = [name for name in properties if name in required or depth < _DEEPEST // 3]
        return {name: self._fill(properties[name], depth + 1) for name in needed}

    def _number(self, schema: Mapping[str, Any], whole: bool) -> float:
        number = float(next(self._numbers, 1))
        number = max(number, schema.get("minimum", number))
        number = min(number, schema.get("maximum", number))
        return int(number) if whole or number == int(number) else number

    def _string(self, schema: Mapping[str, Any]) -> str:
        text = _FORMATS.get(schema.get("format", "")) or next(self._names)
        text = text.ljust(schema.get("minLength", 0), "x")
        return text[: schema.get("maxLength", len(text))]


_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def _names_in(text: str) -> Iterator[str]:
    """What a text quotes, then the names in it, then the text itself, for ever."""
    found = [*_QUOTED.findall(text), *_NAMES.findall(text)] or [text.strip()[:200]]
    while True:
        yield from found


def _resolved(schema: Mapping[str, Any], reference: str) -> Any:
    found: Any = schema
    for name in reference.removeprefix("#").strip("/").split("/") if reference != "#" else ():
        if not isinstance(found, Mapping) or name not in found:
            raise EngineError(f"the schema refers to {reference!r}, which it does not have")
        found = found[name]
    return found
