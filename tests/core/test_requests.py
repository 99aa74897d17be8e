"""Requests, byte for byte, for each operation on each surface."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.ai.inference import models as retired

import azinfer.core
from azinfer.core import (
    AssistantMessage,
    AudioPart,
    ConfigurationError,
    DeveloperMessage,
    Function,
    ImageInput,
    ImagePart,
    InferenceClient,
    JsonSchema,
    SystemMessage,
    TextPart,
    Tool,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from client_driver import KEY, ClientDriver, open_driver
from raw_server import RawServer, chat, events, part, reply, stream, vectors

Ask = Callable[..., ClientDriver]

AGENT = f"azinfer/{azinfer.core.__version__} Python/{platform.python_version()}"
JSON = {"accept": "application/json", "content-type": "application/json"}
STREAM = {**JSON, "accept": "text/event-stream, application/json"}
API_KEY, BEARER = {"api-key": KEY}, {"authorization": f"Bearer {KEY}"}
BOTH = API_KEY | BEARER
OURS = {"accept-encoding": "gzip, deflate", "user-agent": AGENT}

# client arguments, operation, its options → method, target, headers, body
TABLE: list[tuple[dict[str, Any], str, dict[str, Any], str, dict[str, str], str | None]] = [
    (
        {"path": "/models"},
        "complete",
        {"temperature": 0, "max_tokens": 3},
        "POST /models/chat/completions?api-version=2024-05-01-preview",
        JSON | BOTH,
        '{"model":"Mixed-Case","messages":[{"role":"user","content":"hi"}],"temperature":0,'
        '"max_tokens":3}',
    ),
    (
        {"path": "/models?api-version=2025-04-01&tenant=a"},
        "complete",
        {"safe_prompt": True},
        "POST /models/chat/completions?tenant=a&api-version=2025-04-01",
        JSON | BOTH | {"extra-parameters": "pass-through"},
        '{"model":"Mixed-Case","messages":[{"role":"user","content":"hi"}],"safe_prompt":true}',
    ),
    (
        {"path": "/models", "headers": {"Extra-Parameters": "drop"}},
        "complete",
        {"safe_prompt": True},
        "POST /models/chat/completions?api-version=2024-05-01-preview",
        JSON | BOTH | {"extra-parameters": "drop"},
        '{"model":"Mixed-Case","messages":[{"role":"user","content":"hi"}],"safe_prompt":true}',
    ),
    (
        {"path": "/models", "model_id": "mistral-large"},
        "stream",
        {},
        "POST /models/chat/completions?api-version=2024-05-01-preview",
        STREAM | BOTH,
        '{"model":"Mixed-Case","messages":[{"role":"user","content":"hi"}],"stream":true}',
    ),
    (
        {"path": "/models"},
        "stream",
        {},
        "POST /models/chat/completions?api-version=2024-05-01-preview",
        STREAM | BOTH,
        '{"model":"Mixed-Case","messages":[{"role":"user","content":"hi"}],"stream":true,'
        '"stream_options":{"include_usage":true}}',
    ),
    (
        {"path": "/models"},
        "embed",
        {"dimensions": 8, "input_type": "query"},
        "POST /models/embeddings?api-version=2024-05-01-preview",
        JSON | BOTH,
        '{"model":"Mixed-Case","input":["a"],"dimensions":8,"input_type":"query"}',
    ),
    (
        {"path": "/models"},
        "embed_images",
        {"encoding_format": "float"},
        "POST /models/images/embeddings?api-version=2024-05-01-preview",
        JSON | BOTH,
        '{"model":"Mixed-Case","input":[{"image":"data:image/png;base64,iVBORw=="}],'
        '"encoding_format":"float"}',
    ),
    (
        {"path": "/models"},
        "info",
        {},
        "GET /models/info?api-version=2025-04-01&model=Mixed-Case",
        {"accept": "application/json"} | BOTH,
        None,
    ),
    (
        {"path": "/openai/v1"},
        "complete",
        {"user": "me", "seed": None},
        "POST /openai/v1/chat/completions",
        JSON | API_KEY,
        '{"model":"Mixed-Case","messages":[{"role":"user","content":"hi"}],"user":"me"}',
    ),
    (
        {"path": "/openai/v1", "api_version": "preview"},
        "stream",
        {"n": 2},
        "POST /openai/v1/chat/completions?api-version=preview",
        STREAM | API_KEY,
        '{"model":"Mixed-Case","messages":[{"role":"user","content":"hi"}],"n":2,"stream":true,'
        '"stream_options":{"include_usage":true}}',
    ),
    (
        {"path": "/openai/v1"},
        "stream",
        {"stream_options": {"include_usage": False}},
        "POST /openai/v1/chat/completions",
        STREAM | API_KEY,
        '{"model":"Mixed-Case","messages":[{"role":"user","content":"hi"}],'
        '"stream_options":{"include_usage":false},"stream":true}',
    ),
    (
        {"path": "/openai/v1"},
        "embed",
        {},
        "POST /openai/v1/embeddings",
        JSON | API_KEY,
        '{"model":"Mixed-Case","input":["a"],"encoding_format":"base64"}',
    ),
    (
        {"path": "/openai/v1"},
        "embed_images",
        {},
        "POST /providers/cohere/v2/embed",
        JSON | API_KEY,
        '{"model":"Mixed-Case","embedding_types":["float"],"input_type":"image",'
        '"images":["data:image/png;base64,iVBORw=="]}',
    ),
    (
        {"path": "/openai/v1"},
        "info",
        {},
        "GET /models/info?api-version=2025-04-01&model=Mixed-Case",
        {"accept": "application/json"} | BOTH,
        None,
    ),
    (
        {"path": "/openai"},
        "complete",
        {},
        "POST /openai/deployments/Mixed-Case/chat/completions?api-version=2024-10-21",
        JSON | API_KEY,
        '{"messages":[{"role":"user","content":"hi"}]}',
    ),
    (
        {"path": "/openai/deployments/in-url?api-version=2025-01-01-preview", "model": None},
        "stream",
        {},
        "POST /openai/deployments/in-url/chat/completions?api-version=2025-01-01-preview",
        STREAM | API_KEY,
        '{"messages":[{"role":"user","content":"hi"}],"stream":true,'
        '"stream_options":{"include_usage":true}}',
    ),
    (
        {"path": "/openai/deployments/in-url"},
        "embed",
        {"encoding_format": "float", "model": "per call"},
        "POST /openai/deployments/per%20call/embeddings?api-version=2024-10-21",
        JSON | API_KEY,
        '{"input":["a"],"encoding_format":"float"}',
    ),
    (
        {"path": "", "surface": "serverless", "model": None},
        "complete",
        {},
        "POST /chat/completions?api-version=2024-05-01-preview",
        JSON | BOTH,
        '{"messages":[{"role":"user","content":"hi"}]}',
    ),
    (
        {"path": "", "surface": "serverless"},
        "embed",
        {"truncate": "END"},
        "POST /embeddings?api-version=2024-05-01-preview",
        JSON | BOTH | {"extra-parameters": "pass-through"},
        '{"model":"Mixed-Case","input":["a"],"truncate":"END"}',
    ),
    (
        {"path": "", "surface": "serverless", "model": None},
        "info",
        {},
        "GET /info?api-version=2024-05-01-preview",
        {"accept": "application/json"} | BOTH,
        None,
    ),
    (
        {"path": "", "surface": "serverless", "model": None},
        "embed_images",
        {},
        "POST /images/embeddings?api-version=2024-05-01-preview",
        JSON | BOTH,
        '{"input":[{"image":"data:image/png;base64,iVBORw=="}]}',
    ),
    (
        {"path": "", "surface": "managed"},
        "complete",
        {},
        "POST /chat/completions?api-version=2024-05-01-preview",
        JSON | BOTH | {"azureml-model-deployment": "Mixed-Case"},
        '{"messages":[{"role":"user","content":"hi"}]}',
    ),
    (
        {"path": "", "surface": "managed", "model": None},
        "stream",
        {},
        "POST /chat/completions?api-version=2024-05-01-preview",
        STREAM | BOTH,
        '{"messages":[{"role":"user","content":"hi"}],"stream":true}',
    ),
]


def answers(server: RawServer) -> None:
    """Answer each operation with something it can read."""

    def choose(request: Any) -> Any:
        if request.method == "GET":
            return reply({"model_name": "m", "model_type": "chat", "model_provider_name": "p"})
        if "images" in request.json:
            return reply({"embeddings": {"float": [[1.0, 2.0]]}})
        if "input" in request.json:
            return reply(vectors([1.0, 2.0]))
        if request.json.get("stream"):
            return stream(events(part("hello", "stop")))
        return reply(chat())

    server.choose = choose


@pytest.mark.parametrize(("client", "operation", "options", "line", "headers", "body"), TABLE)
def test_a_request_follows_the_protocol(
    ask: Ask,
    server: RawServer,
    client: dict[str, Any],
    operation: str,
    options: dict[str, Any],
    line: str,
    headers: dict[str, str],
    body: str | None,
) -> None:
    answers(server)
    driver = ask(**{"model": "Mixed-Case", **client})
    arguments = {"embed": (["a"],), "embed_images": ([b"\x89PNG"],)}.get(operation, ())
    getattr(driver, operation)(*arguments, **options)
    (request,) = server.received
    assert f"{request.method} {request.target}" == line
    assert request.body.decode() == (body or "")
    sent = {name.lower(): value for name, value in request.headers}
    assert len(sent) == len(request.headers)
    assert sent.pop("host") == f"127.0.0.1:{server.port}"
    assert re.fullmatch(
        r"[0-9a-f]{18}-[0-9a-f]{4,}-[0-9a-f]{12}", sent.pop("x-ms-client-request-id")
    )
    for hop in ("content-length", "connection"):
        sent.pop(hop, None)
    assert sent == headers | OURS


PNG = "data:image/png;base64,iVBORw=="
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}

MESSAGES: list[tuple[Any, dict[str, Any]]] = [
    (SystemMessage("be brief"), {"role": "system", "content": "be brief"}),
    (DeveloperMessage("be brief"), {"role": "developer", "content": "be brief"}),
    (UserMessage("hi"), {"role": "user", "content": "hi"}),
    (
        UserMessage([TextPart("look"), "here", ImagePart(b"\x89PNG")]),
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "text", "text": "here"},
                {"type": "image_url", "image_url": {"url": PNG}},
            ],
        },
    ),
    (
        UserMessage([ImagePart("https://example.com/a.png", "low"), {"type": "x", "x": 1}]),
        {
            "role": "user",
            "content": [
                {
                    "type": "image_url",
                    "image_url": {"url": "https://example.com/a.png", "detail": "low"},
                },
                {"type": "x", "x": 1},
            ],
        },
    ),
    (
        UserMessage(
            [
                AudioPart(b"RIFF0000WAVE"),
                AudioPart(b"ID3", "mp3"),
                AudioPart("data:audio/mpeg;base64,AAAA"),
                AudioPart("data:audio/wav;base64,AAAA"),
                AudioPart("https://example.com/a.mp3"),
            ]
        ),
        {
            "role": "user",
            "content": [
                {
                    "type": "input_audio",
                    "input_audio": {"data": "UklGRjAwMDBXQVZF", "format": "wav"},
                },
                {"type": "input_audio", "input_audio": {"data": "SUQz", "format": "mp3"}},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                {"type": "audio_url", "audio_url": {"url": "https://example.com/a.mp3"}},
            ],
        },
    ),
    (AssistantMessage("yes"), {"role": "assistant", "content": "yes"}),
    (AssistantMessage(), {"role": "assistant", "content": ""}),
    (
        AssistantMessage(tool_calls=[ToolCall("c1", Function("f"))]),
        {"role": "assistant", "tool_calls": [CALL]},
    ),
    (
        AssistantMessage("ok", [{"id": "c1", "function": {"name": "f", "arguments": "{}"}}]),
        {"role": "assistant", "content": "ok", "tool_calls": [CALL]},
    ),
    (ToolMessage("4", "c1"), {"role": "tool", "tool_call_id": "c1", "content": "4"}),
    (
        azinfer.core.Message(
            "said", reasoning="thought", tool_calls=(ToolCall("c1", Function("f")),)
        ),
        {"role": "assistant", "content": "said", "tool_calls": [CALL]},
    ),
    (
        {"role": "user", "content": "hi", "name": "Ann"},
        {"role": "user", "content": "hi", "name": "Ann"},
    ),
]


@pytest.mark.parametrize(("message", "wire"), MESSAGES)
def test_a_message_is_sent_as_it_is_meant(
    ask: Ask, server: RawServer, message: Any, wire: dict[str, Any]
) -> None:
    answers(server)
    ask().complete([message])
    assert server.received[0].json["messages"] == [wire]


def test_an_image_is_read_from_its_file(ask: Ask, server: RawServer, tmp_path: Path) -> None:
    answers(server)
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    (tmp_path / "b.tiff").write_bytes(b"II*\x00")
    ask().complete([UserMessage([ImagePart(tmp_path / "a.png"), ImagePart(tmp_path / "b.tiff")])])
    first, second = server.received[0].json["messages"][0]["content"]
    assert first["image_url"]["url"] == PNG
    assert second["image_url"]["url"] == "data:image/tiff;base64,SUkqAA=="


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "jpeg"),
        (b"GIF89a", "gif"),
        (b"RIFF\0\0\0\0WEBP", "webp"),
        (b"BM\0\0", "bmp"),
    ],
)
def test_the_type_of_an_image_is_detected_from_its_bytes(data: bytes, kind: str) -> None:
    assert ImageInput(data).to_wire()["image"].startswith(f"data:image/{kind};base64,")


OPTIONS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"stop": "\n"}, {"stop": ["\n"]}),
    ({"stop": ["a", "b"]}, {"stop": ["a", "b"]}),
    (
        {"tools": [Tool("f", "does", PARAMETERS, True), {"type": "function", "function": {}}]},
        {
            "tools": [
                {
                    "type": "function",
                    "function": {
                        "name": "f",
                        "description": "does",
                        "parameters": PARAMETERS,
                        "strict": True,
                    },
                },
                {"type": "function", "function": {}},
            ]
        },
    ),
    ({"tools": [Tool("f")]}, {"tools": [{"type": "function", "function": {"name": "f"}}]}),
    ({"tool_choice": "required"}, {"tool_choice": "required"}),
    (
        {"tool_choice": "weather"},
        {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
    ),
    ({"tool_choice": {"type": "x"}}, {"tool_choice": {"type": "x"}}),
    ({"response_format": "json_object"}, {"response_format": {"type": "json_object"}}),
    ({"response_format": {"type": "text"}}, {"response_format": {"type": "text"}}),
    (
        {"response_format": JsonSchema("place", PARAMETERS, description="where")},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {
                    "name": "place",
                    "schema": PARAMETERS,
                    "strict": True,
                    "description": "where",
                },
            }
        },
    ),
    ({"temperature": None, "x": 0, "y": False}, {"x": 0, "y": False}),
]


@pytest.mark.parametrize(("options", "wire"), OPTIONS)
def test_options_are_sent_as_they_are_meant(
    ask: Ask, server: RawServer, options: dict[str, Any], wire: dict[str, Any]
) -> None:
    answers(server)
    ask().complete(**options)
    body = server.received[0].json
    assert {key: body[key] for key in body.keys() - {"model", "messages"}} == wire


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], "messages is empty"),
        ("hi", "messages must be a list"),
        ({"role": "user"}, "messages must be a list"),
        ([{"content": "hi"}], "messages[0] has no role, only ['content']"),
        ([UserMessage("a"), object()], "messages[1] has the type object"),
        ([UserMessage([ImagePart("cat.png")])], "'cat.png' is not a URL"),
        ([UserMessage([AudioPart("cat.mp3")])], "'cat.mp3' is not a URL"),
        ([UserMessage([ImagePart(b"nothing")])], "is not a PNG"),
        ([UserMessage([ImagePart(Path("missing.png"))])], "missing.png cannot be read"),
        ([UserMessage([ImagePart(object())])], "has the type object; pass bytes"),  # type: ignore[arg-type]
    ],
)
def test_messages_that_cannot_be_sent_are_refused_at_once(
    ask: Ask, server: RawServer, messages: Any, expected: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ask().complete(messages)
    assert expected in str(caught.value)
    assert not server.received


def test_an_option_that_cannot_be_json_is_an_error_with_its_name(
    ask: Ask, server: RawServer
) -> None:
    with pytest.raises(ConfigurationError, match=r"^metadata cannot be sent as JSON"):
        ask().complete(temperature=0, metadata={"at": object()})
    assert not server.received


def test_stream_as_an_option_is_refused(ask: Ask) -> None:
    with pytest.raises(ConfigurationError, match=r"client\.stream"):
        ask().complete(stream=True)


def test_model_extras_are_options_of_their_own(ask: Ask, server: RawServer) -> None:
    driver = ask()
    calls: list[Callable[..., Any]] = [
        driver.complete,
        driver.stream,
        lambda **options: driver.embed(["hi"], **options),
        lambda **options: driver.embed_images([b"\x89PNG"], **options),
    ]
    for call in calls:
        with pytest.raises(ConfigurationError, match=r"as options of the call"):
            call(model_extras={"safe_prompt": True})
    assert not server.received


def test_types_of_the_retired_sdk_are_sent_as_it_sent_them(ask: Ask, server: RawServer) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    url = retired.ImageUrl(url="https://example.com/cat.png", detail="low")
    part = retired.ImageContentItem(image_url=url)
    answers(server)
    ask().complete(
        [retired.UserMessage([retired.TextContentItem(text="Where?"), part])],
        tools=[
            retired.ChatCompletionsToolDefinition(
                function=retired.FunctionDefinition(name="find", parameters=schema)
            )
        ],
        response_format=retired.JsonSchemaFormat(name="city", schema=schema, strict=True),
    )
    body = server.received[0].json
    assert body["messages"][0]["content"] == [
        {"type": "text", "text": "Where?"},
        {"type": "image_url", "image_url": {"url": url.url, "detail": "low"}},
    ]
    assert body["tools"] == [
        {"type": "function", "function": {"name": "find", "parameters": schema}}
    ]
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "city", "schema": schema, "strict": True},
    }


@pytest.mark.parametrize("path", ["/models", "/openai/v1", "/openai"])
def test_a_call_without_a_deployment_is_refused_where_one_is_needed(
    ask: Ask, server: RawServer, path: str
) -> None:
    with pytest.raises(ConfigurationError, match="pass model="):
        ask(path, model=None).complete()
    assert not server.received


def test_the_callers_spelling_is_sent(ask: Ask, server: RawServer) -> None:
    answers(server)
    ask().complete(model="MISTRAL-Large")
    assert server.received[0].json["model"] == "MISTRAL-Large"


def test_each_call_sends_its_own_headers_and_the_current_key(ask: Ask, server: RawServer) -> None:
    server.will(reply(chat()))
    driver = ask(headers={"x-team": "a"}, credential=lambda: f"token-{len(server.received)}")
    for number in [*range(20), *range(20)]:
        driver.complete(headers={"x-number": str(number)})
    driver.complete()
    sent = [dict(request.headers) for request in server.received]
    numbers = [str(number) for number in range(20)]
    assert [each.get("x-number") for each in sent] == [*numbers, *numbers, None]
    assert {each["x-team"] for each in sent} == {"a"}
    keys = [each["authorization"] for each in sent]
    assert keys == [f"Bearer token-{at}" for at in range(len(sent))]


def test_headers_are_kept_for_few_sets_of_a_key(ask: Ask, server: RawServer) -> None:
    server.will(reply(chat()))
    driver = ask()
    for number in range(40):
        driver.complete(headers={"x-number": str(number)})
    secret = driver.client._credential.secret(driver.client.endpoint.surface, None, None)
    assert 0 < len(secret.shared) <= 16
    numbers = [dict(request.headers)["x-number"] for request in server.received]
    assert numbers == [str(number) for number in range(40)]


def test_headers_of_the_call_beat_those_of_the_client(ask: Ask, server: RawServer) -> None:
    answers(server)
    driver = ask(headers={"X-Team": "a", "User-Agent": "mine"})
    driver.complete(headers={"x-team": "b"})
    driver.complete()
    first, second = server.received
    assert [first.header("x-team"), second.header("x-team")] == ["b", "a"]
    assert first.header("user-agent") == "mine"


def test_arguments_are_never_modified(ask: Ask, server: RawServer) -> None:
    answers(server)
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]
    stop, tools = ["x"], [Tool("f")]
    ask(model_id="gpt-5").complete(messages, stop=stop, tools=tools, max_tokens=4)
    assert messages == [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]
    assert (stop, tools) == (["x"], [Tool("f")])


def test_a_url_that_is_too_long_is_an_error(ask: Ask, server: RawServer) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be sent: .* is longer than 65536"):
        ask("/openai", model="x" * 70_000).complete()
    with (
        httpx.Client() as http,
        InferenceClient(
            server.url, "k", "x" * 70_000, surface="deployments", http_client=http
        ) as a,
        pytest.raises(ConfigurationError, match="cannot be sent: URL too long"),
    ):
        a.complete([{"role": "user", "content": "hi"}])
    assert not server.received


def test_an_error_of_a_url_shows_no_key_in_its_query(kind: str) -> None:
    host = "a" * 70  # too long for a label
    driver = ClientDriver(
        kind, f"https://{host}.openai.azure.com/openai/v1?subscription-key=hidden", "k"
    )
    with pytest.raises(ConfigurationError, match=r"cannot be sent: 'https://aaa") as caught:
        driver.complete(model="m")
    driver.close()
    assert "hidden" not in str(caught.value)


def test_an_impossible_host_is_an_error(kind: str) -> None:
    with (
        open_driver(kind, f"https://{'x' * 64}.openai.azure.com", "k", "m") as driver,
        pytest.raises(ConfigurationError, match=r"cannot be sent: .*label"),
    ):
        driver.complete()


def test_the_host_may_be_named_in_a_header(ask: Ask, server: RawServer) -> None:
    server.will(reply(chat()))
    ask(headers={"Host": "contoso.example"}).complete()
    assert [name.lower() for name, _ in server.received[0].headers].count("host") == 1
    assert server.received[0].header("host") == "contoso.example"


def test_messages_have_the_role_with_which_they_are_sent() -> None:
    messages: list[
        SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage
    ] = [
        SystemMessage("a"),
        DeveloperMessage("b"),
        UserMessage("c"),
        AssistantMessage("d"),
        ToolMessage("e", tool_call_id="1"),
    ]
    assert [each.role for each in messages] == [each.to_wire()["role"] for each in messages]
