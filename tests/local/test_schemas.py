"""JSON Schemas that engines follow, or refuse."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azinfer.local import LocalDeployment, LocalEndpoint
from azinfer.local.engines.base import EngineError
from azinfer.local.engines.schema import regex
from azinfer.local.engines.schema.grammar import narrow_schema
from azinfer.local.engines.schema.llama_pattern import to_llama
from azinfer.local.engines.schema.sample import make_sample
from azinfer.local.engines.schema.validation import check, verify

TEXT = 'Say "Ann" in blue 42 times, to ann@example.com, or 2611 AB'


def of(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


FILLED: list[tuple[Any, Any]] = [
    ({"type": "string", "pattern": "^[0-9]{4}$"}, "2611"),
    ({"type": "string", "pattern": r"^\d{4} [A-Z]{2}$"}, None),
    ({"type": "string", "pattern": r"@"}, "ann@example.com"),
    ({"type": "string", "pattern": r"^(?:a|b)+c?$", "minLength": 5}, None),
    ({"type": "string", "format": "email"}, "someone@example.com"),
    ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
    ({"type": "number", "minimum": 0, "maximum": 1}, 1),
    ({"type": "integer", "exclusiveMaximum": 10}, 9),
    ({"type": "integer", "multipleOf": 5}, 45),
    ({"type": "integer", "multipleOf": 5, "maximum": 44}, 40),
    ({"type": "array", "items": {"type": "integer"}, "uniqueItems": True, "minItems": 3}, None),
    ({"type": "array", "items": {"enum": ["a", "b"]}, "uniqueItems": True, "minItems": 2}, None),
    ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]}, [42, "Ann"]),
    ({"type": "array", "items": {"type": "integer"}, "contains": {"const": 7}}, None),
    ({"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}}]}, {"a": 42}),
    ({"anyOf": [{"type": "null"}, {"type": "string"}]}, "Ann"),
    ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, 42),
    ({"type": "object", "minProperties": 2}, None),
    ({"type": "object", "required": ["a"], "additionalProperties": {"type": "integer"}}, {"a": 42}),
    (True, None),
]


@pytest.mark.parametrize(("schema", "value"), FILLED)
def test_the_synthetic_engine_follows_schemas(schema: Any, value: Any) -> None:
    result = make_sample(of(x=schema), TEXT)
    assert verify(result, of(x=schema)) is None
    if value is not None:
        assert result == {"x": value}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"type": "string", "not": {"type": "string"}},
        False,
    ],
)
def test_unsatisfiable_schemas_are_refused(schema: Any) -> None:
    with pytest.raises(EngineError, match=r"found no value for this JSON Schema: \$"):
        make_sample(of(x=schema), TEXT)


DEEP: dict[str, Any] = {"type": "string"}
for _ in range(40):
    DEEP = of(x=DEEP)

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"type": "foo"}, "x.type is not a valid JSON Schema: 'foo' is not valid"),
    ({"properties": []}, "x.properties is not a valid JSON Schema"),
    ({"$ref": "#/$defs/nope"}, "x refers to '#/$defs/nope', which it does not have"),
    ({"$ref": "https://example.com/s"}, "only references with # are supported"),
    (
        of(a={"type": "string", "pattern": "("}),
        "x.properties.a pattern '(' is not a valid regular expr",
    ),
    (of(a={"pattern": "(?=a)"}), "has '(?=a', which no engine supports"),
    (of(a={"pattern": r"\bword"}), r"has '\\b', which no engine supports"),
    (of(a={"pattern": r"a{1,5000}"}), "repeats more than 1000 times"),
    (of(a={"pattern": "a^b"}), "has '^' inside"),
    (DEEP, "is nested deeper than 64 levels"),
    (of(a={"enum": ["x" * 200] * 1000}), "is longer than 120000 characters"),
]


@pytest.mark.parametrize(("schema", "message"), WRONG)
def test_invalid_schemas_are_refused(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(EngineError, match=re.escape(message.replace("\\\\b", "\\b"))):
        check(schema, "x")


def test_a_valid_schema_stays_valid() -> None:
    for _ in range(2):
        check(of(a={"type": "string"}), "x")
    with pytest.raises(EngineError):
        check({"type": "foo"}, "x")


@pytest.mark.parametrize("path", ["/openai/v1/chat/completions", "/models/chat/completions"])
def test_a_refusal_names_the_path_in_the_schema(http: httpx.Client, path: str) -> None:
    tool = {"name": "f", "parameters": of(a={"type": "text"})}
    body = {
        "model": "mistral-large",
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [{"type": "function", "function": tool}],
    }
    error = http.post(path, json=body).json()["error"]
    assert error["code"] == "invalid_json_schema"
    assert (
        "tools.0.function.parameters.properties.a.type is not a valid JSON Schema"
        in error["message"]
    )


PATTERNS = [
    "abc",
    "^abc$",
    "a|bc|",
    "(?:ab)+?",
    "(?P<year>[0-9]{4})-[0-1][0-9]",
    r"\d+\.\d{2}",
    r"[\w.+-]+@\w+\.[a-z]{2,}",
    r"[^a-z\s]{3}",
    r"[]a]",
    r"\S\D\W",
    "a.c",
    r"\x41\u0042",
    "a{2}b{1,}c{0,3}",
    r"\t\n",
    r"[a\-z]",
]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("more", [0, 1, 3])
def test_a_sample_matches_its_pattern_and_parts(pattern: str, more: int) -> None:
    part = regex.parse(pattern)
    text = regex.example(part, more)
    assert re.fullmatch(pattern, text), text
    assert re.fullmatch(to_llama(part), json.dumps(text, ensure_ascii=False)[1:-1])


@settings(max_examples=300, deadline=None)
@given(st.from_regex(r"\A(?:[abc]|\[[a-c]+\]|\([ab]\|c\)|[ab][*+?]|[ab]\{1,2\}){1,6}\Z"))
def test_random_patterns_are_parsed(pattern: str) -> None:
    part = regex.parse(pattern)
    for more in (0, 2):
        assert re.fullmatch(pattern, regex.example(part, more))
        assert re.fullmatch(to_llama(part), regex.example(part, more))


NARROWED: list[tuple[Any, Any]] = [
    ({"type": "integer", "exclusiveMinimum": 2}, {"type": "integer", "minimum": 3}),
    ({"type": "number", "minimum": 0.5}, {"type": "integer", "minimum": 1}),
    ({"type": "integer", "multipleOf": 4, "minimum": 1, "maximum": 9}, {"enum": [4, 8]}),
    ({"type": "string", "title": "T", "default": "x"}, {"type": "string"}),
    ({"type": "string", "pattern": r"\d$"}, {"type": "string", "pattern": "^[0-9]$"}),
    ({"type": "object", "properties": {"a": False}}, {"type": "object", "properties": {}}),
    (
        {"type": "object", "required": ["a"], "minProperties": 1},
        {"type": "object", "required": ["a"]},
    ),
    (
        {"type": "array", "prefixItems": [{"type": "null"}], "items": False},
        {"type": "array", "prefixItems": [{"type": "null"}]},
    ),
]


@pytest.mark.parametrize(("schema", "narrow"), NARROWED)
def test_a_schema_is_narrowed(schema: Any, narrow: Any) -> None:
    assert narrow_schema(schema) == narrow


def test_numbers_stay_between_their_bounds() -> None:
    schema = {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
    choices = narrow_schema(schema)["enum"]
    assert len(choices) == 100
    assert all(verify(each, schema) is None for each in choices)
    assert max(choices) == 1


UNCOUNTABLE: list[dict[str, Any]] = [
    {"type": "number", "minimum": 5, "maximum": 1},
    {"type": "integer", "minimum": 5, "maximum": 1},
    {"type": "number", "minimum": -1e308, "maximum": 1e308},
    {"type": "number", "minimum": 1, "multipleOf": 1e-320},
    {"type": "number", "minimum": 1, "multipleOf": 0},
]


@pytest.mark.parametrize("schema", UNCOUNTABLE)
def test_bounds_without_countable_numbers_are_refused(schema: Any) -> None:
    with pytest.raises(EngineError) as caught:
        narrow_schema(of(price=schema))
    assert "schema.properties.price has numbers with these bounds" in str(caught.value)
    assert (caught.value.code, caught.value.status) == ("invalid_json_schema", 400)


def test_a_schema_that_refers_to_itself_is_named() -> None:
    schema = {"type": "object", "properties": {"next": {"$ref": "#"}}}
    assert narrow_schema(schema) == {
        "$defs": {"_root": {"type": "object", "properties": {"next": {"$ref": "#/$defs/_root"}}}},
        "$ref": "#/$defs/_root",
    }
    json.dumps(narrow_schema(schema))


def person(**more: Any) -> dict[str, Any]:
    """Return a schema that strict mode accepts, with changes."""
    address = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "homes": {"type": "array", "items": address}},
        "required": ["name", "homes"],
        "additionalProperties": False,
    }
    return {**schema, **more}


OPEN = "'additionalProperties' is required to be supplied and to be false."
ALL = "'required' is required to be supplied and to be an array including every key in properties."
STRICT = [
    (person(), None),
    ({"$ref": "#/$defs/p", "$defs": {"p": person()}}, None),
    (person(additionalProperties=True), f"In context=(), {OPEN}"),
    (person(required=["name"]), f"In context=(), {ALL} Missing 'homes'."),
    (
        person(required=["name", "homes", "x"]),
        f"In context=(), {ALL} Extra required key 'x' supplied.",
    ),
    (
        person(properties={"homes": {"type": "array", "items": {"type": "object"}}, "name": {}}),
        f"In context=('properties', 'homes', 'items'), {OPEN}",
    ),
    (
        person(properties={"homes": {"anyOf": [{}, {"type": ["object", "null"]}]}, "name": {}}),
        f"In context=('properties', 'homes', 'anyOf', '1'), {OPEN}",
    ),
    (person(**{"$defs": {"p": {"type": "object"}}}), f"In context=('$defs', 'p'), {OPEN}"),
    (
        {"type": "array", "items": person()},
        "schema must be a JSON Schema of 'type: \"object\"', got 'type: \"array\"'.",
    ),
]


def send_strict(
    endpoint: LocalEndpoint, wire: str, kind: str, schema: Any, strict: bool = True
) -> httpx.Response:
    """Send a request with a schema for the answer (`"format"`) or for a tool."""
    named = {"name": "person", "strict": strict}
    user = [{"role": "user", "content": "Ann lives in Rome."}]
    tool, form = {**named, "parameters": schema}, {**named, "schema": schema}
    fields: dict[str, dict[str, Any]] = {
        "chat format": {"response_format": {"type": "json_schema", "json_schema": form}},
        "chat tool": {"tools": [{"type": "function", "function": tool}]},
        "responses format": {"text": {"format": {"type": "json_schema", **form}}},
        "responses tool": {"tools": [{"type": "function", **tool}]},
    }
    path = "chat/completions" if wire == "chat" else "responses"
    messages = {"messages" if wire == "chat" else "input": user}
    return httpx.post(
        f"{endpoint.url}/openai/v1/{path}",
        headers={"api-key": endpoint.key},
        json={"model": "gpt-4.1", **messages, **fields[f"{wire} {kind}"]},
    )


PLACES = {
    ("chat", "format"): ("response_format", "response_format"),
    ("chat", "tool"): ("function", "tools[0].function.parameters"),
    ("responses", "format"): ("response_format", "text.format.schema"),
    ("responses", "tool"): ("function", "tools[0].parameters"),
}


@pytest.mark.parametrize(("schema", "problem"), STRICT)
@pytest.mark.parametrize(("wire", "kind"), PLACES)
def test_strict_schemas_are_refused_in_the_words_of_the_service(
    lenient: LocalEndpoint, schema: dict[str, Any], problem: str | None, wire: str, kind: str
) -> None:
    answer = send_strict(lenient, wire, kind, schema)
    if problem is None:
        assert answer.status_code == 200, answer.text
        return
    name, param = PLACES[wire, kind]
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["message"] == f"Invalid schema for {name} 'person': {problem}"
    assert error["param"] == param


@pytest.mark.parametrize(("wire", "kind"), PLACES)
def test_only_strict_schemas_must_be_closed(lenient: LocalEndpoint, wire: str, kind: str) -> None:
    answer = send_strict(lenient, wire, kind, person(additionalProperties=True), strict=False)
    assert answer.status_code == 200, answer.text


@pytest.fixture(scope="module")
def lenient() -> Iterator[LocalEndpoint]:
    """An endpoint that is lenient, with a model that has strict mode and one that has not."""
    deployments = [LocalDeployment("gpt-4.1"), LocalDeployment("mistral-large-2411")]
    with LocalEndpoint(deployments) as endpoint:
        yield endpoint


def test_models_of_others_have_no_strict_mode(lenient: LocalEndpoint) -> None:
    described = {"name": "x", "strict": True, "schema": {"type": "object", "properties": {"a": {}}}}
    answer = httpx.post(
        f"{lenient.url}/openai/v1/chat/completions",
        headers={"api-key": lenient.key},
        json={
            "model": "mistral-large-2411",
            "messages": [{"role": "user", "content": "hi"}],
            "response_format": {"type": "json_schema", "json_schema": described},
        },
    )
    assert answer.status_code == 200
