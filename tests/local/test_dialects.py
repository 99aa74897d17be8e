"""What each surface answers in each situation, against literal bodies.

Where a body was quoted in public, it stands here as it was there: crmne/ruby_llm
(`chat_real_error_scenarios_azure_grok-…`, 429), hotovo/aider-desk#460 and ThinkInAIXYZ/deepchat#262
(api-version), chatboxai/chatbox#1745 and dotnet/extensions#6130 (features of newer versions),
BerriAI/litellm#9800 (extra parameters) and #11844 (no JSON), cline/cline#1700 and
holoviz/lumen#1070 (reasoning models), microsoft/AI-Red-Teaming-Playground-Labs#18 (another
modality); `parameter_not_supported` as in "Azure AI Model Inference REST API reference".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from azinfer.core import InferenceClient, RateLimit, UserMessage
from azinfer.local import ContentFilter, LocalDeployment, LocalEndpoint, SyntheticEngine
from pictures import DATA_URL

KEY = "local-key"
DATED = {"api-version": "2025-04-01"}
USER = [{"role": "user", "content": "hi"}]
Json = dict[str, Any]


class OnlyVectors:
    """An engine that only embeds."""

    embed = SyntheticEngine(dimensions=16).embed
    embed_images = SyntheticEngine(dimensions=16).embed_images
    aclose = SyntheticEngine().aclose


class OnlyChat:
    """An engine that only writes."""

    chat = SyntheticEngine("Paris.").chat
    aclose = SyntheticEngine().aclose


DEPLOYMENTS = [
    LocalDeployment("Chat", "gpt-4.1", OnlyChat(), model_format="Open AI"),
    LocalDeployment("vectors", "text-embedding-3-small", OnlyVectors(), model_format="OpenAI"),
    LocalDeployment("pictures", "our-own-model", OnlyVectors()),
    LocalDeployment("ada", "text-embedding-ada-002", OnlyVectors()),
    LocalDeployment("mini", "o4-mini", OnlyChat()),
    LocalDeployment("limited", "grok-4", rate_limits=(RateLimit("request", 1, 10),)),
]


@pytest.fixture(scope="module")
def endpoints() -> Iterator[dict[str, LocalEndpoint]]:
    """A lenient and a strict endpoint, and both again with one deployment only."""
    with (
        LocalEndpoint(DEPLOYMENTS, key=KEY, clock=lambda: 0.0) as lenient,
        LocalEndpoint(DEPLOYMENTS, key=KEY, strict=True) as strict,
        LocalEndpoint(DEPLOYMENTS[:1], key=KEY) as serverless,
        LocalEndpoint(DEPLOYMENTS[:1], key=KEY, strict=True) as strict_serverless,
        InferenceClient(lenient.url, KEY, "limited") as client,
    ):
        client.complete([UserMessage("the one request that fits")])
        yield {
            "lenient": lenient,
            "strict": strict,
            "serverless": serverless,
            "strict serverless": strict_serverless,
        }


@pytest.fixture
def ask(endpoints: dict[str, LocalEndpoint]) -> Iterator[Any]:
    """Asks one of them: `ask("strict", "/models/chat/completions", {...})`."""
    with httpx.Client(headers={"api-key": KEY}) as client:

        def send(which: str, path: str, body: Json | None = None, **more: Any) -> httpx.Response:
            method = "GET" if body is None else "POST"
            url = endpoints[which].url + path
            sent = more if "content" in more else {"json": body, **more}
            return client.request(method, url, **sent)

        yield send


def error(code: Any, message: str, **more: Any) -> Json:
    return {"error": {"code": code, "message": message, **more}}


def openai(message: str, param: str | None, code: str | None) -> Json:
    kind = "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


NOTHING = error("404", "Resource not found")
BAD_VERSION = error("BadRequest", "API version not supported")
NO_NAME = (
    "No model specified in request. Please provide a model name in the request body or as a "
    "x-ms-model-mesh-model-name header."
)
NO_MODEL = error("no_model_name", NO_NAME, details=NO_NAME)
MISSING = openai("Missing required parameter: 'model'.", "model", "missing_required_parameter")
NO_DEPLOYMENT = {
    "error": {
        "type": "invalid_request_error",
        "code": "DeploymentNotFound",
        "message": "The API deployment for this resource does not exist. If you created the "
        "deployment within the last 5 minutes, please wait a moment and try again.",
    }
}


def unknown(name: str) -> Json:
    return error("unknown_model", f"Unknown model: {name}", details=f"Unknown model: {name}")


def unable(operation: str, model: str) -> Json:
    message = (
        f"The {operation} operation does not work with the specified model, {model}. Please "
        "choose different model and try again. You can learn more about which models can be used "
        "with each operation here: https://go.microsoft.com/fwlink/?linkid=2197993."
    )
    return error("OperationNotSupported", message)


CHAT = "/chat/completions"
CLASSIC = "/openai/deployments/{}/chat/completions"
LATE = error(
    "BadRequest", "Model o4-mini is enabled only for api versions 2024-12-01-preview and later"
)
SINCE = {"api-version": "2024-06-01"}
# Situation and surface, then which endpoint, path, body, query, and what it answers. The body is
# that of chat where it has no other; None asks with GET.
SITUATIONS: dict[str, tuple[str, str, Json | None, Json, int, Any]] = {
    "no model, models": ("lenient", f"/models{CHAT}", {}, DATED, 400, NO_MODEL),
    "no model, v1": ("lenient", f"/openai/v1{CHAT}", {}, {}, 400, MISSING),
    "no model, classic": ("lenient", CLASSIC.format("chat"), {}, DATED, 200, None),
    "no model, serverless": ("serverless", CHAT, {}, {}, 200, None),
    "unknown, models": (
        *("lenient", f"/models{CHAT}", {"model": "nope"}, DATED),
        *(404, unknown("nope")),
    ),
    "unknown, v1": ("lenient", f"/openai/v1{CHAT}", {"model": "nope"}, {}, 404, NO_DEPLOYMENT),
    "unknown, classic": ("lenient", CLASSIC.format("nope"), {}, DATED, 404, NO_DEPLOYMENT),
    "unknown, serverless": ("serverless", CHAT, {"model": "nope"}, {}, 200, None),
    "modality, models": (
        *("lenient", f"/models{CHAT}", {"model": "vectors"}, DATED),
        *(400, unable("chatCompletion", "text-embedding-3-small")),
    ),
    "modality, v1": (
        *("lenient", "/openai/v1/embeddings", {"model": "chat", "input": "a"}, {}),
        *(400, unable("embeddings", "gpt-4.1")),
    ),
    "modality, classic": (
        *("lenient", CLASSIC.format("vectors"), {}, DATED),
        *(400, unable("chatCompletion", "text-embedding-3-small")),
    ),
    "modality, serverless": ("serverless", "/embeddings", {"input": "a"}, {}, 404, "NOT FOUND"),
    "info, models": ("strict", "/models/info?model=chat", None, DATED, 200, None),
    "info without a model, models": ("strict", "/models/info", None, DATED, 400, NO_MODEL),
    "info of old, models": (
        *("strict", "/models/info?model=chat", None, {"api-version": "2024-05-01-preview"}),
        *(404, NOTHING),
    ),
    "info, v1": ("lenient", "/openai/v1/info", None, {}, 404, NOTHING),
    "info, classic": ("lenient", "/openai/deployments/chat/info", None, DATED, 404, NOTHING),
    "info, serverless": ("serverless", "/info", None, {}, 200, None),
    **{
        f"no route, {base}": ("lenient", f"{base}/nothing", {}, {}, 404, NOTHING)
        for base in ("/models", "/openai/v1", "/openai/deployments/chat", "")
    },
    "no version, models": ("strict", f"/models{CHAT}", {"model": "chat"}, {}, 404, NOTHING),
    "no version, v1": ("strict", f"/openai/v1{CHAT}", {"model": "chat"}, {}, 200, None),
    "no version, classic": ("strict", CLASSIC.format("chat"), {}, {}, 404, NOTHING),
    "no version, serverless": ("strict serverless", CHAT, {}, {}, 200, None),
    "old version, models": ("strict", f"/models{CHAT}", {"model": "mini"}, SINCE, 400, LATE),
    "old version, classic": ("strict", CLASSIC.format("mini"), {}, SINCE, 400, LATE),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_each_surface_answers_each_situation_in_its_own_words(ask: Any, situation: str) -> None:
    which, path, body, query, status, expected = SITUATIONS[situation]
    if body is not None and not path.endswith("/embeddings"):
        body = {"messages": USER, **body}
    answer = ask(which, path, body, params={**httpx.QueryParams(path.partition("?")[2]), **query})
    assert answer.status_code == status, answer.text
    if isinstance(expected, str):
        assert answer.text == expected
        assert answer.headers["content-type"].startswith("text/plain")
    elif expected is not None:
        assert answer.json() == expected


SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
# What is sent to which path, and the whole refusal.
CANONICAL: list[tuple[str, str, Json, Json, int, Any]] = [
    (
        "strict",
        CLASSIC.format("chat"),
        {"response_format": SCHEMA},
        SINCE,
        400,
        error(
            "BadRequest",
            "response_format value as json_schema is enabled only for api versions "
            "2024-08-01-preview and later",
        ),
    ),
    *(
        (
            "lenient",
            path,
            {"model": "mini", "max_tokens": 5},
            DATED,
            400,
            openai(
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
                "'max_completion_tokens' instead.",
                "max_tokens",
                "unsupported_parameter",
            ),
        )
        for path in (f"/models{CHAT}", f"/openai/v1{CHAT}", CLASSIC.format("mini"))
    ),
    (
        "lenient",
        f"/openai/v1{CHAT}",
        {"model": "mini", "temperature": 0.2},
        {},
        400,
        openai(
            "Unsupported value: 'temperature' does not support 0.2 with this model. Only the "
            "default (1) value is supported.",
            "temperature",
            "unsupported_value",
        ),
    ),
    (
        "lenient",
        f"/openai/v1{CHAT}",
        {"model": "mini", "logprobs": True},
        {},
        400,
        openai(
            "Unsupported parameter: 'logprobs' is not supported with this model.",
            "logprobs",
            "unsupported_parameter",
        ),
    ),
    (
        "lenient",
        f"/models{CHAT}",
        {"model": "mini", "logprobs": True},
        {},
        422,
        {
            "status": 422,
            "code": "parameter_not_supported",
            "detail": {"loc": ["body", "logprobs"], "input": True},
            "message": "One of the parameters contain invalid values.",
        },
    ),
    (
        "strict serverless",
        CHAT,
        {"stream_options": {}, "n": 1},
        {},
        400,
        {
            "detail": "Extra parameters ['n', 'stream_options'] are not allowed when "
            "extra-parameters is not set or set to be 'error'. Set extra-parameters to "
            "'pass-through' to pass to the model."
        },
    ),
    (
        "strict",
        f"/openai/v1{CHAT}",
        {"model": "chat", "x": 1},
        {},
        400,
        openai("Unrecognized request argument supplied: x", None, None),
    ),
    ("lenient", CLASSIC.format("chat"), {}, {"api-version": "soon"}, 400, BAD_VERSION),
    ("strict", CLASSIC.format("chat"), {}, {"api-version": "v1"}, 400, BAD_VERSION),
    ("strict", f"/openai/v1{CHAT}", {"model": "chat"}, DATED, 400, BAD_VERSION),
    (
        "lenient",
        f"/openai/v1{CHAT}",
        {"model": "chat", "stop": ["a", "b", "c", "d", "e"]},
        {},
        400,
        openai(
            "Invalid 'stop': array too long. Expected an array with maximum length 4, but got an "
            "array with length 5 instead.",
            "stop",
            "array_above_max_length",
        ),
    ),
    (
        "lenient",
        f"/openai/v1{CHAT}",
        {"model": "limited"},
        {},
        429,
        error(
            "429",
            "Requests to the grok-4 deployment have exceeded the rate limit of your current "
            "capacity. Please retry after 10 seconds.",
        ),
    ),
    (
        "lenient",
        f"/models{CHAT}",
        {"model": "limited"},
        {},
        429,
        error(
            "RateLimitReached",
            "Your requests to limited for grok-4 in local have exceeded rate limit.",
            details="Your requests to limited for grok-4 in local have exceeded rate limit.",
        ),
    ),
]


@pytest.mark.parametrize(("which", "path", "body", "query", "status", "expected"), CANONICAL)
def test_refusals_are_exactly_those_of_the_service(
    ask: Any, which: str, path: str, body: Json, query: Json, status: int, expected: Json
) -> None:
    answer = ask(which, path, {"messages": USER, **body}, params=query)
    assert (answer.status_code, answer.json()) == (status, expected)
    assert answer.headers["content-type"] == "application/json"
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["apim-request-id"])
    assert answer.headers["x-ms-region"] == "local"
    # Compact, as the service writes it.
    assert answer.text == json.dumps(expected, separators=(",", ":"), ensure_ascii=False)


@pytest.mark.parametrize(
    "path", ["/inference/chat/completions", "/orgs/contoso/inference/embeddings", "/catalog/models"]
)
def test_routes_of_github_models_have_ended(ask: Any, path: str) -> None:
    body = {"model": "chat", "messages": USER, "input": "a"}
    answer = ask("lenient", path, None if path.endswith("models") else body)
    assert (answer.status_code, answer.json()) == (404, NOTHING)


def test_a_header_selects_the_deployment_where_there_is_routing(ask: Any) -> None:
    header = {"x-ms-model-mesh-model-name": "chat"}
    for path, model, status in (
        (f"/models{CHAT}", None, 200),
        (f"/models{CHAT}", "vectors", 200),  # the header comes first
        (f"/openai/v1{CHAT}", None, 400),
        (f"/openai/v1{CHAT}", "vectors", 400),
        (CLASSIC.format("vectors"), "chat", 400),
    ):
        body = {"messages": USER, **({"model": model} if model else {})}
        assert ask("lenient", path, body, headers=header).status_code == status, (path, model)


def test_an_online_endpoint_reads_its_deployment_from_a_header(ask: Any) -> None:
    for which in ("lenient", "serverless"):
        header = {"azureml-model-deployment": "CHAT"}
        answer = ask(which, CHAT, {"messages": USER, "model": "vectors"}, headers=header)
        assert answer.headers["x-ms-deployment-name"] == "Chat"
        header = {"azureml-model-deployment": "nope"}
        answer = ask(which, CHAT, {"messages": USER}, headers=header)
        assert (answer.status_code, answer.json()) == (404, unknown("nope"))


def test_a_strict_endpoint_requires_the_json_content_type(ask: Any) -> None:
    text = '{"model": "chat", "messages": [{"role": "user", "content": "hi"}]}'
    result = "Input should be a valid dictionary or object to extract fields from"
    detail = {"type": "model_attributes_type", "loc": ["body"], "msg": result, "input": text}
    wrong = error("Invalid input", "invalid input error", status=422, details=[detail])
    refused = error("UnsupportedMediaType", "The content type must be application/json.")
    for path, status, expected in (
        (f"/models{CHAT}", 422, wrong),
        (f"/openai/v1{CHAT}", 415, refused),
        (CLASSIC.format("chat"), 415, refused),
    ):
        query = {} if "v1" in path else DATED
        for kind in ({}, {"content-type": "text/plain"}):
            answer = ask("strict", path, {}, params=query, content=text, headers=kind)
            assert (answer.status_code, answer.json()) == (status, expected)
            answer = ask("lenient", path, {}, params=query, content=text, headers=kind)
            assert answer.status_code == 200
        kind = {"content-type": "Application/JSON; charset=utf-8"}
        answer = ask("strict", path, {}, params=query, content=text, headers=kind)
        assert answer.status_code == 200


@pytest.mark.parametrize(
    ("header", "status", "extras"),
    [
        (None, 200, None),
        ("pass-through", 200, None),
        ("drop", 200, None),
        ("error", 400, ["n", "safe_prompt"]),
    ],
)
def test_parameters_that_the_api_does_not_define_are_extra(
    ask: Any, header: str | None, status: int, extras: list[str] | None
) -> None:
    headers = {} if header is None else {"extra-parameters": header}
    body = {"messages": USER, "model": "chat", "safe_prompt": True, "n": 2}
    answer = ask("lenient", f"/models{CHAT}", body, headers=headers)
    assert answer.status_code == status
    if extras:
        assert answer.json()["detail"].startswith(f"Extra parameters {extras} are not allowed")
    else:  # what was dropped does nothing
        assert len(answer.json()["choices"]) == (1 if header == "drop" else 2)
    # The header means nothing where it is not defined.
    assert ask("lenient", f"/openai/v1{CHAT}", body, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("param", "body"),
    [
        ("top_logprobs", {"logprobs": True, "top_logprobs": 21}),
        ("top_logprobs", {"top_logprobs": 2}),
        ("logprobs", {"logprobs": 1}),
        ("frequency_penalty", {"frequency_penalty": 3}),
        ("presence_penalty", {"presence_penalty": "high"}),
        ("n", {"n": 129}),
        ("n", {"n": 0}),
    ],
)
def test_a_wrong_option_is_named(ask: Any, param: str, body: Json) -> None:
    answer = ask("lenient", CLASSIC.format("chat"), {"messages": USER, **body})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_options_without_effect_are_accepted(ask: Any) -> None:
    taken: list[Json] = [
        {"model": "chat", "logprobs": False},
        {"model": "mini", "temperature": 1, "top_p": 1.0, "presence_penalty": 0},
        {"model": "mini", "max_completion_tokens": 5},
    ]
    for body in taken:
        answer = ask("lenient", f"/openai/v1{CHAT}", {"messages": USER, **body})
        assert answer.status_code == 200


def test_reasoning_models_refuse_temperature_in_responses_too(ask: Any) -> None:
    body = {"model": "mini", "input": "hi", "temperature": 1}
    answer = ask("lenient", "/openai/v1/responses", body)
    assert answer.json() == openai(
        "Unsupported parameter: 'temperature' is not supported with this model.",
        "temperature",
        "unsupported_parameter",
    )


def embed_text(ask: Any, path: str = "/models/embeddings", **body: Any) -> httpx.Response:
    answer = ask("lenient", path, {"model": "vectors", "input": "a cat", **body})
    assert isinstance(answer, httpx.Response)
    return answer


def test_dimensions_shorten_vectors(ask: Any) -> None:
    def vector(encoding: str) -> list[Any]:
        data = embed_text(ask, encoding_format=encoding).json()["data"]
        result: list[Any] = data[0]["embedding"]
        return result

    floats = vector("float")
    assert vector("int8") == [round(number * 127) for number in floats]
    assert vector("uint8") == [round(number * 127) + 128 for number in floats]
    bits = [number > 0 for number in floats]
    packed = [
        sum(bit << place for bit, place in zip(bits[at : at + 8], range(7, -1, -1), strict=True))
        for at in (0, 8)
    ]
    assert vector("ubinary") == packed
    assert vector("binary") == [number - 128 for number in packed]
    assert len(set(packed)) > 1


@pytest.mark.parametrize("kind", ["text", "query", "document"])
def test_input_type_is_accepted(ask: Any, kind: str) -> None:
    assert embed_text(ask, input_type=kind).status_code == 200


IDS = "Token ids are those of another tokenizer"
V1 = "/openai/v1/embeddings"


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/models/embeddings", {"encoding_format": "int4"}, 422, "encoding_format"),
        (V1, {"encoding_format": "int8"}, 400, "must be one of float, base64, not 'int8'"),
        ("/models/embeddings", {"input_type": "poem"}, 422, "input_type"),
        ("/models/embeddings", {"input": [1, 2]}, 422, IDS),
        (V1, {"input": [[1, 2], [3]]}, 400, IDS),
        (V1, {"input": ["a"] * 2049}, 400, "at most 2048"),
        (V1, {"dimensions": 17}, 400, "Must be less than or equal to 16"),
        (V1, {"dimensions": 8, "model": "ada"}, 400, "'dimensions' is not supported"),
        (
            "/models/embeddings",
            {"dimensions": 8, "model": "ada"},
            422,
            '"loc":["body","dimensions"],"input":8',
        ),
    ],
)
def test_invalid_options_of_vectors_are_refused(
    ask: Any, path: str, body: Json, status: int, message: str
) -> None:
    answer = embed_text(ask, path, **body)
    assert answer.status_code == status
    assert message in answer.text


def test_images_are_embedded_in_the_same_forms(ask: Any) -> None:
    image = {"image": DATA_URL}
    body: Json = {"model": "pictures", "input": [image], "encoding_format": "ubinary"}
    (item,) = ask("lenient", "/models/images/embeddings", body).json()["data"]
    assert [0 <= number < 256 for number in item["embedding"]] == [True, True]
    body = {**body, "dimensions": 17}
    answer = ask("lenient", "/models/images/embeddings", body)
    assert "less than or equal to 16" in answer.text


FORM = {"messages": USER, "stream": True, "stream_options": {"include_usage": True}}


@pytest.mark.parametrize(
    "path",
    [f"/models{CHAT}", f"/openai/v1{CHAT}", CLASSIC.format("chat"), CHAT],
)
def test_a_stream_equals_the_recorded_one_byte_for_byte(ask: Any, path: str) -> None:
    answer = ask("lenient", path, {"model": "chat", **FORM})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    name = answer.headers["apim-request-id"]
    created = re.search(rb'"created":(\d+)', answer.content)
    assert created is not None
    head = (
        f'"id":"chatcmpl-{name}","object":"chat.completion.chunk","created":{created[1].decode()},'
        '"model":"gpt-4.1"'
    )
    values = [
        '"delta":{"role":"assistant","content":""},"finish_reason":null',
        '"delta":{"content":"Paris"},"finish_reason":null',
        '"delta":{"content":"."},"finish_reason":null',
        '"delta":{},"finish_reason":"stop"',
    ]
    usage = '{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}'
    lines = [f'data: {{{head},"choices":[{{"index":0,{each}}}]}}\n\n' for each in values]
    lines += [f'data: {{{head},"choices":[],"usage":{usage}}}\n\n', "data: [DONE]\n\n"]
    assert answer.text == "".join(lines)


SAFE = {"filtered": False, "severity": "safe"}
FOUND = {
    "hate": SAFE,
    "self_harm": SAFE,
    "sexual": SAFE,
    "violence": {"filtered": False, "severity": "low"},
}


def test_filter_results_are_in_answers_and_streams() -> None:
    words = {"violence": {"knife": "low", "bomb": "high"}}
    engine = SyntheticEngine("A knife.")
    deployment = LocalDeployment(
        "guarded", engine=engine, content_filter=ContentFilter(words=words)
    )
    messages = [{"role": "user", "content": "a knife"}]
    prompt = [{"prompt_index": 0, "content_filter_results": FOUND}]
    with (
        LocalEndpoint([deployment]) as endpoint,
        httpx.Client(base_url=endpoint.url, headers={"api-key": endpoint.key}) as http,
    ):
        body: Json = {"messages": messages, "model": "guarded"}
        answer = http.post(f"/openai/v1{CHAT}", json=body).json()
        assert answer["prompt_filter_results"] == prompt
        assert answer["choices"][0]["content_filter_results"] == FOUND
        streamed = http.post(f"/openai/v1{CHAT}", json={**body, "stream": True}).text
        first, *rest = [json.loads(line[6:]) for line in streamed.split("\n\n")[:-2]]
        assert first == {
            "id": "",
            "object": "",
            "created": 0,
            "model": "",
            "choices": [],
            "prompt_filter_results": prompt,
        }
        assert rest[-1]["choices"][0]["content_filter_results"] == FOUND
        assert rest[-1]["choices"][0]["finish_reason"] == "stop"


def costs(path: str, model_name: str, **more: Any) -> list[tuple[bool, Json | None]]:
    """For each chunk of a stream: whether it ends a choice, and what it says the answer cost."""
    deployment = LocalDeployment("chat", model_name, SyntheticEngine("Paris."))
    with (
        LocalEndpoint([deployment]) as endpoint,
        httpx.Client(base_url=endpoint.url, headers={"api-key": endpoint.key}) as http,
    ):
        body: Json = {"messages": USER, "model": "chat", "stream": True, **more}
        lines = http.post(path, json=body).text.split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    chunks = [json.loads(line[6:]) for line in lines[:-2]]
    ends = [any(each["finish_reason"] for each in chunk["choices"]) for chunk in chunks]
    return [(end, chunk.get("usage")) for end, chunk in zip(ends, chunks, strict=True)]


COST = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}


@pytest.mark.parametrize("path", [f"/models{CHAT}", CHAT])
@pytest.mark.parametrize("model", ["mistral-large-2411", "Ministral-3B", "DeepSeek-R1"])
def test_some_models_send_usage_at_the_end_of_every_stream(path: str, model: str) -> None:
    # The form of the recordings of azure-ai-inference's tests with mistral-large-2411.
    assert costs(path, model) == [(False, None)] * 3 + [(True, COST)]
    both = [each for each in costs(path, model, n=2) if each[0]]
    whole = {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11}
    assert both[-1] == (True, whole)


def test_phi_sends_usage_with_each_chunk() -> None:
    # The form of the recordings of azure-ai-inference's tests with phi3-medium-4k.
    values = costs(f"/models{CHAT}", "Phi-4")
    assert [cost and cost["completion_tokens"] for _, cost in values] == [1, 1, 2, 2]
    for _, cost in values:
        assert cost is not None
        assert cost["total_tokens"] == cost["prompt_tokens"] + cost["completion_tokens"]
        assert cost["prompt_tokens"] > 0
    assert values[-1] == (True, COST)


@pytest.mark.parametrize(
    ("path", "model"),
    [
        (f"/openai/v1{CHAT}", "mistral-large-2411"),
        (f"/openai/v1{CHAT}", "Phi-4"),
        (f"/models{CHAT}", "gpt-4.1"),
        (f"/models{CHAT}", "Llama-3.3-70B-Instruct"),
        (f"/models{CHAT}", "DeepSeek-V3"),
    ],
)
def test_other_streams_send_usage_only_on_request(path: str, model: str) -> None:
    assert {cost is None for _, cost in costs(path, model)} == {True}


@pytest.mark.parametrize("model", ["mistral-large-2411", "Phi-4"])
def test_requested_usage_is_sent_once(model: str) -> None:
    values = costs(f"/models{CHAT}", model, stream_options={"include_usage": True})
    assert values == [(False, None)] * 3 + [(True, None), (False, COST)]
