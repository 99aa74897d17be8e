"""Prompts that list output fields, as DSPy writes them, and answers in the form they ask for.

DSPy's adapters describe the fields in the system message, show how they are written (below
`[[ ## field ## ]]`, as JSON, or between XML tags), and add to each field what its values are like:
`{count}        # note: the value you produce must be a single int value`.
"""

from __future__ import annotations

import ast
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
# An agent's fields, and what the user's message has once a tool was called.
_TOOL_NAME, _TOOL_ARGUMENTS = "next_tool_name", "next_tool_args"
_OBSERVATION = re.compile(r"^(?:\[\[ ## |<)observation_0", re.MULTILINE)
_TOOL_SCHEMA, _LONGEST_SCHEMA, _LAST_TOOL = "</desc>. It takes arguments ", 5_000, "finish"
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
        own = schema.pop("$defs", None)
        definitions |= own if isinstance(own, dict) else {}
    users = [each for each in messages if each.get("role") == "user"]
    question = last_text(users[-1:])[:_LONGEST]
    if schemas.keys() >= {_TOOL_NAME, _TOOL_ARGUMENTS}:
        is_finished = _OBSERVATION.search(question) is not None
        schemas |= _tool_call(text[:_LONGEST], schemas[_TOOL_NAME], is_finished)
    values = _FRAME.sub("", question.rpartition(_REQUEST)[0])
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


def _tool_call(text: str, names: Mapping[str, Any], is_finished: bool) -> dict[str, Any]:
    """Return the fields of an agent that calls its first tool once and then ends."""
    tools = dict(zip(names.get("enum", ()), text.split(_TOOL_SCHEMA)[1:], strict=False))
    name = _LAST_TOOL if is_finished else next(iter(tools), _LAST_TOOL)
    arguments = tools.get(name, "{}").partition("\n")[0].rstrip(".")
    try:
        # Python's own form of the tool's properties.
        properties = ast.literal_eval(arguments[:_LONGEST_SCHEMA])
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        properties = None
    if not isinstance(properties, dict):
        return {}
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {_TOOL_NAME: {"const": name}, _TOOL_ARGUMENTS: schema}


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
