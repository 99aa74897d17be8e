"""Deployments behave like the model that they are set to: limits, lengths of vectors, streams."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from azinfer.core import BadRequestError, InferenceClient, UserMessage
from azinfer.local import LocalDeployment, LocalEndpoint, SyntheticEngine
from pictures import DATA_URL

KEY = "local-key"
MODELS = {
    "small": "text-embedding-3-small",
    "large": "text-embedding-3-large",
    "ada": "text-embedding-ada-002",
    "english": "Cohere-embed-v3-english",
    "v4": "embed-v-4-0",
    "v5": "Cohere-Embed-V5-Fast",
    "unknown": "our-own-model",
    "astra": "gpt-6-astra",
    "latest": "gpt-chat-latest",
    "my-gpt-5-bot": "",
    "nova": "gpt-6-nova",
    "classic": "gpt-4.1",
    "mistral": "mistral-large-2411",
    "reranker": "Cohere-rerank-v4.0-pro",
    "claude": "claude-sonnet-4-5",
}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    deployments = [LocalDeployment(name, model) for name, model in MODELS.items()]
    chosen = LocalDeployment("chosen", "text-embedding-3-large", SyntheticEngine(dimensions=8))
    with LocalEndpoint([*deployments, chosen], key=KEY) as endpoint:
        yield endpoint


@pytest.fixture
def client(endpoint: LocalEndpoint) -> Iterator[InferenceClient]:
    with InferenceClient(endpoint.url, KEY, max_retries=0) as client:
        yield client


@pytest.mark.parametrize(
    ("name", "length"),
    [
        ("small", 1536),
        ("large", 3072),
        ("ada", 1536),
        ("english", 1024),
        ("v4", 1536),
        ("v5", 2048),
        ("unknown", 384),
        ("chosen", 8),
    ],
)
def test_synthetic_vectors_are_as_long_as_those_of_the_model(
    client: InferenceClient, name: str, length: int
) -> None:
    assert len(client.embed("a", model=name).vectors[0]) == length


@pytest.mark.parametrize(("name", "dimensions"), [("small", 1), ("large", 3072), ("v4", 256)])
def test_a_length_that_the_model_offers_is_returned(
    client: InferenceClient, name: str, dimensions: int
) -> None:
    assert len(client.embed("a", model=name, dimensions=dimensions).vectors[0]) == dimensions


@pytest.mark.parametrize(
    ("name", "dimensions", "message"),
    [
        ("small", 1537, "less than or equal to 1536"),
        ("v4", 300, "one of 256, 512, 1024, 1536"),
        ("v4", 2000, "less than or equal to 1536"),
        ("ada", 512, "dimensions"),
        ("english", 512, "dimensions"),
        ("unknown", 385, "less than or equal to 384"),
        ("chosen", 9, "less than or equal to 8"),
    ],
)
def test_a_length_that_the_model_does_not_offer_is_refused(
    client: InferenceClient, name: str, dimensions: int, message: str
) -> None:
    with pytest.raises(BadRequestError, match=message):
        client.embed("a", model=name, dimensions=dimensions)


@pytest.mark.parametrize("name", ["astra", "latest", "nova"])
def test_new_reasoning_models_refuse_max_tokens(endpoint: LocalEndpoint, name: str) -> None:
    with InferenceClient(endpoint.url, KEY, name, model_id="unknown-model") as client:
        answer = client.complete([UserMessage("hi")], max_tokens=20)
    assert answer.routing is not None
    assert answer.routing.adapted == ("max_tokens → max_completion_tokens",)


def test_a_deployments_own_name_does_not_make_it_a_reasoning_model(
    client: InferenceClient,
) -> None:
    answer = client.complete([UserMessage("hi")], model="my-gpt-5-bot", max_tokens=20)
    assert answer.routing is not None
    assert answer.routing.adapted == ()


def test_an_engine_of_two_models_has_the_length_of_each() -> None:
    shared = SyntheticEngine("Yes.")
    first = LocalDeployment("first", "text-embedding-3-large", shared)
    second = LocalDeployment("second", "text-embedding-ada-002", first.engine)
    assert isinstance(second.engine, SyntheticEngine)
    assert second.engine.dimensions == 1536
    assert shared.dimensions == 384


@pytest.fixture
def http(endpoint: LocalEndpoint) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=endpoint.url, headers={"api-key": KEY}) as http:
        yield http


V1 = "/openai/v1/chat/completions"
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "Where is it warm?"}]}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Where it is warm",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@pytest.mark.parametrize(
    ("model", "path", "operation"),
    [
        ("small", V1, "chatCompletion"),
        ("small", "/openai/v1/responses", "responses"),
        ("english", "/models/chat/completions", "chatCompletion"),
        ("reranker", V1, "chatCompletion"),
        ("reranker", "/openai/v1/embeddings", "embeddings"),
        ("classic", "/openai/v1/embeddings", "embeddings"),
        ("mistral", "/models/embeddings", "embeddings"),
        ("claude", "/openai/v1/embeddings", "embeddings"),
        ("ada", "/models/images/embeddings", "imageEmbeddings"),
    ],
)
def test_a_model_refuses_what_it_does_not_do(
    http: httpx.Client, model: str, path: str, operation: str
) -> None:
    sent: Any = [{"image": DATA_URL}] if "images" in path else "a"
    answer = http.post(path, json={"model": model, **CHAT, "input": sent} | {"input": sent})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "OperationNotSupported"
    assert error["message"].startswith(
        f"The {operation} operation does not work with the specified model, {MODELS[model]}. "
    )


@pytest.mark.parametrize("model", ["unknown", "v4"])
def test_models_that_read_images_embed_them(http: httpx.Client, model: str) -> None:
    body = {"model": model, "input": [{"image": DATA_URL}]}
    assert http.post("/models/images/embeddings", json=body).status_code == 200


def test_the_engine_decides_where_the_name_cannot_be_right() -> None:
    class OnlyChat:
        chat = SyntheticEngine().chat
        aclose = SyntheticEngine().aclose

    named = LocalDeployment("text-embedding-3-small", engine=OnlyChat())
    assert named.operations == {"chat"}
    assert named.info()["model_type"] == "chat-completion"
    assert LocalDeployment("text-embedding-3-small").info()["model_type"] == "embeddings"
    chosen = LocalDeployment("text-embedding-3-small", wires=("chat",))
    assert chosen.operations == {"chat", "embeddings", "rerank"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("alternatives", [None, 0, 3, 20])
def test_log_probabilities_come_with_every_token(
    http: httpx.Client, stream: bool, alternatives: int | None
) -> None:
    body = {**CHAT, "model": "classic", "logprobs": True, "stream": stream}
    if alternatives is not None:
        body["top_logprobs"] = alternatives
    answer = http.post(V1, json=body)
    assert answer.status_code == 200, answer.text
    if stream:
        lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
        choices = [choice for line in lines for choice in json.loads(line)["choices"]]
        text = "".join(choice["delta"].get("content") or "" for choice in choices)
        tokens = [
            each
            for choice in choices
            for each in (choice.get("logprobs") or {"content": ()})["content"]
        ]
    else:
        (choice,) = answer.json()["choices"]
        text, tokens = choice["message"]["content"], choice["logprobs"]["content"]
    assert "".join(each["token"] for each in tokens) == text
    for each in tokens:
        assert bytes(each["bytes"]).decode() == each["token"]
        likely = each["top_logprobs"]
        assert len(likely) == (alternatives or 0)
        assert [one["logprob"] for one in likely] == sorted(
            (one["logprob"] for one in likely), reverse=True
        )
        assert each["logprob"] <= 0


def test_an_engine_without_log_probabilities_says_so(endpoint: LocalEndpoint) -> None:
    class OnlyChat:
        chat = SyntheticEngine().chat
        aclose = SyntheticEngine().aclose

    with (
        LocalEndpoint([LocalDeployment("mine", engine=OnlyChat())]) as own,
        InferenceClient(own.url, own.key, "mine") as client,
        pytest.raises(BadRequestError, match="deployment 'mine' reports no log probabilities"),
    ):
        client.complete([UserMessage("hi")], logprobs=True)


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("logprobs", True, "unsupported_parameter"),
        ("logit_bias", {"1": 5}, "unsupported_parameter"),
        ("max_tokens", 5, "unsupported_parameter"),
        ("temperature", 0.5, "unsupported_value"),
        ("presence_penalty", 1, "unsupported_value"),
    ],
)
@pytest.mark.parametrize("model", ["nova", "latest"])
def test_reasoning_models_refuse_what_they_do_not_have(
    http: httpx.Client, model: str, field: str, value: Any, code: str
) -> None:
    answer = http.post(V1, json={**CHAT, "model": model, field: value})
    assert answer.status_code == 400
    assert (answer.json()["error"]["param"], answer.json()["error"]["code"]) == (field, code)


def test_parallel_calls_need_tools(http: httpx.Client) -> None:
    body = {**CHAT, "model": "classic", "parallel_tool_calls": False}
    answer = http.post(V1, json=body)
    assert answer.status_code == 400
    assert "only allowed when 'tools' are specified" in answer.json()["error"]["message"]
    assert http.post(V1, json={**body, "tools": [WEATHER]}).status_code == 200


CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL, {**CALL, "id": "call_2"}]}
USER = {"role": "user", "content": "And?"}


def result(name: str) -> dict[str, str]:
    return {"role": "tool", "tool_call_id": name, "content": "1"}


@pytest.mark.parametrize(
    ("after", "missing"),
    [
        ([], "call_1, call_2"),
        ([USER], "call_1, call_2"),
        ([result("call_2"), USER], "call_1"),
        ([result("call_1"), USER, result("call_2")], "call_2"),
    ],
)
def test_calls_of_tools_need_their_results(
    http: httpx.Client, after: list[Any], missing: str
) -> None:
    body = {"model": "classic", "messages": [USER, CALLING, *after]}
    answer = http.post(V1, json=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["message"].endswith(f"did not have response messages: {missing}")
    assert error["param"] == "messages.1.role"
    assert http.post(V1, json={**body, "model": "mistral"}).status_code == 200
    answered = [USER, CALLING, result("call_2"), result("call_1")]
    for messages in (answered, [*answered, CALLING, *answered[2:], USER]):
        assert http.post(V1, json={**body, "messages": messages}).status_code == 200


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"stream_options": {"include_usage": True}}, "only allowed when 'stream' is enabled"),
        ({"max_tokens": 3, "max_completion_tokens": 3}, "at the same time is not supported"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(
    http: httpx.Client, fields: dict[str, Any], words: str
) -> None:
    answer = http.post(V1, json={**CHAT, "model": "classic", **fields})
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]
    assert http.post(V1, json={**CHAT, "model": "mistral", **fields}).status_code == 200


def test_json_objects_need_the_word(http: httpx.Client) -> None:
    body: dict[str, Any] = {**CHAT, "model": "classic", "response_format": {"type": "json_object"}}
    answer = http.post(V1, json=body)
    assert answer.status_code == 400
    assert "must contain the word 'json'" in answer.json()["error"]["message"]
    assert http.post(V1, json={**body, "model": "mistral"}).status_code == 200
    system = {"role": "system", "content": [{"type": "text", "text": "Write JSON."}]}
    assert http.post(V1, json={**body, "messages": [system, *CHAT["messages"]]}).status_code == 200
    response = {"model": "classic", "input": "Where?", "text": {"format": {"type": "json_object"}}}
    answer = http.post("/openai/v1/responses", json=response)
    assert answer.status_code == 400
    assert "Response input messages must contain the word 'json'" in answer.text
    response["instructions"] = "Write JSON."
    assert http.post("/openai/v1/responses", json=response).status_code == 400
    response["input"] = "Where? Answer in JSON."
    assert http.post("/openai/v1/responses", json=response).status_code == 200


@pytest.mark.parametrize("path", ["/models/chat/completions", V1])
def test_tool_calls_of_mistral_have_its_form_on_its_surfaces(http: httpx.Client, path: str) -> None:
    body = {**CHAT, "model": "mistral", "tools": [WEATHER, WEATHER], "tool_choice": "required"}
    call = http.post(path, json=body).json()["choices"][0]["message"]["tool_calls"][0]
    lines = http.post(path, json={**body, "stream": True}).text.splitlines()
    chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    if path == V1:
        assert call["id"].startswith("call_")
        assert chunks[1]["choices"][0]["delta"]["tool_calls"][0]["index"] == 0
        return
    assert re.fullmatch("[a-zA-Z0-9]{9}", call["id"])
    first, last = chunks
    assert first["choices"] == [
        {
            "index": 0,
            "delta": {"role": "assistant", "content": ""},
            "finish_reason": None,
            "logprobs": None,
        }
    ]
    (choice,) = last["choices"]
    (streamed,) = choice["delta"].pop("tool_calls")
    assert choice == {"index": 0, "delta": {}, "finish_reason": "tool_calls", "logprobs": None}
    assert set(streamed) == {"id", "function"}
    assert re.fullmatch("[a-zA-Z0-9]{9}", streamed["id"])
    assert json.loads(streamed["function"]["arguments"]) is not None
    assert last["usage"]["completion_tokens"] > 0
