"""The answers of the local endpoint on the wire, read by a plain HTTP client."""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from azinfer.core import ConfigurationError, InferenceError
from azinfer.local import (
    EngineError,
    LocalDeployment,
    LocalEndpoint,
    Piece,
    Prompt,
    SyntheticEngine,
)
from azinfer.local.server.address import url as url_of
from pictures import DATA_URL

USER = [{"role": "user", "content": "What is the capital of France?"}]
VERSION = {"api-version": "2024-05-01-preview"}
CHATS = [
    ("/models/chat/completions", {"model": "fixed"}),
    ("/openai/v1/chat/completions", {"model": "fixed"}),
    ("/openai/deployments/fixed/chat/completions", {}),
    ("/chat/completions", {"model": "fixed"}),
]
DENIED = {
    "error": {
        "code": "401",
        "message": "Access denied due to invalid subscription key or wrong API endpoint. Make "
        "sure to provide a valid key for an active subscription and use a correct regional API "
        "endpoint for your resource.",
    }
}
NO_MODEL = (
    "No model specified in request. Please provide a model name in the request body or as a "
    "x-ms-model-mesh-model-name header."
)
NOT_FOUND = {
    "error": {
        "type": "invalid_request_error",
        "code": "DeploymentNotFound",
        "message": "The API deployment for this resource does not exist. If you created the "
        "deployment within the last 5 minutes, please wait a moment and try again.",
    }
}


def events(text: str) -> list[Any]:
    lines = [line for line in text.split("\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    assert text.endswith("data: [DONE]\n\n")
    return [json.loads(line[6:]) for line in lines[:-1]]


@pytest.mark.parametrize(("path", "named"), CHATS)
def test_a_chat_completion_has_the_documented_form(
    http: httpx.Client, path: str, named: dict[str, str]
) -> None:
    answer = http.post(path, json={"messages": USER, **named}, params=VERSION)
    body = answer.json()
    assert answer.status_code == 200
    assert body.pop("id").startswith("chatcmpl-")
    assert isinstance(body.pop("created"), int)
    message: dict[str, Any] = {"role": "assistant", "content": "Paris."}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    if "/openai/" in path:
        message["refusal"] = choice["logprobs"] = None
    assert body == {
        "object": "chat.completion",
        "model": "mistral-large-2411",
        "choices": [choice],
        "usage": {"prompt_tokens": 13, "completion_tokens": 2, "total_tokens": 15},
    }
    assert answer.headers["x-ms-deployment-name"] == "fixed"
    assert answer.headers["x-ms-region"] == "local"
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["apim-request-id"])
    assert answer.headers["x-request-id"] == answer.headers["apim-request-id"]


@pytest.mark.parametrize(("path", "named"), CHATS)
def test_a_stream_has_the_documented_form(
    http: httpx.Client, path: str, named: dict[str, str]
) -> None:
    body = {"messages": USER, "stream": True, **named}
    body["stream_options"] = {"include_usage": True}
    answer = http.post(path, json=body)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    chunks = events(answer.text)
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    # Mistral's models say so on their own surfaces.
    assert {choice.pop("logprobs", None) for choice in choices} == {None}
    assert choices == [
        {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None},
        {"index": 0, "delta": {"content": "Paris"}, "finish_reason": None},
        {"index": 0, "delta": {"content": "."}, "finish_reason": None},
        {"index": 0, "delta": {}, "finish_reason": "stop"},
    ]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {
        "prompt_tokens": 13,
        "completion_tokens": 2,
        "total_tokens": 15,
    }


def test_a_stream_sends_usage_only_on_request(http: httpx.Client) -> None:
    # Its model, mistral-large-2411, always reports it on the models route.
    answer = http.post(
        "/openai/v1/chat/completions", json={"messages": USER, "model": "fixed", "stream": True}
    )
    assert not any("usage" in chunk for chunk in events(answer.text))


@pytest.mark.parametrize("name", ["mistral-large", "MISTRAL-LARGE", "Mistral-Large"])
def test_names_match_in_any_case_and_keep_their_spelling(http: httpx.Client, name: str) -> None:
    for path, body in (
        ("/models/chat/completions", {"model": name}),
        ("/openai/v1/chat/completions", {"model": name}),
        (f"/openai/deployments/{name}/chat/completions", {"model": "another"}),
    ):
        answer = http.post(path, json={"messages": USER, **body})
        assert answer.status_code == 200
        assert answer.headers["x-ms-deployment-name"] == "Mistral-Large"


def test_a_header_can_name_the_deployment(http: httpx.Client) -> None:
    headers = {"x-ms-model-mesh-model-name": "fixed"}
    answer = http.post("/models/chat/completions", json={"messages": USER}, headers=headers)
    assert answer.json()["choices"][0]["message"]["content"] == "Paris."


@pytest.mark.parametrize(
    "path",
    [
        "models//chat/completions",
        "/models//chat/completions",
        "MODELS/Chat/Completions/",
        "OpenAI/V1/chat/COMPLETIONS",
        "Chat/Completions",
        "/OPENAI//deployments/Fixed//chat/Completions",
    ],
)
def test_untidy_paths_are_accepted(endpoint: LocalEndpoint, path: str) -> None:
    url, headers = f"{endpoint.url}/{path}", {"api-key": endpoint.key}
    body = {"messages": USER, "model": "fixed"}
    assert httpx.post(url, json=body, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/OpenAI/V1/Models", "data"),
        ("/Deployments", "value"),
        ("/API/Projects/P/Deployments", "value"),
        ("/API/Projects/P/OpenAI/v1/Models", "data"),
        ("/openai/Files", "data"),
    ],
)
def test_lists_are_found_in_any_case(http: httpx.Client, path: str, named: str) -> None:
    assert named in http.get(path).json()


@pytest.mark.parametrize(
    "headers",
    [
        {"api-key": "local-key"},
        {"Authorization": "Bearer local-key"},
        {"authorization": "bearer local-key"},
        {"Ocp-Apim-Subscription-Key": "local-key"},
        {"api-key": "wrong", "authorization": "Bearer local-key"},
    ],
)
def test_the_key_can_be_in_any_header(endpoint: LocalEndpoint, headers: dict[str, str]) -> None:
    url = f"{endpoint.url}/models/info?model=fixed"
    assert httpx.get(url, headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/models/info", "/openai/v1/models", "/openai/deployments"])
def test_a_bad_key_is_refused_as_the_service_does(endpoint: LocalEndpoint, path: str) -> None:
    for key in (b"", b"wrong", b"cl\xe9"):
        answer = httpx.get(endpoint.url + path, headers={b"api-key": key})
        assert (answer.status_code, answer.json()) == (401, DENIED)
    answer = httpx.get(endpoint.url + path, headers={"authorization": "Bearer wrong"})
    assert answer.status_code == answer.json()["statusCode"] == 401
    assert "audience is incorrect" in answer.json()["message"]


REFUSED: list[tuple[str, Any, int, Any]] = [
    (
        "/models/chat/completions",
        {"messages": USER},
        400,
        {"error": {"code": "no_model_name", "message": NO_MODEL, "details": NO_MODEL}},
    ),
    (
        "/models/chat/completions",
        {"messages": USER, "model": "nope"},
        404,
        {
            "error": {
                "code": "unknown_model",
                "message": "Unknown model: nope",
                "details": "Unknown model: nope",
            }
        },
    ),
    (
        "/openai/v1/chat/completions",
        {"messages": USER},
        400,
        {
            "error": {
                "message": "Missing required parameter: 'model'.",
                "type": "invalid_request_error",
                "param": "model",
                "code": "missing_required_parameter",
            }
        },
    ),
    ("/openai/v1/chat/completions", {"messages": USER, "model": "nope"}, 404, NOT_FOUND),
    ("/openai/deployments/nope/chat/completions", {"messages": USER}, 404, NOT_FOUND),
    (
        "/models/chat/completions",
        {"messages": USER, "model": "embed"},
        400,
        {
            "error": {
                "code": "OperationNotSupported",
                "message": "The chatCompletion operation does not work with the specified model, "
                "text-embedding. Please choose different model and try again. You can learn "
                "more about which models can be used with each operation here: "
                "https://go.microsoft.com/fwlink/?linkid=2197993.",
            }
        },
    ),
    ("/nowhere", {}, 404, {"error": {"code": "404", "message": "Resource not found"}}),
    (
        "/models/chat/completions",
        {"messages": USER, "model": "fixed", "temperature": 3},
        422,
        {
            "error": {
                "code": "Invalid input",
                "message": "Invalid 'temperature': expected a value between 0 and 2, got 3.",
                "status": 422,
                "details": [
                    {
                        "type": "value_error",
                        "loc": ["body", "temperature"],
                        "msg": "Invalid 'temperature': expected a value between 0 and 2, got 3.",
                    }
                ],
            }
        },
    ),
    (
        "/openai/v1/chat/completions",
        {"messages": USER, "model": "fixed", "temperature": -1},
        400,
        {
            "error": {
                "message": "Invalid 'temperature': expected a value between 0 and 2, got -1.",
                "type": "invalid_request_error",
                "param": "temperature",
                "code": "invalid_value",
            }
        },
    ),
]


@pytest.mark.parametrize(("path", "body", "status", "expected"), REFUSED)
def test_a_refusal_is_in_the_words_of_the_surface(
    http: httpx.Client, path: str, body: Any, status: int, expected: Any
) -> None:
    answer = http.post(path, json=body)
    assert (answer.status_code, answer.json()) == (status, expected)


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
WRONG: list[tuple[str, dict[str, Any]]] = [
    ("messages", {"messages": None}),
    ("messages", {"messages": []}),
    ("messages", {"messages": "hi"}),
    ("messages.0.role", {"messages": ["hi"]}),
    ("messages.0.role", {"messages": [{"role": "alien", "content": ""}]}),
    ("messages.0.content", {"messages": [{"role": "user"}]}),
    ("messages.0.content", {"messages": [{"role": "user", "content": 1}]}),
    ("messages.0.content.0.type", {"messages": [{"role": "user", "content": ["a"]}]}),
    ("messages.0.content.0.type", {"messages": [{"role": "user", "content": [{"text": "a"}]}]}),
    ("messages.0.role", {"messages": [{"role": "tool", "tool_call_id": "c", "content": ""}]}),
    ("messages.0.tool_calls", {"messages": [{"role": "assistant", "tool_calls": "x"}]}),
    (
        "messages.0.tool_calls.0.type",
        {"messages": [{"role": "assistant", "tool_calls": [{**CALL, "type": None}]}]},
    ),
    (
        "messages.0.tool_calls.0.function.arguments",
        {"messages": [{"role": "assistant", "tool_calls": [{**CALL, "function": {"name": 1}}]}]},
    ),
    ("model", {"model": 7}),
    ("temperature", {"temperature": "hot"}),
    ("temperature", {"temperature": True}),
    ("top_p", {"top_p": 2}),
    ("max_tokens", {"max_tokens": 0}),
    ("max_tokens", {"max_tokens": 1.5}),
    ("n", {"n": 500}),
    ("seed", {"seed": "x"}),
    ("stream", {"stream": "yes"}),
    ("stream_options", {"stream_options": True}),
    ("stop", {"stop": [""]}),
    ("stop", {"stop": {"a": 1}}),
    ("tools", {"tools": {}}),
    ("tools", {"tools": []}),
    ("tools.0.function.name", {"tools": [{}]}),
    ("tools.0.function.name", {"tools": [{"function": {"name": "a b"}}]}),
    ("tools.0.function.parameters", {"tools": [{"function": {"name": "a", "parameters": 1}}]}),
    ("tool_choice", {"tool_choice": "auto"}),
    ("tool_choice", {"tools": [TOOL], "tool_choice": {"function": {"name": "g"}}}),
    ("tool_choice", {"tools": [TOOL], "tool_choice": "any"}),
    ("response_format", {"response_format": "xml"}),
    ("response_format", {"response_format": {"type": "json_schema"}}),
    (
        "response_format.json_schema.name",
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
    ),
    (
        "response_format.json_schema.schema",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
    ),
]


@pytest.mark.parametrize(("param", "body"), WRONG)
def test_a_wrong_field_is_named(http: httpx.Client, param: str, body: dict[str, Any]) -> None:
    body = {"messages": USER, "model": "fixed", **body}
    url = "/openai/deployments/fixed/chat/completions"
    answer = http.post(url, json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    if param != "model":
        answer = http.post("/models/chat/completions", json=body)
        assert answer.status_code == 422
        assert answer.json()["error"]["details"][0]["loc"] == ["body", *param.split(".")]


@pytest.mark.parametrize(
    ("param", "body"),
    [
        ("input", {}),
        ("input", {"input": []}),
        ("input", {"input": [1, 2]}),
        ("input", {"input": [[1, 2]]}),
        ("input", {"input": ["a"] * 2049}),
        ("dimensions", {"input": "a", "dimensions": 0}),
        ("encoding_format", {"input": "a", "encoding_format": "int8"}),
        ("model", {"input": "a", "model": 7}),
    ],
)
def test_a_wrong_field_of_embeddings_is_named(
    http: httpx.Client, param: str, body: dict[str, Any]
) -> None:
    answer = http.post("/openai/deployments/embed/embeddings", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("param", "item"),
    [
        ("input.0", "x"),
        ("input.0", {"image": "https://example.com/a.png"}),
        ("input.0", {"image": "data:image/png;base64,AAAA", "text": 1}),
        ("input.0.image", {"image": "data:image/png;base64,A"}),
        ("input", None),
    ],
)
def test_a_wrong_image_is_named(http: httpx.Client, param: str, item: Any) -> None:
    body = {"model": "embed", "input": item and [item]}
    answer = http.post("/models/images/embeddings", json=body)
    assert answer.json()["error"]["details"][0]["loc"] == ["body", *param.split(".")]


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"\xff", b'{"a":' * 100_000])
def test_a_body_that_is_not_an_object_is_refused(http: httpx.Client, data: bytes) -> None:
    answer = http.post("/models/chat/completions", content=data)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadRequest")


def test_a_body_that_is_too_long_is_refused(http: httpx.Client) -> None:
    answer = http.post("/models/chat/completions", content=b" " * (33 * 1024 * 1024))
    assert answer.status_code == 413
    assert http.get("/openai/v1/models").status_code == 200


def test_another_method_is_refused(http: httpx.Client) -> None:
    answer = http.get("/models/chat/completions")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "405")


def test_an_invalid_api_version_is_refused(http: httpx.Client) -> None:
    answer = http.get("/openai/models", params={"api-version": "0125"})
    assert answer.json()["error"] == {"code": "BadRequest", "message": "API version not supported"}


@pytest.mark.parametrize("surface", ["models", "openai/deployments/only"])
def test_a_strict_endpoint_requires_an_api_version(strict: LocalEndpoint, surface: str) -> None:
    url, headers = f"{strict.url}/{surface}/chat/completions", {"api-key": "local-key"}
    body = {"messages": USER, "model": "only"}
    assert httpx.post(url, json=body, headers=headers).status_code == 404
    assert httpx.post(url, json=body, headers=headers, params=VERSION).status_code == 200


@pytest.mark.parametrize(
    ("header", "status"), [(None, 400), ("error", 400), ("drop", 200), ("pass-through", 200)]
)
def test_a_strict_endpoint_requires_a_header_for_extra_parameters(
    strict: LocalEndpoint, header: str | None, status: int
) -> None:
    headers = {"api-key": "local-key", **({"extra-parameters": header} if header else {})}
    body = {"messages": USER, "model": "only", "safe_prompt": True, "b": 1}
    url = f"{strict.url}/models/chat/completions"
    answer = httpx.post(url, json=body, headers=headers, params=VERSION)
    assert answer.status_code == status
    if status == 400:
        assert answer.json() == {
            "detail": "Extra parameters ['b', 'safe_prompt'] are not allowed when "
            "extra-parameters is not set or set to be 'error'. Set extra-parameters to "
            "'pass-through' to pass to the model."
        }


def test_extra_parameters_are_unrecognized_arguments_on_v1(strict: LocalEndpoint) -> None:
    url, headers = f"{strict.url}/openai/v1/chat/completions", {"api-key": "local-key"}
    body = {"messages": USER, "model": "only", "x": 1}
    answer = httpx.post(url, json=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "Unrecognized request argument supplied: x"


def test_extra_parameters_are_accepted_unless_strict(http: httpx.Client) -> None:
    body = {"messages": USER, "model": "fixed", "safe_prompt": True}
    assert http.post("/models/chat/completions", json=body).status_code == 200
    headers = {"extra-parameters": "error"}
    answer = http.post("/models/chat/completions", json=body, headers=headers)
    assert answer.status_code == 400
    headers = {"extra-parameters": "whatever"}
    answer = http.post("/models/chat/completions", json=body, headers=headers)
    assert "must be error, drop or pass-through" in answer.text


def test_a_single_deployment_needs_no_name_at_the_root(strict: LocalEndpoint) -> None:
    headers = {"api-key": "local-key"}
    url = f"{strict.url}/chat/completions"
    assert httpx.post(url, json={"messages": USER}, headers=headers).status_code == 200
    assert httpx.get(f"{strict.url}/info", headers=headers).json() == {
        "model_name": "only",
        "model_type": "chat-completion",
        "model_provider_name": "azinfer",
    }


def test_stop_and_max_tokens_end_an_answer(http: httpx.Client) -> None:
    def ask(**options: Any) -> Any:
        body = {
            "messages": [{"role": "user", "content": "one two three"}],
            "model": "mistral-large",
        }
        answer = http.post("/models/chat/completions", json={**body, **options})
        choice = answer.json()["choices"][0]
        return choice["message"]["content"], choice["finish_reason"]

    whole = "This is a synthetic answer to: one two three"
    assert ask() == (whole, "stop")
    assert ask(stop="two") == (whole.partition("two")[0], "stop")
    assert ask(stop=["three", " one"]) == (whole.partition(" one")[0], "stop")
    assert ask(max_tokens=2) == ("This is", "length")
    assert ask(max_completion_tokens=2) == ("This is", "length")


def test_several_choices_are_written(http: httpx.Client) -> None:
    body = {"messages": USER, "model": "fixed", "n": 3, "seed": 1}
    choices = http.post("/models/chat/completions", json=body).json()["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2]
    stream = http.post("/models/chat/completions", json={**body, "stream": True})
    indexes = [choice["index"] for chunk in events(stream.text) for choice in chunk["choices"]]
    assert sorted(set(indexes)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "object", "properties": {"n": {"type": "integer"}}}, {"n": 42}),
        ({"type": "object", "properties": {"n": {"type": "number", "maximum": 7}}}, {"n": 7}),
        ({"properties": {"who": {"type": "string"}}}, {"who": "Ann"}),
        ({"properties": {"who": {"type": "string", "maxLength": 2}}}, {"who": "An"}),
        ({"properties": {"who": {"type": "string", "minLength": 5}}}, {"who": "Annxx"}),
        ({"properties": {"c": {"enum": ["red", "blue"]}}}, {"c": "blue"}),
        ({"properties": {"c": {"enum": ["x", "y"]}}}, {"c": "x"}),
        ({"properties": {"c": {"const": 3}}}, {"c": 3}),
        ({"properties": {"l": {"type": "array", "items": {"type": "boolean"}}}}, {"l": [True]}),
        ({"properties": {"l": {"type": "array", "minItems": 2}}}, {"l": ["Ann", "Ann"]}),
        ({"properties": {"x": {"anyOf": [{"type": "null"}, {"type": "integer"}]}}}, {"x": 42}),
        ({"properties": {"x": {"type": ["null", "string"]}}}, {"x": "Ann"}),
        ({"properties": {"x": {"type": "null"}}}, {"x": None}),
        ({"properties": {"d": {"type": "string", "format": "date"}}}, {"d": "2026-01-01"}),
        (
            {"$defs": {"P": {"type": "integer"}}, "properties": {"p": {"$ref": "#/$defs/P"}}},
            {"p": 42},
        ),
        (
            {
                "properties": {"v": {"type": "integer"}, "next": {"$ref": "#"}},
                "required": ["v"],
            },
            None,
        ),
    ],
)
def test_json_follows_its_schema(http: httpx.Client, schema: Any, value: Any) -> None:
    format = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    body = {
        "messages": [{"role": "user", "content": 'Say "Ann" in blue 42 times'}],
        "model": "mistral-large",
        "response_format": format,
    }
    answer = http.post("/models/chat/completions", json=body).json()
    content = json.loads(answer["choices"][0]["message"]["content"])
    if value is None:
        assert content["v"] == 42
    else:
        assert content == value


def test_a_schema_with_an_unknown_reference_is_refused(http: httpx.Client) -> None:
    schema = {"$ref": "#/$defs/Missing"}
    format = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    body = {"messages": USER, "model": "mistral-large", "response_format": format}
    for stream in (False, True):
        answer = http.post("/openai/v1/chat/completions", json={**body, "stream": stream})
        assert answer.status_code == 400
        assert "#/$defs/Missing" in answer.json()["error"]["message"]


WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
TIME = {
    "type": "function",
    "function": {"name": "currentTime", "description": "What time it is in a time zone"},
}


@pytest.mark.parametrize(
    ("text", "choice", "names", "reason"),
    [
        ("How is the weather in New York?", None, ["get_weather"], "tool_calls"),
        ("What is the current time?", None, ["currentTime"], "tool_calls"),
        ("Tell me a joke", None, [], "stop"),
        ("How is the weather in New York?", "none", [], "stop"),
        ("Tell me a joke", "required", ["get_weather"], "tool_calls"),
        ("Use get_weather and currentTime", None, ["get_weather", "currentTime"], "tool_calls"),
        (
            "How is the weather?",
            {"type": "function", "function": {"name": "currentTime"}},
            ["currentTime"],
            "stop",
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_tools_are_called(
    http: httpx.Client, text: str, choice: Any, names: list[str], reason: str, stream: bool
) -> None:
    body = {
        "messages": [{"role": "user", "content": text}],
        "model": "mistral-large",
        "tools": [WEATHER, TIME],
        "tool_choice": choice,
        "stream": stream,
    }
    answer = http.post("/openai/v1/chat/completions", json=body)
    if stream:
        deltas = [choice for chunk in events(answer.text) for choice in chunk["choices"]]
        calls = [call for each in deltas for call in each["delta"].get("tool_calls", [])]
        values = [call["function"]["name"] for call in calls if "id" in call]
        assert deltas[-1]["finish_reason"] == reason
        for index in range(len(values)):
            parts = [call["function"] for call in calls if call["index"] == index]
            json.loads("".join(part["arguments"] for part in parts))
    else:
        (only,) = answer.json()["choices"]
        calls = only["message"].get("tool_calls", [])
        values = [call["function"]["name"] for call in calls]
        assert only["finish_reason"] == reason
        assert len({call["id"] for call in calls}) == len(calls)
        if "get_weather" in values and "New York" in text:
            assert json.loads(calls[0]["function"]["arguments"]) == {"city": "New York"}
    assert values == names


class Heedless(SyntheticEngine):
    """Writes something else than it was asked for."""

    async def chat(self, prompt: Prompt) -> AsyncIterator[Piece]:
        yield Piece('{"city": 5}')
        yield Piece("", 0, "stop", 1)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [WEATHER], "tool_choice": "required"},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "a", "schema": WEATHER["function"]["parameters"]},
            }
        },
    ],
)
def test_output_that_violates_its_schema_is_an_error(stream: bool, fields: dict[str, Any]) -> None:
    with LocalEndpoint([LocalDeployment("chat", engine=Heedless())], key="k") as endpoint:
        answer = httpx.post(
            f"{endpoint.url}/openai/v1/chat/completions",
            json={"messages": USER, "model": "chat", "stream": stream, **fields},
            headers={"api-key": "k"},
        )
    body = events(answer.text)[-1] if stream else answer.json()
    assert body["error"]["code"] == "invalid_json_schema"
    assert "violates the JSON Schema: $.city: 5 is not" in body["error"]["message"]
    assert answer.status_code == (200 if stream else 400)


def test_a_tool_result_is_used_and_not_requested_again(http: httpx.Client) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "How is the weather in Delft?"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "Sunny"},
    ]
    body = {"messages": messages, "model": "mistral-large", "tools": [WEATHER]}
    answer = http.post("/models/chat/completions", json=body).json()
    assert "Sunny" in answer["choices"][0]["message"]["content"]


def test_embeddings_have_the_documented_form(http: httpx.Client) -> None:
    for path in ("/models/embeddings", "/openai/v1/embeddings", "/embeddings"):
        body = http.post(path, json={"model": "embed", "input": ["a b", "c"]}).json()
        assert body.pop("id")
        vectors = [item.pop("embedding") for item in body["data"]]
        assert body == {
            "object": "list",
            "model": "text-embedding",
            "data": [{"object": "embedding", "index": 0}, {"object": "embedding", "index": 1}],
            "usage": {"prompt_tokens": 3, "total_tokens": 3},
        }
        assert [len(vector) for vector in vectors] == [8, 8]


def test_vectors_are_the_same_in_every_encoding_and_cut_to_unit_length(http: httpx.Client) -> None:
    def embed_text(**options: Any) -> Any:
        body = {"model": "embed", "input": "a cat", **options}
        return http.post("/models/embeddings", json=body).json()["data"][0]["embedding"]

    floats = embed_text()
    packed = base64.b64decode(embed_text(encoding_format="base64"))
    assert struct.unpack("<8f", packed) == pytest.approx(floats)
    assert sum(number**2 for number in embed_text(dimensions=3)) == pytest.approx(1)
    assert len(embed_text(dimensions=3)) == 3
    assert embed_text(dimensions=8) == floats


def test_texts_that_share_words_are_near(http: httpx.Client) -> None:
    texts = ["the cat sat on the mat", "a cat on a mat", "stock prices fell"]
    body = {"model": "embed", "input": texts}
    first, near, far = (
        item["embedding"] for item in http.post("/models/embeddings", json=body).json()["data"]
    )

    def likeness(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert likeness(first, near) > 2 * likeness(first, far)


def test_images_are_embedded(http: httpx.Client) -> None:
    image = DATA_URL
    body = {"model": "embed", "input": [{"image": image}, {"image": image, "text": "cat"}]}
    data = http.post("/models/images/embeddings", json=body).json()["data"]
    assert data[0]["embedding"] != data[1]["embedding"]
    assert http.post("/openai/v1/images/embeddings", json=body).status_code == 404


def test_lists_have_the_forms_of_their_services(http: httpx.Client) -> None:
    classic = http.get("/openai/deployments", params={"api-version": "2022-12-01"}).json()
    assert classic["data"][0] == {
        "id": "Mistral-Large",
        "model": "mistral-large-2411",
        "status": "succeeded",
        "object": "deployment",
    }
    project = http.get("/api/projects/p/deployments", params={"api-version": "v1"}).json()
    assert project["value"][0] == {
        "name": "Mistral-Large",
        "type": "ModelDeployment",
        "modelName": "mistral-large-2411",
        "modelVersion": "1",
        "modelPublisher": "Mistral AI",
        "capabilities": {"chat_completion": "true"},
        "sku": {"name": "GlobalStandard", "capacity": 1},
    }
    account = "/subscriptions/s/resourceGroups/g/providers/M.C/accounts/a"
    arm = http.get(f"{account}/deployments", params={"api-version": "2025-09-01"}).json()
    assert arm["value"][0]["id"] == f"{account}/deployments/Mistral-Large"
    assert arm["value"][0]["properties"]["rateLimits"] == [
        {"key": "request", "renewalPeriod": 10, "count": 100_000}
    ]
    models = http.get("/openai/v1/models").json()["data"]
    assert [model["id"] for model in models] == ["Mistral-Large", "fixed", "embed"]
    assert http.get("/openai/v1/models/FIXED").json()["id"] == "fixed"
    assert http.get("/openai/v1/models/nope").status_code == 404


def test_the_request_id_is_returned(http: httpx.Client) -> None:
    answer = http.get("/openai/v1/models", headers={"x-ms-client-request-id": "mine"})
    assert answer.headers["x-ms-client-request-id"] == "mine"


class Broken(SyntheticEngine):
    """An engine that fails after its first word, as the caller says."""

    async def chat(self, prompt: Prompt) -> Any:
        if prompt.messages[0]["content"] == "at once":
            raise RuntimeError("bug")
        yield Piece("Once")
        raise EngineError("the context is full", "context_length_exceeded")


def test_an_engine_failure_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    with LocalEndpoint([LocalDeployment("b2", engine=Broken())]) as endpoint:
        url = f"{endpoint.url}/openai/v1/chat/completions"
        headers = {"api-key": endpoint.key}
        body = {"model": "b2", "messages": USER}
        answer = httpx.post(url, json=body, headers=headers)
        assert answer.json()["error"]["code"] == "context_length_exceeded"
        answer = httpx.post(url, json={**body, "stream": True}, headers=headers)
        *chunks, last = events(answer.text)
        assert chunks[-1]["choices"][0]["delta"] == {"content": "Once"}
        assert last["error"]["message"] == "the context is full"
        body["messages"] = [{"role": "user", "content": "at once"}]
        answer = httpx.post(url, json=body, headers=headers)
        assert answer.status_code == 500
        assert answer.json()["error"]["code"] == "InternalServerError"
        assert "bug" not in answer.text
    assert "request" in caplog.text


def test_engines_are_closed_once_at_the_end() -> None:
    closed = []

    class Closing(SyntheticEngine):
        async def aclose(self) -> None:
            closed.append(self)

    engine = Closing()
    deployments = [LocalDeployment("a1", engine=engine), LocalDeployment("a2", engine=engine)]
    with LocalEndpoint(deployments):
        assert not closed
    assert closed == [engine]


def test_an_endpoint_ends_while_a_stream_is_open() -> None:
    class Endless(SyntheticEngine):
        async def chat(self, prompt: Prompt) -> Any:
            import asyncio

            yield Piece("a")
            await asyncio.Event().wait()

    endpoint = LocalEndpoint([LocalDeployment("a1", engine=Endless())])
    endpoint.start()
    url = f"{endpoint.url}/models/chat/completions"
    body = {"model": "a1", "messages": USER, "stream": True}
    headers = {"api-key": endpoint.key}
    with httpx.stream("POST", url, json=body, headers=headers) as answer:
        parts = answer.iter_bytes()
        assert next(parts)
        endpoint.stop()
        with pytest.raises(httpx.RemoteProtocolError):
            list(parts)
    assert endpoint.url == ""
    endpoint.stop()


def test_names_are_checked() -> None:
    for name in ("", "a", "-a", "a b", "x" * 65, "../a"):
        with pytest.raises(ConfigurationError, match="is not a valid deployment name"):
            LocalDeployment(name)
    with pytest.raises(ConfigurationError, match="two deployments are called 'CHAT'"):
        LocalEndpoint([LocalDeployment("chat"), LocalDeployment("CHAT")])


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "https://127.0.0.1:1"),
        ("::", "https://[::1]:1"),
        ("localhost", "https://localhost:1"),
    ],
)
def test_the_url_reaches_the_endpoint(host: str, url: str) -> None:
    assert url_of("https", host, 1) == url


def test_a_port_in_use_is_an_error(endpoint: LocalEndpoint) -> None:
    port = int(endpoint.url.rpartition(":")[2])
    with pytest.raises(InferenceError, match=f"cannot listen on port {port} of 127.0.0.1"):
        LocalEndpoint(port=port).start()


def test_an_endpoint_shows_what_it_serves_and_not_its_key(endpoint: LocalEndpoint) -> None:
    assert "Mistral-Large, fixed, embed" in repr(endpoint)
    assert endpoint.key not in repr(endpoint)
    assert LocalEndpoint().deployments[0].name == "synthetic"
