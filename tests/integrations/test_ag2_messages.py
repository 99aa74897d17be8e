"""Requests and answers of azinfer.ag2: inputs, tools, faults of the network, and secrets."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import inspect
import json
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ag2 import Agent, MemoryStream, ToolResult, tool
from ag2.compact import CompactionSummary
from ag2.events import (
    AudioInput,
    BaseEvent,
    BinaryInput,
    DataInput,
    DocumentInput,
    FileIdInput,
    ImageInput,
    Input,
    ModelMessageChunk,
    ModelRequest,
    ModelResponse,
    TextInput,
    VideoInput,
)
from ag2.exceptions import UnsupportedInputError, UnsupportedToolError
from ag2.files import FileProvider, UploadedFile
from ag2.response import PromptedSchema, ResponseSchema
from ag2.tools import WebSearchTool
from ag2.tools.builtin.tool_search import ToolSearchTool
from pydantic import BaseModel, SecretStr

from azinfer import core
from azinfer.ag2 import AzInferClient, AzInferConfig
from azinfer.core import AsyncInferenceClient, ConfigurationError, InferenceClient
from azinfer.local import ContentFilter, LocalDeployment, LocalEndpoint, SyntheticEngine
from client_driver import KEY
from leaks import MARKER, leaks_of
from raw_server import RawServer, chat, chat_reply, events, failure, part, reply, stream
from recording_clients import AsyncRecordingClient

Make = Callable[..., AzInferConfig]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    """Two deployments, one of them with a content filter."""
    result = ContentFilter("strict", {"violence": {"fight": "high"}})
    deployments = [
        LocalDeployment("Paris", engine=SyntheticEngine("Paris.")),
        LocalDeployment("strict", content_filter=result),
    ]
    with LocalEndpoint(deployments) as endpoint:
        yield endpoint


@pytest.fixture
def local(address: str, endpoint: LocalEndpoint) -> Make:
    """Makes configurations of the local endpoint, on one surface or wire of it."""

    def config(model: str = "paris", **named: Any) -> AzInferConfig:
        named = {"credential": endpoint.key, **named}
        return AzInferConfig(endpoint.url + address, model=model, **named)

    return config


def agent_of(config: AzInferConfig) -> Any:
    """Return an agent that accepts several inputs, which AG2's types do not show."""
    return Agent("a", config=config)


def body_of(server: RawServer, at: int = -1) -> Any:
    """Return the body of a request, with the deployment in it."""
    return server.received[at].request_body


PDF = {"filename": "document.pdf", "file_data": "data:application/pdf;base64,QQ=="}
INPUTS: list[tuple[Input, Any]] = [
    (TextInput("a"), "a"),
    (DataInput({"a": 1}), '{"a":1}'),
    (
        ImageInput("https://example.com/a.png"),
        [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}],
    ),
    (
        BinaryInput(b"A", media_type="image/webp", kind="image", vendor_metadata={"detail": "low"}),
        [
            {
                "type": "image_url",
                "image_url": {"url": "data:image/webp;base64,QQ==", "detail": "low"},
            }
        ],
    ),
    (
        AudioInput(data=b"A", media_type="audio/mpeg"),
        [{"type": "input_audio", "input_audio": {"data": "QQ==", "format": "mp3"}}],
    ),
    (
        BinaryInput(b"A", media_type="audio/x-wav", kind="audio"),
        [{"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}}],
    ),
    (
        AudioInput(data=b"A", media_type="audio/flac"),
        [{"type": "input_audio", "input_audio": {"data": "QQ==", "format": "flac"}}],
    ),
    (
        AudioInput("https://example.com/a.mp3"),
        [{"type": "audio_url", "audio_url": {"url": "https://example.com/a.mp3"}}],
    ),
    (
        DocumentInput(data=b"A", media_type="application/pdf"),
        [{"type": "file", "file": PDF}],
    ),
    (
        BinaryInput(
            b"A",
            media_type="application/pdf",
            kind="document",
            vendor_metadata={"filename": "a.pdf"},
        ),
        [{"type": "file", "file": {**PDF, "filename": "a.pdf"}}],
    ),
    (FileIdInput("file-1"), [{"type": "file", "file": {"file_id": "file-1"}}]),
]


@pytest.mark.parametrize(("arguments", "content"), INPUTS)
async def test_an_input_is_encoded_correctly(
    configuration: Make, server: RawServer, arguments: Input, content: Any
) -> None:
    server.will(reply(chat()))
    await Agent("a", config=configuration()).ask(arguments)
    assert body_of(server)["messages"] == [{"role": "user", "content": content}]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (DocumentInput("https://example.com/a.pdf"), "document, which is not fetched"),
        (VideoInput(data=b"A", media_type="video/mp4"), "kind video"),
        (UploadedFile("file-1", provider=FileProvider.OPENAI), "uploaded to openai"),
        (Input(), "Input"),
    ],
)
async def test_unsupported_content_is_an_error(
    configuration: Make, server: RawServer, arguments: Input, expected: str
) -> None:
    with pytest.raises(UnsupportedInputError, match=expected):
        await agent_of(configuration()).ask("look", arguments)
    assert not server.received


@tool
def look() -> str:
    """Look."""
    return "x"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [([WebSearchTool()], "web_search"), ([ToolSearchTool(look)], "defer_loading")],
)
async def test_a_tool_that_a_provider_runs_is_refused(
    configuration: Make, server: RawServer, arguments: Any, expected: str
) -> None:
    with pytest.raises(UnsupportedToolError, match=expected):
        await Agent("a", config=configuration(), tools=arguments).ask("hi")
    assert not server.received


async def test_the_arguments_of_a_tool_are_an_object(
    configuration: Make, server: RawServer
) -> None:
    @tool(schema={})
    def wait() -> str:
        """Wait."""
        return "x"

    server.will(reply(chat()))
    await Agent("a", config=configuration(), tools=[wait]).ask("hi")
    (tools_field,) = body_of(server)["tools"]
    assert tools_field["function"]["parameters"] == {"type": "object", "properties": {}}


async def test_media_in_tool_results_follow_them(configuration: Make, server: RawServer) -> None:
    @tool
    def look() -> ToolResult:
        """Look."""
        return ToolResult("here", ImageInput("https://example.com/a.png"))

    @tool
    def peek() -> ToolResult:
        """Peek."""
        return ToolResult(ImageInput("https://example.com/b.png"))

    wanted = [
        {"id": name, "type": "function", "function": {"name": name, "arguments": "{}"}}
        for name in ("look", "peek")
    ]
    server.will(reply(chat(None, "tool_calls", message={"tool_calls": wanted})), reply(chat()))
    await Agent("a", config=configuration(), tools=[look, peek]).ask("look")
    assert body_of(server)["messages"][2:] == [
        {"role": "tool", "tool_call_id": "look", "content": "here"},
        {"role": "tool", "tool_call_id": "peek", "content": "(attached below)"},
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": f"https://example.com/{name}.png"}}
                for name in "ab"
            ],
        },
    ]
    assert [each["function"]["parameters"] for each in body_of(server)["tools"]] == [
        {"type": "object", "properties": {}}
    ] * 2


async def test_a_summary_replaces_earlier_messages(configuration: Make, server: RawServer) -> None:
    server.will(reply(chat()))
    stream = MemoryStream()
    past: list[BaseEvent] = [
        CompactionSummary(summary="We spoke of olives.", event_count=9),
        ModelResponse(None),
        ModelRequest([]),
    ]
    await stream.history.replace(past)
    await Agent("a", config=configuration()).ask("And now?", stream=stream)
    assert body_of(server)["messages"] == [
        {"role": "user", "content": "[What was said before, in short]\nWe spoke of olives."},
        {"role": "user", "content": "And now?"},
    ]


class Node(BaseModel):
    """A tree, with names that schemas have too."""

    default: str
    properties: str | None = None
    children: list[Node] = []


async def test_a_schema_keeps_its_names(configuration: Make, server: RawServer) -> None:
    server.will(reply(chat('{"default": "a"}')))
    schema = ResponseSchema(Node, name="My tree!")
    agent_reply = await Agent("a", config=configuration(), response_schema=schema).ask("hi")
    assert await agent_reply.content() == Node(default="a")
    json_schema_field = body_of(server)["response_format"]["json_schema"]
    assert json_schema_field["name"] == "My_tree_"
    assert json_schema_field["schema"]["$defs"]["Node"]["required"] == [
        "default",
        "properties",
        "children",
    ]
    assert json_schema_field["strict"] is True
    assert "default" in json_schema_field["schema"]["$defs"]["Node"]["properties"]


async def test_a_schema_with_any_keys_goes_as_it_is(configuration: Make, server: RawServer) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "object", "default": {}}}}
    server.will(reply(chat("{}")))
    raw = ResponseSchema.from_schema(schema, name="any")
    await Agent("a", config=configuration(), response_schema=raw).ask("hi")
    json_schema_field = body_of(server)["response_format"]["json_schema"]
    assert json_schema_field == {"name": "any", "schema": schema, "strict": False}


async def test_a_schema_can_be_requested_in_words(configuration: Make, server: RawServer) -> None:
    server.will(reply(chat('{"default": "a"}')))
    agent = Agent("a", config=configuration(), response_schema=PromptedSchema(Node))
    assert await (await agent.ask("hi")).content() == Node(default="a")
    assert "response_format" not in body_of(server)
    assert "children" in body_of(server)["messages"][0]["content"]


async def test_options_are_sent_as_they_are(configuration: Make, server: RawServer) -> None:
    server.will(reply(chat()))
    options: dict[str, Any] = {"temperature": 0, "top_p": 0.5, "stop": ["x"], "seed": 0}
    more = {"frequency_penalty": 0.1, "presence_penalty": 0.2, "max_tokens": 7}
    config = configuration(
        **options, **more, extra_body={"user": "u", "seed": 1}, headers={"x-a": "1"}
    )
    await Agent("a", config=config).ask("hi")
    assert body_of(server) == {
        "model": "gpt-4.1",
        "messages": [{"role": "user", "content": "hi"}],
        **options,
        **more,
        "user": "u",
        "seed": 1,
    }
    assert server.received[0].header("x-a") == "1"
    with pytest.raises(ConfigurationError, match="tempratur"):
        configuration(tempratur=0)


async def test_choices_about_tools_are_sent_where_there_are_tools(
    configuration: Make, server: RawServer
) -> None:
    server.will(reply(chat()))
    config = configuration(tool_choice="look", parallel_tool_calls=False)
    await Agent("a", config=config).ask("hi")
    assert body_of(server).keys() == {"model", "messages"}
    await Agent("a", config=config, tools=[look]).ask("hi")
    assert body_of(server)["tool_choice"] == {"type": "function", "function": {"name": "look"}}
    assert body_of(server)["parallel_tool_calls"] is False


async def test_filter_results_are_in_the_metadata(configuration: Make, server: RawServer) -> None:
    raw = chat("4")
    raw["choices"][0]["content_filter_results"] = {"hate": {"filtered": False}}
    raw["choices"][0]["logprobs"] = {"content": []}
    raw["prompt_filter_results"] = [{"prompt_index": 0}]
    server.will(reply(raw, headers={"x-request-id": "r1", "x-ms-deployment-name": "GPT"}))
    assert (await Agent("a", config=configuration()).ask("hi")).response.metadata == {
        "deployment": "GPT",
        "request_id": "r1",
        "logprobs": {"content": []},
        "content_filter_results": {"hate": {"filtered": False}},
        "prompt_filter_results": [{"prompt_index": 0}],
    }


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_refusal_is_returned(
    configuration: Make, server: RawServer, streaming: bool
) -> None:
    whole = reply(chat(None, message={"refusal": "I won't"}))
    server.will(stream(events(part(None, "stop", refusal="I won't"))) if streaming else whole)
    agent_reply = await Agent("a", config=configuration(streaming=streaming)).ask("hi")
    assert agent_reply.body == agent_reply.response.metadata["refusal"] == "I won't"


async def test_sound_is_a_file(configuration: Make, server: RawServer) -> None:
    sound = {"id": "a1", "data": "QQ==", "transcript": "A", "expires_at": 1}
    server.will(reply(chat(None, message={"audio": sound})))
    agent_reply = await Agent("a", config=configuration()).ask("hi")
    assert (agent_reply.body, agent_reply.files[0].data) == ("A", b"A")


async def test_a_filtered_answer_has_no_text(configuration: Make, server: RawServer) -> None:
    raw = chat(None, "content_filter")
    raw["choices"][0].pop("message")
    server.will(reply(raw))
    agent_reply = await Agent("a", config=configuration()).ask("hi")
    assert (agent_reply.body, agent_reply.response.finish_reason) == (None, "content_filter")


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_prompt_that_is_filtered_is_an_error_with_its_categories(
    local: Make, streaming: bool
) -> None:
    config = local("strict", streaming=streaming)
    with pytest.raises(core.ContentFilterError) as caught:
        await Agent("a", config=config).ask("Let us fight!")
    assert "violence" in caught.value.categories


async def test_chunks_without_a_delta_are_accepted(configuration: Make, server: RawServer) -> None:
    # microsoft/autogen#6465; openai/openai-python#1677: what Azure's asynchronous content filter
    # sends between and after the text
    results = {"content_filter_results": {"hate": {"filtered": False}}, "index": 0}
    server.will(
        stream(
            events(
                {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
                part("Pa"),
                {"id": "", "choices": [{**results, "content_filter_offsets": {}}]},
                part("ris", "stop"),
                {"id": "", "choices": [{**results, "finish_reason": None}]},
            )
        )
    )
    agent_reply = await Agent("a", config=configuration(streaming=True)).ask("hi")
    assert agent_reply.body == "Paris"
    assert agent_reply.response.metadata["prompt_filter_results"] == [{"prompt_index": 0}]


async def test_a_stream_may_be_cut_anywhere(configuration: Make, server: RawServer) -> None:
    text = "Žluťoučký kůň 🐎"
    data = b": hello\r\n\r\n" + events(part(text), part(None, "stop")).replace(b"\n", b"\r\n")

    def in_pieces(peer: Any) -> None:
        stream(b"", then="keep")(peer)
        for at in range(0, len(data), 3):
            peer.send(data[at : at + 3])
        peer.close()

    server.will(in_pieces)
    assert (await Agent("a", config=configuration(streaming=True)).ask("hi")).body == text


@pytest.mark.parametrize(
    ("data", "then", "kind"),
    [
        (events(part("hel"), done=False), "close", core.StreamInterruptedError),
        (events(part("hel"), done=False), "reset", core.StreamInterruptedError),
        (events(part("hel"), failure("server_error")), "close", core.InferenceError),
    ],
)
async def test_a_stream_that_breaks_raises_and_is_not_sent_again(
    configuration: Make, server: RawServer, data: bytes, then: str, kind: type[core.InferenceError]
) -> None:
    server.will(stream(data, then))
    heard = MemoryStream()
    chunks: list[str] = []

    async def note(event: ModelMessageChunk) -> None:
        chunks.append(event.content)

    heard.where(ModelMessageChunk).subscribe(note)
    with pytest.raises(kind) as caught:
        await Agent("a", config=configuration(streaming=True, max_retries=2)).ask(
            "hi", stream=heard
        )
    assert chunks == ["hel"]
    assert caught.value.partial is not None
    assert caught.value.partial.text == "hel"
    assert len(server.received) == 1


async def test_a_turn_that_is_cancelled_closes_its_stream(server: RawServer, url: str) -> None:
    server.will(stream(events(part("hel"), done=False), then="stall"))
    client, heard = AsyncRecordingClient(url, KEY, "gpt-4.1"), MemoryStream()
    begun = asyncio.Event()

    async def note(event: ModelMessageChunk) -> None:
        begun.set()

    heard.where(ModelMessageChunk).subscribe(note)
    config = AzInferConfig(client=client, streaming=True)
    turn = asyncio.ensure_future(Agent("a", config=config).ask("hi", stream=heard))
    await begun.wait()
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    assert await asyncio.to_thread(server.wait_until, lambda: server.open_connections == 0)
    assert len(client.streams) == 1


async def test_a_turn_that_fails_closes_its_stream(server: RawServer, url: str) -> None:
    server.will(stream(events(part("hel"), part("lo"), done=False), then="stall"))
    client, heard = AsyncRecordingClient(url, KEY, "gpt-4.1"), MemoryStream()

    async def fail(event: ModelMessageChunk) -> None:
        raise RuntimeError(event.content)

    heard.where(ModelMessageChunk).subscribe(fail)
    with pytest.raises(RuntimeError, match="hel"):
        await Agent("a", config=AzInferConfig(client=client, streaming=True)).ask(
            "hi", stream=heard
        )
    assert await asyncio.to_thread(server.wait_until, lambda: server.open_connections == 0)
    assert len(client.streams) == 1


async def test_a_token_is_requested_for_each_call(configuration: Make, server: RawServer) -> None:
    tokens = iter(["t1-abcdef", "t2-abcdef"])

    async def token() -> str:
        return next(tokens)

    server.will(reply(chat()))
    config = configuration(credential=token)
    first = await Agent("a", config=config).ask("hi")
    await first.ask("hi again")
    headers = [request.header("authorization") for request in server.received]
    assert headers == ["Bearer t1-abcdef", "Bearer t2-abcdef"]


async def test_a_wrong_key_is_an_immediate_error(local: Make) -> None:
    config = local(credential="wrong-key")
    with pytest.raises(core.AuthenticationError) as caught:
        await Agent("a", config=config).ask("hi")
    assert (caught.value.status, caught.value.attempts) == (401, 1)


async def test_a_wrong_name_is_an_error(local: Make) -> None:
    with pytest.raises(core.DeploymentNotFoundError, match="pariss"):
        await Agent("a", config=local("pariss")).ask("hi")


def test_secrets_are_never_shown(endpoint: LocalEndpoint, local: Make) -> None:
    headers = {"ocp-apim-subscription-key": "another-secret"}
    config = local(headers=headers)
    copied = config.copy(model="strict")
    client = config.create()
    shown = [repr(each) for each in (config, copied, client, Agent("a", config=config))]
    shown += [str(dataclasses.asdict(config)), str(vars(client)), str(config.headers)]
    assert not any(endpoint.key in each or "another-secret" in each for each in shown)
    with pytest.raises(ConfigurationError, match="cannot be pickled"):
        pickle.dumps(config)


@pytest.mark.parametrize(
    "create",
    [
        lambda: AzInferConfig("not a URL", MARKER, "m"),
        lambda: AzInferConfig(endpoint="not a URL", credential=MARKER),
        lambda: AzInferConfig("https://a.example/v1", MARKER, modell="m"),  # type: ignore[call-arg]
        lambda: AzInferConfig("not a URL", "k", headers={"api-key": MARKER}),
        lambda: AzInferConfig("not a URL", "k", default_headers={"api-key": MARKER}),
        lambda: AzInferConfig("https://a.example/v1", "k").copy(
            credential=MARKER, endpoint="not a URL"
        ),
    ],
)
def test_a_constructor_that_fails_shows_no_key(create: Callable[[], AzInferConfig]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        create()
    assert leaks_of(caught.value, lambda path: path != __file__) == []


def test_the_constructor_has_the_signature_of_its_fields() -> None:
    names = [each.name for each in dataclasses.fields(AzInferConfig) if each.init]
    assert [*inspect.signature(AzInferConfig.__init__).parameters] == ["self", *names]
    with pytest.raises(TypeError, match="positional"):
        AzInferConfig("https://a.example/v1", "k", "m", "another")  # type: ignore[call-arg]


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_secret_among_headers_is_sent(
    configuration: Make, server: RawServer, url: str, streaming: bool
) -> None:
    secret = {"ocp-apim-subscription-key": "another-secret"}
    ready = AsyncInferenceClient(url, KEY, "gpt-4.1")
    server.will(chat_reply(streaming))
    for config in (
        configuration(headers=secret, streaming=streaming),
        configuration(streaming=streaming).copy(headers=secret),
        AzInferConfig(client=ready, headers=secret, streaming=streaming),
    ):
        await Agent("a", config=config).ask("hi")
    header_values = [request.header("ocp-apim-subscription-key") for request in server.received]
    assert header_values == ["another-secret"] * 3


async def test_an_endpoint_with_a_secret_in_its_url_is_not_shown(
    server: RawServer, url: str
) -> None:
    server.will(reply(chat()))
    config = AzInferConfig(f"{url}?subscription-key=another-secret", KEY, "gpt-4.1")
    copied = config.copy(max_retries=0)
    shown = [str(shown) for each in (config, copied) for shown in (each, dataclasses.asdict(each))]
    assert not any("another-secret" in each for each in shown)
    for each in (config, copied):
        await Agent("a", config=each).ask("hi")
    assert all("subscription-key=another-secret" in each.target for each in server.received)
    assert AzInferConfig(f"{url}?a=b", KEY, "gpt-4.1").endpoint == f"{url}?a=b"


async def test_stored_conversations_contain_no_secret(endpoint: LocalEndpoint, local: Make) -> None:
    config = local()
    agent_reply = await Agent("a", config=config).ask("hi")
    stored = json.dumps([event.to_dict() for event in await agent_reply.history.get_events()])
    assert "Paris." in stored
    assert endpoint.key not in stored


async def test_a_configuration_with_its_key_in_the_environment_is_pickled(
    endpoint: LocalEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_AI_ENDPOINT", endpoint.url)
    monkeypatch.setenv("AZURE_AI_API_KEY", endpoint.key)
    data = pickle.dumps(AzInferConfig(model="paris"))
    assert endpoint.key.encode() not in data
    again = pickle.loads(data)
    assert again == AzInferConfig(model="paris")
    assert (await Agent("a", config=again).ask("hi")).body == "Paris."
    secret = {"ocp-apim-subscription-key": "another-secret"}
    client = AsyncInferenceClient(model="paris")
    for instance in (
        AzInferConfig(model="paris", headers=secret),
        again.copy(headers=secret),
        AzInferConfig(client=client, headers=secret),
    ):
        with pytest.raises(ConfigurationError, match="'ocp-apim-subscription-key', which looks"):
            pickle.dumps(instance)
        assert instance.headers == {"ocp-apim-subscription-key": SecretStr("another-secret")}
        copies = (copy.copy(instance), copy.deepcopy(instance))
        assert [each.headers for each in copies] == [instance.headers] * 2
    assert pickle.loads(pickle.dumps(AzInferConfig(client=client, headers={"x-a": "1"})))


async def test_copies_work(local: Make) -> None:
    config = local("strict", headers={"x-a": "1"})
    for copied in (copy.copy(config), copy.deepcopy(config), config.copy()):
        assert copied == config
        assert (await Agent("a", config=copied.copy(model="paris")).ask("hi")).body == "Paris."
    assert hash(config) == hash(config.copy())
    body = {"data": ["a"]}
    copied = copy.deepcopy(config.copy(extra_body=body))
    body["data"].append("b")
    assert copied.extra_body == {"data": ["a"]}
    assert config.copy(temperature=1) != config


def test_a_copy_goes_elsewhere_with_the_same_key(
    endpoint: LocalEndpoint, local: Make, server: RawServer
) -> None:
    server.will(reply(chat("elsewhere")))
    config = local()
    other = config.copy(endpoint=f"{server.url}/models")
    texts = [asyncio.run(Agent("a", config=each).ask("hi")).body for each in (other, config)]
    assert texts == ["elsewhere", "Paris."]
    assert server.received[0].header("api-key") == endpoint.key


@pytest.mark.parametrize("kind", [InferenceClient, AsyncInferenceClient])
async def test_a_ready_client_works(endpoint: LocalEndpoint, kind: Any) -> None:
    config = AzInferConfig(client=kind(endpoint.url, endpoint.key, "paris"))
    assert config.model == "paris"
    assert (await Agent("a", config=config).ask("hi")).body == "Paris."
    with pytest.raises(
        ConfigurationError, match="client= has its own endpoint and credential: leave"
    ):
        config.copy(endpoint="https://contoso.openai.azure.com", credential=endpoint.key)
    retrying = config.copy(max_retries=7)
    assert (retrying.max_retries, config.max_retries) == (7, 2)


async def test_a_client_can_be_created_directly(endpoint: LocalEndpoint) -> None:
    by_hand = AzInferClient(AsyncInferenceClient(endpoint.url, endpoint.key), model="paris")

    class Config(AzInferConfig):
        def create(self) -> AzInferClient:
            return by_hand

    config = Config(endpoint.url, endpoint.key, "strict")
    assert (await Agent("a", config=config).ask("hi")).body == "Paris."


def test_the_deployment_may_stand_in_the_url() -> None:
    url = "https://contoso.openai.azure.com/openai/deployments/prod/chat/completions"
    assert AzInferConfig(url, KEY).model == "prod"


async def test_the_surface_can_be_chosen(server: RawServer) -> None:
    server.will(reply(chat()))
    config = AzInferConfig(server.url, KEY, "prod", surface="models", api_version="2099-01-01")
    await Agent("a", config=config).ask("hi")
    assert server.received[0].target == "/models/chat/completions?api-version=2099-01-01"


def test_more_answers_than_one_are_an_error(configuration: Make) -> None:
    with pytest.raises(core.ConfigurationError, match="leave out n"):
        configuration(extra_body={"n": 2}).create()


async def test_a_turn_that_takes_too_long_ends(configuration: Make, server: RawServer) -> None:
    server.will(stream(b"", then="stall"))
    with pytest.raises(core.APITimeoutError):
        await Agent("a", config=configuration(timeout=0.2)).ask("hi")


def test_provider_and_files_client_are_not_implemented() -> None:
    config = AzInferConfig("https://contoso.services.ai.azure.com", KEY, "prod")
    with pytest.raises(NotImplementedError, match="no member for Azure"):
        _ = config.provider
    with pytest.raises(NotImplementedError, match="does not upload files"):
        config.create_files_client()
