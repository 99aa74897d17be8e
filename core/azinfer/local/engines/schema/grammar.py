"""Grammars: a JSON Schema narrowed to one that a grammar can enforce on a small model.

llama.cpp makes a grammar from a schema and silently ignores what a grammar cannot express.
So each schema is narrowed first; every value of the result conforms to the original: a
number between 0 and 1 is one of a hundred, an e-mail address has a pattern. What cannot be
narrowed is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from azinfer.local.engines.base import EngineError
from azinfer.local.engines.schema import formats, llama_pattern, regex

Json = dict[str, Any]
_STEPS = 100
_UNSUPPORTED = (
    *("not", "if", "contains", "dependentRequired", "dependentSchemas", "dependencies"),
    *("propertyNames", "patternProperties", "unevaluatedProperties", "unevaluatedItems"),
    *("minProperties", "maxProperties"),
)
_ANY: Json = {
    "anyOf": [{"type": "string", "maxLength": 60}, {"type": ["number", "boolean", "null"]}]
}


def narrow_schema(schema: Mapping[str, Any]) -> Json:
    """Return a schema that a grammar can express, and whose values conform to the given one.

    Raises:
        EngineError: The schema cannot be narrowed; the message names the keyword.
    """
    narrow: Json = _narrow(schema, "schema")
    if _refers_to_root(schema):
        # llama.cpp looks up definitions itself.
        definitions = {**narrow.pop("$defs", {}), "_root": narrow}
        return {"$defs": definitions, "$ref": "#/$defs/_root"}
    return narrow


def _narrow(schema: Any, where: str) -> Any:
    if schema is True or schema == {}:
        return _ANY
    if not isinstance(schema, Mapping):
        raise _unsupported_error(where, "false")
    narrow = _without_annotations(schema, where)
    for name, change in _CHANGES.items():
        if name in narrow:
            narrow[name] = change(narrow[name], f"{where}.{name}")
    if narrow.get("$ref") == "#":
        narrow["$ref"] = "#/$defs/_root"
    return _narrow_by_type(narrow, where)


def _without_annotations(schema: Mapping[str, Any], where: str) -> Json:
    """Return a schema without annotations and without keywords that require nothing."""
    for keyword in _UNSUPPORTED:
        if keyword in schema and not _is_idle(schema, keyword):
            raise _unsupported_error(where, keyword)
    return {
        name: value for name, value in schema.items() if name not in (*_UNSUPPORTED, *_ANNOTATIONS)
    }


def _narrow_by_type(schema: Json, where: str) -> Json:
    kind = schema.get("type")
    if kind in ("number", "integer"):
        return _narrow_number(schema, where)
    if kind == "array" or "prefixItems" in schema or "items" in schema:
        return _narrow_array(schema, where)
    return _narrow_string(schema, where) if kind == "string" or "pattern" in schema else schema


def _is_idle(schema: Mapping[str, Any], keyword: str) -> bool:
    """Return whether a keyword requires nothing beyond the other keywords."""
    if keyword == "minProperties":
        return int(schema[keyword]) <= len(schema.get("required", ()))
    if keyword == "maxProperties":
        closed = schema.get("additionalProperties") is False
        return closed and len(schema.get("properties", ())) <= int(schema[keyword])
    return keyword.startswith("unevaluated")


def _narrow_table(schemas: Mapping[str, Any], where: str) -> Json:
    # A property that may never be present is left out.
    return {
        name: _narrow(each, f"{where}.{name}")
        for name, each in schemas.items()
        if each is not False
    }


def _narrow_list(schemas: Any, where: str) -> list[Any]:
    return [_narrow(each, f"{where}.{at}") for at, each in enumerate(schemas)]


def _narrow_one(schema: Any, where: str) -> Any:
    return schema if isinstance(schema, bool) else _narrow(schema, where)


_CHANGES: dict[str, Callable[[Any, str], Any]] = {
    "properties": _narrow_table,
    "$defs": _narrow_table,
    "definitions": _narrow_table,
    "anyOf": _narrow_list,
    "oneOf": _narrow_list,
    "allOf": _narrow_list,
    "prefixItems": _narrow_list,
    "items": _narrow_one,
    "additionalProperties": _narrow_one,
}
# Keywords without effect; a default is not a constraint.
_ANNOTATIONS = ("title", "description", "default", "examples", "$schema", "$id", "deprecated")


def _narrow_number(schema: Json, where: str) -> Json:
    try:
        narrow = _within_bounds(schema)
    except (ArithmeticError, ValueError):  # beyond what a float can be, or a step of zero
        narrow = None
    if narrow is None:
        raise _unsupported_error(where, "numbers with these bounds")
    return narrow


def _within_bounds(schema: Json) -> Json | None:
    """Return the schema of numbers within the bounds; None if there are none.

    Raises:
        ArithmeticError: The numbers are too large or too small to be counted.
        ValueError: A bound is not a number.
    """
    bounds = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
    if "enum" in schema or "const" in schema or not any(name in schema for name in bounds):
        return schema
    whole = schema["type"] == "integer"
    step = schema.get("multipleOf")
    low, high = _tightest_bound(schema, "inimum", max), _tightest_bound(schema, "aximum", min)
    if low is not None and high is not None and low > high:
        return None
    if step is None and (whole or low is None or high is None):
        # Whole numbers are numbers too.
        if low is not None:
            low = math.ceil(low) + (math.ceil(low) == schema.get("exclusiveMinimum"))
        if high is not None:
            high = math.floor(high) - (math.floor(high) == schema.get("exclusiveMaximum"))
        kept = {"type": "integer", "minimum": low, "maximum": high}
        return {name: value for name, value in kept.items() if value is not None}
    choices = [each for each in _choices(low, high, step) if _allows(schema, each)]
    if whole:
        choices = [int(each) for each in choices if each == int(each)]
    return {"enum": choices} if choices else None


def _tightest_bound(schema: Json, name: str, choose: Callable[..., Any]) -> float | None:
    bounds = [schema[key] for key in (f"m{name}", f"exclusiveM{name}") if key in schema]
    return choose(bounds) if bounds else None


def _choices(low: float | None, high: float | None, step: float | None) -> list[float]:
    if step is None:
        assert low is not None
        assert high is not None
        digits = max(0, 2 - math.floor(math.log10((high - low) or 1)))
        numbers = [round(low + (high - low) * at / _STEPS, digits) for at in range(_STEPS + 1)]
        return list(dict.fromkeys(numbers))
    begin = 0 if low is None else math.ceil(low / step)
    begin = math.floor(high / step) - _STEPS if low is None and high is not None else begin
    numbers = [round((begin + at) * step, 10) for at in range(_STEPS * 10)]
    return [int(each) if each == int(each) else each for each in numbers][: _STEPS * 10]


def _allows(schema: Json, number: float) -> bool:
    return (
        number >= schema.get("minimum", number)
        and number <= schema.get("maximum", number)
        and ("exclusiveMinimum" not in schema or number > schema["exclusiveMinimum"])
        and ("exclusiveMaximum" not in schema or number < schema["exclusiveMaximum"])
    )


def _narrow_array(schema: Json, where: str) -> Json:
    if schema.pop("uniqueItems", False):
        if schema.get("minItems", 0) > 1:
            raise _unsupported_error(where, "uniqueItems with more than one item")
        schema["maxItems"] = 1
    if "prefixItems" in schema and isinstance(schema.get("items"), bool):
        schema.pop("items")
    if schema.get("items") is True:
        schema["items"] = _ANY
    if schema.get("items") is False:
        return {**schema, "items": _ANY, "maxItems": 0}
    return schema


def _narrow_string(schema: Json, where: str) -> Json:
    """Return the schema of a text with all of its conditions in one pattern.

    llama.cpp applies either the pattern or the lengths, and only to whole texts.
    """
    pattern = schema.get("pattern") or formats.PATTERNS.get(schema.get("format", ""))
    if not pattern or "enum" in schema or "const" in schema:
        return {name: value for name, value in schema.items() if name != "format"}
    if "pattern" in schema and (of_format := formats.PATTERNS.get(schema.get("format", ""))):
        pattern = _of_both(pattern, of_format, where)
    try:
        shortest, longest = schema.get("minLength", 0), schema.get("maxLength")
        whole = llama_pattern.fit(regex.parse(pattern), shortest, longest)
    except ValueError as error:
        raise _unsupported_error(f"{where}.pattern", f"{pattern!r}: {error}") from None
    if whole is None:
        raise _unsupported_error(where, "a pattern or format together with these lengths")
    rest = {name: value for name, value in schema.items() if name not in _TEXT}
    return {**rest, "type": "string", "pattern": f"^{whole}$"}


_TEXT = ("format", "pattern", "minLength", "maxLength")


def _of_both(pattern: str, of_format: str, where: str) -> str:
    """Return the pattern of a format if its texts match another pattern too."""
    part = regex.parse(of_format)
    if all(regex.found_in(pattern, regex.example(part, more)) for more in range(3)):
        return of_format
    raise _unsupported_error(where, "a pattern together with this format")


def _refers_to_root(schema: Any) -> bool:
    if isinstance(schema, Mapping):
        return schema.get("$ref") == "#" or any(map(_refers_to_root, schema.values()))
    return isinstance(schema, list) and any(map(_refers_to_root, schema))


def _unsupported_error(where: str, keyword: str) -> EngineError:
    return EngineError(
        f"{where} has {keyword}, which this deployment's engine cannot enforce; leave it out, "
        "or use a deployment with another engine",
        "invalid_json_schema",
    )
