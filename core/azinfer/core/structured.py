"""Answers as values of one's own types: the schema that is sent, and reading the answer back."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from azinfer.core.errors import ConfigurationError


@lru_cache(maxsize=256)
def adapter_of(wanted: type) -> Any:
    """The TypeAdapter (of pydantic) for a pydantic model, a dataclass or any other type it knows.

    Raises:
        ConfigurationError: pydantic is not installed.
    """
    try:
        from pydantic import TypeAdapter
    except ModuleNotFoundError:
        raise ConfigurationError(
            f"response_format={wanted.__name__} needs pydantic: pip install pydantic, or give "
            "a JsonSchema"
        ) from None
    return TypeAdapter(wanted)


def strict_schema_of(wanted: type) -> dict[str, Any]:
    """The JSON Schema of a type, in the form that strict structured output asks for.

    Every property is required and no other is allowed.
    Source: "Structured outputs", Azure OpenAI, supported schemas and limitations.
    """
    schema: dict[str, Any] = _closed(adapter_of(wanted).json_schema())
    return schema


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items() if key != "default"}
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
        closed |= {"additionalProperties": False, "required": list(schema["properties"])}
    return closed
