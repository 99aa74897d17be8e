"""Narrowing: a JSON Schema made one that a grammar can hold a small model to.

llama.cpp makes a grammar of a schema and leaves out, without a word, what a grammar cannot say.
So each schema is made a narrower one first, whose every value the asked schema allows too: a
number between 0 and 1 is one of a hundred, an e-mail address has a pattern. What cannot be made
narrower is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from azinfer.local.engines.base import EngineError
from azinfer.local.engines.schema import regex

Json = dict[str, Any]
_STEPS = 100
_NEVER = (
    *("not", "if", "contains", "dependentRequired", "dependentSchemas", "dependencies"),
    *("propertyNames", "patternProperties", "unevaluatedProperties", "unevaluatedItems"),
    *("minProperties", "maxProperties"),
)
# Formats that llama.cpp knows stay; these are put in patterns. Any others only annotate.
_FORMATS = {
    "email": r"^[a-z0-9]{1,20}(\.[a-z0-9]{1,20})?@[a-z0-9]{1,20}\.[a-z]{2,6}$",
    "uri": r"^https://[a-z0-9]{1,20}\.[a-z]{2,6}(/[a-z0-9]{1,20})*$",
    "url": r"^https://[a-z0-9]{1,20}\.[a-z]{2,6}(/[a-z0-9]{1,20})*$",
    "hostname": r"^[a-z0-9]{1,20}\.[a-z]{2,6}$",
    "ipv4": r"^[1-9][0-9]?\.[1-9]?[0-9]\.[1-9]?[0-9]\.[1-9]?[0-9]$",
}
_ANY: Json = {
    "anyOf": [{"type": "string", "maxLength": 60}, {"type": ["number", "boolean", "null"]}]
}


def narrowed(schema: Mapping[str, Any]) -> Json:
    """A schema that a grammar can say, whose values the given schema allows too.

    Raises:
        EngineError: There is none; the text names the keyword.
    """
    narrow: Json = _narrowed(schema, "schema")
    if _refers_to_root(schema):
        # llama.cpp looks up definitions alone.
        definitions = {**narrow.pop("$defs", {}), "_root": narrow}
        return {"$defs": definitions, "$ref": "#/$defs/_root"}
    return narrow


def _narrowed(schema: Any, where: str) -> Any:
    if schema is True or schema == {}:
        return _ANY
    if not isinstance(schema, Mapping):
        raise _refused(where, "false")
    told = _without_the_rest(schema, where)
    for name, change in _CHANGES.items():
        if name in told:
            told[name] = change(told[name], f"{where}.{name}")
    if told.get("$ref") == "#":
        told["$ref"] = "#/$defs/_root"
    return _typed(told, where)


def _without_the_rest(schema: Mapping[str, Any], where: str) -> Json:
    """A schema without what only describes, and without what asks for nothing."""
    for keyword in _NEVER:
        if keyword in schema and not _is_idle(schema, keyword):
            raise _refused(where, keyword)
    return {name: value for name, value in schema.items() if name not in (*_NEVER, *_TOLD)}


def _typed(told: Json, where: str) -> Json:
    kind = told.get("type")
    if kind in ("number", "integer"):
        return _numbered(told, where)
    if kind == "array" or "prefixItems" in told or "items" in told:
        return _listed(told, where)
    return _texted(told) if kind == "string" or "pattern" in told else told


def _is_idle(schema: Mapping[str, Any], keyword: str) -> bool:
    """Whether a keyword asks for nothing that is not so anyhow."""
    if keyword == "minProperties":
        return int(schema[keyword]) <= len(schema.get("required", ()))
    if keyword == "maxProperties":
        closed = schema.get("additionalProperties") is False
        return closed and len(schema.get("properties", ())) <= int(schema[keyword])
    return keyword.startswith("unevaluated")


def _many(told: Mapping[str, Any], where: str) -> Json:
    # What may never be there is left out.
    return {
        name: _narrowed(each, f"{where}.{name}") for name, each in told.items() if each is not False
    }


def _each(told: Any, where: str) -> list[Any]:
    return [_narrowed(each, f"{where}.{at}") for at, each in enumerate(told)]


def _one(told: Any, where: str) -> Any:
    return told if isinstance(told, bool) else _narrowed(told, where)


_CHANGES: dict[str, Callable[[Any, str], Any]] = {
    "properties": _many,
    "$defs": _many,
    "definitions": _many,
    "anyOf": _each,
    "oneOf": _each,
    "allOf": _each,
    "prefixItems": _each,
    "items": _one,
    "additionalProperties": _one,
}
# What only describes; a default is no constraint.
_TOLD = ("title", "description", "default", "examples", "$schema", "$id", "deprecated")


def _numbered(told: Json, where: str) -> Json:
    bounds = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
    if "enum" in told or "const" in told or not any(name in told for name in bounds):
        return told
    whole = told["type"] == "integer"
    step = told.get("multipleOf")
    low, high = _bound(told, "inimum", max), _bound(told, "aximum", min)
    if step is None and (whole or low is None or high is None):
        # Whole numbers are numbers too.
        if low is not None:
            low = math.ceil(low) + (math.ceil(low) == told.get("exclusiveMinimum"))
        if high is not None:
            high = math.floor(high) - (math.floor(high) == told.get("exclusiveMaximum"))
        kept = {"type": "integer", "minimum": low, "maximum": high}
        return {name: value for name, value in kept.items() if value is not None}
    choices = [each for each in _choices(low, high, step) if _allows(told, each)]
    if whole:
        choices = [int(each) for each in choices if each == int(each)]
    if not choices:
        raise _refused(where, "numbers with these bounds")
    return {"enum": choices}


def _bound(told: Json, name: str, choose: Callable[..., Any]) -> float | None:
    given = [told[key] for key in (f"m{name}", f"exclusiveM{name}") if key in told]
    return choose(given) if given else None


def _choices(low: float | None, high: float | None, step: float | None) -> list[float]:
    if step is None:
        assert low is not None
        assert high is not None
        digits = max(0, 2 - math.floor(math.log10((high - low) or 1)))
        found = [round(low + (high - low) * at / _STEPS, digits) for at in range(_STEPS + 1)]
        return list(dict.fromkeys(found))
    begin = 0 if low is None else math.ceil(low / step)
    begin = math.floor(high / step) - _STEPS if low is None and high is not None else begin
    found = [round((begin + at) * step, 10) for at in range(_STEPS * 10)]
    return [int(each) if each == int(each) else each for each in found][: _STEPS * 10]


def _allows(told: Json, number: float) -> bool:
    return (
        number >= told.get("minimum", number)
        and number <= told.get("maximum", number)
        and ("exclusiveMinimum" not in told or number > told["exclusiveMinimum"])
        and ("exclusiveMaximum" not in told or number < told["exclusiveMaximum"])
    )


def _listed(told: Json, where: str) -> Json:
    if told.pop("uniqueItems", False):
        if told.get("minItems", 0) > 1:
            raise _refused(where, "uniqueItems with more than one item")
        told["maxItems"] = 1
    if "prefixItems" in told and isinstance(told.get("items"), bool):
        told.pop("items")
    if told.get("items") is True:
        told["items"] = _ANY
    if told.get("items") is False:
        return {**told, "items": _ANY, "maxItems": 0}
    return told


def _texted(told: Json) -> Json:
    pattern = told.get("pattern") or _FORMATS.get(told.get("format", ""))
    if not pattern or "enum" in told or "const" in told:
        return told
    # llama.cpp minds either the pattern or the lengths, and only whole texts.
    told = {name: value for name, value in told.items() if name not in ("format", "pattern")}
    return {**told, "type": "string", "pattern": f"^{regex.plain(regex.parse(pattern))}$"}


def _refers_to_root(schema: Any) -> bool:
    if isinstance(schema, Mapping):
        return schema.get("$ref") == "#" or any(map(_refers_to_root, schema.values()))
    return isinstance(schema, list) and any(map(_refers_to_root, schema))


def _refused(where: str, keyword: str) -> EngineError:
    return EngineError(
        f"{where} has {keyword}, which this deployment's model cannot be held to; leave it out, "
        "or ask a deployment of another engine",
        "invalid_json_schema",
    )
