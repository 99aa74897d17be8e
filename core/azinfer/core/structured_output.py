"""Structured output: the JSON Schema of a type, and reading a response as that type."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from azinfer.core.errors import ConfigurationError

# The keywords whose values are schemas, and those whose values are schemas by name. The values of
# other keywords (`enum`, `const`, `examples`) are not schemas.
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
    """Return pydantic's TypeAdapter for a pydantic model, a dataclass or another type.

    Raises:
        ConfigurationError: pydantic is not installed.
    """
    try:
        from pydantic import TypeAdapter
    except ModuleNotFoundError:
        raise ConfigurationError(
            f"response_format={kind.__name__} needs pydantic: pip install pydantic, or "
            "pass a JsonSchema"
        ) from None
    return TypeAdapter(kind)


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON Schema in the form that strict structured output requires.

    Every property is required, others are not allowed, and defaults are removed.
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
    """Return the strict form of a schema, of several schemas, or of true or false."""
    if isinstance(value, list):
        return [_strict(each) for each in value]
    return strict_schema(value) if isinstance(value, Mapping) else value
