"""Structured output: the response format of a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from azinfer.core import JsonSchema, strict_schema

_FORMATS = ("json_schema", "json_object", "text")


def to_response_format(wanted: Any) -> Any:
    """Return a response format for core.

    Args:
        wanted: A pydantic model, a JSON Schema (sent as a strict one, by its title), or the
            wire's own form.
    """
    if not isinstance(wanted, Mapping) or wanted.get("type") in _FORMATS:
        return wanted
    schema = strict_schema(wanted)
    return JsonSchema(str(schema.pop("title", None) or "response"), schema)
