"""No request can block others or fill the memory: each is answered or refused within bounds."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import re
import select
import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from typing import Any

import httpx
import pytest
from PIL import Image

from azinfer.local import LocalDeployment, LocalEndpoint
from azinfer.local.engines.base import EngineError
from azinfer.local.engines.schema import regex, validation
from azinfer.local.engines.schema.budget import Budget, OverBudgetError, current, spend
from azinfer.local.engines.schema.sample import make_sample
from azinfer.local.turns import take_turn

CHAT = "/openai/v1/chat/completions"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    """A client of two synthetic deployments."""
    deployments = [LocalDeployment("chat"), LocalDeployment("vectors", "text-embedding-3-small")]
    with (
        LocalEndpoint(deployments, key="k") as endpoint,
        httpx.Client(base_url=endpoint.url, headers={"api-key": "k"}, timeout=120) as http,
    ):
        yield http


def ask(schema: Json, text: str = "Hello", **more: Any) -> Json:
    """Return the body of a chat whose answer must conform to a schema."""
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    messages = [{"role": "user", "content": text}]
    return {"model": "chat", "messages": messages, "response_format": wanted, **more}


def of(**properties: Any) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def while_busy(http: httpx.Client, path: str, body: Json) -> tuple[int, Json]:
    """Return status and body of a long request during which the endpoint answers others."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\napi-key: k\r\n"
    head += f"content-length: {len(content)}\r\n\r\n"
    with socket.create_connection((http.base_url.host, http.base_url.port), 120) as sock:
        sock.sendall(head.encode() + content)
        answered = 0
        while not select.select([sock], [], [], 0)[0]:
            assert http.get("/_azinfer/health").status_code == 200
            answered += 1
        response = HTTPResponse(sock)
        response.begin()
        # Some may be answered before the last bytes of the request are read.
        assert answered >= 8
        return response.status, json.loads(response.read())


# Schemas


def test_a_tree_of_nullable_references_is_filled(http: httpx.Client) -> None:
    node = {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}
    schema = {
        "$defs": {"node": of(**{f"child{at}": node for at in range(12)})},
        "$ref": "#/$defs/node",
    }
    answer = http.post(CHAT, json=ask(schema, max_tokens=100_000))
    assert answer.status_code == 200
    text = answer.json()["choices"][0]["message"]["content"]
    assert len(json.loads(text)) == 12
    assert len(text) < 100_000


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        ({"type": "array", "minItems": 10**9}, "minItems"),
        ({"type": "string", "minLength": 10**10}, "minLength"),
        ({"type": "object", "minProperties": 10**9}, "minProperties"),
        ({"type": "array", "contains": {"type": "null"}, "minContains": 10**9}, "minContains"),
        ({"type": "number", "multipleOf": 1e-320}, "multipleOf"),
        ({"type": "integer", "multipleOf": 1e-320}, "multipleOf"),
        ({"type": "number", "multipleOf": 0}, "multipleOf"),
        ({"type": "number", "minimum": 1e308, "multipleOf": 1e-300}, "multipleOf"),
    ],
)
def test_values_that_are_too_large_are_refused_with_their_field(
    http: httpx.Client, schema: Json, field: str
) -> None:
    answer = http.post(CHAT, json=ask(of(a=schema)))
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert error["param"] == f"response_format.json_schema.schema.properties.a.{field}"


@pytest.mark.parametrize("kind", ["number", "integer"])
def test_numbers_with_hundreds_of_digits_are_no_obstacle(http: httpx.Client, kind: str) -> None:
    body = ask(of(a={"type": kind, "multipleOf": 0.5, "minimum": 0}))
    body["messages"] = [{"role": "user", "content": f"Count to {'9' * 400}"}]
    answer = http.post(CHAT, json=body)
    assert answer.status_code == 200
    assert json.loads(answer.json()["choices"][0]["message"]["content"]) == {"a": 1}


def test_steps_and_bounds_of_different_parts_are_refused(http: httpx.Client) -> None:
    parts = [{"type": "number", "minimum": 1e308}, {"multipleOf": 1e-200}]
    answer = http.post(CHAT, json=ask(of(a={"allOf": parts})))
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "response_format.json_schema.schema"


def nest(schema: Json, levels: int) -> Json:
    for _ in range(levels):
        schema = {"type": "array", "minItems": 1000, "items": schema}
    return schema


def doubling_schema(levels: int, keyword: str) -> Json:
    """Return a schema whose check doubles with each level."""
    refs = [{"$ref": f"#/$defs/d{at + 1}"} for at in range(levels)]
    definitions = {f"d{at}": {keyword: [ref, ref]} for at, ref in enumerate(refs)}
    return {"$defs": {**definitions, f"d{levels}": {"type": "boolean"}}, "$ref": "#/$defs/d0"}


@pytest.mark.parametrize(
    "schema",
    [
        nest({"type": "null"}, 3),
        of(**{f"a{at}": {"type": "string", "minLength": 100_000} for at in range(100)}),
        of(a={"type": "array", "minItems": 10_000, "uniqueItems": True}),
        doubling_schema(30, "allOf"),
        doubling_schema(30, "anyOf"),
        of(a={"type": "string", "pattern": "a{1000}" * 280}, b=nest({"pattern": "a{1000}"}, 2)),
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
    ],
)
def test_schemas_that_take_too_many_steps_are_refused(http: httpx.Client, schema: Json) -> None:
    answer = http.post(CHAT, json=ask(schema))
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_json_schema"


def test_many_tools_are_refused(http: httpx.Client) -> None:
    tools = [{"type": "function", "function": {"name": f"f{at}"}} for at in range(129)]
    messages = [{"role": "user", "content": "hi"}]
    answer = http.post(CHAT, json={"model": "chat", "messages": messages, "tools": tools})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "tools")


def test_long_enums_are_looked_up_in_long_texts(http: httpx.Client) -> None:
    choices = [f"choice {at}" for at in range(8_000)]
    schema = of(a={"enum": choices})
    answer = http.post(CHAT, json=ask(schema, "choice x " * 100_000 + "choice 7"))
    assert answer.status_code == 200
    assert json.loads(answer.json()["choices"][0]["message"]["content"])["a"] in choices
    assert make_sample({"enum": ["Bern", "Berlin", "Rom"]}, "From berlin to Rom") == "Berlin"
    assert make_sample({"enum": ["Bern", "Ber", 7]}, "Bernard has 7") == 7


# Regular expressions

RUNAWAY = ["^(a+)+$", "^(a|a)*$", "^(a*)*b?$", "^((a{1,10}){1,10}){1,10}$", r"^(\w+\s?)*$"]


@pytest.mark.parametrize("pattern", RUNAWAY)
def test_patterns_never_run_away(http: httpx.Client, pattern: str) -> None:
    text = "a" * 24 + "! " + "aaaaaaaaaaaaaaaaaaaaaaa! " * 200
    schema = of(a={"type": "string", "pattern": pattern})
    answer = http.post(CHAT, json=ask(schema, text))
    assert answer.status_code == 200
    value = json.loads(answer.json()["choices"][0]["message"]["content"])["a"]
    assert re.fullmatch("a*", value)
    schema = {"type": "object", "patternProperties": {pattern: {"type": "null"}}}
    assert validation.verify({"a" * 10_000 + "!": 1}, schema) is None


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("a" * 2001, "is longer than 2000 characters"),
        ("(" * 900 + "a" + ")" * 900, "is nested too deeply"),
        ("((a{1000}){1000}){1000}", "in bounded time (invalid repetition size"),
        ("\ud800", "in bounded time"),
        ("a{1,99999999999999999999}", "is not a valid regular expression"),
        (r"(a)\1", "which no engine supports"),
    ],
)
def test_patterns_that_cannot_be_bounded_are_refused(
    http: httpx.Client, pattern: str, reason: str
) -> None:
    for schema in ({"pattern": pattern}, {"patternProperties": {pattern: True}}):
        answer = http.post(CHAT, content=json.dumps(ask(of(a=schema))))
        error = answer.json()["error"]
        assert answer.status_code == 400
        assert reason in error["message"]
        assert error["param"] == "response_format.json_schema.schema.properties.a"


def test_patterns_mean_the_same_as_before() -> None:
    for pattern, text, expected in (
        (r"\u0041\x42", "xAB", True),
        (r"\\u0041", "A", False),
        (r"^[\w.+-]+@\w+$", "a.b@c", True),
        ("é$", "café", True),
        ("^.$", "\ud800", True),
    ):
        assert regex.found_in(pattern, text) is expected


def test_samples_of_patterns_are_as_long_as_they_must_be() -> None:
    sample = make_sample({"type": "string", "pattern": "^a+$", "minLength": 5_000}, "")
    assert sample == "a" * 5_000
    with pytest.raises(EngineError, match="does not match"):
        make_sample({"type": "string", "pattern": "^a$", "minLength": 5}, "")


# Budgets


def test_a_budget_ends_with_its_steps_or_its_time() -> None:
    budget = Budget(steps=10)
    budget.spend(10)
    with pytest.raises(OverBudgetError):
        budget.spend()
    times = iter([0.0, 4.0, 6.0])
    budget = Budget(seconds=5.0, clock=lambda: next(times))
    budget.spend(500)
    with pytest.raises(OverBudgetError):
        budget.spend(500)
    assert current.get(None) is None
    spend(10**9)


# Long work


def test_others_are_served_while_many_choices_of_a_long_prompt_are_written(
    http: httpx.Client,
) -> None:
    messages = [{"role": "user", "content": "word " * 1_000_000}]
    body = {"model": "chat", "messages": messages, "n": 128, "max_tokens": 2_000}
    status, answer = while_busy(http, CHAT, body)
    assert status == 200
    assert len(answer["choices"]) == 128
    assert answer["usage"]["prompt_tokens"] == 1_000_006
    assert len(str(answer)) < 5_000_000


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_others_are_served_while_vectors_are_made_and_written(
    http: httpx.Client, encoding: str
) -> None:
    body = {"model": "vectors", "input": ["some words " * 100] * 1_000, "encoding_format": encoding}
    status, answer = while_busy(http, "/openai/v1/embeddings", body)
    assert status == 200
    assert [each["index"] for each in answer["data"]] == list(range(1_000))


def test_others_are_served_while_vectors_are_written_in_every_type(http: httpx.Client) -> None:
    types = ["float", "base64", "int8", "uint8", "binary", "ubinary"]
    body = {
        "model": "vectors",
        "texts": ["words"] * 96,
        "embedding_types": types,
        "input_type": "search_document",
    }
    status, answer = while_busy(http, "/providers/cohere/v2/embed", body)
    assert status == 200
    assert list(answer["embeddings"]) == types
    assert {len(rows) for rows in answer["embeddings"].values()} == {96}


def test_others_are_served_while_one_long_text_is_made_a_vector(http: httpx.Client) -> None:
    body = {"model": "vectors", "input": "words and words " * 600_000}
    status, answer = while_busy(http, "/openai/v1/embeddings", body)
    assert status == 200
    assert answer["usage"]["prompt_tokens"] == 1_800_001


def test_an_answer_is_no_longer_than_a_model_writes(http: httpx.Client) -> None:
    messages = [{"role": "user", "content": "a " * 100_000}]
    body = {"model": "chat", "messages": messages, "max_tokens": 1_000_000}
    answer = http.post(CHAT, json=body).json()
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 16_384


def test_bodies_with_too_many_values_are_refused(http: httpx.Client) -> None:
    for value in (b"[],", b"1,", b'{"a":1},'):
        answer = http.post(CHAT, content=b'{"x":[' + value * 1_000_001 + b"0]}")
        assert answer.status_code == 400
        assert "more than 1000000 values" in answer.text
    long = json.dumps({"model": "chat", "messages": [{"role": "user", "content": "é" * 200_000}]})
    assert http.post(CHAT, content=long).status_code == 200
    assert http.post(CHAT, content=b'{"a":' * 200_000).status_code == 400


def test_images_are_refused_that_are_large_together(http: httpx.Client) -> None:
    file = io.BytesIO()
    Image.new("1", (7_000, 7_000)).save(file, "png")
    url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    body = {"model": "chat", "input": [{"image": url}] * 5}
    answer = http.post("/models/images/embeddings?api-version=2024-05-01-preview", json=body)
    assert answer.status_code == 400
    assert "input.4.image: the images of a request have over 200,000,000 pixels" in answer.text
    path = "/models/images/embeddings?api-version=2024-05-01-preview"
    status, _ = while_busy(http, path, {"model": "chat", "input": [{"image": url}] * 4})
    assert status == 200


def test_only_some_slices_of_work_run_each_time_that_the_loop_turns() -> None:
    done = 0

    async def work() -> None:
        nonlocal done
        for _ in range(5):
            await take_turn()
            done += 1

    async def watch() -> int:
        tasks = [asyncio.create_task(work()) for _ in range(100)]
        cancelled = [asyncio.create_task(work()) for _ in range(10)]
        await asyncio.sleep(0)
        for task in cancelled:
            task.cancel()
        most = 0
        while not all(task.done() for task in tasks):
            before = done
            await asyncio.sleep(0)
            most = max(most, done - before)
        return most

    assert asyncio.run(watch()) == 8
    assert done == 500


def test_others_are_served_while_hundreds_of_long_streams_begin(http: httpx.Client) -> None:
    messages = [{"role": "user", "content": "word " * 20_000}]
    content = json.dumps({"model": "chat", "messages": messages, "stream": True}).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\napi-key: k\r\n"
    sent = head.encode() + f"content-length: {len(content)}\r\n\r\n".encode() + content
    with contextlib.ExitStack() as stack:
        address = (http.base_url.host, http.base_url.port)
        socks = [stack.enter_context(socket.create_connection(address, 120)) for _ in range(100)]
        for sock in socks:
            sock.sendall(sent)
        # Long before the last stream has written its 16,384 tokens, many others are served.
        while not all(_has_begun(sock) for sock in socks):
            assert http.get("/_azinfer/health").status_code == 200
        for _ in range(10):
            assert http.get("/_azinfer/health").status_code == 200
        assert not any(b"[DONE]" in sock.recv(65_536, socket.MSG_PEEK) for sock in socks)


def _has_begun(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0)[0])


def test_the_page_shows_a_hundred_deployments_and_counts_the_others() -> None:
    deployments = [LocalDeployment(f"chat-{at}") for at in range(120)]
    with (
        LocalEndpoint(deployments) as endpoint,
        httpx.Client(follow_redirects=True, headers={"sec-fetch-site": "none"}) as http,
    ):
        page = http.get(endpoint.page_url()).text
    assert "chat-99" in page
    assert "chat-100" not in page
    assert "20 more; GET /_azinfer/deployments returns all of them." in page
