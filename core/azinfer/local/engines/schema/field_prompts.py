"""Prompts that list output fields, as DSPy writes them, and answers in the form they ask for.

DSPy's adapters describe the fields in the system message, show how they are written (below
`[[ ## field ## ]]`, as JSON, or between XML tags), and add to each field what its values are like:
`{count}        # note: the value you produce must be a single int value`.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from azinfer.local.engines.base import last_text
from azinfer.local.engines.schema.budget import spend

OUTPUT_FIELDS = "Your output fields are:"
_STRUCTURE, _END = "structured in the following way", "In adhering to this structure"
_JSON_OUTPUT = "Outputs will be a JSON object"
_LONGEST = 50_000
_FIELD = re.compile(r"^\d+\. `(\w+)` \(", re.MULTILINE)
_CHOICES = re.compile(r"must (?:exactly match \(no extra characters\) |be )one of: (.*)")
_SCHEMA = "must adhere to the JSON schema: "
_KINDS = {
    "must be a single int value": "integer",
    "must be a single float value": "number",
    "must be True or False": "boolean",
}
# What stands around the values of the user's message.
_FRAME = re.compile(r"^(?:\[\[ ## \w+ ## \]\]|</?\w+>)$", re.MULTILINE)
_REQUEST = "\n\nRespond with "
Write = Callable[[Mapping[str, Any]], str]


def find_fields(messages: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], str, Write] | None:
    """Return what a prompt says of the fields that the answer must have.

    Args:
        messages: The conversation, oldest first.

    Returns:
        The JSON Schema of an object of these fields, the values in the newest message of the user,
        and what writes such an object as the prompt wants it; or None if it lists no fields.
    """
    systems = [each for each in messages if each.get("role") in ("system", "developer")]
    text = next((text for each in systems if OUTPUT_FIELDS in (text := last_text([each]))), "")
    outputs, _, structure = text[:_LONGEST].partition(OUTPUT_FIELDS)[2].partition(_STRUCTURE)
    spend(len(text[:_LONGEST]) // 100)
    structure = structure.partition(_END)[0]
    names = dict.fromkeys(_FIELD.findall(outputs))
    notes, write = _notes(structure)
    schemas = {name: _schema_of(notes[name]) for name in names if name in notes}
    if not schemas:
        return None
    # References in the schema of a field are to its own definitions.
    definitions: dict[str, Any] = {}
    for schema in schemas.values():
        definitions |= schema.pop("$defs", {})
    users = [each for each in messages if each.get("role") == "user"]
    values = _FRAME.sub("", last_text(users[-1:])[:_LONGEST].rpartition(_REQUEST)[0])
    whole = {"type": "object", "properties": schemas, "required": list(schemas)}
    return whole | ({"$defs": definitions} if definitions else {}), values, write


def _notes(structure: str) -> tuple[Mapping[str, str], Write]:
    """Return what the structure says of each field, and what writes fields like it."""
    _, is_json, form = structure.partition(_JSON_OUTPUT)
    if is_json:
        try:
            table = json.JSONDecoder().raw_decode(form, form.index("{"))[0]
        except (ValueError, RecursionError):
            return {}, json.dumps
        return {name: str(note).partition("}")[2] for name, note in table.items()}, json.dumps
    notes = dict(re.findall(r"^\{(\w+)\}(.*)$", structure, re.MULTILINE))
    return notes, _write_sections if "[[ ## " in structure else _write_tags


def _schema_of(note: str) -> dict[str, Any]:
    """Return the JSON Schema of a field's values, which are text if nothing is said of them."""
    for words, kind in _KINDS.items():
        if words in note:
            return {"type": kind}
    if match := _CHOICES.search(note):
        return {"enum": match[1].split("; ")}
    try:
        schema = json.loads(note.partition(_SCHEMA)[2])
    except (ValueError, RecursionError):
        return {"type": "string"}
    return schema if isinstance(schema, dict) else {}


def _write_sections(fields: Mapping[str, Any]) -> str:
    sections = [f"[[ ## {name} ## ]]\n{_written(value)}" for name, value in fields.items()]
    return "\n\n".join([*sections, "[[ ## completed ## ]]"])


def _write_tags(fields: Mapping[str, Any]) -> str:
    return "\n\n".join(
        f"<{name}>\n{html.escape(_written(value), quote=False)}\n</{name}>"
        for name, value in fields.items()
    )


def _written(value: Any) -> str:
    """Return a value as Python or JSON writes it; text as it is."""
    return str(value) if isinstance(value, str | bool) else json.dumps(value, ensure_ascii=False)
