"""Prompts that list the fields of the answer, as DSPy writes them, answered without a model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from azinfer.local import LocalDeployment, LocalEndpoint, SyntheticEngine

NOTE = "        # note: the value you produce must "
PERSON = {
    "type": "object",
    "properties": {"name": {"$ref": "#/$defs/Name"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "$defs": {"Name": {"type": "string"}},
}
NOTES = {
    "person": f"{NOTE}adhere to the JSON schema: {json.dumps(PERSON)}",
    "city": f"{NOTE}exactly match (no extra characters) one of: Paris; Rome",
    "mood": f"{NOTE}be one of: good; bad",
    "count": f"{NOTE}be a single int value",
    "share": f"{NOTE}be a single float value",
    "sure": f"{NOTE}be True or False",
    "why": "",
}
ANSWER = {
    "person": {"name": "Ann & Co <x>", "age": 42},
    "city": "Rome",
    "mood": "good",
    "count": 7,
    "share": 0.5,
    "sure": True,
    "why": "Rome",
}
TEXT = 'The person "Ann & Co <x>" is 42, has 7 cats and 0.5 dogs, and lives in Rome.'
TAGS = """<person>
{"name": "Ann &amp; Co &lt;x&gt;", "age": 42}
</person>

<city>
Rome
</city>

<mood>
good
</mood>

<count>
7
</count>

<share>
0.5
</share>

<sure>
True
</sure>

<why>
Rome
</why>"""


def structure(form: str) -> str:
    """Return how the fields of an answer are written."""
    if form == "json":
        table = {name: f"{{{name}}}{note}" for name, note in NOTES.items()}
        return (
            "[[ ## text ## ]]\n{text}\n\n"
            f"Outputs will be a JSON object with the following fields.\n\n{json.dumps(table)}"
        )
    begin, end = ("[[ ## %s ## ]]\n", "") if form == "sections" else ("<%s>\n", "\n</%s>")
    fields = {"text": "", **NOTES}
    parts = [
        (begin % name) + f"{{{name}}}{note}" + (end % name if end else "")
        for name, note in fields.items()
    ]
    return "\n\n".join(parts + (["[[ ## completed ## ]]"] if form == "sections" else []))


def prompt(
    structure: str, text: str = TEXT, form: str = "sections", task: str = "Find the person."
) -> list[dict[str, Any]]:
    """Return a conversation with an example before the question."""
    names = ["next_tool_name", "next_tool_args", *NOTES]
    listed = "\n".join(f"{at}. `{name}` (Any): " for at, name in enumerate(names, 1))
    system = (
        f"Your input fields are:\n1. `text` (str): a text\nYour output fields are:\n{listed}\n"
        "All interactions will be structured in the following way, with the appropriate values "
        f"filled in.\n\n{structure}\nIn adhering to this structure, your objective is: \n"
        f"        {task}"
    )
    value = f"<text>\n{text}\n</text>" if form == "tags" else f"[[ ## text ## ]]\n{text}"
    return [
        {"role": "system", "content": system},
        {"role": "user", "content": '[[ ## text ## ]]\nAn example of "Bob".'},
        {"role": "assistant", "content": "[[ ## person ## ]]\n{}"},
        {"role": "user", "content": f'{value}\n\nRespond with the fields, first "person".'},
    ]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    deployments = [
        LocalDeployment("chat"),
        LocalDeployment("fixed", engine=SyntheticEngine("Fixed.")),
    ]
    with LocalEndpoint(deployments) as endpoint:
        yield endpoint


def ask(endpoint: LocalEndpoint, messages: list[dict[str, Any]], **more: Any) -> str:
    answer = httpx.post(
        f"{endpoint.url}/openai/v1/chat/completions",
        headers={"api-key": endpoint.key},
        json={"model": "chat", "messages": messages, **more},
    )
    assert answer.status_code == 200, answer.text
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


def sections_of(text: str) -> dict[str, str]:
    """Return the values below the marks of an answer."""
    parts = text.split("[[ ## ")[1:]
    return {part.partition(" ## ]]")[0]: part.partition(" ## ]]")[2].strip() for part in parts}


def test_fields_are_filled_below_their_marks(endpoint: LocalEndpoint) -> None:
    sections = sections_of(ask(endpoint, prompt(structure("sections"))))
    assert sections.pop("completed") == ""
    assert json.loads(sections.pop("person")) == ANSWER["person"]
    assert sections == {name: str(ANSWER[name]) for name in sections}
    assert ["person", *sections] == list(NOTES)


@pytest.mark.parametrize("form", [None, {"type": "json_object"}])
def test_fields_are_filled_as_json(endpoint: LocalEndpoint, form: dict[str, Any] | None) -> None:
    answer = ask(endpoint, prompt(structure("json")), response_format=form)
    assert json.loads(answer) == ANSWER


def test_fields_are_filled_between_tags(endpoint: LocalEndpoint) -> None:
    assert ask(endpoint, prompt(structure("tags"), form="tags")) == TAGS


def test_a_fixed_answer_comes_first(endpoint: LocalEndpoint) -> None:
    assert ask(endpoint, prompt(structure("sections")), model="fixed") == "Fixed."


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "Outputs will be a JSON object",
        "Outputs will be a JSON object " + '{"a": ' * 2000,
        "Outputs will be a JSON object {}",
        "[[ ## person ## ]]\n{person}" + NOTE + 'adhere to the JSON schema: {"type": 5}',
        "[[ ## person ## ]]\n{person}" + NOTE + 'adhere to the JSON schema: {"$ref": "#/x"}',
        f'[[ ## person ## ]]\n{{person}}{NOTE}adhere to the JSON schema: {{"$defs": 5, "type": 5}}',
    ],
    ids=["empty", "cut", "deep", "fieldless", "type", "reference", "definitions"],
)
def test_what_describes_no_fields_is_text(endpoint: LocalEndpoint, broken: str) -> None:
    answer = ask(endpoint, prompt(broken, "Hello."))
    assert answer.startswith("This is a synthetic answer to: [[ ## text ## ]]\nHello.")


def test_a_field_whose_schema_cannot_be_read_is_text(endpoint: LocalEndpoint) -> None:
    broken = "[[ ## why ## ]]\n{why}" + NOTE + "adhere to the JSON schema: " + "[" * 20_000
    sections = sections_of(ask(endpoint, prompt(broken, 'Say "yes".')))
    assert sections == {"why": "yes", "completed": ""}


CALL = (
    f"[[ ## next_tool_name ## ]]\n{{next_tool_name}}{NOTE}exactly match (no extra characters) one "
    "of: get_weather; finish\n\n[[ ## next_tool_args ## ]]\n{next_tool_args}"
    f'{NOTE}adhere to the JSON schema: {{"type": "object", "additionalProperties": true}}'
)
TOOLS = """Use a tool:
(1) get_weather, whose description is <desc>The weather</desc>. It takes arguments %s.
(2) finish, whose description is <desc>Ends the task</desc>. It takes arguments {}."""


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("Is it warm in Rome?", ("get_weather", {"city": "Rome"})),
        ("Is it warm in Rome?\n\n[[ ## observation_0 ## ]]\nSunny", ("finish", {})),
        ("Is it warm in Rome?\n\n<observation_0>\nSunny", ("finish", {})),
    ],
)
def test_an_agent_calls_its_tool_once(
    endpoint: LocalEndpoint, text: str, call: tuple[str, dict[str, Any]]
) -> None:
    tools = TOOLS % "{'city': {'type': 'string'}}"
    sections = sections_of(ask(endpoint, prompt(CALL, text, task=tools)))
    assert (sections["next_tool_name"], json.loads(sections["next_tool_args"])) == call


@pytest.mark.parametrize("arguments", ["[" * 3000, "{'city'", "5"])
def test_a_tool_whose_arguments_cannot_be_read_is_called_without(
    endpoint: LocalEndpoint, arguments: str
) -> None:
    sections = sections_of(ask(endpoint, prompt(CALL, "Hello.", task=TOOLS % arguments)))
    assert sections == {
        "next_tool_name": "get_weather",
        "next_tool_args": "{}",
        "completed": "",
    }
