"""JSON Schemas in the text of a prompt, where frameworks put them for models without schemas.

pydantic-ai (prompted output), instructor (its JSON modes), LlamaIndex, LangChain and
ragas describe the answer in the text of a message; so does agno, by its properties alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from azinfer.local.engines.base import last_text
from azinfer.local.engines.schema.budget import spend

# One of these is in each text that has a schema.
SCHEMA_WORDS = ('"properties"', "<json_field_properties>")
_BEGIN, _END = SCHEMA_WORDS[1], "</json_field_properties>"
# What stands before the input of a prompt that has examples, as ragas writes it.
_INPUT = "Now perform the same with the following input"
# A schema is in the first part of a message, among few other objects.
_LONGEST, _MOST_TRIES = 50_000, 100


def find_schema(messages: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], str] | None:
    """Return the JSON Schema that a prompt asks for, and the user's text without it.

    Of several schemas the last one counts: those before it are examples.

    Args:
        messages: The conversation, oldest first.

    Returns:
        The schema and the text of the newest message of the user without schemas, or None if no
        message has a schema.
    """
    schema = None
    for message in messages:
        if message.get("role") in ("system", "developer", "user"):
            schemas, _ = _split(last_text([message]))
            schema = schemas[-1] if schemas else schema
    if schema is None:
        return None
    users = [each for each in messages if each.get("role") == "user"] or messages
    text = _split(last_text(users[-1:]))[1]
    _, has_examples, task = text.rpartition(_INPUT)
    return schema, _values_in(task) if has_examples else text


def _values_in(text: str) -> str:
    """Return the texts in the JSON of a prompt's input, or the text itself without JSON."""
    begin = text.find("{")
    try:
        value = json.JSONDecoder().raw_decode(text, begin)[0] if begin >= 0 else None
        texts = list(_texts_in(value))
    except (ValueError, RecursionError):
        return text
    return "\n".join(texts) or text


def _texts_in(value: Any) -> Iterator[str]:
    spend()
    if isinstance(value, str):
        yield value
    elif isinstance(value, int | float):
        yield str(value)
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts_in(each)


def _split(text: str) -> tuple[list[dict[str, Any]], str]:
    """Return the schemas in a text, and the text without them."""
    text = _with_whole_schema(text)
    if SCHEMA_WORDS[0] not in text:
        return [], text
    schemas, rest, at, decoder = [], "", 0, json.JSONDecoder()
    for _ in range(_MOST_TRIES):
        begin = text.find("{", at, _LONGEST)
        if begin < 0:
            break
        try:
            value, end = decoder.raw_decode(text, begin)
        except (ValueError, RecursionError):
            value, end = None, begin + 1
        spend(1 + (end - begin) // 1000)
        if _is_schema(value):
            schemas.append(value)
            rest += text[at:begin]
        else:
            rest += text[at:end]
        at = end
    return schemas, rest + text[at:]


def _is_schema(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("properties"), dict)


def _with_whole_schema(text: str) -> str:
    """Return a text with a schema in the place of the properties that it lists between tags."""
    before, begin, rest = text.partition(_BEGIN)
    listed, end, after = rest.partition(_END)
    if not (begin and end and len(listed) <= _LONGEST):
        return text
    spend(1 + len(listed) // 1000)
    try:
        properties = json.loads(listed)
        definitions = properties.pop("$defs", {})
        nested = {name: _as_schema(each) for name, each in definitions.items()}
    except (ValueError, AttributeError, TypeError, RecursionError):
        return text
    schema = {**_as_object(properties), "$defs": nested}
    return f"{before}{json.dumps(schema)}{after}"


def _as_schema(definition: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a definition, which is an enum or else the properties of an object."""
    return definition if "enum" in definition else _as_object(definition)


def _as_object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}
