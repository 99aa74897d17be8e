"""JSON Schemas: checked before an engine is asked, and held against what it wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from azinfer.local.engines.base import EngineError
from azinfer.local.engines.schema import regex

# OpenAI's own limits are 120,000 characters and ten levels.
_LONGEST, _DEEPEST = 120_000, 64
# Agents send the same schemas again and again.
_REMEMBERED = 200
_good: dict[str, None] = {}


def check(schema: Mapping[str, Any], where: str) -> None:
    """Refuse what is no JSON Schema, or one that nothing can be held to.

    Args:
        schema: The schema.
        where: What errors call it.

    Raises:
        EngineError: It is too large, refers to nothing, or is none.
    """
    text = json.dumps(schema)
    if len(text) > _LONGEST:
        raise _wrong(where, f"is longer than {_LONGEST} characters")
    if text not in _good:
        _check(schema, where)
        _good[text] = None
        if len(_good) > _REMEMBERED:
            _good.pop(next(iter(_good)))


def _check(schema: Mapping[str, Any], where: str) -> None:
    for place, each in _schemas(schema, where):
        if place.count(".") - where.count(".") > _DEEPEST:
            raise _wrong(where, f"is nested deeper than {_DEEPEST} levels")
        if isinstance(reference := each.get("$ref"), str):
            _resolved(schema, reference, place)
        if isinstance(pattern := each.get("pattern"), str):
            try:
                regex.parse(pattern)
            except ValueError as error:
                raise _wrong(place, f"pattern {pattern!r} {error}") from None
    from jsonschema import Draft202012Validator, SchemaError  # type: ignore[import-untyped]

    try:
        Draft202012Validator.check_schema(dict(schema))
    except SchemaError as error:
        path = ".".join(map(str, (where, *error.absolute_path)))
        raise _wrong(path, f"is no JSON Schema: {error.message}") from None


def verify(value: Any, schema: Mapping[str, Any]) -> str | None:
    """How a value breaks a schema; None where it conforms."""
    from jsonschema import Draft202012Validator
    from referencing import Registry

    # An empty registry keeps it from fetching what a schema refers to.
    validator = Draft202012Validator(dict(schema), registry=Registry())
    error = next(validator.iter_errors(value), None)
    return None if error is None else f"{error.json_path}: {error.message}"


def resolved(schema: Mapping[str, Any], reference: str) -> Any:
    """What a reference of a schema refers to, within it.

    Raises:
        EngineError: It refers to nothing, or to something elsewhere.
    """
    return _resolved(schema, reference, "the schema")


def _resolved(schema: Mapping[str, Any], reference: str, where: str) -> Any:
    if not reference.startswith("#"):
        raise _wrong(where, f"refers to {reference!r}; only what begins with # is looked up")
    found: Any = schema
    for name in reference.removeprefix("#").strip("/").split("/") if reference != "#" else ():
        name = name.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, Mapping) or name not in found:
            raise _wrong(where, f"refers to {reference!r}, which it does not have")
        found = found[name]
    return found


def _schemas(schema: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every table in a schema, with its place; without recursion, as it may be deep."""
    left = [(where, schema)]
    while left:
        place, each = left.pop()
        if isinstance(each, Mapping):
            yield place, each
            left += [(f"{place}.{name}", value) for name, value in each.items()]
        elif isinstance(each, list):
            left += [(f"{place}.{at}", value) for at, value in enumerate(each)]


def _wrong(where: str, reason: str) -> EngineError:
    return EngineError(f"{where} {reason}", "invalid_json_schema", more={"param": where})
