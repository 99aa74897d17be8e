"""Spans and metrics of calls: one span a call, a child for each request, nothing twice."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.trace import SpanKind, StatusCode

from azinfer.core import (
    APIStatusError,
    AsyncInferenceClient,
    AuthenticationError,
    BadRequestError,
    InferenceClient,
    RouteExhaustedError,
    StreamInterruptedError,
    Timeout,
)
from azinfer.otel import uninstrument
from client_driver import KEY, USER, ClientDriver, TestClock
from fleet import Fleet, rate_limit_reply, routed_driver
from otel_memory import Telemetry, attributes
from raw_server import (
    RawServer,
    chat,
    chunked_answer,
    events,
    failure,
    part,
    raw,
    reply,
    stream,
    vectors,
)

ROOT = Path(__file__).parents[2]

TWO = [["m@a"], ["m@b"]]
USAGE = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}
LATEST = {"OTEL_SEMCONV_STABILITY_OPT_IN": "http, gen_ai_latest_experimental"}
CONTENT = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "true"}
SECRET = "a-word-of-the-prompt"


@pytest.fixture
def driver(kind: str, server: RawServer) -> Any:
    server.will(reply(chat()))
    driver = ClientDriver(kind, server.url, KEY, "gpt-4.1", clock=TestClock())
    yield driver
    driver.close()


def test_a_call_is_one_span_with_a_child(
    driver: ClientDriver, server: RawServer, telemetry: Telemetry
) -> None:
    server.will(reply(chat("hi", id="r1", model="gpt-4.1-2025")))
    driver.complete(temperature=0, max_tokens=9, stop=["x"], top_p=None)
    request, call = telemetry.spans
    assert (call.name, call.kind) == ("chat gpt-4.1", SpanKind.CLIENT)
    assert call.status.status_code is StatusCode.UNSET
    port = server.port
    assert attributes(call) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.system": "azure.ai.inference",
        "gen_ai.request.model": "gpt-4.1",
        "gen_ai.request.temperature": 0,
        "gen_ai.request.max_tokens": 9,
        "gen_ai.request.stop_sequences": ("x",),
        "gen_ai.response.model": "gpt-4.1-2025",
        "gen_ai.response.id": "r1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 2,
        "server.address": "127.0.0.1",
        "server.port": port,
        "azinfer.attempts": 1,
        "azinfer.deployment": "gpt-4.1",
    }
    assert call.context is not None
    assert request.parent is not None
    assert request.parent.span_id == call.context.span_id
    assert (request.name, request.kind) == ("POST", SpanKind.CLIENT)
    assert attributes(request) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "url.full": f"http://127.0.0.1:{port}/openai/v1/chat/completions",
        "server.address": "127.0.0.1",
        "server.port": port,
        "azinfer.deployment": "gpt-4.1",
    }
    assert call.instrumentation_scope is not None
    assert call.instrumentation_scope.name == "azinfer"


def test_tokens_and_seconds_are_metrics(driver: ClientDriver, telemetry: Telemetry) -> None:
    driver.complete()
    (seconds,) = telemetry.points("gen_ai.client.operation.duration")
    assert (seconds.count, seconds.attributes["gen_ai.operation.name"]) == (1, "chat")
    assert seconds.explicit_bounds[:2] == (0.01, 0.02)
    points = telemetry.points("gen_ai.client.token.usage")
    assert {each.attributes["gen_ai.token.type"]: each.sum for each in points} == {
        "input": 3,
        "output": 2,
    }


def test_the_newest_names_are_an_opt_in(
    driver: ClientDriver, server: RawServer, telemetry: Telemetry
) -> None:
    telemetry.start(environ=LATEST)
    details = {"prompt_tokens_details": {"cached_tokens": 2}}
    details |= {"completion_tokens_details": {"reasoning_tokens": 1}}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, **details}
    server.will(reply(chat("hi", usage=usage)))
    driver.complete()
    call = attributes(telemetry.call)
    assert call["gen_ai.provider.name"] == "azure.ai.inference"
    assert "gen_ai.system" not in call
    assert call["gen_ai.usage.cache_read.input_tokens"] == 2
    assert call["gen_ai.usage.reasoning.output_tokens"] == 1
    server.will(reply(vectors([1.0, 2.0])))
    driver.embed(["x"], encoding_format="float")
    embeddings = attributes(telemetry.spans[-1])
    assert embeddings["gen_ai.embeddings.dimension.count"] == 2
    assert embeddings["gen_ai.request.encoding_formats"] == ("float",)


def test_embeddings_are_calls_too(
    driver: ClientDriver, server: RawServer, telemetry: Telemetry
) -> None:
    server.will(reply(vectors([1.0])))
    driver.embed(["x"])
    call = attributes(telemetry.call)
    assert telemetry.call.name == "embeddings gpt-4.1"
    assert call["gen_ai.usage.input_tokens"] == 2
    assert "gen_ai.usage.output_tokens" not in call
    (point,) = telemetry.points("gen_ai.client.token.usage")
    assert point.attributes["gen_ai.token.type"] == "input"


def test_texts_in_several_requests_are_one_call(
    driver: ClientDriver, server: RawServer, telemetry: Telemetry
) -> None:
    server.will(*[reply(vectors(*[[1.0]] * 96))] * 2)
    driver.embed(["x"] * 192, model="unknown")
    assert len(telemetry.requests) == 2
    call = attributes(telemetry.call)
    assert call["gen_ai.usage.input_tokens"] == 4
    (point,) = telemetry.points("gen_ai.client.operation.duration")
    assert point.count == 1
    assert {each.parent.span_id for each in telemetry.requests if each.parent} == {
        telemetry.call.context.span_id
    }


@pytest.mark.parametrize("at_once", [1, 192])
def test_texts_that_fail_end_their_call_with_the_error(
    driver: ClientDriver, server: RawServer, telemetry: Telemetry, at_once: int
) -> None:
    server.will(*[reply(failure("bad_texts"), 400)] * 2)
    with pytest.raises(BadRequestError):
        driver.embed(["x"] * at_once, model="unknown")
    assert attributes(telemetry.call)["error.type"] == "BadRequestError"
    assert telemetry.call.status.status_code is StatusCode.ERROR


def test_an_image_is_one_call(
    driver: ClientDriver, server: RawServer, telemetry: Telemetry
) -> None:
    server.will(reply({"id": "1", "embeddings": {"float": [[1.0]]}}))
    driver.embed_images(["data:image/png;base64,iVBORw0KGgo="], model="unknown")
    assert telemetry.call.name.startswith("embeddings")


def test_each_attempt_is_a_child(
    driver: ClientDriver, server: RawServer, telemetry: Telemetry
) -> None:
    server.will(rate_limit_reply(1), raw(b"", "reset"), reply(chat()))
    driver.complete()
    first, second, third = telemetry.requests
    assert attributes(first)["error.type"] == "429"
    assert attributes(first)["http.response.status_code"] == 429
    assert first.status.status_code is StatusCode.ERROR
    assert attributes(second)["error.type"] == "APIConnectionError"
    assert "http.response.status_code" not in attributes(second)
    assert attributes(third)["http.request.resend_count"] == 2
    assert telemetry.call.status.status_code is StatusCode.UNSET
    assert attributes(telemetry.call)["azinfer.attempts"] == 3


def test_an_error_ends_the_call_without_its_text(
    driver: ClientDriver, server: RawServer, telemetry: Telemetry
) -> None:
    server.will(reply(failure("bad_thing", f"I do not like {SECRET}"), 400))
    with pytest.raises(BadRequestError):
        driver.complete()
    call = telemetry.call
    assert (call.status.status_code, call.status.description) == (StatusCode.ERROR, "bad_thing")
    assert attributes(call)["error.type"] == "BadRequestError"
    (seconds,) = telemetry.points("gen_ai.client.operation.duration")
    assert seconds.attributes["error.type"] == "BadRequestError"
    assert SECRET not in everything(telemetry)


def everything(telemetry: Telemetry) -> str:
    return "".join(span.to_json() for span in telemetry.spans) + repr(telemetry.events)


def test_contents_and_keys_are_not_recorded(
    kind: str, server: RawServer, telemetry: Telemetry
) -> None:
    server.will(reply(chat(SECRET)), reply(failure("x", f"the key {KEY} is wrong"), 401))
    url = f"{server.url}/openai/v1?code=a-secret-in-the-url"
    driver = ClientDriver(kind, url, KEY, "m")
    driver.complete([{"role": "user", "content": SECRET}])
    telemetry.start(contents=True)
    with pytest.raises(AuthenticationError):
        driver.complete()
    driver.close()
    text = everything(telemetry)
    assert SECRET not in text
    assert KEY not in text
    assert "a-secret-in-the-url" not in text


CONVERSATION: list[Any] = [
    {"role": "system", "content": "Be short."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is it?"},
            {"type": "image_url", "image_url": {"url": "https://x.example/i.png"}},
        ],
    },
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "t1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
        ],
    },
    {"role": "tool", "tool_call_id": "t1", "content": "a cat"},
]


def test_contents_are_events_if_they_are_wanted(driver: ClientDriver, telemetry: Telemetry) -> None:
    telemetry.start(environ=CONTENT)
    driver.complete(CONVERSATION)
    names = [each.event_name for each in telemetry.events]
    assert names == [
        "gen_ai.system.message",
        "gen_ai.user.message",
        "gen_ai.assistant.message",
        "gen_ai.tool.message",
        "gen_ai.choice",
    ]
    system, user, assistant, tool, choice = (each.body for each in telemetry.events)
    assert system == {"content": "Be short."}
    assert user["content"][0]["text"] == "What is it?"
    assert assistant["tool_calls"][0]["id"] == "t1"
    assert tool == {"content": "a cat", "id": "t1"}
    assert choice["message"] == {"role": "assistant", "content": "hello"}
    context = telemetry.call.context
    assert context is not None
    assert {each.span_id for each in telemetry.events} == {context.span_id}


def test_contents_are_attributes_in_the_newest_version(
    driver: ClientDriver, server: RawServer, telemetry: Telemetry
) -> None:
    telemetry.start(environ={**LATEST, **CONTENT})
    call = {"id": "t2", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    server.will(reply(chat(None, "tool_calls", message={"tool_calls": [call]})))
    driver.complete(CONVERSATION)
    recorded = attributes(telemetry.call)
    system, user, assistant, tool = json.loads(recorded["gen_ai.input.messages"])
    assert system == {"role": "system", "parts": [{"type": "text", "content": "Be short."}]}
    text, image = user["parts"]
    assert text == {"type": "text", "content": "What is it?"}
    assert image["image_url"] == {"url": "https://x.example/i.png"}
    wanted = {"type": "tool_call", "id": "t1", "name": "look", "arguments": "{}"}
    assert assistant["parts"] == [wanted]
    assert tool["parts"] == [{"type": "tool_call_response", "id": "t1", "response": "a cat"}]
    assert json.loads(recorded["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{**wanted, "id": "t2"}], "finish_reason": "tool_calls"}
    ]
    assert telemetry.events == []


def test_a_whole_stream_ends_its_span_with_its_usage(
    driver: ClientDriver, server: RawServer, telemetry: Telemetry
) -> None:
    server.will(stream(events(part("one"), part("two", "stop"), USAGE)))
    driver.stream()
    assert [each.name for each in telemetry.spans] == ["POST", "chat gpt-4.1"]
    call = telemetry.call
    assert call.status.status_code is StatusCode.UNSET
    assert attributes(call)["gen_ai.usage.output_tokens"] == 4
    assert attributes(call)["gen_ai.response.finish_reasons"] == ("stop",)
    assert attributes(call)["azinfer.time_to_first_chunk"] > 0
    assert telemetry.points("gen_ai.client.operation.time_to_first_chunk") == []
    assert "azinfer.left_early" not in attributes(call)


def test_the_time_to_the_first_chunk_is_a_metric_of_the_newest_version(
    driver: ClientDriver, server: RawServer, telemetry: Telemetry
) -> None:
    telemetry.start(environ={"OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental"})
    server.will(stream(events(part("one"), part("two", "stop"), USAGE)))
    driver.stream()
    (point,) = telemetry.points("gen_ai.client.operation.time_to_first_chunk")
    assert (point.count, point.attributes["gen_ai.operation.name"]) == (1, "chat")
    assert attributes(telemetry.call)["gen_ai.response.time_to_first_chunk"] == point.sum
    driver.complete()
    (point,) = telemetry.points("gen_ai.client.operation.time_to_first_chunk")
    assert point.count == 1


def test_a_stream_that_is_left_ends_once_and_says_so(
    driver: ClientDriver, server: RawServer, telemetry: Telemetry
) -> None:
    server.will(stream(events(part("one"), done=False), "stall"))
    driver.read(lambda chunk: True)
    assert [each.name for each in telemetry.spans] == ["POST", "chat gpt-4.1"]
    call = telemetry.call
    assert call.status.status_code is StatusCode.UNSET
    assert attributes(call)["azinfer.left_early"] is True
    assert "gen_ai.usage.input_tokens" not in attributes(call)


def test_a_collected_stream_ends_its_span(server: RawServer, telemetry: Telemetry) -> None:
    server.will(stream(events(part("one"), done=False), "stall"))
    client = InferenceClient(server.url, KEY, "m")
    chunks = client.stream(USER)
    next(chunks)
    del chunks
    gc.collect()
    assert attributes(telemetry.call)["azinfer.left_early"] is True
    client.close()


def test_a_collected_async_stream_ends_its_span(server: RawServer, telemetry: Telemetry) -> None:
    server.will(stream(events(part("one"), done=False), "stall"))

    async def leave() -> None:
        async with AsyncInferenceClient(server.url, KEY, "m") as client:
            chunks = client.stream(USER)
            await anext(chunks)
            del chunks
            gc.collect()
            assert attributes(telemetry.call)["azinfer.left_early"] is True

    asyncio.run(leave())


def test_a_stream_that_was_never_entered_has_no_span(
    server: RawServer, telemetry: Telemetry
) -> None:
    client = AsyncInferenceClient(server.url, KEY, "m")
    client.stream(USER)
    gc.collect()
    assert telemetry.spans == []


def test_a_broken_stream_is_an_error(
    driver: ClientDriver, server: RawServer, telemetry: Telemetry
) -> None:
    server.will(raw(chunked_answer(events(part("one"), done=False), whole=False)))
    with pytest.raises(StreamInterruptedError):
        driver.stream()
    assert attributes(telemetry.call)["error.type"] == "StreamInterruptedError"
    assert telemetry.call.status.status_code is StatusCode.ERROR
    (request,) = telemetry.requests
    assert attributes(request)["http.response.status_code"] == 200
    assert request.status.status_code is StatusCode.ERROR


def test_a_cancelled_call_is_left_early(server: RawServer, telemetry: Telemetry) -> None:
    server.will(raw(b"", "stall"))

    async def cancel() -> None:
        async with AsyncInferenceClient(server.url, KEY, "m") as client:
            task = asyncio.create_task(client.complete(USER))
            while not server.received:
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task])

    asyncio.run(cancel())
    assert attributes(telemetry.call)["azinfer.left_early"] is True
    assert telemetry.call.status.status_code is StatusCode.UNSET


def test_a_route_says_who_answered(fleet: Fleet, kind: str, telemetry: Telemetry) -> None:
    fleet["a"].will(rate_limit_reply(1))
    with routed_driver(kind, fleet.config(TWO)) as driver:
        driver.complete(model="chat")
    call = attributes(telemetry.call)
    assert telemetry.call.name == "chat chat"
    expected = {"route": "chat", "endpoint": "b", "tier": 1, "deployment": "m", "attempts": 2}
    assert {name: call[f"azinfer.{name}"] for name in expected} == expected
    assert [attributes(each)["azinfer.endpoint"] for each in telemetry.requests] == ["a", "b"]
    assert call["server.port"] == fleet["a"].port


def test_an_exhausted_route_is_one_error(fleet: Fleet, kind: str, telemetry: Telemetry) -> None:
    fleet["a"].will(rate_limit_reply(9))
    fleet["b"].will(rate_limit_reply(9))
    with (
        routed_driver(kind, fleet.config(TWO, policy={"wait": 0})) as driver,
        pytest.raises(RouteExhaustedError),
    ):
        driver.complete(model="chat")
    assert attributes(telemetry.call)["error.type"] == "RouteExhaustedError"
    assert len(telemetry.requests) == 2


def test_a_hedge_is_a_child_of_the_same_call(fleet: Fleet, kind: str, telemetry: Telemetry) -> None:
    fleet["a"].will(raw(b"", "stall"))
    with routed_driver(kind, fleet.config(TWO, policy={"hedge": 0.02})) as driver:
        assert driver.complete(model="chat").text == "b"
    lost, won = telemetry.requests
    assert attributes(lost)["azinfer.lost_to_hedge"] is True
    assert attributes(won)["http.response.status_code"] == 200
    assert lost.parent == won.parent
    assert attributes(telemetry.call)["azinfer.endpoint"] == "b"


def test_a_credential_that_fails_is_an_error_of_the_call(
    kind: str, server: RawServer, telemetry: Telemetry
) -> None:
    def no_token() -> str:
        raise RuntimeError("down")

    driver = ClientDriver(kind, server.url, no_token, "m")
    with pytest.raises(AuthenticationError):
        driver.complete()
    driver.close()
    assert attributes(telemetry.call)["error.type"] == "AuthenticationError"
    assert telemetry.requests == []


def test_a_credential_of_the_wrong_kind_is_an_error_of_the_call(
    server: RawServer, telemetry: Telemetry
) -> None:
    async def token() -> str:
        return "t"

    with InferenceClient(server.url, token, "m") as client, pytest.raises(Exception, match="async"):
        client.complete(USER)
    assert attributes(telemetry.call)["error.type"] == "ConfigurationError"


@pytest.mark.parametrize(
    "marks",
    [
        {"gen_ai.operation.name": "chat"},
        {"gen_ai.operation.name": "text_completions"},
        {"openinference.span.kind": "LLM"},
        {"llm.request.type": "chat"},
    ],
)
def test_where_a_framework_has_a_span_only_requests_are_added(
    driver: ClientDriver, telemetry: Telemetry, marks: dict[str, str]
) -> None:
    telemetry.start(environ=CONTENT)
    tracer = telemetry.tracers.get_tracer("framework")
    with tracer.start_as_current_span("chat", attributes=marks) as outer:
        driver.complete()
    request, own = telemetry.spans
    assert own.name == "chat"
    assert attributes(own) == marks
    assert request.parent == outer.get_span_context()
    assert telemetry.points("gen_ai.client.token.usage") == []
    assert telemetry.points("gen_ai.client.operation.duration") == []
    assert telemetry.events == []


@pytest.mark.parametrize("marks", [{}, {"gen_ai.operation.name": "invoke_agent"}])
def test_a_span_of_something_else_is_the_parent(
    driver: ClientDriver, telemetry: Telemetry, marks: dict[str, str]
) -> None:
    tracer = telemetry.tracers.get_tracer("framework")
    with tracer.start_as_current_span("agent", attributes=marks) as outer:
        driver.complete()
    _, call, _ = telemetry.spans
    assert call.parent == outer.get_span_context()


def test_tokens_can_be_left_to_others(driver: ClientDriver, telemetry: Telemetry) -> None:
    telemetry.start(tokens=False)
    driver.complete()
    assert not [name for name in attributes(telemetry.call) if "usage" in name]
    assert telemetry.points("gen_ai.client.token.usage") == []
    assert len(telemetry.points("gen_ai.client.operation.duration")) == 1


def test_suppressed_code_records_nothing(driver: ClientDriver, telemetry: Telemetry) -> None:
    token = otel_context.attach(otel_context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
    try:
        driver.complete()
    finally:
        otel_context.detach(token)
    assert telemetry.spans == []


def test_after_the_end_nothing_is_recorded(driver: ClientDriver, telemetry: Telemetry) -> None:
    uninstrument()
    driver.complete()
    assert telemetry.spans == []
    uninstrument()


def test_the_global_provider_stays_as_it_is(telemetry: Telemetry) -> None:
    assert type(trace.get_tracer_provider()).__name__ == "ProxyTracerProvider"


def test_a_second_start_replaces_the_first(driver: ClientDriver, telemetry: Telemetry) -> None:
    telemetry.start()
    driver.complete()
    assert len(telemetry.spans) == 2


def test_a_slow_call_ends_as_an_error(kind: str, server: RawServer, telemetry: Telemetry) -> None:
    server.will(raw(b"", "stall"))
    timeout = Timeout(attempt=0.1)
    driver = ClientDriver(kind, server.url, KEY, "m", timeout=timeout, max_retries=0)
    with pytest.raises(Exception, match="within"):
        driver.complete()
    driver.close()
    assert attributes(telemetry.call)["error.type"] == "APITimeoutError"


def test_an_event_that_is_an_error_ends_the_stream_as_an_error(
    driver: ClientDriver, server: RawServer, telemetry: Telemetry
) -> None:
    broken = events(part("one"), failure("500", "overloaded", status=500), done=False)
    server.will(stream(broken))
    with pytest.raises(APIStatusError):
        driver.stream()
    assert telemetry.call.status.status_code is StatusCode.ERROR


def test_opentelemetry_instrument_starts_it(driver: ClientDriver, telemetry: Telemetry) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    group = "opentelemetry_instrumentor"
    instrumentor = EntryPoint("azinfer", project["entry-points"][group]["azinfer"], group).load()()
    instrumentor.instrument(tracer_provider=telemetry.tracers, skip_dep_check=True)
    driver.complete()
    assert telemetry.call.name == "chat gpt-4.1"
    instrumentor.uninstrument()
    driver.complete()
    assert len(telemetry.requests) == 1


def test_core_alone_imports_no_telemetry() -> None:
    code = (
        "import sys; from azinfer.core import InferenceClient;"
        "InferenceClient('https://x.openai.azure.com', 'k', 'm');"
        "assert not [m for m in sys.modules if m.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
