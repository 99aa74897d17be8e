"""JSON Schemas in the text of a prompt, where frameworks put them for models without schemas.

pydantic-ai (prompted output), instructor (its JSON modes), LlamaIndex, LangChain and
ragas describe the answer in the text of a message.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from azinfer.local.engines.base import last_text
from azinfer.local.engines.schema.budget import spend

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
    return schema, _split(last_text(users[-1:]))[1]


def _split(text: str) -> tuple[list[dict[str, Any]], str]:
    """Return the schemas in a text, and the text without them."""
    if '"properties"' not in text:
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
