"""Answers as values of one's own types: the schema that is sent, and reading the answer back."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from azinfer.core.errors import ConfigurationError

# The keywords whose values are schemas, and those that give schemas names of the author's own;
# what other keywords hold (`enum`, `const`, `examples`) is no schema.
# Source: "JSON Schema: A Media Type for Describing JSON Documents", 2020-12, sections 8.2.4, 10.
_SCHEMAS = frozenset(
    {
        *("items", "prefixItems", "contains", "additionalProperties", "propertyNames"),
        *("anyOf", "allOf", "oneOf", "not", "if", "then", "else"),
    }
)
_BY_NAME = frozenset(
    {"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"}
)


@lru_cache(maxsize=256)
def adapter_of(kind: type) -> Any:
    """The TypeAdapter (of pydantic) for a pydantic model, a dataclass or any other type it knows.

    Raises:
        ConfigurationError: pydantic is not installed.
    """
    try:
        from pydantic import TypeAdapter
    except ModuleNotFoundError:
        raise ConfigurationError(
            f"response_format={kind.__name__} needs pydantic: pip install pydantic, or give "
            "a JsonSchema"
        ) from None
    return TypeAdapter(kind)


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON Schema in the form that strict structured output asks for.

    Every property is required, no other is allowed, and none has a default.
    Source: "Structured outputs", Azure OpenAI, supported schemas and limitations.

    Example:
        >>> strict_schema({"properties": {"name": {"default": "Delft"}}})["required"]
        ['name']
    """
    strict = {key: _inside(key, value) for key, value in schema.items() if key != "default"}
    if isinstance(properties := schema.get("properties"), Mapping):
        strict |= {"additionalProperties": False, "required": list(properties)}
    return strict


def _inside(key: str, value: Any) -> Any:
    if key in _BY_NAME and isinstance(value, Mapping):
        return {name: _strict(each) for name, each in value.items()}
    return _strict(value) if key in _SCHEMAS else value


def _strict(value: Any) -> Any:
    """What stands where a schema may: one, several, or a bare true or false."""
    if isinstance(value, list):
        return [_strict(each) for each in value]
    return strict_schema(value) if isinstance(value, Mapping) else value
