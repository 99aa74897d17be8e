"""The validator of JSON Schemas, with a budget and with patterns in linear time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from azinfer.local.engines.schema import formats, regex
from azinfer.local.engines.schema.budget import spend

Keyword = Callable[[Any, Any, Any, Any], Iterator[Any] | None]


@functools.cache
def validator_class() -> Any:
    """Return the class of validators, which is created once."""
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
    from jsonschema.validators import extend  # type: ignore[import-untyped]

    keywords = {**Draft202012Validator.VALIDATORS, "pattern": _pattern}
    keywords["patternProperties"] = _pattern_properties
    keywords["format"] = _format
    return extend(
        Draft202012Validator,
        {name: _bound_keyword(keyword) for name, keyword in keywords.items()},
    )


def _bound_keyword(keyword: Keyword) -> Keyword:
    """Return the check of a keyword, which spends steps for each comparison."""

    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        spend(1 + _size(value) // 20)
        if "uniqueItems" in schema and isinstance(instance, list):
            spend(len(instance) ** 2 // 100)
        yield from keyword(validator, value, instance, schema) or ()

    return check


def _size(value: Any) -> int:
    """Return the number of entries of a keyword's value, such as an enum."""
    return len(value) if isinstance(value, list | dict) else 1


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if validator.is_type(instance, "string") and not regex.found_in(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _format(validator: Any, name: Any, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if validator.is_type(instance, "string") and not formats.is_valid(name, instance):
        yield ValidationError(f"{instance!r} does not have the format {name!r}")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Any
) -> Iterator[Any]:
    if not validator.is_type(instance, "object"):
        return
    for pattern, subschema in patterns.items():
        for name, value in instance.items():
            spend()
            if regex.found_in(pattern, name):
                yield from validator.descend(value, subschema, path=name, schema_path=pattern)
