"""Validation: of JSON Schemas before an engine runs, and of values by a schema afterwards."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from azinfer.local.engines.base import EngineError
from azinfer.local.engines.schema import regex
from azinfer.local.engines.schema.bounded_validator import validator_class
from azinfer.local.engines.schema.budget import OverBudgetError

# OpenAI's own limits are 120,000 characters and ten levels.
_LONGEST, _DEEPEST = 120_000, 64
# The largest values that a schema may demand.
_LARGEST = {"minItems": 10_000, "minProperties": 10_000, "minLength": 100_000, "minContains": 100}
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
# Numbers of a prompt are up to here.
_USUAL = 1e15
# Agents send the same schemas many times.
_REMEMBERED = 200
_valid: dict[str, None] = {}


def check(schema: Mapping[str, Any], where: str) -> None:
    """Raise if a schema is not valid, or if no engine can enforce it.

    Args:
        schema: The schema.
        where: The name of the schema in errors.

    Raises:
        EngineError: The schema is too large, not valid, or has a reference without a target.
    """
    text = json.dumps(schema)
    if len(text) > _LONGEST:
        raise _error(where, f"is longer than {_LONGEST} characters")
    if text not in _valid:
        _check(schema, where)
        _valid[text] = None
        if len(_valid) > _REMEMBERED:
            _valid.pop(next(iter(_valid)))


def _check(schema: Mapping[str, Any], where: str) -> None:
    for place, each in _schemas(schema, where):
        if place.count(".") - where.count(".") > _DEEPEST:
            raise _error(where, f"is nested deeper than {_DEEPEST} levels")
        if isinstance(reference := each.get("$ref"), str):
            _resolve(schema, reference, place)
        for pattern in _patterns(each):
            try:
                regex.parse(pattern)
            except ValueError as error:
                raise _error(place, f"pattern {pattern!r} {error}") from None
    from jsonschema.exceptions import best_match  # type: ignore[import-untyped]

    validator = validator_class()(validator_class().META_SCHEMA)
    try:
        problem = best_match(validator.iter_errors(dict(schema)))
    except OverBudgetError:
        raise _error(where, "is too large to be checked") from None
    if problem is not None:
        path = ".".join(map(str, (where, *problem.absolute_path)))
        raise _error(path, f"is not a valid JSON Schema: {problem.message}")
    _check_sizes(schema, where)


def _patterns(schema: Mapping[str, Any]) -> list[str]:
    """Return the regular expressions of one table of a schema."""
    patterns = [pattern] if isinstance(pattern := schema.get("pattern"), str) else []
    named = schema.get("patternProperties")
    return [*patterns, *named] if isinstance(named, Mapping) else patterns


def _check_sizes(schema: Mapping[str, Any], where: str) -> None:
    """Raise if a schema demands values that are larger than any answer."""
    for place, each in _schemas(schema, where):
        for name, most in _LARGEST.items():
            value = each.get(name)
            if isinstance(value, int | float) and value > most:
                raise _error(f"{place}.{name}", f"must be at most {most}, not {value:g}")
        if _is_uncountable(each):
            reason = f"{each['multipleOf']:g} is too small to be counted; leave it out"
            raise _error(f"{place}.multipleOf", reason)


def _is_uncountable(schema: Mapping[str, Any]) -> bool:
    """Return whether the steps between numbers are too small beside the numbers themselves."""
    numbers = [schema.get(name) for name in ("multipleOf", *_BOUNDS)]
    step, *bounds = [each if isinstance(each, int | float) else 0 for each in numbers]
    return step > 0 and math.isinf(max(_USUAL, *map(abs, bounds)) / step)


def verify(value: Any, schema: Mapping[str, Any]) -> str | None:
    """Return how a value violates a schema; None if it conforms.

    Raises:
        EngineError: The check takes more steps than it may.
    """
    from referencing import Registry

    # With an empty registry it never fetches what a schema refers to.
    validator = validator_class()(dict(schema), registry=Registry())
    try:
        error = next(validator.iter_errors(value), None)
    except (OverBudgetError, RecursionError):
        raise _error("the JSON Schema", "takes too many steps to check; simplify it") from None
    return None if error is None else f"{error.json_path}: {error.message}"


def resolve(schema: Mapping[str, Any], reference: str) -> Any:
    """Return the target of a reference within a schema.

    Raises:
        EngineError: The target does not exist, or is outside the schema.
    """
    return _resolve(schema, reference, "the schema")


def _resolve(schema: Mapping[str, Any], reference: str, where: str) -> Any:
    if not reference.startswith("#"):
        raise _error(where, f"refers to {reference!r}; only references with # are supported")
    target: Any = schema
    for name in reference.removeprefix("#").strip("/").split("/") if reference != "#" else ():
        name = name.replace("~1", "/").replace("~0", "~")
        if not isinstance(target, Mapping) or name not in target:
            raise _error(where, f"refers to {reference!r}, which it does not have")
        target = target[name]
    return target


def _schemas(schema: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every table in a schema, with its place; without recursion, as it may be deep."""
    left = [(where, schema)]
    while left:
        place, each = left.pop()
        if isinstance(each, Mapping):
            yield place, each
            left += [(f"{place}.{name}", value) for name, value in each.items()]
        elif isinstance(each, list):
            left += [(f"{place}.{at}", value) for at, value in enumerate(each)]


def _error(where: str, reason: str) -> EngineError:
    return EngineError(f"{where} {reason}", "invalid_json_schema", more={"param": where})
