"""Everything around a call: settings, secrets, copies, connections, event loops and telemetry."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_framework import SecretString, observability
from agent_framework.exceptions import ChatClientException, SettingNotFoundError
from azure.core.credentials import AzureKeyCredential
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agent_clients import MESSAGE, Weather, client, stream, user
from azinfer.agent_framework import AzInferChatClient, AzInferEmbeddingClient
from azinfer.core import APITimeoutError, AsyncInferenceClient, ConfigurationError, InferenceClient
from azinfer.local import LocalDeployment, LocalEndpoint
from client_driver import CLIENT_OPTIONS, KEY
from raw_server import RawServer, chat, events, part, reply, vectors
from raw_server import stream as sse

CONTOSO = "https://contoso.openai.azure.com"
CLIENTS: list[Callable[..., Any]] = [AzInferChatClient, AzInferEmbeddingClient]
VARIABLES = {
    "AZURE_OPENAI_ENDPOINT": ("AZURE_OPENAI_API_KEY", f"{CONTOSO}/openai/v1"),
    "AZURE_OPENAI_BASE_URL": ("AZURE_OPENAI_API_KEY", f"{CONTOSO}/openai/v1"),
    "FOUNDRY_MODELS_ENDPOINT": ("FOUNDRY_MODELS_API_KEY", f"{CONTOSO}/openai/v1"),
    "FOUNDRY_PROJECT_ENDPOINT": ("AZURE_AI_API_KEY", f"{CONTOSO}/openai/v1"),
    "AZURE_INFERENCE_ENDPOINT": ("AZURE_INFERENCE_CREDENTIAL", f"{CONTOSO}/openai/v1"),
}


@pytest.fixture(autouse=True)
def no_foundry_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove a contributor's own variables, which must not affect tests."""
    for name in ("MODELS_ENDPOINT", "MODELS_API_KEY", "PROJECT_ENDPOINT", "MODEL"):
        monkeypatch.delenv(f"FOUNDRY_{name}", raising=False)


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_constructor_does_not_touch_the_network(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "socket", None)
    assert kind(CONTOSO, KEY, "m").service_url() == f"{CONTOSO}/openai/v1"


@pytest.mark.parametrize("variable", VARIABLES)
def test_the_frameworks_variables_are_read(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key, url = VARIABLES[variable]
    monkeypatch.setenv(variable, CONTOSO)
    monkeypatch.setenv(key, KEY)
    monkeypatch.setenv("AZURE_OPENAI_MODEL", "m")
    chat_client = AzInferChatClient()
    assert (chat_client.service_url(), chat_client.model) == (url, "m")


@pytest.mark.parametrize(
    ("variables", "model"),
    [
        (["AZURE_OPENAI_CHAT_COMPLETION_MODEL", "AZURE_OPENAI_MODEL"], "0"),
        (["AZURE_OPENAI_CHAT_MODEL", "FOUNDRY_MODEL"], "0"),
        (["FOUNDRY_MODEL"], "0"),
    ],
)
def test_the_first_variable_names_the_deployment(
    variables: list[str], model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at, variable in enumerate(variables):
        monkeypatch.setenv(variable, str(at))
    assert AzInferChatClient(CONTOSO, KEY).model == model
    assert AzInferChatClient(CONTOSO, KEY, "own").model == "own"


def test_a_file_wins_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "my.env"
    file.write_text(f"AZURE_OPENAI_ENDPOINT={CONTOSO}\nAZURE_OPENAI_API_KEY=k\n", "utf-8")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://other.openai.azure.com")
    monkeypatch.setenv("AZURE_OPENAI_MODEL", "m")
    chat_client = AzInferChatClient(env_file_path=str(file))
    assert (chat_client.service_url(), chat_client.model) == (f"{CONTOSO}/openai/v1", "m")
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("AZURE_OPENAI_MODEL=unasked\n", "utf-8")
    assert AzInferChatClient(CONTOSO, KEY).model == "m"
    with pytest.raises(FileNotFoundError, match=r"no\.env"):
        AzInferChatClient(env_file_path="no.env")


async def test_the_environments_version_belongs_to_its_endpoint(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.will(reply(chat()), reply(chat()))
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", f"{server.url}/openai")
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    monkeypatch.setenv("AZURE_OPENAI_API_VERSION", "2099-01-01")
    await AzInferChatClient(model="m").get_response(MESSAGE)
    await AzInferChatClient(f"{server.url}/openai", KEY, "m").get_response(MESSAGE)
    first, second = (each.target for each in server.received)
    assert "api-version=2099-01-01" in first
    assert "2099" not in second


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "no endpoint"),
        ({"endpoint": CONTOSO, "model": "m"}, "no credential"),
        ({"endpoint": CONTOSO, "credential": KEY}, "no deployment.*AZURE_OPENAI_MODEL"),
        ({"endpoint": "nonsense url", "credential": KEY, "model": "m"}, "nonsense"),
    ],
)
def test_a_missing_setting_is_the_frameworks_error(kind: Any, arguments: Any, text: str) -> None:
    with pytest.raises(SettingNotFoundError, match=text) as caught:
        kind(**arguments)
    assert isinstance(caught.value, ConfigurationError)
    assert isinstance(caught.value.__cause__, ConfigurationError)


@pytest.mark.parametrize("kind", [InferenceClient, AsyncInferenceClient])
async def test_a_ready_client_is_used_and_stays_open(
    url: str, server: RawServer, kind: Any
) -> None:
    server.will(reply(chat()), reply(chat()))
    core = kind(url, KEY, "gpt-4.1")
    async with AzInferChatClient(client=core) as instance:
        assert (instance.model, instance.client.endpoint) == ("gpt-4.1", core.endpoint)
        await instance.get_response(MESSAGE)
    await AzInferChatClient(client=core, model="other").get_response(MESSAGE)
    assert [each.request_body["model"] for each in server.received] == ["gpt-4.1", "other"]
    assert server.connections == 1
    await core.to_async().aclose()


@pytest.mark.parametrize("name", ["endpoint", "credential"])
def test_an_endpoint_beside_a_ready_client_is_an_error(name: str) -> None:
    core = AsyncInferenceClient("https://contoso.services.ai.azure.com", KEY, "prod")
    for kind in CLIENTS:
        with pytest.raises(SettingNotFoundError, match=f"client= has its own {name}"):
            kind(client=core, **{name: CLIENT_OPTIONS[name]})


async def test_options_beside_a_ready_client_are_the_adapters_alone(server: RawServer) -> None:
    server.will(reply(chat()), reply(chat()))
    core = AsyncInferenceClient(f"{server.url}/openai/v1", KEY, "gpt-4.1")
    await AzInferChatClient(client=core, headers={"x-a": "1"}).get_response(MESSAGE)
    await core.complete([{"role": "user", "content": "hi"}])
    assert [each.header("x-a") for each in server.received] == ["1", None]
    assert "agent-framework" in (server.received[0].header("user-agent") or "")
    await core.aclose()


def test_an_endpoint_of_one_model_needs_no_name() -> None:
    chat_client = AzInferChatClient("https://mistral.eastus2.models.ai.azure.com", KEY)
    assert (chat_client.model, chat_client.surface) == (None, "serverless")


class Credential:
    """A credential as azure-identity has them."""

    def get_token(self, *scopes: str, **_: Any) -> Any:
        """Return a token that is good for long."""
        return type("Token", (), {"token": f"token-for-{scopes[0]}", "expires_on": 4e9})


@pytest.mark.parametrize(
    ("credential", "header", "value"),
    [
        (KEY, "api-key", KEY),
        (SecretString(KEY), "api-key", KEY),
        (AzureKeyCredential(KEY), "api-key", KEY),
        (Credential(), "authorization", "Bearer token-for-"),
        (lambda: "a-token", "authorization", "Bearer a-token"),
    ],
)
async def test_every_kind_of_credential_works(
    server: RawServer, credential: Any, header: str, value: str
) -> None:
    server.will(reply(chat()))
    await client(f"{server.url}/openai/v1", credential=credential).get_response(MESSAGE)
    assert (server.received[0].header(header) or "").startswith(value)


def test_no_key_is_shown() -> None:
    url = f"{CONTOSO}/openai/v1?subscription-key=s3cret"
    for kind in CLIENTS:
        instance = kind(url, "k3y", "m", headers={"x-key": "h3ader"})
        for text in (
            repr(instance),
            json.dumps(instance.to_dict()),
            str(vars(instance)),
            instance.service_url(),
        ):
            assert not any(secret in text for secret in ("k3y", "s3cret", "h3ader")), text
    agent = AzInferChatClient(CONTOSO, "k3y", "m").as_agent(tools=Weather().tools)
    assert "k3y" not in json.dumps(agent.to_dict(), default=str)


def test_a_client_is_rebuilt_from_its_dictionary(monkeypatch: pytest.MonkeyPatch) -> None:
    chat_client = AzInferChatClient(CONTOSO, KEY, "m", model_id="o3", instruction_role="developer")
    saved = json.loads(json.dumps(chat_client.to_dict()))
    core = AsyncInferenceClient(CONTOSO, KEY)
    known = {"az_infer_chat_client": {"client": core}}
    again = AzInferChatClient.from_dict(saved, dependencies=known)
    assert (again.model, again.model_id, again.instruction_role) == ("m", "o3", "developer")
    assert again.client.endpoint is core.endpoint
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    assert AzInferChatClient.from_dict(saved).to_dict() == saved
    embed = AzInferEmbeddingClient(CONTOSO, KEY, "e").to_dict()
    assert AzInferEmbeddingClient.from_dict(embed).to_dict() == embed


@pytest.mark.parametrize("kind", CLIENTS)
async def test_a_copy_is_another_client_of_the_same_deployment(
    kind: Any, server: RawServer, url: str
) -> None:
    chat_client = client(url, kind)
    for copied in (copy.copy(chat_client), copy.deepcopy(chat_client)):
        answer = chat() if kind is AzInferChatClient else vectors([1.0])
        server.will(reply(answer))
        if kind is AzInferChatClient:
            assert (await copied.get_response(MESSAGE)).text == "hello"
        else:
            assert (await copied.get_embeddings(["hi"]))[0].vector == [1.0]
        assert copied.model == "gpt-4.1"


def test_a_pickle_has_the_credential_by_name_or_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_KEY", "k3y")
    for kind in CLIENTS:
        data = pickle.dumps(kind(CONTOSO, "env:MY_KEY", "m"))
        assert b"k3y" not in data
        again = pickle.loads(data)
        assert (again.model, again.service_url()) == ("m", f"{CONTOSO}/openai/v1")
        with pytest.raises(ConfigurationError):
            pickle.dumps(kind(CONTOSO, "k3y", "m"))


def test_a_pickled_client_still_answers(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    chat_client = client(f"{server.url}/openai/v1", credential="env:MY_KEY")
    again = pickle.loads(pickle.dumps(chat_client))
    server.will(reply(chat()), sse(events(part("hello", "stop"))))

    async def run() -> None:
        assert (await again.get_response(MESSAGE)).text == "hello"
        assert (await stream(again))[1].text == "hello"

    asyncio.run(run())


def test_parts_of_streamed_texts_are_copied_and_pickled_as_the_frameworks_own() -> None:
    from agent_framework import Content

    from azinfer.agent_framework.responses import _TextPart

    ours, theirs = _TextPart("hi"), Content.from_text("hi", merge_mode="append")
    assert ours == theirs
    assert ours.to_dict() == theirs.to_dict()
    assert str(ours + ours) == "hihi"
    for again in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert type(again) is Content
        assert again == theirs
    ours.additional_properties["a"] = 1
    assert _TextPart("hi").additional_properties == {}


async def test_clients_of_one_endpoint_share_their_connections(server: RawServer) -> None:
    server.choose = lambda request: reply(chat())
    for _ in range(5):
        chat_client = client(f"{server.url}/openai/v1")
        for _ in range(2):
            await chat_client.get_response(MESSAGE)
    assert server.connections == 1
    await chat_client.aclose()


def test_one_client_serves_several_event_loops(server: RawServer, url: str) -> None:
    server.choose = lambda request: reply(chat())
    chat_client = client(url)
    agent = chat_client.as_agent()
    for _ in range(3):
        assert asyncio.run(agent.run("hi")).text == "hello"
    assert len(server.received) == 3


def test_a_program_ends_without_warnings() -> None:
    program = """
import asyncio

from azinfer.agent_framework import AzInferChatClient
from azinfer.local import LocalDeployment, LocalEndpoint


async def main(agent):
    print(await agent.run("hi"))
    async for update in agent.run("hi", stream=True):
        print(update, end="")
        break


with LocalEndpoint([LocalDeployment("chat")]) as endpoint:
    client = AzInferChatClient(endpoint.url, endpoint.key, "chat")
    asyncio.run(main(client.as_agent()))
"""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("This is a synthetic answer to: hi\nThis")


async def test_a_call_that_takes_too_long_is_the_frameworks_error(
    server: RawServer, url: str
) -> None:
    server.will(*[lambda peer: peer.wait_until_client_leaves()] * 2)
    for arguments in ({"timeout": 0.05}, {}):
        chat_client = client(url, **arguments)
        options: Any = {} if arguments else {"timeout": 0.05}
        with pytest.raises(ChatClientException) as caught:
            await chat_client.get_response(MESSAGE, options=options)
        assert isinstance(caught.value, APITimeoutError)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """The spans that ended, with the framework's telemetry on."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(observability, "get_tracer", lambda *_, **__: provider.get_tracer("tests"))
    monkeypatch.setattr(observability.OBSERVABILITY_SETTINGS, "enable_instrumentation", True)
    yield exporter
    provider.shutdown()


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_call_is_one_span_with_deployment_model_and_wire(
    surface: str, spans: InMemorySpanExporter, streamed: bool
) -> None:
    deployment = LocalDeployment("Prod", model_name="gpt-4.1")
    with LocalEndpoint([deployment]) as endpoint:
        chat_client = AzInferChatClient(endpoint.url, endpoint.key, "prod", surface=surface)
        if streamed:
            await stream(chat_client, [user("hi")])
        else:
            await chat_client.get_response([user("hi")])
    (span,) = spans.get_finished_spans()
    facts = dict(span.attributes or {})
    assert span.name == "chat prod"
    assert facts["gen_ai.request.model"] == "prod"
    assert facts["gen_ai.provider.name"] == "azure.ai.inference"
    assert str(facts["server.address"]).startswith(("http://127", "127"))
    assert facts["azinfer.deployment"] in ("Prod", "prod")
    assert str(facts["azinfer.model_id"]).startswith("gpt-4.1")
    assert (facts["azinfer.surface"], facts["azinfer.wire"]) == (surface, "chat")
    assert facts["gen_ai.response.finish_reasons"]
    assert facts["gen_ai.usage.output_tokens"]


async def test_an_agents_call_with_a_tool_has_the_frameworks_spans_alone(
    spans: InMemorySpanExporter, server: RawServer, url: str
) -> None:
    call = {"name": "get_time", "arguments": "{}"}
    calls = [{"id": "c1", "type": "function", "function": call}]
    server.will(reply(chat(None, "tool_calls", message={"tool_calls": calls})), reply(chat()))
    await client(url).as_agent(name="guide", tools=Weather().tools).run("hi")
    names = [span.name for span in spans.get_finished_spans()]
    assert names == ["chat gpt-4.1", "execute_tool get_time", "chat gpt-4.1", "invoke_agent guide"]


async def test_a_failed_stream_ends_its_span_with_the_error(
    spans: InMemorySpanExporter, server: RawServer, url: str
) -> None:
    server.will(sse(events(part("hel"), done=False)))
    with pytest.raises(ChatClientException):
        await stream(client(url))
    (span,) = spans.get_finished_spans()
    assert "StreamInterruptedError" in str(dict(span.attributes or {})["error.type"])


async def test_a_span_of_the_callers_own_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, server: RawServer, url: str
) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(observability.OBSERVABILITY_SETTINGS, "enable_instrumentation", False)
    server.will(reply(chat()))
    with provider.get_tracer("mine").start_as_current_span("mine"):
        await client(url).get_response(MESSAGE)
    (span,) = exporter.get_finished_spans()
    assert not span.attributes


async def test_embeddings_are_one_span(
    spans: InMemorySpanExporter, server: RawServer, url: str
) -> None:
    server.will(reply(vectors([1.0])))
    await client(url, AzInferEmbeddingClient, model="e").get_embeddings(["hi"])
    (span,) = spans.get_finished_spans()
    assert span.name == "embeddings e"
    assert dict(span.attributes or {})["azinfer.deployment"] == "e"
