"""Strict mode of OpenAI's models: what their schemas must say, and the service's refusals.

Source: "Structured outputs", "Supported schemas" of OpenAI's API; the wording is as quoted in
openai/openai-python#1629 and langchain-ai/langchain#24225.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from azinfer.local.api.chat.request import ChatRequest
from azinfer.local.engines.base import EngineError

_NAMED = ("properties", "$defs", "definitions")
_LISTED = ("anyOf", "prefixItems")


def has_strict(request: ChatRequest) -> bool:
    """Return whether a schema of a request is to be strict."""
    tools = (tool["function"].get("strict") for tool in request.tools)
    return request.strict_name is not None or any(each is True for each in tools)


def check_strict(request: ChatRequest, wire: str | None) -> None:
    """Raise if a schema that is to be strict does not say what strict mode needs.

    Args:
        request: The request, whose schemas are valid JSON Schemas.
        wire: The wire of the request, which decides how the error names a field.

    Raises:
        EngineError: An object allows other properties, or does not require all of its own.
    """
    on_responses = wire == "responses"
    if request.strict_name is not None and (problem := find_problem(request.json_schema or {})):
        raise EngineError(
            f"Invalid schema for response_format {request.strict_name!r}: {problem}",
            "invalid_json_schema",
            more={"param": "text.format.schema" if on_responses else "response_format"},
        )
    for at, tool in enumerate(request.tools):
        function = tool["function"]
        if function.get("strict") is True and (
            problem := find_problem(function.get("parameters") or {})
        ):
            where = "parameters" if on_responses else "function.parameters"
            raise EngineError(
                f"Invalid schema for function {function['name']!r}: {problem}",
                "invalid_function_parameters",
                more={"param": f"tools[{at}].{where}"},
            )


def find_problem(schema: Mapping[str, Any]) -> str | None:
    """Return why strict mode refuses a schema, in the service's words; None if it does not."""
    if schema and "$ref" not in schema and schema.get("type") != "object":
        kind = schema.get("type", "None")
        return f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{kind}\"'."
    return next(filter(None, (_problem(each, path) for each, path in _objects(schema))), None)


def _problem(schema: Mapping[str, Any], path: tuple[str, ...]) -> str | None:
    context = f"In context={path!r}, "
    if schema.get("additionalProperties") is not False:
        return f"{context}'additionalProperties' is required to be supplied and to be false."
    properties = schema.get("properties") or {}
    required = dict.fromkeys(schema.get("required") or ())
    missing = [name for name in properties if name not in required]
    rule = "'required' is required to be supplied and to be an array including every key in "
    if missing:
        return f"{context}{rule}properties. Missing {missing[0]!r}."
    extra = [name for name in required if name not in properties]
    return (
        f"{context}{rule}properties. Extra required key {extra[0]!r} supplied." if extra else None
    )


def _objects(schema: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], tuple[str, ...]]]:
    """Yield every schema of an object with its path; without recursion, as it may be deep."""
    left: list[tuple[Any, tuple[str, ...]]] = [(schema, ())]
    while left:
        each, path = left.pop()
        if not isinstance(each, Mapping):
            continue
        kind = each.get("type")
        if kind == "object" or (isinstance(kind, list) and "object" in kind):
            yield each, path
        inner = [(each.get("items"), (*path, "items"))]
        for name in _LISTED:
            some = each.get(name)
            for at, value in enumerate(some if isinstance(some, list) else ()):
                inner.append((value, (*path, name, str(at))))
        for name in _NAMED:
            table = each.get(name)
            if isinstance(table, Mapping):
                inner += [(value, (*path, name, str(key))) for key, value in table.items()]
        left += reversed(inner)
