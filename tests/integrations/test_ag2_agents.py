"""Agents of AG2 on azinfer.ag2, over real HTTP: turns, tools, streams, usage, networks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ag2 import Agent, Context, KnowledgeConfig, MemoryStream, TaskConfig, ToolResult, tool
from ag2.compact import CompactTrigger, SummarizeCompact
from ag2.events import (
    BaseEvent,
    ImageInput,
    ModelMessage,
    ModelMessageChunk,
    ModelReasoning,
    ToolErrorEvent,
    ToolResultEvent,
    UsageEvent,
)
from ag2.knowledge import MemoryKnowledgeStore
from ag2.middleware.builtin.telemetry import TelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import BaseModel

from azinfer.ag2 import AzInferConfig
from azinfer.core import RateLimit
from azinfer.local import LocalDeployment, LocalEndpoint, SyntheticEngine
from client_driver import KEY, WIRES
from raw_server import Behaviour, Peer, RawServer, answer, chat, events, part, reply, stream
from wire_requests import chat_body, wire_of

QUESTION = "What is the weather in New York?"
Make = Callable[..., AzInferConfig]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    """Two deployments that answer differently."""
    deployments = [
        LocalDeployment("echo", "gpt-4.1", wires=("chat", *WIRES)),
        LocalDeployment(
            "Paris",
            "Mistral-Large-2411",
            engine=SyntheticEngine("Paris."),
            wires=("chat", *WIRES),
        ),
    ]
    with LocalEndpoint(deployments) as endpoint:
        yield endpoint


@pytest.fixture
def config(address: str, endpoint: LocalEndpoint) -> AzInferConfig:
    """One deployment as a model, on each of the main surfaces and wires."""
    return AzInferConfig(endpoint.url + address, endpoint.key, "ECHO")


@pytest.fixture
def raw(url: str) -> Make:
    """Makes configurations of the raw server, which live as long as the test's loop."""
    results: list[AzInferConfig] = []

    def make(**named: Any) -> AzInferConfig:
        named = {"model": "gpt-4.1", "max_retries": 0, **named}
        results.append(AzInferConfig(url, KEY, **named))
        return results[-1]

    return make


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"Sunny in {city}"


@tool
def get_time(city: str) -> str:
    """What time it is in a city."""
    return f"Noon in {city}"


class Place(BaseModel):
    """Where it is."""

    city: str
    country: str = "nowhere"


def call(name: str, arguments: str = '{"city": "Delft"}', at: int = 0) -> dict[str, Any]:
    """One call of a tool, as a model asks for it."""
    return {"id": f"c{at}", "type": "function", "function": {"name": name, "arguments": arguments}}


def calls(*wanted: dict[str, Any]) -> Behaviour:
    """An answer that calls tools."""
    return reply(chat(None, "tool_calls", message={"tool_calls": list(wanted)}))


def tool_call_stream(*deltas: dict[str, Any]) -> Behaviour:
    """A stream that calls tools."""
    parts = [part(None, None, tool_calls=[delta]) for delta in deltas]
    return stream(events(*parts, part(None, "tool_calls")))


def listen() -> tuple[MemoryStream, list[BaseEvent]]:
    """Return a stream, and a list of all its events."""
    heard: list[BaseEvent] = []
    stream = MemoryStream()

    async def note(event: BaseEvent) -> None:
        heard.append(event)

    stream.subscribe(note)
    return stream, heard


def contents(heard: list[BaseEvent], kind: type[Any]) -> list[str]:
    """Return the contents of all events of a kind."""
    return [event.content for event in heard if isinstance(event, kind)]


def bodies_of(server: RawServer) -> list[Any]:
    """Return the bodies that arrived, with the deployment in each."""
    return [request.request_body for request in server.received]


async def test_an_agent_answers(config: AzInferConfig, endpoint: LocalEndpoint) -> None:
    agent_reply = await Agent("a", "Be brief.", config=config).ask("hi")
    assert agent_reply.body == "This is a synthetic answer to: hi"
    assert agent_reply.response.finish_reason == "stop"
    assert agent_reply.response.response_id
    assert agent_reply.response.metadata["deployment"] == "echo"
    assert agent_reply.response.metadata["request_id"]
    assert chat_body(endpoint)["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
    ]


async def test_without_a_prompt_there_is_no_system_message(
    config: AzInferConfig, endpoint: LocalEndpoint
) -> None:
    await Agent("a", config=config).ask("hi")
    assert chat_body(endpoint)["messages"] == [{"role": "user", "content": "hi"}]


async def test_an_agent_calls_its_tool_and_answers(config: AzInferConfig) -> None:
    agent_reply = await Agent("a", config=config, tools=[get_weather]).ask(QUESTION)
    assert agent_reply.body == "This is a synthetic answer to: Sunny in New York"


async def test_a_tool_loop_has_two_rounds(raw: Make, server: RawServer) -> None:
    server.will(
        calls(call("get_weather")), calls(call("get_time", at=1)), reply(chat("Sunny at noon."))
    )
    agent = Agent("a", config=raw(), tools=[get_weather, get_time])
    assert (await agent.ask(QUESTION)).body == "Sunny at noon."
    assert [message["role"] for message in bodies_of(server)[2]["messages"]] == [
        *("user", "assistant", "tool", "assistant", "tool")
    ]
    assert [each.get("content") for each in bodies_of(server)[2]["messages"][2::2]] == [
        *("Sunny in Delft", "Noon in Delft")
    ]


async def test_tools_are_called_in_parallel(config: AzInferConfig) -> None:
    agent = Agent("a", config=config, tools=[get_weather, get_time])
    heard_on, heard = listen()
    agent_reply = await agent.ask("Use get_weather and get_time for New York", stream=heard_on)
    assert sorted(event.name or "" for event in heard if isinstance(event, ToolResultEvent)) == [
        *("get_time", "get_weather")
    ]
    assert agent_reply.body


async def test_the_chunks_of_a_stream_add_up(config: AzInferConfig) -> None:
    heard_on, heard = listen()
    agent = Agent("a", config=config.copy(streaming=True))
    agent_reply = await agent.ask("hi", stream=heard_on)
    chunks = contents(heard, ModelMessageChunk)
    assert len(chunks) > 3
    assert "".join(chunks) == agent_reply.body == "This is a synthetic answer to: hi"
    assert contents(heard, ModelMessage) == [agent_reply.body]


async def test_tools_are_called_in_parallel_while_streaming(config: AzInferConfig) -> None:
    agent = Agent("a", config=config.copy(streaming=True), tools=[get_weather, get_time])
    heard_on, heard = listen()
    agent_reply = await agent.ask("Use get_weather and get_time for New York", stream=heard_on)
    results = [event for event in heard if isinstance(event, ToolResultEvent)]
    assert len(results) == 2
    assert agent_reply.body == "".join(contents(heard, ModelMessageChunk))


async def test_a_conversation_continues(config: AzInferConfig, endpoint: LocalEndpoint) -> None:
    first = await Agent("a", config=config, tools=[get_weather]).ask(QUESTION)
    second = await first.ask(
        "And what is the capital of France?", config=config.copy(model="paris")
    )
    assert second.body == "Paris."
    roles = [message["role"] for message in chat_body(endpoint)["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant", "user"]


async def test_reasoning_is_reported(raw: Make, server: RawServer) -> None:
    # agno-agi/agno#8400: reasoning_content is not returned
    server.will(reply(chat("4", message={"reasoning_content": "2+2"})))
    heard_on, heard = listen()
    agent_reply = await Agent("a", config=raw()).ask("2+2?", stream=heard_on)
    assert contents(heard, ModelReasoning) == ["2+2"]
    assert agent_reply.body == "4"
    await agent_reply.ask("sure?")
    assert bodies_of(server)[1]["messages"][1] == {"role": "assistant", "content": "4"}


@pytest.mark.parametrize(
    "parts",
    [
        [part(None, reasoning_content="2"), part(None, reasoning_content="+2"), part("4")],
        [part("<thi"), part("nk>2+"), part("2</th"), part("ink>4")],
    ],
    ids=["field", "tags"],
)
async def test_reasoning_is_reported_while_it_streams(
    raw: Make, server: RawServer, parts: list[Any]
) -> None:
    server.will(stream(events(*parts, part(None, "stop"))))
    heard_on, heard = listen()
    agent_reply = await Agent("a", config=raw(streaming=True)).ask("2+2?", stream=heard_on)
    assert "".join(contents(heard, ModelReasoning)) == "2+2"
    assert "".join(contents(heard, ModelMessageChunk)) == agent_reply.body == "4"


@pytest.mark.parametrize("streaming", [False, True])
async def test_usage_is_reported(config: AzInferConfig, streaming: bool) -> None:
    config = config.copy(streaming=streaming)
    agent_reply = await Agent("a", config=config, tools=[get_weather]).ask(QUESTION)
    report = await agent_reply.usage()
    assert len(report.records) == 2
    assert report.by_provider.keys() == {"azure"}
    assert report.by_model.keys() == {"gpt-4.1"}
    assert report.total.prompt_tokens == sum(
        each.usage.prompt_tokens or 0 for each in report.records
    )
    assert report.total.total_tokens
    assert report.records[1].usage.completion_tokens


async def test_usage_has_its_details(raw: Make, server: RawServer) -> None:
    body = chat("4")
    body["usage"] |= {
        "prompt_tokens_details": {"cached_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    server.will(reply(body))
    usage = (await Agent("a", config=raw(model="prod", model_id="o3")).ask("hi")).response.usage
    assert (usage.cache_read_input_tokens, usage.thinking_tokens) == (1, 2)


async def test_usage_names_the_model_that_was_declared(raw: Make, server: RawServer) -> None:
    server.will(reply(chat("4")))
    config = raw(model="prod", model_id="gpt-4.1")
    assert (await (await Agent("a", config=config).ask("hi")).usage()).by_model.keys() == {
        "gpt-4.1"
    }
    assert config.copy(model="PROD").model_id == "gpt-4.1"
    other = config.copy(model="other")
    assert (await (await Agent("a", config=other).ask("hi")).usage()).by_model.keys() == {"m"}


async def test_a_rate_limit_is_waited_for() -> None:
    limit = RateLimit("request", 1, 1)
    with LocalEndpoint([LocalDeployment("chat", rate_limits=(limit,))]) as endpoint:
        agent = Agent("a", config=AzInferConfig(endpoint.url, endpoint.key, "chat"))
        for _ in range(2):
            assert (await agent.ask("hi")).body
        assert 429 in [each.status for each in endpoint.requests]


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_429_is_retried_by_core(raw: Make, server: RawServer, streaming: bool) -> None:
    busy = reply({"error": {"code": "429"}}, 429, {"retry-after": "0"})
    good = stream(events(part("hi", "stop"))) if streaming else reply(chat("hi"))
    server.will(busy, good)
    agent_reply = await Agent("a", config=raw(max_retries=1, streaming=streaming)).ask("hi")
    assert (agent_reply.body, len(server.received)) == ("hi", 2)


async def test_ten_turns_use_one_connection(raw: Make, server: RawServer) -> None:
    server.will(reply(chat("hi")))
    config = raw()
    for at in range(10):
        await Agent(f"a{at}", config=config.copy(temperature=at / 10)).ask("hi")
    assert (len(server.received), server.connections) == (10, 1)


def test_ten_turns_run_concurrently(raw: Make, server: RawServer) -> None:
    def all_together(peer: Peer) -> None:
        together = peer.server.wait_until(lambda: len(peer.server.received) == 10)
        peer.send(answer(chat("all" if together else "alone")))

    server.will(all_together)
    agent = Agent("a", config=raw())

    async def ten() -> set[str | None]:
        return {each.body for each in await asyncio.gather(*(agent.ask("hi") for _ in range(10)))}

    assert asyncio.run(ten()) == {"all"}


def test_one_configuration_works_in_two_event_loops(config: AzInferConfig) -> None:
    agent = Agent("a", config=config)
    assert len({asyncio.run(agent.ask("hi")).body for _ in range(2)}) == 1


async def test_images_go_by_url_and_as_bytes(
    config: AzInferConfig, endpoint: LocalEndpoint
) -> None:
    png = b"\x89PNG\r\n\x1a\n"
    agent: Any = Agent("a", config=config)
    images = (ImageInput("https://example.com/a.png"), ImageInput(data=png, media_type="image/png"))
    assert (await agent.ask("What is it?", *images)).body
    text, *urls = chat_body(endpoint)["messages"][0]["content"]
    assert text == {"type": "text", "text": "What is it?"}
    assert [each["image_url"]["url"] for each in urls] == [
        *("https://example.com/a.png", "data:image/png;base64,iVBORw0KGgo=")
    ]


async def test_an_answer_is_a_value_of_a_schema(
    config: AzInferConfig, endpoint: LocalEndpoint
) -> None:
    agent = Agent("a", config=config, response_schema=Place)
    agent_reply = await agent.ask("Take 'Delft' and 'Holland'.")
    assert await agent_reply.content() == Place(city="Delft", country="Holland")
    number = await agent_reply.ask("How many are 42?", response_schema=int)
    assert await number.content() == 42
    await number.ask("In words, please.", response_schema=None)
    assert "response_format" not in chat_body(endpoint)


async def test_a_schema_is_closed_where_it_can_be(
    config: AzInferConfig, endpoint: Any, address: str
) -> None:
    agent = Agent("a", config=config)
    await agent.ask("Delft", response_schema=Place)
    json_schema_field = chat_body(endpoint)["response_format"]["json_schema"]
    if has_names := wire_of(address) != "messages":  # which have schemas alone
        assert (
            json_schema_field["name"],
            json_schema_field["strict"],
            json_schema_field["description"],
        ) == ("Place", True, "Where it is.")
    assert json_schema_field["schema"]["required"] == ["city", "country"]
    assert json_schema_field["schema"]["additionalProperties"] is False
    agent_reply = await agent.ask("Delft", response_schema=dict[str, int])
    json_schema_field = chat_body(endpoint)["response_format"]["json_schema"]
    assert json_schema_field.get("strict") is (False if has_names else None)
    assert agent_reply.body


async def test_malformed_arguments_go_back_unchanged(raw: Make, server: RawServer) -> None:
    server.will(calls(call("get_weather", "{broken")), reply(chat("Sorry.")))
    heard_on, heard = listen()
    agent_reply = await Agent("a", config=raw(), tools=[get_weather]).ask(QUESTION, stream=heard_on)
    assert agent_reply.body == "Sorry."
    assert any(isinstance(event, ToolErrorEvent) for event in heard)
    assert (
        bodies_of(server)[1]["messages"][1]["tool_calls"][0]["function"]["arguments"] == "{broken"
    )


async def test_fragments_of_two_calls_stay_apart(raw: Make, server: RawServer) -> None:
    # microsoft/semantic-kernel#6106; microsoft/agent-framework PR 8337
    def delta(index: int, arguments: str, name: str | None = None) -> dict[str, Any]:
        details = {"id": f"c{index}"} if name else {}
        return {"index": index, **details, "function": {"name": name, "arguments": arguments}}

    server.will(
        tool_call_stream(
            delta(0, "", "get_weather"),
            delta(1, '{"city"', "get_time"),
            delta(0, '{"city": "De'),
            delta(1, ': "Oslo"}'),
            delta(0, 'lft"}'),
        ),
        stream(events(part("Done.", "stop"))),
    )
    agent = Agent("a", config=raw(streaming=True), tools=[get_weather, get_time])
    assert (await agent.ask(QUESTION)).body == "Done."
    answers = {
        each["content"] for each in bodies_of(server)[1]["messages"] if each["role"] == "tool"
    }
    assert answers == {"Sunny in Delft", "Noon in Oslo"}


async def test_reasoning_models_get_what_they_take(raw: Make, server: RawServer) -> None:
    server.will(reply(chat("hi")))
    config = raw(model="prod", model_id="o3", max_tokens=9, reasoning_effort="low")
    await Agent("a", config=config).ask("hi")
    (body,) = bodies_of(server)
    assert (body["max_completion_tokens"], body["reasoning_effort"]) == (9, "low")
    assert body.keys() <= {"model", "messages", "max_completion_tokens", "reasoning_effort"}


async def test_a_human_is_asked_for_input(config: AzInferConfig) -> None:
    @tool
    async def book_flight(city: str, context: Context) -> str:
        """Book a flight to a city."""
        return f"{city}: {await context.input('Really?')}"

    requests: list[str] = []

    def answer_input(event: Any) -> str:
        requests.append(event.content)
        return "yes"

    agent = Agent("a", config=config, tools=[book_flight], hitl_hook=answer_input)
    agent_reply = await agent.ask("Please book a flight to New York")
    assert (agent_reply.body, requests) == (
        "This is a synthetic answer to: New York: yes",
        ["Really?"],
    )


async def test_a_tool_that_ends_the_turn_leaves_a_conversation_that_goes_on(
    config: AzInferConfig, endpoint: LocalEndpoint
) -> None:
    @tool
    def get_weather(city: str) -> ToolResult:
        """The weather in a city."""
        return ToolResult(f"Sunny in {city}", final=True)

    first = await Agent("a", config=config, tools=[get_weather]).ask(QUESTION)
    assert first.body == "Sunny in New York"
    assert (await first.ask("Thank you")).body == "This is a synthetic answer to: Thank you"
    messages = chat_body(endpoint)["messages"]
    assert [each["role"] for each in messages] == ["user", "assistant", "tool", "assistant", "user"]
    assert messages[2]["tool_call_id"] == messages[1]["tool_calls"][0]["id"]


async def test_an_agent_is_the_tool_of_another(
    config: AzInferConfig, endpoint: LocalEndpoint
) -> None:
    expert = Agent("expert", config=config.copy(model="paris"))
    driver = Agent(
        "asker", config=config, tools=[expert.as_tool(description="Knows the capital of a country")]
    )
    agent_reply = await driver.ask("What is the capital of the country France?")
    assert agent_reply.body == "This is a synthetic answer to: Paris."
    report = await agent_reply.usage()
    assert report.by_model.keys() >= {"gpt-4.1", "Mistral-Large-2411"}


async def test_a_long_conversation_is_summarised(
    config: AzInferConfig, endpoint: LocalEndpoint
) -> None:
    knowledge = KnowledgeConfig(
        MemoryKnowledgeStore(),
        expose_tool=False,
        compact=SummarizeCompact(2, config.copy(model="paris")),
        compact_trigger=CompactTrigger(max_events=3),
    )
    agent_reply = await Agent("a", config=config, knowledge=knowledge).ask("one")
    for text in ("two", "three"):
        agent_reply = await agent_reply.ask(text)
    questions = [chat_body(each) for each in endpoint.requests if each.deployment == "echo"]
    messages_field = questions[-1]["messages"]
    summary, *_, last = messages_field
    # On Messages, two turns of the user in a row are one turn of two texts.
    parts = summary["content"]
    text = parts if isinstance(parts, str) else parts[0]["text"]
    assert text == "[What was said before, in short]\nParis."
    assert last == {"role": "user", "content": "three"}
    assert {each.kind for each in (await agent_reply.usage()).records} == {
        "model_call",
        "compaction",
    }


@pytest.mark.parametrize("streaming", [False, True])
async def test_telemetry_of_ag2_names_the_model_that_answered(
    config: AzInferConfig, streaming: bool
) -> None:
    exporter, tracing = InMemorySpanExporter(), TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(exporter))
    agent = Agent(
        "a",
        config=config.copy(streaming=streaming),
        middleware=[TelemetryMiddleware(tracer_provider=tracing)],
    )
    await agent.ask("hi")
    (span,) = (each for each in exporter.get_finished_spans() if each.name == "chat gpt-4.1")
    span_attributes = dict(span.attributes or {})
    assert span_attributes["gen_ai.provider.name"] == "azure"
    assert span_attributes["gen_ai.response.model"] == "gpt-4.1"
    assert span_attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert span_attributes["gen_ai.usage.input_tokens"]


async def test_a_task_is_handed_on(config: AzInferConfig) -> None:
    tasks = TaskConfig(config=config.copy(model="paris"))
    agent = Agent("a", config=config, tasks=tasks)
    heard_on, heard = listen()
    await agent.ask("Run a subtask for 'the capital of France'", stream=heard_on)
    assert [event.kind for event in heard if isinstance(event, UsageEvent)] == [
        *("model_call", "subtask", "model_call")
    ]
