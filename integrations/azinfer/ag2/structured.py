"""Structured output: the schema that the service is asked for."""

from __future__ import annotations

import re
from typing import Any

from ag2.response import ResponseProto

from azinfer.core import JsonSchema


def response_format_of(wanted: ResponseProto[Any] | None) -> JsonSchema | None:
    """The schema that an answer is held to; None where there is none.

    Where strict output cannot have it, for objects with any keys, it goes as it is.
    """
    if wanted is None or not wanted.json_schema:
        return None
    name = re.sub(r"[^\w-]", "_", wanted.name, flags=re.ASCII)[:64]
    closed = _closed(wanted.json_schema)
    if _is_open(closed):
        return JsonSchema(name, wanted.json_schema, False, wanted.description)
    return JsonSchema(name, closed, True, wanted.description)


def _closed(schema: Any) -> Any:
    """A JSON Schema in the form that strict structured output asks for.

    Source: "Structured outputs", Azure OpenAI, supported schemas and limitations.
    """
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {
        name: {key: _closed(each) for key, each in value.items()}
        if name in ("properties", "$defs")
        else _closed(value)
        for name, value in schema.items()
        if name != "default"
    }
    if "properties" in schema:
        closed |= {"additionalProperties": False, "required": list(schema["properties"])}
    return closed


def _is_open(schema: Any) -> bool:
    """Whether there are objects in it with keys that nobody named; strict output has none."""
    if isinstance(schema, list):
        return any(map(_is_open, schema))
    if not isinstance(schema, dict):
        return False
    own = schema.get("type") == "object" and schema.get("additionalProperties") is not False
    return own or any(map(_is_open, schema.values()))
