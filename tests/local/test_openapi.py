"""Answers are what the official OpenAPI documents say, but where services say otherwise.

`tests/local/schemas` has what those documents say of the answers that are asked for here. Where
real answers leave them, the local endpoint follows the answers; each such place is named below.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema  # type: ignore[import-untyped]
import pytest

from azinfer.local import ContentFilter, LocalDeployment, LocalEndpoint, SyntheticEngine
from pictures import DATA_URL

SCHEMAS = {
    path.stem: json.loads(path.read_text("utf-8"))
    for path in (Path(__file__).parent / "schemas").glob("*.json")
}
ASK = [{"role": "user", "content": "How is the weather in New York?"}]
FUNCTION = {
    "name": "get_weather",
    "description": "The weather in a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
BOMB = [{"role": "user", "content": "a bomb"}]
DETAILS = {"type error.details"}
TYPE = {"enum error.type"}
CALLING = {"tools": [{"type": "function", "function": FUNCTION}], "tool_choice": "required"}
SCHEMA = {"name": "city", "schema": FUNCTION["parameters"], "strict": True}
FORMAT = {"response_format": {"type": "json_schema", "json_schema": SCHEMA}}
VERSION = "?api-version=2025-05-15-preview"
CLASSIC = "/openai/deployments/chat/{}?api-version=2025-03-01-preview"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    """Deployments that filter, one that reasons, and one that does neither."""
    words = {"violence": {"bomb": "high", "knife": "low"}}
    result = ContentFilter(words=words, blocklists={"mine": ["secret"]})
    deployments = [
        LocalDeployment("chat", engine=SyntheticEngine()),
        LocalDeployment("guarded", engine=SyntheticEngine("A knife."), content_filter=result),
        LocalDeployment("thinker", "o3", engine=SyntheticEngine()),
        LocalDeployment("bad", engine=SyntheticEngine("A bomb."), content_filter=result),
    ]
    with (
        LocalEndpoint(deployments) as endpoint,
        httpx.Client(base_url=endpoint.url, headers={"api-key": endpoint.key}) as client,
    ):
        yield client


def violations(document: str, name: str, value: Any) -> set[str]:
    """Return each violation of a schema: the rule and the field that breaks it."""
    schema = {"$ref": f"#/$defs/{name}", "$defs": SCHEMAS[document]["$defs"]}
    errors = list(jsonschema.Draft202012Validator(schema).iter_errors(value))
    return {f"{error.validator} {_place(error)}".strip() for error in errors}


def _place(error: Any) -> str:
    names = [str(each) for each in error.absolute_path if not isinstance(each, int)]
    if error.validator == "required":
        names.append(error.message.split("'")[1])
    return ".".join(names)


def events(answer: httpx.Response) -> list[Any]:
    assert answer.status_code == 200, answer.text
    lines = [line[6:] for line in answer.text.split("\n") if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


CHATS: list[Json] = [
    {},
    {"n": 2},
    {"max_tokens": 2},
    CALLING,
    FORMAT,
    {"model": "guarded"},
    {"model": "bad"},
]
CHAT = "chat/completions"
SURFACES = {
    "models": (f"/models/{CHAT}{VERSION}", "ChatCompletions"),
    "v1": (f"/openai/v1/{CHAT}", "AzureCreateChatCompletionResponse"),
    "classic": (CLASSIC.format(CHAT), "createChatCompletionResponse"),
}
STREAMS = {
    "models": "StreamingChatCompletionsUpdate",
    "v1": "AzureCreateChatCompletionStreamResponse",
    "classic": "createChatCompletionStreamResponse",
}
# By document, where streams of services leave it, and those of the local endpoint with them.
LEAVES = {
    # All chunks are called chunks; some have no choices; the message of a call has no content; a
    # call has its name in its first part.
    "models": {
        "enum object",
        "minItems choices",
        "type choices.delta.content",
        "required choices.delta.tool_calls.id",
        "required choices.delta.tool_calls.function.name",
    },
    # The chunk with the filter results of the prompt has no object.
    "v1": {"enum object"},
    "classic": set(),
}


@pytest.mark.parametrize("document", SURFACES)
@pytest.mark.parametrize("body", CHATS)
def test_chats_match_the_document(http: httpx.Client, document: str, body: Json) -> None:
    path, name = SURFACES[document]
    answer = http.post(path, json={"model": "chat", "messages": ASK, **body})
    assert answer.status_code == 200
    assert violations(document, name, answer.json()) == set()


@pytest.mark.parametrize("document", SURFACES)
def test_streams_match_the_document(http: httpx.Client, document: str) -> None:
    path, _ = SURFACES[document]
    left: set[str] = set()
    for body in CHATS:
        usage = {"include_usage": True}
        body = {"model": "chat", "messages": ASK, "stream": True, "stream_options": usage, **body}
        for chunk in events(http.post(path, json=body)):
            left |= violations(document, STREAMS[document], chunk)
    assert left == LEAVES[document]


@pytest.mark.parametrize(
    ("path", "document", "name", "body"),
    [
        (f"/models/embeddings{VERSION}", "models", "EmbeddingsResult", {}),
        (f"/models/embeddings{VERSION}", "models", "EmbeddingsResult", {"dimensions": 8}),
        (f"/models/embeddings{VERSION}", "models", "EmbeddingsResult", {"encoding_format": "int8"}),
        ("/openai/v1/embeddings", "v1", "OpenAI.CreateEmbeddingResponse", {}),
        (
            "/openai/v1/embeddings",
            "v1",
            "OpenAI.CreateEmbeddingResponse",
            {"encoding_format": "base64"},
        ),
        (CLASSIC.format("embeddings"), "classic", "embeddings", {}),
    ],
)
def test_vectors_match_the_document(
    http: httpx.Client, path: str, document: str, name: str, body: Json
) -> None:
    answer = http.post(path, json={"model": "chat", "input": ["a", "b"], **body})
    assert answer.status_code == 200
    assert violations(document, name, answer.json()) == set()


def test_images_and_info_match_the_document(http: httpx.Client) -> None:
    body = {"model": "chat", "input": [{"image": DATA_URL}]}
    answer = http.post(f"/models/images/embeddings{VERSION}", json=body)
    assert violations("models", "EmbeddingsResult", answer.json()) == set()
    answer = http.get(f"/models/info{VERSION}&model=chat")
    assert violations("models", "ModelInfo", answer.json()) == set()


@pytest.mark.parametrize("body", [{}, {"n": 2, "echo": True}, {"model": "guarded"}])
def test_completions_match_the_document(http: httpx.Client, body: Json) -> None:
    path = CLASSIC.format("completions").replace("chat/", f"{body.get('model', 'chat')}/")
    answer = http.post(path, json={"prompt": "a", **body})
    assert violations("classic", "createCompletionResponse", answer.json()) == set()
    for chunk in events(http.post(path, json={"prompt": "a", "stream": True, **body})):
        # A stream reports why it ends only at its end.
        assert violations("classic", "createCompletionResponse", chunk) <= LEAVES_COMPLETION


LEAVES_COMPLETION = {"enum choices.finish_reason", "type choices.finish_reason"}
RESPONSES: list[Json] = [
    {},
    {"max_output_tokens": 2, "instructions": "Be brief.", "metadata": {"a": "b"}, "user": "me"},
    {"tools": [{"type": "function", **FUNCTION}], "tool_choice": "required"},
    {
        "tools": [{"type": "function", "name": "f"}],
        "tool_choice": {"type": "function", "name": "f"},
    },
    {"text": {"format": {"type": "json_schema", **SCHEMA}}, "reasoning": {"effort": "low"}},
    {"model": "guarded"},
    {"model": "bad"},
    {
        "input": [
            *ASK,
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "Sunny"},
        ]
    },
]
# What a response cost is null until it ends.
LEAVES_EVENTS = {"type response.usage"}


@pytest.mark.parametrize("body", RESPONSES)
def test_responses_match_the_document(http: httpx.Client, body: Json) -> None:
    body = {"model": "chat", "input": ASK, **body}
    answer = http.post("/openai/v1/responses", json=body)
    assert answer.status_code == 200
    assert violations("v1", "AzureResponse", answer.json()) == set()
    url = f"/openai/v1/responses/{answer.json()['id']}"
    assert violations("v1", "AzureResponse", http.get(url).json()) == set()
    items = http.get(f"{url}/input_items").json()
    assert violations("v1", "OpenAI.ResponseItemList", items) == set()
    left = set()
    for event in events(http.post("/openai/v1/responses", json={**body, "stream": True})):
        left |= violations("v1", "OpenAI.ResponseStreamEvent.any", event)
    # A filter ends a stream with an error besides, in another form than the document has.
    assert left == LEAVES_EVENTS | ({"enum type"} if body["model"] == "bad" else set())
    assert violations("v1", "ResponseDeleted", http.delete(url).json()) == set()


def test_files_and_models_match_the_document(http: httpx.Client) -> None:
    form: Json = {"files": {"file": ("a.jsonl", b"{}")}, "data": {"purpose": "batch"}}
    file = http.post("/openai/v1/files", **form).json()
    url = f"/openai/v1/files/{file['id']}"
    assert violations("v1", "AzureOpenAIFile", file) == set()
    assert violations("v1", "AzureOpenAIFile", http.get(url).json()) == set()
    listed = http.get("/openai/v1/files").json()
    assert violations("v1", "AzureListFilesResponse", listed) == set()
    assert violations("v1", "OpenAI.DeleteFileResponse", http.delete(url).json()) == set()
    models = http.get("/openai/v1/models").json()
    assert violations("v1", "OpenAI.ListModelsResponse", models) == set()
    model = http.get("/openai/v1/models/chat").json()
    assert violations("v1", "OpenAI.Model", model) == set()


CLASSIC_CHAT = CLASSIC.format(CHAT)
# What is asked, and where its refusal leaves the document.
ERRORS: list[tuple[str, str, str, Json, int, set[str]]] = [
    # The details of the model mesh are a text.
    ("models", "Azure.Core.Foundations.ErrorResponse", f"/models/{CHAT}", {}, 400, DETAILS),
    (
        *("models", "Azure.Core.Foundations.ErrorResponse", f"/models/{CHAT}"),
        *({"model": "nope"}, 404, DETAILS),
    ),
    # A refused field of a model is reported in the words of its back end.
    (
        *("models", "Azure.Core.Foundations.ErrorResponse", f"/models/{CHAT}"),
        *({"model": "thinker", "logprobs": True}, 422, {"required error"}),
    ),
    (
        *("models", "Azure.Core.Foundations.ErrorResponse", f"/models/{CHAT}"),
        *({"model": "guarded", "messages": BOMB}, 400, set()),
    ),
    # OpenAI's own errors have their type, and null where no field is to blame.
    ("v1", "AzureErrorResponse", f"/openai/v1/{CHAT}", {}, 400, TYPE),
    ("v1", "AzureErrorResponse", f"/openai/v1/{CHAT}", {"model": "nope"}, 404, TYPE),
    (
        *("v1", "AzureErrorResponse", f"/openai/v1/{CHAT}"),
        *({"model": "guarded", "messages": BOMB}, 400, {*TYPE, "type error.type"}),
    ),
    ("classic", "errorResponse", CLASSIC_CHAT, {"temperature": 9}, 400, set()),
    (
        *("classic", "errorResponse", CLASSIC_CHAT.replace("chat/", "guarded/", 1)),
        *({"messages": BOMB}, 400, {"type error.type"}),
    ),
]


@pytest.mark.parametrize(("document", "name", "path", "body", "status", "left"), ERRORS)
def test_errors_match_the_document(
    http: httpx.Client,
    document: str,
    name: str,
    path: str,
    body: Json,
    status: int,
    left: set[str],
) -> None:
    answer = http.post(path, json={"messages": ASK, **body})
    assert answer.status_code == status
    assert violations(document, name, answer.json()) == left


def test_the_check_detects_a_wrong_answer(http: httpx.Client) -> None:
    answer = http.post("/openai/v1/responses", json={"model": "chat", "input": "hi"}).json()
    answer["output"][0]["content"][0]["text"] = 7
    del answer["object"]
    values = {"type output.content.text", "required object"}
    assert violations("v1", "AzureResponse", answer) == values
