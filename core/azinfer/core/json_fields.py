"""Fields of JSON objects, whose types no service guarantees."""

from __future__ import annotations

from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

_LARGEST_COUNT = 2**53  # the largest whole number that every JSON library reads exactly


def as_object(value: Any) -> Json:
    """Return a value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_objects(value: Any) -> list[Json]:
    """Return the objects of a value that should be a list of objects."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def as_text(value: Any) -> str:
    """Return a value if it is text, else an empty one."""
    return value if isinstance(value, str) else ""


def as_count(value: Any) -> int:
    """Return a count, which some services write as 5.0, or 0 if the value is not a count."""
    if value.__class__ is not int and not isinstance(value, float):
        return 0
    return int(value) if 0 <= value <= _LARGEST_COUNT else 0


def as_index(value: Any) -> int | None:
    """Return an index, which some services write as 1.0, or None if the value is not one."""
    if value.__class__ is int:
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else None


def count_of_digits(text: str) -> int:
    """Return the count in a header, or 0 if it is not one."""
    return as_count(int(text)) if text.isdecimal() and len(text) < 17 else 0
