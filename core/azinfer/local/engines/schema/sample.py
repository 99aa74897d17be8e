"""Sample values: a value that conforms to a JSON Schema, made from the words of a text."""

from __future__ import annotations

import bisect
import functools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from azinfer.local.engines.base import EngineError
from azinfer.local.engines.schema import regex, validation
from azinfer.local.engines.schema.budget import OverBudgetError, spend

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_QUOTED = re.compile(r"[\"'\u201c\u2018]([^\"'\u201d\u2019]{1,200})[\"'\u201d\u2019]")
# A run of capitalised words that does not begin a sentence: "San Francisco, CA".
_NAMES = re.compile(r"(?<=[a-z0-9,] )[A-Z][\w-]*(?:[,.]? [A-Z][\w-]*)*")
# Below so many levels, nullable objects are null and arrays have the fewest items.
_DEEPEST, _DEEP = 12, 4
_LONGEST_TEXT = 50_000
_SIMPLE = ("string", "number", "integer", "boolean")
_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "P1D",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "iri": "https://example.com/",
    "base64": "YQ==",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def make_sample(schema: Mapping[str, Any], text: str) -> Any:
    """Return a value that conforms to a schema, with the numbers, names and quotations of a text.

    Raises:
        EngineError: No value was found; the message says where it fails.
    """
    try:
        value = _Filler(text[:_LONGEST_TEXT], schema).value()
    except OverBudgetError:
        raise EngineError(
            "the JSON Schema demands a value that is too large; reduce its minItems, minLength or "
            "required properties",
            "invalid_json_schema",
            more={"param": "response_format.json_schema.schema"},
        ) from None
    except ArithmeticError:  # of bounds in one part and steps in another
        raise EngineError(
            "the JSON Schema has steps between numbers that are too small to be counted; leave "
            "multipleOf out",
            "invalid_json_schema",
            more={"param": "response_format.json_schema.schema"},
        ) from None
    if broken := validation.verify(value, schema):
        raise EngineError(
            f"the synthetic engine found no value for this JSON Schema: {broken}",
            "invalid_json_schema",
        )
    return value


class _Filler:
    """Fills a schema with numbers, names and quotations of a text, in their order."""

    def __init__(self, text: str, schema: Mapping[str, Any]) -> None:
        self._schema = schema
        self._text, self._lower = text, text.lower()
        self._numbers = iter(_NUMBER.findall(text))
        self._names = _names_in(text)

    def value(self) -> Any:
        """Return a value for the whole schema."""
        return self._fill(self._schema, 0)

    def _fill(self, schema: Any, depth: int) -> Any:
        spend()
        if not isinstance(schema, Mapping) or depth > _DEEPEST:
            return None
        if "$ref" in schema:
            return self._fill(validation.resolve(self._schema, schema["$ref"]), depth + 1)
        if "const" in schema:
            return schema["const"]
        if choices := schema.get("enum"):
            return self._choose(choices)
        if parts := schema.get("allOf"):
            rest = {name: value for name, value in schema.items() if name != "allOf"}
            return self._fill(self._merge([rest, *parts]), depth + 1)
        for key in ("anyOf", "oneOf"):
            if options := schema.get(key):
                rest = {name: value for name, value in schema.items() if name != key}
                return self._fill(self._merge([rest, self._best(options, depth)]), depth + 1)
        return self._fill_by_type(schema, depth)

    def _choose(self, choices: Sequence[Any]) -> Any:
        """Return the choice that the text names, or the first."""
        spend(len(choices) // 20)
        words = [str(each).lower() for each in choices]
        # Python's `re` tries every choice at every place of the text.
        named = [(at, word) for word in dict.fromkeys(words) if (at := self._find(word)) >= 0]
        return choices[words.index(min(named)[1])] if named else choices[0]

    def _find(self, word: str) -> int:
        """Return where a text has a word or phrase, or -1."""
        at = self._lower.find(word)
        if at < 0:
            return at
        match = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)").search(self._lower, at)
        return match.start() if match else -1

    def _best(self, options: Sequence[Any], depth: int) -> Any:
        tables = [each for each in options if isinstance(each, Mapping)]
        best = next((each for each in tables if each.get("type") != "null"), options[0])
        null = next((each for each in tables if each.get("type") == "null"), None)
        is_simple = isinstance(best, Mapping) and best.get("type") in _SIMPLE
        return best if null is None or is_simple or depth < _DEEP else null

    def _merge(self, parts: Sequence[Any]) -> dict[str, Any]:
        """Return one schema that combines several."""
        whole: dict[str, Any] = {}
        for part in parts:
            if isinstance(part, Mapping) and "$ref" in part:
                part = validation.resolve(self._schema, part["$ref"])
            for name, value in (part if isinstance(part, Mapping) else {}).items():
                old = whole.get(name)
                if name == "properties" and old:
                    value = {**old, **value}
                if name == "required" and old:
                    value = [*old, *value]
                whole[name] = value
        return whole

    def _fill_by_type(self, schema: Mapping[str, Any], depth: int) -> Any:
        kind = schema.get("type") or _implied_type(schema)
        if isinstance(kind, list):
            kind = next((each for each in kind if each != "null"), "null")
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        if kind in ("integer", "number"):
            return self._number(schema, kind == "integer")
        return self._string(schema) if kind == "string" else {"boolean": True}.get(kind)

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        if not properties and not depth:  # JSON of any kind: what the text names in quotes
            quoted = re.findall(r"[`'\"](\w+)[`'\"]", self._text)
            properties = {name: {"type": "string"} for name in quoted}
        required = schema.get("required") or list(properties)
        # Deep down only required properties, so that recursive schemas end.
        needed = [name for name in properties if name in required or depth < _DEEPEST // 3]
        values = {
            name: self._fill(properties[name], depth + 1)
            for name in needed
            if properties[name] is not False
        }
        others = schema.get("additionalProperties", True)
        others = {"type": "string"} if others is True else others
        missing = [name for name in required if name not in properties]
        missing += [f"key{at}" for at in range(int(schema.get("minProperties", 0)) - len(values))]
        return {**values, **{name: self._fill(others, depth + 1) for name in missing if others}}

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        first = [self._fill(each, depth + 1) for each in schema.get("prefixItems", ())]
        items = schema.get("items", {})
        usual = 0 if first or depth >= _DEEPEST // 2 else 1
        fewest = max(int(schema.get("minItems", usual)), usual)
        count = 0 if items is False else max(0, min(fewest, int(schema.get("maxItems", fewest))))
        values = list(first)
        if "contains" in schema:
            values.append(self._fill(schema["contains"], depth + 1))
        for _ in range(count - len(values)):
            value = self._fill(items, depth + 1)
            spend(len(values) // 20 if schema.get("uniqueItems") else 0)
            if schema.get("uniqueItems") and value in values:
                value = _another(value, items, values)
            values.append(value)
        return values

    def _number(self, schema: Mapping[str, Any], whole: bool) -> float:
        number = float(next(self._numbers, 1))
        try:
            return _fit_number(number, schema, whole)
        except OverflowError:  # the text has a number with hundreds of digits
            return _fit_number(1.0, schema, whole)

    def _string(self, schema: Mapping[str, Any]) -> str:
        fewest, most = int(schema.get("minLength", 0)), schema.get("maxLength")
        if pattern := schema.get("pattern"):
            return self._match_pattern(pattern, fewest)
        text: str = _FORMATS.get(schema.get("format", "")) or next(self._names)
        spend(fewest // 20)
        return text.ljust(fewest, "x")[: None if most is None else int(most)]

    def _match_pattern(self, pattern: str, fewest: int) -> str:
        """Return a text that matches a pattern: a word of the text if possible."""
        words = re.findall(r"(?<![\w.@+-])[\w.@+-]{1,24}(?![\w.@+-])", self._text)
        matching = (word for word in words if len(word) >= fewest and regex.found_in(pattern, word))
        if match := next(matching, None):
            return str(match)
        part = regex.parse(pattern)
        # The fewest repetitions that make it long enough; more of them never make it shorter.
        length = functools.partial(regex.example_length, part)
        more = bisect.bisect_left(range(fewest + 2), fewest, key=length)
        spend(length(more) // 20)
        return regex.example(part, more) if length(more) >= fewest else ""


def _fit_number(number: float, schema: Mapping[str, Any], whole: bool) -> float:
    """Return a number that a schema allows, the given one if possible.

    Raises:
        OverflowError: The number is too large.
    """
    step = schema.get("multipleOf") or (1 if whole else 0)
    low = schema.get("exclusiveMinimum", schema.get("minimum", -math.inf))
    high = schema.get("exclusiveMaximum", schema.get("maximum", math.inf))
    if "exclusiveMinimum" in schema and number <= low:
        number = (low + high) / 2 if not step and high < math.inf else low + (step or 1)
    if "exclusiveMaximum" in schema and number >= high:
        number = (low + high) / 2 if not step and low > -math.inf else high - (step or 1)
    number = min(max(number, low), high)
    if step:
        up = math.ceil(number / step) * step
        number = up if up <= high else math.floor(number / step) * step
    return int(number) if whole or number == int(number) else number


def _implied_type(schema: Mapping[str, Any]) -> str:
    """Return the type that keywords imply."""
    if "items" in schema or "prefixItems" in schema or "contains" in schema:
        return "array"
    if any(name in schema for name in ("properties", "required", "minProperties")):
        return "object"
    if any(name in schema for name in ("minimum", "maximum", "multipleOf")):
        return "number"
    return "string"


def _another(value: Any, schema: Any, existing: Sequence[Any]) -> Any:
    """Return another value like an existing one."""
    choices = schema.get("enum", ()) if isinstance(schema, Mapping) else ()
    if choices:
        return next((each for each in choices if each not in existing), value)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return value
    return f"{value} {len(existing)}" if isinstance(value, str) else value + len(existing)


def _names_in(text: str) -> Iterator[str]:
    """Yield the quotations of a text and the names in it, or else the text itself, endlessly."""
    names = [*_QUOTED.findall(text), *_NAMES.findall(text)] or [text.strip()[:200]]
    while True:
        yield from names
