"""Responses and Messages through Agent Framework: what each wire adds and keeps."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from agent_framework import AgentResponse, AgentSession, Content, Message, load_settings, tool
from opentelemetry.sdk.metrics import MeterProvider
from pydantic import BaseModel
from typing_extensions import TypedDict

from agent_clients import MESSAGE, Weather, both, client, user
from azinfer.agent_framework import AzInferChatClient, AzInferEmbeddingClient
from azinfer.agent_framework.connection import _environment
from azinfer.core.endpoint_knowledge import forget_endpoints
from azinfer.local import LocalDeployment, LocalEndpoint, Scripted, ScriptedCall
from client_driver import KEY
from raw_server import RawServer, chat, reply
from wire_bodies import ANSWERS, items_after_question, stream_of

WIRES = pytest.mark.parametrize("wire", ["responses", "messages"])
STREAMED = pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
OSLO = ScriptedCall("get_weather", {"city": "Oslo"}, "c1")
TIME = ScriptedCall("get_time", {}, "c2")
DONE = {
    "responses": {
        "id": "r2",
        "status": "completed",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "done"}]}],
    },
    "messages": {"content": [{"type": "text", "text": "done"}], "stop_reason": "end_turn"},
}


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int


@tool(approval_mode="never_require")
def f(a: int) -> str:
    """Do it."""
    return f"yes {a}"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    """A deployment of each family, which the wires reach."""
    with LocalEndpoint([LocalDeployment("echo"), LocalDeployment("claude-sonnet-4-5")]) as endpoint:
        yield endpoint


@pytest.fixture
def make(endpoint: LocalEndpoint) -> Any:
    """Makes clients of a wire, each of a deployment that has it."""
    endpoint.reset()
    endpoint.requests.clear()

    def chat_client(wire: str) -> AzInferChatClient:
        model = "claude-sonnet-4-5" if wire == "messages" else "echo"
        return AzInferChatClient(endpoint.url, endpoint.key, model, wire=wire)

    return chat_client


@pytest.fixture
def server() -> Iterator[RawServer]:
    forget_endpoints()
    server = RawServer().start()
    yield server
    server.stop()


async def run(agent: Any, text: str, session: Any, is_streamed: bool) -> AgentResponse[Any]:
    """Return the response of a run, or what its updates add up to."""
    if not is_streamed:
        whole: AgentResponse[Any] = await agent.run(text, session=session)
        return whole
    running = agent.run(text, session=session, stream=True)
    async for _ in running:
        pass
    response: AgentResponse[Any] = await running.get_final_response()
    return response


@WIRES
@STREAMED
async def test_parallel_tools_run_and_usage_adds_up(
    make: Any, endpoint: LocalEndpoint, wire: str, is_streamed: bool
) -> None:
    chat_client, weather = make(wire), Weather()
    calls = Scripted(tool_calls=(OSLO, TIME), prompt_tokens=5, completion_tokens=2)
    end = Scripted("Sunny at 12.", prompt_tokens=9, completion_tokens=1)
    endpoint.script(chat_client.model, calls, end)
    agent = chat_client.as_agent(instructions="Be brief.", tools=weather.tools)
    answer = await run(agent, "The weather?", agent.create_session(), is_streamed)
    assert (answer.text, weather.calls) == ("Sunny at 12.", ["Oslo", "time"])
    kinds = [content.type for message in answer.messages for content in message.contents]
    assert kinds.count("function_call") == kinds.count("function_result") == 2
    assert answer.usage_details is not None
    assert answer.usage_details["input_token_count"] == 14
    assert answer.usage_details["output_token_count"] == 3
    assert answer.finish_reason == "stop"
    assert all(request.wire == wire for request in endpoint.requests)


@WIRES
async def test_structured_output_is_a_value(make: Any, wire: str) -> None:
    for answer in await both(make(wire), options={"response_format": Person}):
        assert isinstance(answer.value, Person)
        assert answer.usage_details is not None
        assert answer.usage_details["total_token_count"]
        assert answer.additional_properties["azinfer"]["deployment"] == answer.model


@WIRES
@STREAMED
async def test_what_a_model_thought_goes_back_through_a_stored_session(
    server: RawServer, wire: Any, is_streamed: bool
) -> None:
    server.will(stream_of(wire) if is_streamed else reply(ANSWERS[wire]), reply(DONE[wire]))
    agent = client(f"{server.url}/openai/v1", wire=wire, model="m").as_agent(tools=[f])
    session = agent.create_session()
    # The second answer comes whole, also in the place of a stream.
    assert (await run(agent, "do it", session, is_streamed)).text == "done"
    name = "input" if wire == "responses" else "messages"
    assert server.received[1].json[name][1:] == items_after_question(wire, "yes 1")
    stored = json.dumps(session.to_dict())
    assert KEY not in stored
    server.will(reply(DONE[wire]))
    await agent.run("and?", session=AgentSession.from_dict(json.loads(stored)))
    sent = server.received[2].json[name]
    assert sent[1 : 1 + len(items_after_question(wire, ""))] == items_after_question(wire, "yes 1")
    assert session.service_session_id is None


@STREAMED
async def test_a_conversation_that_the_service_keeps_goes_on_by_its_id(
    make: Any, endpoint: LocalEndpoint, is_streamed: bool
) -> None:
    weather = Weather()
    endpoint.script("echo", Scripted(tool_calls=(OSLO,)), "Sunny.", "You asked of Oslo.")
    agent = make("responses").as_agent(tools=weather.tools, default_options={"store": True})
    session = agent.create_session()
    assert (await run(agent, "The weather?", session, is_streamed)).text == "Sunny."
    kept = session.service_session_id
    assert str(kept).startswith("resp_")
    assert not session.state.get("messages")
    session = AgentSession.from_dict(json.loads(json.dumps(session.to_dict())))
    assert (await run(agent, "Where?", session, is_streamed)).text == "You asked of Oslo."
    first, second, third = (request.body for request in endpoint.requests)
    assert "previous_response_id" not in first
    # Only what is new is sent.
    assert [item["type"] for item in second["input"]] == ["function_call_output"]
    assert (third["previous_response_id"], len(third["input"])) == (kept, 1)
    assert all(body["store"] is True for body in (first, second, third))
    assert session.service_session_id not in (kept, None)


async def test_an_id_continues_a_conversation_without_store(
    make: Any, endpoint: LocalEndpoint
) -> None:
    chat_client = make("responses")
    first = await chat_client.get_response(MESSAGE, options={"store": True})
    second = await chat_client.get_response(
        [user("And?")], options={"conversation_id": first.conversation_id}
    )
    assert endpoint.requests[-1].body["previous_response_id"] == first.conversation_id
    assert second.conversation_id not in (first.conversation_id, None)


@pytest.mark.parametrize("wire", ["chat", "responses", "messages"])
async def test_without_store_nothing_is_kept_and_no_id_is_given(
    make: Any, endpoint: LocalEndpoint, wire: str
) -> None:
    options: Any = {"conversation_id": "resp_1", "store": False}
    for answer in await both(make(wire), options=options):
        assert answer.conversation_id is None
    for request in endpoint.requests:
        assert "previous_response_id" not in request.body
        assert request.body.get("store") is (None if wire == "messages" else False)


async def test_a_named_conversation_goes_on_by_its_name(server: RawServer) -> None:
    body = {**DONE["responses"], "store": True, "conversation": {"id": "conv_1"}}
    server.will(reply(body))
    chat_client = client(f"{server.url}/openai/v1", wire="responses", model="m")
    answer = await chat_client.get_response(MESSAGE, options={"conversation_id": "conv_1"})
    assert answer.conversation_id == "conv_1"
    assert server.received[0].json["conversation"] == "conv_1"


@pytest.mark.parametrize("kind", [AzInferChatClient, AzInferEmbeddingClient])
def test_pickles_and_copies_leave_the_instruments_of_telemetry_out(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "k3y")
    histogram = MeterProvider().get_meter("test").create_histogram("tokens")
    with pytest.raises(TypeError):
        pickle.dumps(histogram)
    chat_client = kind("https://contoso.openai.azure.com", "env:MY_KEY", "m")
    chat_client.token_usage_histogram = chat_client.duration_histogram = histogram
    again = pickle.loads(pickle.dumps(chat_client))
    assert again.token_usage_histogram is again.duration_histogram is None
    assert again.model == "m"
    assert copy.deepcopy(chat_client).token_usage_histogram is histogram


async def test_an_agent_and_its_session_are_copied_and_pickled(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    chat_client = client(f"{server.url}/openai/v1", credential="env:MY_KEY")
    agent = chat_client.as_agent(name="guide", instructions="Be brief.")
    session = agent.create_session()
    server.will(*[reply(chat())] * 3)
    await agent.run("hi", session=session)
    data = pickle.dumps((agent, session))
    assert KEY.encode() not in data
    for again, kept in (pickle.loads(data), copy.deepcopy((agent, session))):
        assert again.client is not chat_client
        assert (await again.run("and?", session=kept)).text == "hello"
        sent = [each["content"] for each in server.received[-1].request_body["messages"]]
        assert sent == ["Be brief.", "hi", "hello", "and?"]
    assert len(session.state["in_memory"]["messages"]) == 2


class Settings(TypedDict, total=False):
    """Settings as one of the framework's own clients declares them."""

    endpoint: str | None
    api_key: str | None
    api_version: str | None
    model: str | None


def test_a_file_is_read_as_the_framework_reads_its_settings(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "é.env"
    path.write_text(
        "# comment\nexport AZURE_OPENAI_ENDPOINT='https://a.example'\n"
        'AZURE_OPENAI_API_KEY="k\\"3y" # note\nAZURE_OPENAI_MODEL=é\n'
    )
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "of the environment")
    monkeypatch.setenv("AZURE_OPENAI_API_VERSION", "v1")
    theirs = load_settings(Settings, env_prefix="AZURE_OPENAI_", env_file_path=str(path))
    ours = _environment(str(path), None)
    for name, value in theirs.items():
        assert ours[f"AZURE_OPENAI_{name.upper()}"] == value
    with pytest.raises(FileNotFoundError):
        load_settings(Settings, env_file_path="no")
    with pytest.raises(FileNotFoundError):
        _environment("no", None)


async def test_pictures_of_a_result_stay_in_it_where_the_wire_has_a_place(
    server: RawServer,
) -> None:
    picture = Content.from_data(b"\x89PNG", "image/png")
    call = Content.from_function_call("c1", "f", arguments="{}")
    result = Content.from_function_result("c1", result=[Content.from_text("A cat"), picture])
    messages = [user("hi"), Message("assistant", [call]), Message("tool", [result])]
    server.will(reply(DONE["messages"]), reply(DONE["responses"]))
    for wire in ("messages", "responses"):
        await client(f"{server.url}/openai/v1", wire=wire, model="m").get_response(messages)
    first, second = (each.json for each in server.received)
    (block,) = first["messages"][-1]["content"]
    assert [each["type"] for each in block["content"]] == ["text", "image"]
    assert [each["type"] for each in second["input"][-1]["output"]] == ["input_text", "input_image"]
