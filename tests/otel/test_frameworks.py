"""Frameworks with telemetry of their own: one span a call, and tokens that count once."""

from __future__ import annotations

from typing import Any

import agent_framework as af
import pytest
from agent_framework import observability
from semantic_kernel.contents import ChatHistory
from semantic_kernel.utils.telemetry.model_diagnostics import decorators

from azinfer.agent_framework import AzInferChatClient
from azinfer.langchain import ChatAzInfer
from azinfer.semantic_kernel import AzInferChatCompletion, AzInferChatPromptExecutionSettings
from client_driver import KEY
from otel_memory import Telemetry, attributes
from raw_server import RawServer, chat, events, part, reply, stream

USAGE = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}


@pytest.fixture(params=["whole", "streamed"])
def streamed(request: pytest.FixtureRequest, server: RawServer) -> bool:
    is_streamed = bool(request.param == "streamed")
    whole = stream(events(part("hi"), part("", "stop"), USAGE))
    server.will(whole if is_streamed else reply(chat()))
    return is_streamed


def check(telemetry: Telemetry, owner: str) -> None:
    """One call by the framework, one request of ours, and each token once."""
    request, call = telemetry.spans
    assert call.instrumentation_scope is not None
    assert call.instrumentation_scope.name == owner
    assert call.context is not None
    assert request.parent is not None
    assert request.parent.span_id == call.context.span_id
    assert attributes(request)["http.response.status_code"] == 200
    counts = [attributes(each).get("gen_ai.usage.input_tokens") for each in telemetry.spans]
    assert [each for each in counts if each is not None] == [3]


async def test_agent_framework_keeps_its_span(
    telemetry: Telemetry, server: RawServer, monkeypatch: pytest.MonkeyPatch, streamed: bool
) -> None:
    tracer = telemetry.tracers.get_tracer("framework")
    monkeypatch.setattr(observability, "get_tracer", lambda *_, **__: tracer)
    monkeypatch.setattr(observability.OBSERVABILITY_SETTINGS, "enable_instrumentation", True)
    client = AzInferChatClient(server.url, KEY, "m")
    messages = [af.Message("user", ["hi"])]
    if streamed:
        async for _ in client.get_response(messages, stream=True):
            pass
    else:
        await client.get_response(messages)
    check(telemetry, "framework")


async def test_semantic_kernel_keeps_its_span(
    telemetry: Telemetry, server: RawServer, monkeypatch: pytest.MonkeyPatch, streamed: bool
) -> None:
    monkeypatch.setattr(decorators, "tracer", telemetry.tracers.get_tracer("framework"))
    monkeypatch.setattr(decorators.MODEL_DIAGNOSTICS_SETTINGS, "enable_otel_diagnostics", True)
    service = AzInferChatCompletion(server.url, KEY, "m")
    history, settings = ChatHistory(), AzInferChatPromptExecutionSettings()
    history.add_user_message("hi")
    if streamed:
        async for _ in service.get_streaming_chat_message_contents(history, settings):
            pass
    else:
        await service.get_chat_message_contents(history, settings)
    await service.aclose()
    check(telemetry, "framework")


def test_langchain_has_no_spans_so_azinfer_records_them(
    telemetry: Telemetry, server: RawServer, streamed: bool
) -> None:
    model: Any = ChatAzInfer(endpoint=server.url, credential=KEY, model="m")
    list(model.stream("hi")) if streamed else model.invoke("hi")
    check(telemetry, "azinfer")
