"""JSON Schemas in the text of a prompt, as frameworks write them, filled without a model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from azinfer.local import LocalDeployment, LocalEndpoint, SyntheticEngine

SCHEMA: dict[str, Any] = {
    "properties": {
        "name": {"title": "Name", "type": "string"},
        "age": {"title": "Age", "type": "integer"},
        "city": {"enum": ["Paris", "Rome"], "type": "string"},
    },
    "required": ["name", "age", "city"],
    "title": "Person",
    "type": "object",
}
USER = 'The person "Ann" is 42 and lives in Rome.'
ANSWER = {"name": "Ann", "age": 42, "city": "Rome"}
EXAMPLE = '{"properties": {"foo": {"type": "array", "items": {"type": "string"}}}}'
# The properties alone, with an enum and an object that they refer to.
LISTED = {
    **SCHEMA["properties"],
    "city": {"$ref": "#/$defs/City"},
    "$defs": {"City": {"type": "string", "enum": ["Paris", "Rome"]}, "Pet": {"age": {}}},
}


def message(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


PROMPTS: dict[str, list[dict[str, Any]]] = {
    "pydantic-ai": [
        message(
            "system",
            "Always respond with a JSON object that's compatible with this schema:\n\n"
            f"{json.dumps(SCHEMA)}\n\n"
            "Don't include any text or Markdown fencing before or after.",
        ),
        message("user", USER),
    ],
    "instructor": [
        message(
            "system",
            "As a genius expert, your task is to understand the content and provide the parsed "
            "objects in json that match the following json_schema:\n\n"
            f"{json.dumps(SCHEMA, indent=2)}\n\n"
            "Make sure to return an instance of the JSON, not the schema itself",
        ),
        message("user", [{"type": "text", "text": USER}]),
    ],
    "langchain": [
        message(
            "user",
            f"{USER}\nThe output should be formatted as a JSON instance that conforms to the JSON "
            f"schema below.\nAs an example, for the schema {EXAMPLE} the object {{foo}} is one.\n"
            f"Here is the output schema:\n```\n{json.dumps(SCHEMA)}\n```",
        )
    ],
    "agno": [
        message(
            "system",
            f"Answer with:\n<json_fields>\n{json.dumps(list(ANSWER))}\n</json_fields>\n"
            f"<json_field_properties>\n{json.dumps(LISTED, indent=2)}\n</json_field_properties>\n"
            "Start your response with `{` and end it with `}`.",
        ),
        message("user", USER),
    ],
    "ragas": [
        message(
            "user",
            "Find the person.\nThe JSON Schema:\n"
            f"{json.dumps(SCHEMA)}Use double quotes.\n\n--------EXAMPLES-----------\n"
            'Example 1\nInput: {"text": "The person \'Bob\' is 7."}\nOutput: {"name": "Bob"}\n'
            "Now perform the same with the following input\n"
            f"input: {json.dumps({'texts': [USER], 'count': None}, indent=4)}\nOutput: ",
        )
    ],
    "two systems": [
        message("developer", f"Before, in JSON: {EXAMPLE}"),
        message("developer", f"The schema: {json.dumps(SCHEMA)}"),
        message("user", USER),
    ],
}


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


@pytest.mark.parametrize("form", [None, {"type": "json_object"}])
@pytest.mark.parametrize("name", PROMPTS)
def test_a_schema_in_the_prompt_is_filled_from_what_the_user_said(
    endpoint: LocalEndpoint, name: str, form: dict[str, Any] | None
) -> None:
    assert json.loads(ask(endpoint, PROMPTS[name], response_format=form)) == ANSWER


@pytest.mark.parametrize(
    "text",
    [
        'The "properties" of {gold} are {"properties": 5} many.',
        'Impossible: {"properties": {"a": {"type": "string", "pattern": "^(?=x)"}}}',
        '{"properties": {"a": {"$ref": "#/$defs/Missing"}}}',
        '{"properties": ' * 2000,
        "<json_field_properties>[5]</json_field_properties>",
        '<json_field_properties>{"a": </json_field_properties>',
        '<json_field_properties>{"$defs": 5}</json_field_properties>',
        '<json_field_properties>{"$defs": {"A": 5}}</json_field_properties>',
        "<json_field_properties>" + "[" * 20_000 + "</json_field_properties>",
        "{" * 5000 + '"properties"',
    ],
    ids=[
        "words",
        "pattern",
        "reference",
        "deep",
        "list",
        "cut",
        "definitions",
        "definition",
        "nested",
        "braces",
    ],
)
def test_what_is_not_a_schema_is_text(endpoint: LocalEndpoint, text: str) -> None:
    answer = ask(endpoint, [message("user", text)], max_tokens=20_000)
    assert f"This is a synthetic answer to: {text}".startswith(answer)
    assert answer.startswith("This is")


def test_a_fixed_answer_and_a_schema_of_the_request_come_first(endpoint: LocalEndpoint) -> None:
    assert ask(endpoint, PROMPTS["pydantic-ai"], model="fixed") == "Fixed."
    other = {"type": "object", "properties": {"x": {"type": "integer"}}}
    form = {"type": "json_schema", "json_schema": {"name": "other", "schema": other}}
    assert json.loads(ask(endpoint, PROMPTS["pydantic-ai"], response_format=form)) == {"x": 42}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('Say "Ann".', "Ann"),
        ('{"text": "Say: Ann"', "text"),
        ("{" * 5000, "{"),
        ('{"a": ["Ann", 42, true, null]}', "Ann"),
        ("{}", "{}"),
    ],
)
def test_an_input_after_examples_is_text_unless_it_is_json(
    endpoint: LocalEndpoint, text: str, name: str
) -> None:
    schema = {"properties": {"name": {"type": "string"}}, "required": ["name"], "type": "object"}
    text = f"{json.dumps(schema)}\nNow perform the same with the following input\ninput: {text}"
    assert name in json.loads(ask(endpoint, [message("user", text)]))["name"]
