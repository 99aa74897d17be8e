"""Structured output: the schema of a request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ag2.response import ResponseProto

from azinfer.core import JsonSchema, strict_schema


def response_format_of(wanted: ResponseProto[Any] | None) -> JsonSchema | None:
    """Return the schema that the service enforces, or None without one.

    A schema that strict output does not support, of objects with arbitrary keys, is sent as it is.
    """
    if wanted is None or not wanted.json_schema:
        return None
    return json_schema_of(wanted.name, wanted.json_schema, wanted.description)


def json_schema_of(
    name: str, schema: Mapping[str, Any], description: str | None = None
) -> JsonSchema:
    """Return a schema in the form that strict output requires, or as it is if it cannot be strict.

    Args:
        name: Its name; characters that no name may have become `_`.
        schema: The schema.
        description: What the answer is.
    """
    name = re.sub(r"[^\w-]", "_", name, flags=re.ASCII)[:64]
    closed = strict_schema(schema)
    if _is_open(closed):
        return JsonSchema(name, schema, False, description)
    return JsonSchema(name, closed, True, description)


def _is_open(schema: Any) -> bool:
    """Return True if a schema allows objects with unnamed keys, which strict output does not."""
    if isinstance(schema, list):
        return any(map(_is_open, schema))
    if not isinstance(schema, dict):
        return False
    own = schema.get("type") == "object" and schema.get("additionalProperties") is not False
    return own or any(map(_is_open, schema.values()))
