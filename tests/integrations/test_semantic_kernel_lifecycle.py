"""Everything around an answer: errors, time, connections, secrets, environment, telemetry."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AzureKeyCredential
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from semantic_kernel.contents import ChatHistory
from semantic_kernel.exceptions import (
    KernelException,
    ServiceContentFilterException,
    ServiceException,
    ServiceInitializationError,
    ServiceInvalidAuthError,
    ServiceInvalidRequestError,
    ServiceInvalidResponseError,
    ServiceResourceNotFoundError,
    ServiceResponseException,
)
from semantic_kernel.utils.telemetry.model_diagnostics import decorators
from semantic_kernel.utils.telemetry.user_agent import SEMANTIC_KERNEL_USER_AGENT

from azinfer import core
from azinfer.core import AsyncInferenceClient, Timeout
from azinfer.local import ContentFilter, LocalDeployment, LocalEndpoint
from azinfer.semantic_kernel import (
    AzInferChatCompletion,
    AzInferChatPromptExecutionSettings,
    AzInferTextCompletion,
    AzInferTextEmbedding,
)
from azinfer.semantic_kernel.errors import translated_errors
from client_driver import CLIENT_OPTIONS, KEY
from kernels import collect_stream, join_messages, kernel, request_body, user_history
from raw_server import RawServer, chat, events, failure, part, reply, stream
from recording_clients import AsyncRecordingClient

Make = Callable[..., Any]
SETTINGS = AzInferChatPromptExecutionSettings()
CONTOSO = "https://contoso.openai.azure.com"
SERVICES = (AzInferChatCompletion, AzInferTextCompletion, AzInferTextEmbedding)
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}

ERRORS: list[tuple[int, Any, type[ServiceException], type[core.InferenceError]]] = [
    (302, failure("x"), ServiceResponseException, core.APIStatusError),
    (400, failure("x"), ServiceInvalidRequestError, core.BadRequestError),
    (
        400,
        failure("context_length_exceeded"),
        ServiceInvalidRequestError,
        core.ContextLengthExceededError,
    ),
    (
        400,
        failure("unsupported_parameter"),
        ServiceInvalidRequestError,
        core.UnsupportedParameterError,
    ),
    (400, failure("content_filter"), ServiceContentFilterException, core.ContentFilterError),
    (401, failure("401"), ServiceInvalidAuthError, core.AuthenticationError),
    (403, failure("x"), ServiceInvalidAuthError, core.PermissionDeniedError),
    (404, failure("unknown_model"), ServiceResourceNotFoundError, core.DeploymentNotFoundError),
    (429, failure("429"), ServiceResponseException, core.RateLimitError),
    (503, failure("x"), ServiceResponseException, core.ServerError),
    (200, [], ServiceInvalidResponseError, core.InvalidResponseError),
]


@pytest.mark.parametrize(("status", "body", "theirs", "ours"), ERRORS)
async def test_an_error_is_both_semantic_kernels_and_azinfers(
    server: RawServer, service: Make, status: int, body: Any, theirs: Any, ours: Any
) -> None:
    server.will(reply(body, status, {"x-request-id": "r1"}))
    writer = service(AzInferTextCompletion)

    async def write() -> None:
        async for _ in writer.get_streaming_text_contents("hi", SETTINGS):
            pass

    for asking in (
        service().get_chat_message_contents(user_history(), SETTINGS),
        collect_stream(service()),
        writer.get_text_contents("hi", SETTINGS),
        write(),
    ):
        with pytest.raises(theirs) as caught:
            await asking
        error: Any = caught.value
        assert (error.deployment, error.request_id) == ("gpt-4.1", error.__cause__.request_id)
        assert type(error.__cause__) is ours
        assert isinstance(error, ours)
        assert isinstance(error, ServiceResponseException)
        assert "gpt-4.1" in str(error)
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))


class Unheard(core.InferenceError):
    """An error that came after this adapter."""


@pytest.mark.parametrize("kind", [core.RouteExhaustedError, Unheard])
def test_errors_during_a_stream_are_semantic_kernels_too(kind: Any) -> None:
    with pytest.raises(ServiceResponseException, match="no luck") as caught, translated_errors():
        raise kind("no luck", status=500)
    assert type(caught.value.__cause__) is kind
    assert isinstance(caught.value, core.InferenceError)
    assert caught.value.status == 500


async def test_a_kernel_shows_the_cause(server: RawServer, service: Make) -> None:
    server.will(reply(failure("unknown_model"), 404))
    with pytest.raises(KernelException) as caught:
        await kernel(service()).invoke_prompt("hi")
    causes: list[BaseException | None] = [caught.value]
    while causes[-1] is not None:
        causes.append(causes[-1].__cause__)
    assert any(isinstance(each, ServiceResourceNotFoundError) for each in causes)
    assert any(type(each) is core.DeploymentNotFoundError for each in causes)


async def test_connections_and_time_outs_are_semantic_kernels_errors(
    server: RawServer, service: Make
) -> None:
    server.will(lambda peer: peer.reset())
    with pytest.raises(ServiceResponseException) as caught:
        await service().get_chat_message_contents(user_history(), SETTINGS)
    assert isinstance(caught.value, core.APIConnectionError)
    server.will(lambda peer: peer.wait_until_client_leaves())
    for settings in (SETTINGS, AzInferChatPromptExecutionSettings(timeout=0.1)):
        chat_service = service(timeout=0.1 if settings is SETTINGS else 60)
        with pytest.raises(ServiceResponseException) as caught:
            await chat_service.get_chat_message_contents(user_history(), settings)
        assert isinstance(caught.value, core.APITimeoutError)


@pytest.mark.parametrize(
    ("data", "ours"),
    [
        (events(part("hel"), done=False), core.StreamInterruptedError),
        (events(part("hel"), failure("429", "slow down"), done=False), core.APIStatusError),
        (events(part("hel"), failure("content_filter"), done=False), core.ContentFilterError),
        (events(part("hel"), "{broken", done=False), core.InvalidResponseError),
    ],
)
async def test_a_stream_that_breaks_raises_while_it_is_read(
    server: RawServer, service: Make, data: bytes, ours: Any
) -> None:
    server.will(stream(data))
    messages = service().get_streaming_chat_message_content(user_history(), SETTINGS)
    with pytest.raises(ServiceResponseException) as caught:
        [str(each) async for each in messages]
    error = caught.value
    assert isinstance(error, ours)
    assert isinstance(error, core.InferenceError)
    assert error.partial is not None
    assert error.partial.text == "hel"


async def test_chunks_before_a_break_are_returned(server: RawServer, service: Make) -> None:
    server.will(stream(events(part("hel"), done=False), "reset"))
    messages = service().get_streaming_chat_message_content(user_history(), SETTINGS)
    assert str(await anext(messages)) == "hel"
    with pytest.raises(ServiceResponseException):
        await anext(messages)


async def test_a_refused_prompt_is_semantic_kernels_own_error(surface: str) -> None:
    # microsoft/semantic-kernel#4802
    words = ContentFilter(words={"violence": {"stab": "high"}}, blocklists={"mine": ["secret"]})
    with LocalEndpoint([LocalDeployment("chat", content_filter=words)]) as endpoint:
        chat_service = AzInferChatCompletion(endpoint.url, endpoint.key, "chat", surface=surface)
        for asking in (
            chat_service.get_chat_message_contents(user_history("how to stab"), SETTINGS),
            collect_stream(chat_service, user_history("how to stab")),
        ):
            with pytest.raises(ServiceContentFilterException) as caught:
                await asking
            error: Any = caught.value
            assert "ContentFilterAIException" in [kind.__name__ for kind in type(error).mro()]
            (result,) = error.content_filter_result.items()
            assert (result[0], result[1].severity.value) == ("violence", "high")
            assert (result[1].filtered, result[1].detected) == (True, False)
            assert error.content_filter_code.value == "ResponsibleAIPolicyViolation"
            assert error.categories == {"violence": "high"}
            assert "content_filter" in str(error.code)
            assert len({error, caught.value}) == 1
            assert repr(error) == f"ContentFilteredError({error.message!r})"
        with pytest.raises(ServiceContentFilterException) as caught:
            await chat_service.get_chat_message_contents(user_history("a secret"), SETTINGS)
        error = caught.value
        assert error.content_filter_result["custom_blocklists"].detected


def test_a_refused_prompt_raises_where_warnings_are_errors() -> None:
    program = """
import asyncio, sys
from semantic_kernel.contents import ChatHistory
from semantic_kernel.exceptions import ServiceContentFilterException
from azinfer.local import ContentFilter, LocalDeployment, LocalEndpoint
from azinfer.semantic_kernel import AzInferChatCompletion, AzInferChatPromptExecutionSettings

words = ContentFilter(words={"violence": {"stab": "high"}})
with LocalEndpoint([LocalDeployment("chat", content_filter=words)]) as endpoint:
    chat = AzInferChatCompletion(endpoint.url, endpoint.key, "chat")
    assert "semantic_kernel.connectors.ai.open_ai" not in sys.modules
    history = ChatHistory()
    history.add_user_message("stab")
    try:
        asyncio.run(chat.get_chat_message_contents(history, AzInferChatPromptExecutionSettings()))
    except ServiceContentFilterException as error:
        from semantic_kernel.connectors.ai.open_ai.exceptions.content_filter_ai_exception import (
            ContentFilterAIException,
        )

        print(isinstance(error, ContentFilterAIException))
"""
    assert run_program(program, "-W", "error").splitlines() == ["True"]


def run_program(program: str, *options: str) -> str:
    """Return the output of a program, which must not write to stderr."""
    command = [sys.executable, *options, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("stream_it", [False, True])
async def test_a_busy_endpoint_is_retried(
    server: RawServer, service: Make, stream_it: bool
) -> None:
    busy = reply(failure("429"), 429, {"retry-after-ms": "1"})
    answer = stream(events(part("a", "stop"))) if stream_it else reply(chat("a"))
    server.will(busy, busy, answer)
    chat_service = service(max_retries=2)
    if stream_it:
        assert str(join_messages(await collect_stream(chat_service))) == "a"
    else:
        assert str(await chat_service.get_chat_message_content(user_history(), SETTINGS)) == "a"
    assert len(server.received) == 3


async def test_connections_are_used_again(server: RawServer, service: Make) -> None:
    server.will(reply(chat()))
    chat_service = service()
    for _ in range(10):
        await chat_service.get_chat_message_contents(user_history(), SETTINGS)
    assert (len(server.received), server.connections) == (10, 1)


async def test_calls_run_concurrently(server: RawServer, service: Make) -> None:
    server.choose = lambda request: lambda peer: _together(server, peer, 8)
    async with service() as chat_service:
        calls = [chat_service.get_chat_message_content(user_history(), SETTINGS) for _ in range(8)]
        assert [str(each) for each in await asyncio.gather(*calls)] == ["hello"] * 8


def _together(server: RawServer, peer: Any, count: int) -> None:
    """Answer once as many requests are here."""
    assert server.wait_until(lambda: len(server.received) >= count)
    reply(chat())(peer)


def test_one_service_works_in_several_event_loops(server: RawServer, service: Make) -> None:
    server.will(reply(chat()), reply(chat()), stream(events(part("hello", "stop"))))
    chat_service = service()
    for _ in range(2):
        answer = asyncio.run(chat_service.get_chat_message_content(user_history(), SETTINGS))
        assert str(answer) == "hello"
    assert str(join_messages(asyncio.run(collect_stream(chat_service)))) == "hello"


@pytest.mark.parametrize("by", ["chat", "text", "kernel"])
async def test_leaving_a_stream_early_closes_its_connection(
    server: RawServer, url: str, by: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.will(stream(events(part("a"), part("b"), done=False), "stall"))
    client = AsyncRecordingClient(url, KEY, "gpt-4.1")
    if by == "text":
        model = AzInferTextCompletion(client=client)
        messages: Any = model.get_streaming_text_contents("hi", SETTINGS)
    elif by == "chat":
        chat_service = AzInferChatCompletion(client=client)
        messages = chat_service.get_streaming_chat_message_contents(user_history(), SETTINGS)
    else:
        messages = kernel(AzInferChatCompletion(client=client)).invoke_prompt_stream("hi")
    assert [str(each) for each in await anext(messages)] == ["a"]
    assert server.open_connections == 1
    # A generator that is left is closed by the loop, in another context than it began in.
    with caplog.at_level(logging.CRITICAL, "opentelemetry.context"):
        await messages.aclose()
        assert await asyncio.to_thread(server.wait_until, lambda: server.open_connections == 0)
    assert len(client.streams) == 1


@pytest.mark.parametrize("by", ["chat", "text"])
async def test_cancelling_a_stream_closes_its_connection(
    server: RawServer, url: str, by: str
) -> None:
    server.will(stream(events(part("a"), done=False), "stall"))
    began, client = asyncio.Event(), AsyncRecordingClient(url, KEY, "gpt-4.1")

    async def read() -> None:
        if by == "text":
            model = AzInferTextCompletion(client=client)
            messages: Any = model.get_streaming_text_contents("hi", SETTINGS)
        else:
            chat_service = AzInferChatCompletion(client=client)
            messages = chat_service.get_streaming_chat_message_contents(user_history(), SETTINGS)
        async for _ in messages:
            began.set()

    task = asyncio.create_task(read())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(server.wait_until, lambda: server.open_connections == 0)
    assert len(client.streams) == 1


async def test_a_service_is_closed_and_opens_again(server: RawServer, service: Make) -> None:
    server.will(reply(chat()))
    async with service() as chat_service:
        await chat_service.get_chat_message_contents(user_history(), SETTINGS)
    assert await asyncio.to_thread(server.wait_until, lambda: server.open_connections == 0)
    await chat_service.get_chat_message_contents(user_history(), SETTINGS)
    await chat_service.aclose()
    assert server.connections == 2
    assert "__del__" not in {
        name for kind in SERVICES for each in kind.mro() for name in vars(each)
    }


async def test_a_callers_client_stays_open(server: RawServer, url: str) -> None:
    server.will(reply(chat()))
    async with AsyncInferenceClient(url, KEY, "gpt-4.1") as client:
        async with AzInferChatCompletion(client=client) as chat_service:
            assert chat_service.client.endpoint is client.endpoint
            await chat_service.get_chat_message_contents(user_history(), SETTINGS)
        await client.complete([core.UserMessage("hi")])
        assert server.connections == 1


def test_a_program_ends_without_warnings() -> None:
    # run-llama/llama_index#19348; langchain-ai/langchain-azure#69
    program = """
import asyncio
from semantic_kernel import Kernel
from azinfer.local import LocalEndpoint
from azinfer.semantic_kernel import AzInferChatCompletion

async def main(url, key, surface):
    kernel = Kernel()
    kernel.add_service(AzInferChatCompletion(url, key, "synthetic", surface=surface))
    print(await kernel.invoke_prompt("hi"))
    async for messages in kernel.invoke_prompt_stream("hi"):
        pass

with LocalEndpoint() as endpoint:
    for surface in ("v1", "models", "deployments"):
        asyncio.run(main(endpoint.url, endpoint.key, surface))
"""
    assert (
        run_program(program, "-W", "error").splitlines()
        == ["This is a synthetic answer to: hi"] * 3
    )


def test_no_secret_is_shown_or_kept(service: Make) -> None:
    for kind in SERVICES:
        own_service = service(kind, service_id="s")
        shown = [
            repr(own_service),
            str(own_service),
            own_service.model_dump_json(),
            repr(own_service.client),
        ]
        shown += [repr(kernel(own_service)), str(copy.deepcopy(own_service))]
        assert not any(KEY in each for each in shown)
        assert (
            own_service.model_dump(exclude_none=True).items()
            >= {
                "ai_model_id": "gpt-4.1",
                "service_id": "s",
            }.items()
        )
        with pytest.raises(core.ConfigurationError, match="cannot be pickled"):
            pickle.dumps(own_service)


async def test_a_copy_works(server: RawServer, service: Make) -> None:
    server.will(reply(chat()))
    own_service = service()
    for again in (copy.deepcopy(own_service), copy.copy(own_service), own_service.model_copy()):
        answer = await again.get_chat_message_content(user_history(), SETTINGS)
        assert str(answer) == "hello"


async def test_a_service_of_the_environment_is_pickled(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.will(reply(chat()))
    monkeypatch.setenv("AZURE_AI_ENDPOINT", server.url)
    monkeypatch.setenv("AZURE_AI_API_KEY", KEY)
    data = pickle.dumps(AzInferChatCompletion(model="gpt-4.1"))
    assert KEY.encode() not in data
    answer = await pickle.loads(data).get_chat_message_content(user_history(), SETTINGS)
    assert str(answer) == "hello"


@pytest.mark.parametrize(
    ("variables", "url", "version"),
    [
        (
            {
                "AZURE_AI_INFERENCE_ENDPOINT": "{}/models",
                "AZURE_AI_INFERENCE_API_KEY": KEY,
                "AZURE_AI_INFERENCE_API_VERSION": "2024-05-01-preview",
            },
            "/models/chat/completions",
            "2024-05-01-preview",
        ),
        (
            {
                "AZURE_OPENAI_ENDPOINT": "{}",
                "AZURE_OPENAI_API_KEY": KEY,
                "AZURE_OPENAI_API_VERSION": "2024-10-21",
            },
            "/openai/deployments/prod/chat/completions",
            "2024-10-21",
        ),
        (
            {
                "AZURE_OPENAI_BASE_URL": "{}/openai/deployments/prod",
                "AZURE_OPENAI_ENDPOINT": CONTOSO,
                "AZURE_OPENAI_API_KEY": KEY,
            },
            "/openai/deployments/prod/chat/completions",
            "2024-10-21",
        ),
        (
            {"AZURE_INFERENCE_ENDPOINT": "{}", "AZURE_INFERENCE_CREDENTIAL": KEY},
            "/openai/v1/chat/completions",
            None,
        ),
    ],
)
@pytest.mark.parametrize("in_a_file", [False, True])
async def test_the_environment_names_the_endpoint(
    server: RawServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    variables: dict[str, str],
    url: str,
    version: str | None,
    in_a_file: bool,
) -> None:
    server.will(reply(chat()))
    variables = {**variables, "AZURE_OPENAI_CHAT_DEPLOYMENT_NAME": "prod"}
    lines = [f"{name}={value.format(server.url)}" for name, value in variables.items()]
    path = tmp_path / "settings.env"
    if in_a_file:
        path.write_text("\n".join(lines), encoding="utf-16")
    else:
        for line in lines:
            monkeypatch.setenv(*line.split("="))
    chat_service = AzInferChatCompletion(
        env_file_path=str(path), env_file_encoding="utf-16" if in_a_file else None
    )
    assert (chat_service.ai_model_id, chat_service.service_id) == ("prod", "prod")
    await chat_service.get_chat_message_contents(user_history(), SETTINGS)
    (request,) = server.received
    path_, _, query = request.target.partition("?")
    assert path_ == url
    assert query == (f"api-version={version}" if version else "")
    assert request.header("api-key") == KEY


def test_each_service_has_its_deployment_in_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("CHAT", "TEXT", "EMBEDDING"):
        monkeypatch.setenv(f"AZURE_OPENAI_{name}_DEPLOYMENT_NAME", name.lower())
    results = [kind(CONTOSO, KEY).ai_model_id for kind in SERVICES]
    assert results == ["chat", "text", "embedding"]
    for name, kind in zip(("CHAT", "TEXT", "EMBEDDING"), SERVICES, strict=True):
        monkeypatch.delenv(variable := f"AZURE_OPENAI_{name}_DEPLOYMENT_NAME")
        with pytest.raises(ServiceInitializationError, match=f"or set {variable}$"):
            kind(CONTOSO, KEY, model_id="gpt-4.1")
    assert AzInferChatCompletion(CONTOSO, KEY, "other").ai_model_id == "other"
    named = f"{CONTOSO}/openai/deployments/in-the-url"
    assert AzInferChatCompletion(named, KEY).ai_model_id == "in-the-url"


def test_a_version_of_the_environment_goes_with_its_own_endpoint_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", CONTOSO)
    monkeypatch.setenv("AZURE_OPENAI_API_VERSION", "2024-06-01")
    endpoints = [
        AzInferChatCompletion(url, KEY, "prod").client.endpoint
        for url in (None, f"{CONTOSO}/models")
    ]
    assert [each.api_version for each in endpoints] == ["2024-06-01", None]


def test_a_key_of_the_environment_goes_to_its_own_host_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AZURE_AI_INFERENCE_ENDPOINT", CONTOSO)
    monkeypatch.setenv("AZURE_AI_INFERENCE_API_KEY", KEY)
    with pytest.raises(ServiceInitializationError, match="names another host"):
        AzInferChatCompletion("https://fabrikam.openai.azure.com", model="prod")


@pytest.mark.parametrize("kind", SERVICES)
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"credential": KEY, "model": "prod"}, "no endpoint"),
        ({"endpoint": CONTOSO, "model": "prod"}, "no credential"),
        ({"endpoint": CONTOSO, "credential": KEY}, "no deployment: pass model="),
        ({"endpoint": "https://example.com", "credential": KEY}, "Pass its surface"),
    ],
)
def test_a_service_that_cannot_be_created_says_why(
    kind: Any, arguments: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    with pytest.raises(ServiceInitializationError, match=expected) as caught:
        kind(**arguments, env_file_path=str(tmp_path / "none"))
    assert isinstance(caught.value, core.ConfigurationError)
    assert KEY not in str(caught.value)


def test_a_misspelt_argument_is_an_error() -> None:
    kinds: Any = SERVICES
    for kind in kinds:
        with pytest.raises(ServiceInitializationError, match="'max_retries'"):
            kind(CONTOSO, KEY, "prod", max_retrys=1)


@pytest.mark.parametrize("name", ["endpoint", "credential"])
def test_an_endpoint_beside_a_ready_client_is_an_error(name: str) -> None:
    client = AsyncInferenceClient("https://contoso.services.ai.azure.com", KEY, "prod")
    kinds: Any = SERVICES
    for kind in kinds:
        with pytest.raises(ServiceInitializationError, match=f"client= has its own {name}"):
            kind(client=client, **{name: CLIENT_OPTIONS[name]})


def test_an_endpoint_of_one_model_needs_no_name() -> None:
    one = "https://mistral.eastus2.models.ai.azure.com"
    assert AzInferChatCompletion(one, KEY).ai_model_id == "serverless"
    assert AzInferChatCompletion(one, KEY, model_id="mistral-large").ai_model_id == "mistral-large"


class Credential:
    """A credential as azure-identity has them."""

    def get_token(self, *scopes: str, **_: Any) -> Any:
        """A token that is good for long."""
        return type("Token", (), {"token": f"token-for-{scopes[0]}", "expires_on": 4e9})


class AsyncCredential(Credential):
    """The same for async code."""

    async def get_token(self, *scopes: str, **_: Any) -> Any:
        """A token that is good for long."""
        return super().get_token(*scopes)


@pytest.mark.parametrize(
    ("credential", "header", "value"),
    [
        (Credential(), "authorization", "Bearer token-for-https://cognitiveservices.azure.com"),
        (AsyncCredential(), "authorization", "Bearer token-for-https://cognitiveservices"),
        (AzureKeyCredential("a-key"), "api-key", "a-key"),
        (lambda: "from-a-function", "authorization", "Bearer from-a-function"),
    ],
)
async def test_credentials_of_every_kind_are_taken(
    server: RawServer, service: Make, credential: Any, header: str, value: str
) -> None:
    server.will(reply(chat()))
    own_service = service(credential=credential)
    await own_service.get_chat_message_contents(user_history(), SETTINGS)
    assert (server.received[0].header(header) or "").startswith(value)


async def test_requests_name_semantic_kernel_in_the_user_agent(
    server: RawServer, service: Make
) -> None:
    server.will(reply(chat()))
    await service().get_chat_message_contents(user_history(), SETTINGS)
    own = service(headers={"user-agent": "mine/1", "x-a": "1"})
    await own.get_chat_message_contents(user_history(), SETTINGS)
    first, second = (each.header("user-agent") for each in server.received)
    assert first == f"{SEMANTIC_KERNEL_USER_AGENT} {core.user_agent('semantic-kernel')}"
    assert second == f"{SEMANTIC_KERNEL_USER_AGENT} mine/1"
    assert server.received[1].header("x-a") == "1"


async def test_a_reasoning_model_gets_its_own_parameters(server: RawServer, service: Make) -> None:
    server.will(reply(chat()))
    own_service = service(model="prod", model_id="o3")
    history = ChatHistory(system_message="Be brief.")
    history.add_user_message("hi")
    settings = AzInferChatPromptExecutionSettings(max_tokens=5, reasoning_effort="low")
    (answer,) = await own_service.get_chat_message_contents(history, settings)
    assert (
        request_body(server)["max_completion_tokens"],
        request_body(server)["reasoning_effort"],
    ) == (5, "low")
    assert answer.metadata["adapted"] == ["max_tokens → max_completion_tokens"]


async def test_a_badly_formed_stream_is_read(server: RawServer, service: Make) -> None:
    # microsoft/semantic-kernel#11956: "SSE event not supported"
    data = events(part("grün"), part(None, "stop"), {"choices": [], "usage": USAGE})
    data = b": hello\r\n\r\n" + data.replace(b"\\u00fc", "ü".encode()).replace(b"\n", b"\r\n")

    def drip(peer: Any) -> None:
        head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        peer.send(head.encode())
        for at in range(0, len(data), 7):
            peer.send(data[at : at + 7])
        peer.close()

    server.will(drip)
    whole = join_messages(await collect_stream(service()))
    assert (str(whole), whole.metadata["usage"].prompt_tokens) == ("grün", 3)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """The spans that ended, with Semantic Kernel's telemetry switched on."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    settings = decorators.MODEL_DIAGNOSTICS_SETTINGS
    monkeypatch.setattr(decorators, "tracer", provider.get_tracer("tests"))
    monkeypatch.setattr(settings, "enable_otel_diagnostics", True)
    monkeypatch.setattr(settings, "enable_otel_diagnostics_sensitive", True)
    return exporter


async def test_an_answer_is_one_span(
    server: RawServer, service: Make, spans: InMemorySpanExporter
) -> None:
    server.will(reply(chat()))
    settings = AzInferChatPromptExecutionSettings(temperature=0.5)
    asking = service()
    await asking.get_chat_message_contents(user_history(), settings)
    (span,) = spans.get_finished_spans()
    span_attributes = dict(span.attributes or {})
    assert span.name == "chat gpt-4.1"
    assert span_attributes["gen_ai.system"] == "azure.ai.inference"
    assert span_attributes["server.address"] == asking.service_url()
    assert (
        span_attributes["gen_ai.usage.input_tokens"],
        span_attributes["gen_ai.usage.output_tokens"],
    ) == (3, 2)
    assert span_attributes["gen_ai.request.temperature"] == 0.5
    assert span_attributes["gen_ai.response.id"] == "c1"
    assert KEY not in json.dumps(span_attributes)


async def test_a_span_ends_when_its_stream_does(
    server: RawServer, service: Make, spans: InMemorySpanExporter
) -> None:
    usage = {"choices": [], "usage": USAGE}
    server.will(stream(events({"choices": []}, part("a"), part("b", "stop"), usage)))
    messages = service().get_streaming_chat_message_content(user_history(), SETTINGS)
    seen = [str(each) async for each in _watch(messages, spans)]
    assert seen == ["a", "b", ""]
    (span,) = spans.get_finished_spans()
    span_attributes = dict(span.attributes or {})
    assert (
        span_attributes["gen_ai.usage.input_tokens"],
        span_attributes["gen_ai.usage.output_tokens"],
    ) == (3, 2)
    assert span_attributes["gen_ai.response.finish_reason"] == "FinishReason.STOP"


async def _watch(messages: Any, spans: InMemorySpanExporter) -> AsyncIterator[Any]:
    async for each in messages:
        assert not spans.get_finished_spans()
        yield each


async def test_a_span_ends_when_its_stream_breaks_or_is_left(
    server: RawServer, service: Make, spans: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    server.will(stream(events(part("a"), done=False)))
    with pytest.raises(ServiceResponseException):
        await collect_stream(service())
    (span,) = spans.get_finished_spans()
    assert "StreamInterruptedError" in str(dict(span.attributes or {})["error.type"])
    server.will(stream(events(part("a"), done=False), "stall"))
    messages = service().get_streaming_chat_message_content(user_history(), SETTINGS)
    assert str(await anext(messages)) == "a"
    # A generator that is left is closed by the loop, in another context than it began in.
    with caplog.at_level(logging.CRITICAL, "opentelemetry.context"):
        await messages.aclose()
        assert await asyncio.to_thread(server.wait_until, lambda: server.open_connections == 0)
    assert len(spans.get_finished_spans()) == 2


@pytest.mark.parametrize("stream_it", [False, True], ids=["whole", "streamed"])
async def test_a_span_names_the_requested_deployment_and_the_answering_model(
    server: RawServer, service: Make, spans: InMemorySpanExporter, stream_it: bool
) -> None:
    settings = AzInferChatPromptExecutionSettings(
        ai_model_id="other", temperature=0, stop="x", presence_penalty=0.5, max_tokens=9
    )
    details = {"completion_tokens_details": {"reasoning_tokens": 1}}
    usage = {**USAGE, **details, "prompt_tokens_details": {"cached_tokens": 2}}
    if stream_it:
        last = {"choices": [], "model": "gpt-4.1-2025-04-14", "usage": usage}
        server.will(stream(events({**part("a", "stop"), "model": last["model"]}, last)))
        await collect_stream(service(), settings=settings)
    else:
        server.will(reply(chat(model="gpt-4.1-2025-04-14", usage=usage)))
        await service().get_chat_message_contents(user_history(), settings)
    (span,) = spans.get_finished_spans()
    span_attributes = dict(span.attributes or {})
    assert span.name == "chat other"
    assert span_attributes["gen_ai.provider.name"] == "azure.ai.inference"
    assert span_attributes["gen_ai.request.model"] == request_body(server)["model"] == "other"
    assert span_attributes["gen_ai.response.model"] == "gpt-4.1-2025-04-14"
    assert span_attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert span_attributes["gen_ai.request.temperature"] == 0
    assert span_attributes["gen_ai.request.stop_sequences"] == ("x",)
    assert span_attributes["gen_ai.request.presence_penalty"] == 0.5
    assert span_attributes["gen_ai.request.max_tokens"] == 9
    assert span_attributes["gen_ai.usage.cache_read.input_tokens"] == 2
    assert span_attributes["gen_ai.usage.reasoning.output_tokens"] == 1


async def test_a_span_of_the_callers_own_is_left_alone(
    server: RawServer, service: Make, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("enable_otel_diagnostics", "enable_otel_diagnostics_sensitive"):
        monkeypatch.setattr(decorators.MODEL_DIAGNOSTICS_SETTINGS, name, False)
    server.will(reply(chat()), stream(events(part("a", "stop"))))
    with decorators.tracer.start_as_current_span("mine"):
        await service().get_chat_message_contents(user_history(), SETTINGS)
        await collect_stream(service())
    (span,) = spans.get_finished_spans()
    assert (span.name, dict(span.attributes or {})) == ("mine", {})


async def test_text_completions_have_spans(
    server: RawServer, service: Make, spans: InMemorySpanExporter
) -> None:
    writer = service(AzInferTextCompletion)
    server.will(reply(chat()), stream(events(part("a"), part("b", "stop"))))
    settings = AzInferChatPromptExecutionSettings(ai_model_id="other")
    await writer.get_text_contents("hi", SETTINGS)
    async for _ in writer.get_streaming_text_contents("hi", settings):
        pass
    finished = spans.get_finished_spans()
    assert [each.name for each in finished] == [
        "text_completions gpt-4.1",
        "text_completions other",
    ]
    assert [(each.attributes or {})["gen_ai.response.model"] for each in finished] == ["m", "m"]


async def test_leaving_a_text_stream_closes_its_connection_and_span(
    server: RawServer,
    service: Make,
    spans: InMemorySpanExporter,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server.will(stream(events(part("a"), part("b"), done=False), "stall"))
    texts = service(AzInferTextCompletion).get_streaming_text_contents("hi", SETTINGS)
    assert [str(each) for each in await anext(texts)] == ["a"]
    # A generator that is left is closed by the loop, in another context than it began in.
    with caplog.at_level(logging.CRITICAL, "opentelemetry.context"):
        await texts.aclose()
        assert await asyncio.to_thread(server.wait_until, lambda: server.open_connections == 0)
    assert [each.name for each in spans.get_finished_spans()] == ["text_completions gpt-4.1"]


async def test_telemetry_works_with_reasoning_and_calls(
    server: RawServer, service: Make, spans: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    call = {"index": 0, "id": "c", "function": {"name": "p-f", "arguments": "{}"}}
    parts = [part(None, None, reasoning_content="hm"), part(None, "tool_calls", tool_calls=[call])]
    server.will(stream(events(*parts)))
    with caplog.at_level(logging.INFO, decorators.__name__):
        await collect_stream(service())
    assert len(spans.get_finished_spans()) == 1
    assert any("p-f" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("stream_it", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("sensitive", [False, True], ids=["open", "sensitive"])
async def test_messages_are_recorded_only_if_enabled(
    server: RawServer,
    service: Make,
    spans: InMemorySpanExporter,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    stream_it: bool,
    sensitive: bool,
) -> None:
    settings = decorators.MODEL_DIAGNOSTICS_SETTINGS
    monkeypatch.setattr(settings, "enable_otel_diagnostics_sensitive", sensitive)
    server.will(stream(events(part("answered", "stop"))) if stream_it else reply(chat("answered")))
    with caplog.at_level(logging.INFO, decorators.__name__):
        if stream_it:
            await collect_stream(service(), user_history("a question"))
        else:
            await service().get_chat_message_contents(user_history("a question"), SETTINGS)
    (span,) = spans.get_finished_spans()
    content = span.to_json() + "".join(record.getMessage() for record in caplog.records)
    assert ("a question" in content, "answered" in content) == (sensitive, sensitive)


def test_a_timeout_may_have_parts(server: RawServer, service: Make) -> None:
    own_service = service(timeout=Timeout(total=7))
    assert own_service.client.timeout.total == 7
