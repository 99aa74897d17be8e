"""AzInferModelClient under classic AG2 (`autogen`): chats, tools, groups, streams, usage."""

from __future__ import annotations

import asyncio
import gc
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from azinfer import core
from azinfer.ag2 import AzInferModelClient
from azinfer.core import InferenceClient
from azinfer.local import LocalDeployment, LocalEndpoint, SyntheticEngine
from client_driver import KEY
from raw_server import RawServer, chat, events, part, reply, stream
from recording_clients import RecordingClient
from wire_requests import chat_body, wire_of

with warnings.catch_warnings():
    # autogen imports what is on its way out of jsonschema.
    warnings.filterwarnings("ignore", ".*jsonschema", DeprecationWarning)
    from autogen import (
        Cache,
        ConversableAgent,
        GroupChat,
        GroupChatManager,
        LLMConfig,
        OpenAIWrapper,
        UserProxyAgent,
        register_function,
    )
    from autogen.agentchat import initiate_group_chat
    from autogen.agentchat.group.patterns import RoundRobinPattern
    from autogen.io import IOStream
    from autogen.oai.client import log_cache_seed_value

Json = dict[str, Any]
CLIENT: Any = AzInferModelClient  # AG2's types want an instance where it wants the class
QUESTION = "What is the weather in New York?"
HI: Any = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module", autouse=True)
def forgotten() -> Iterator[None]:
    """Release the model clients that autogen's log keeps for the life of the process.

    They share their connections with all other clients, whose tests check that these close.
    """
    yield
    log_cache_seed_value.cache_clear()
    gc.collect()  # agents are cycles


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    """Two deployments that answer differently."""
    deployments = [
        LocalDeployment("echo"),
        LocalDeployment("Paris", engine=SyntheticEngine("Paris.")),
        LocalDeployment("chair", engine=SyntheticEngine("Bob")),
    ]
    with LocalEndpoint(deployments) as endpoint:
        yield endpoint


@pytest.fixture
def entry(address: str, endpoint: LocalEndpoint) -> Callable[..., Json]:
    """Makes entries of config_list, on each of the main surfaces and wires."""

    def make(model: str = "echo", **more: Any) -> Json:
        return entry_of(endpoint.url + address, endpoint.key, model, **more)

    return make


def entry_of(url: str, key: str, model: str = "gpt-4.1", **more: Any) -> Json:
    named = {"model": model, "model_client_cls": "AzInferModelClient"}
    return {**named, "base_url": url, "api_key": key, **more}


def agent(name: str, config: Any, **named: Any) -> ConversableAgent:
    """An agent with its model client."""
    named = {"human_input_mode": "NEVER", **named}
    config = {"config_list": [config]} if isinstance(config, dict) else config
    assistant = ConversableAgent(name, llm_config=config, **named)
    assistant.register_model_client(CLIENT)
    return assistant


def raw_agent(url: str, **more: Any) -> ConversableAgent:
    """An agent on the raw server."""
    more = {"max_retries": 0, **more}
    return agent("a", entry_of(url, KEY, **more))


def with_tools(entry: Json) -> tuple[ConversableAgent, ConversableAgent]:
    """An agent that may call tools, and one that runs them."""

    def get_weather(city: str) -> str:
        return f"Sunny in {city}"

    def get_time(city: str) -> str:
        return f"Noon in {city}"

    caller = ConversableAgent("caller", llm_config={"config_list": [entry]})
    runner = UserProxyAgent(
        "runner", human_input_mode="NEVER", code_execution_config=False, llm_config=False
    )
    for function in (get_weather, get_time):
        register_function(
            function, caller=caller, executor=runner, description="The weather or time in a city."
        )
    # AG2 creates its clients again for each tool, so the model client is registered last.
    caller.register_model_client(CLIENT)
    return caller, runner


class Out(IOStream):
    """What AG2 would print."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def print(self, *objects: Any, **named: Any) -> None:
        """Nothing."""

    def send(self, message: Any) -> None:
        """Keep an event."""
        self.seen.append(message)

    def input(self, prompt: str = "", *, password: bool = False) -> str:
        """Return no input: nobody is there."""
        return "exit"

    @property
    def chunk_texts(self) -> list[str]:
        """The texts of the chunks."""
        return [each.content.content for each in self.seen if each.type == "stream"]


def test_an_agent_replies(entry: Callable[..., Json], endpoint: LocalEndpoint) -> None:
    reply = agent("a", entry(temperature=0, max_tokens=9)).generate_reply(messages=HI)
    assert reply == "This is a synthetic answer to: hi"
    body = chat_body(endpoint)
    assert body["messages"][-1] == {"role": "user", "content": "hi"}
    assert (body["temperature"], body["max_tokens"]) == (0, 9)
    assert body.keys() <= {"model", "messages", "temperature", "max_tokens"}


def test_an_agent_replies_in_async_code(entry: Callable[..., Json]) -> None:
    reply = asyncio.run(agent("a", entry("paris")).a_generate_reply(messages=HI))
    assert reply == "Paris."


@pytest.mark.parametrize("streaming", [False, True])
def test_two_agents_use_a_tool(entry: Callable[..., Json], streaming: bool) -> None:
    caller, runner = with_tools(entry(stream=streaming))
    chat_result = runner.initiate_chat(caller, message=QUESTION, max_turns=2, silent=True)
    assert (
        chat_result.chat_history[-1]["content"]
        == "This is a synthetic answer to: Sunny in New York"
    )


@pytest.mark.parametrize("streaming", [False, True])
def test_two_tools_are_called_in_parallel(entry: Callable[..., Json], streaming: bool) -> None:
    caller, runner = with_tools(entry(stream=streaming))
    message = "Use get_weather and get_time for New York"
    chat_result = runner.initiate_chat(caller, message=message, max_turns=2, silent=True)
    assert len(chat_result.chat_history[1]["tool_calls"]) == 2
    assert {each["content"] for each in chat_result.chat_history[2]["tool_responses"]} == {
        *("Sunny in New York", "Noon in New York")
    }


def test_a_stream_is_shown_as_it_comes(entry: Callable[..., Json]) -> None:
    out = Out()
    with IOStream.set_default(out):
        reply = agent("a", entry(stream=True)).generate_reply(messages=HI)
    assert len(out.chunk_texts) > 3
    assert "".join(out.chunk_texts) == reply == "This is a synthetic answer to: hi"


@pytest.mark.parametrize("streaming", [False, True])
def test_usage_is_added_up(entry: Callable[..., Json], streaming: bool) -> None:
    assistant = agent("a", entry("paris", stream=streaming, price=[1, 2]))
    for _ in range(2):
        assistant.generate_reply(messages=HI)
    total: Any = assistant.get_total_usage()
    paris_cost = total["Paris"]
    assert paris_cost["completion_tokens"] == 4
    assert paris_cost["total_tokens"] == paris_cost["prompt_tokens"] + 4
    assert total["total_cost"] == pytest.approx((paris_cost["prompt_tokens"] + 2 * 4) / 1000)


def test_a_group_speaks_in_turn_on_two_deployments(entry: Callable[..., Json]) -> None:
    group = GroupChat(
        [agent("Alice", entry()), agent("Bob", entry("paris"))],
        messages=[],
        max_round=3,
        speaker_selection_method="round_robin",
    )
    manager = GroupChatManager(group, llm_config=LLMConfig(entry()))
    manager.register_model_client(CLIENT)
    chat_result = group.agents[0].initiate_chat(manager, message="hi", silent=True)  # type: ignore[attr-defined]
    assert [(each.get("name"), each["content"]) for each in chat_result.chat_history] == [
        ("Alice", "hi"),
        ("Bob", "Paris."),
        ("Alice", "This is a synthetic answer to: Paris."),
    ]


def test_a_model_selects_the_speaker(entry: Callable[..., Json], endpoint: LocalEndpoint) -> None:
    alice, bob = agent("Alice", entry()), agent("Bob", entry("paris"))
    carol = agent("Carol", entry())
    group = GroupChat(
        [carol, alice, bob],
        messages=[],
        max_round=2,
        speaker_selection_method="auto",
        select_speaker_auto_llm_config={"config_list": [entry("chair")]},
        select_speaker_auto_model_client_cls=CLIENT,
    )
    manager = GroupChatManager(group, llm_config=LLMConfig(entry()))
    manager.register_model_client(CLIENT)
    before = len(endpoint.requests)
    chat_result = carol.initiate_chat(manager, message="hi", silent=True)
    assert [each.get("name") for each in chat_result.chat_history] == ["Carol", "Bob"]
    assert [each.deployment for each in list(endpoint.requests)[before:]] == ["chair", "Paris"]


def test_a_pattern_runs(entry: Callable[..., Json]) -> None:
    alice, bob = agent("Alice", entry()), agent("Bob", entry("paris"))
    pattern = RoundRobinPattern(initial_agent=alice, agents=[alice, bob])
    result, *_ = initiate_group_chat(pattern=pattern, messages="hi", max_rounds=3)
    assert [each.get("name") for each in result.chat_history[1:]] == ["Alice", "Bob"]


class Place(BaseModel):
    """Where it is."""

    city: str


class Sentence(Place):
    """Where it is, in a sentence."""

    def format(self) -> str:
        """The sentence."""
        return f"It is in {self.city}."


@pytest.mark.parametrize("wanted", [Place, Place.model_json_schema(), Sentence])
def test_an_answer_follows_a_schema(
    entry: Callable[..., Json], endpoint: LocalEndpoint, wanted: Any, address: str
) -> None:
    assistant = agent("a", entry(response_format=wanted))
    message = assistant.generate_reply(messages=[{"role": "user", "content": "Where is 'Delft'?"}])
    assert isinstance(message, str)
    response_format_field = chat_body(endpoint)["response_format"]
    assert response_format_field["type"] == "json_schema"
    named = {"name": "Sentence" if wanted is Sentence else "Place", "strict": True}
    expected = {} if wire_of(address) == "messages" else named  # which have schemas alone
    assert expected.items() <= response_format_field["json_schema"].items()
    assert message == ("It is in Delft." if wanted is Sentence else '{"city": "Delft"}')


def test_images_are_sent(entry: Callable[..., Json], endpoint: LocalEndpoint, address: str) -> None:
    # Responses require a detail.
    detail = {"detail": "auto"} if wire_of(address) == "responses" else {}
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png", **detail}}
    content: Any = [{"type": "text", "text": "What is it?"}, image]
    agent("a", entry()).generate_reply(messages=[{"role": "user", "content": content}])
    assert chat_body(endpoint)["messages"][-1]["content"] == content


@pytest.mark.parametrize("streaming", [False, True])
def test_reasoning_is_kept_and_not_sent_back(server: RawServer, url: str, streaming: bool) -> None:
    parts = [part(None, reasoning_content="2+2"), part("4", "stop")]
    whole = chat("4", message={"reasoning_content": "2+2"})
    server.will(stream(events(*parts)) if streaming else reply(whole))
    own_agent = raw_agent(url, stream=streaming)
    message = own_agent.generate_reply(messages=HI)
    assert message == {"role": "assistant", "content": "4", "reasoning_content": "2+2"}
    own_agent.generate_reply(messages=[*HI, message, *HI])
    assert server.received[1].json["messages"][-2] == {"role": "assistant", "content": "4"}


def test_chunks_without_a_delta_are_accepted(server: RawServer, url: str) -> None:
    results = {"index": 0, "content_filter_results": {}, "content_filter_offsets": {}}
    server.will(
        stream(events({"choices": []}, part("4"), {"choices": [results]}, part("2", "stop")))
    )
    assert raw_agent(url, stream=True).generate_reply(messages=HI) == "42"


def test_leaving_a_stream_early_closes_its_connection(server: RawServer, url: str) -> None:
    class Leaving(Out):
        def send(self, message: Any) -> None:
            if message.type == "stream":
                raise KeyboardInterrupt

    server.will(stream(events(part("a"), done=False), "stall"))
    client = RecordingClient(url, KEY, "gpt-4.1")
    named = {"model": "gpt-4.1", "model_client_cls": "AzInferModelClient", "stream": True}
    assistant = ConversableAgent("a", llm_config={"config_list": [named]})
    assistant.register_model_client(CLIENT, client=client)
    with IOStream.set_default(Leaving()), pytest.raises(KeyboardInterrupt):
        assistant.generate_reply(messages=HI)
    assert server.wait_until(lambda: server.open_connections == 0)
    assert len(client.streams) == 1


def test_a_429_is_retried_by_core(server: RawServer, url: str) -> None:
    server.will(reply({"error": {"code": "429"}}, 429, {"retry-after": "0"}), reply(chat("hi")))
    assert raw_agent(url, max_retries=1).generate_reply(messages=HI) == "hi"


def test_errors_pass_through_unchanged(entry: Callable[..., Json]) -> None:
    with pytest.raises(core.DeploymentNotFoundError, match="pariss"):
        agent("a", entry("pariss")).generate_reply(messages=HI)


def test_a_token_is_requested_for_each_call(server: RawServer, url: str) -> None:
    server.will(reply(chat("hi")))
    tokens = iter(["t1-abcdef", "t2-abcdef"])
    place = {"base_url": url, "azure_ad_token_provider": lambda: next(tokens)}
    assistant = agent("a", {"model": "m", "model_client_cls": "AzInferModelClient", **place})
    for _ in range(2):
        assistant.generate_reply(messages=HI)
    headers = [request.header("authorization") for request in server.received]
    assert headers == ["Bearer t1-abcdef", "Bearer t2-abcdef"]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            {"default_query": {"a": "b"}, "organization": "o"},
            "does not support default_query, organization: leave",
        ),
        ({"azure_deployment": "prod"}, "the deployment is named by 'model'"),
        ({"azure_ad_token_provider": "DEFAULT"}, "DefaultAzureCredential"),
    ],
)
def test_options_without_effect_are_refused(server: RawServer, more: Json, expected: str) -> None:
    with pytest.raises(core.ConfigurationError, match=expected):
        AzInferModelClient(entry_of(server.url, KEY, **more))


def test_an_entry_for_azure_has_its_endpoint_under_azures_name(server: RawServer, url: str) -> None:
    server.will(reply(chat("hi")))
    named = {"model": "gpt-4.1", "model_client_cls": "AzInferModelClient", "api_key": KEY}
    assert agent("a", {**named, "azure_endpoint": url}).generate_reply(messages=HI) == "hi"


@pytest.mark.parametrize("streaming", [False, True])
def test_a_refusal_is_returned(server: RawServer, url: str, streaming: bool) -> None:
    parts = [part(None, None, refusal="I won't"), part(None, "stop")]
    whole = chat(None, message={"refusal": "I won't"})
    server.will(stream(events(*parts)) if streaming else reply(whole))
    assert raw_agent(url, stream=streaming).generate_reply(messages=HI) == "I won't"


def test_a_client_of_httpx_sends(server: RawServer, url: str) -> None:
    class Mine(httpx.Client):
        def __deepcopy__(self, memo: Any) -> Mine:  # AG2 wants it
            return self

    server.will(reply(chat("hi")))
    with Mine(headers={"x-mine": "1"}) as http_client:
        assistant = raw_agent(url, http_client=http_client)
        assert assistant.generate_reply(messages=HI) == "hi"
    assert server.received[0].header("x-mine") == "1"


def test_options_are_sent_as_they_are(server: RawServer, url: str) -> None:
    server.will(reply(chat("hi")))
    more = {"extra_body": {"user": "u"}, "extra_headers": {"x-a": "1"}, "seed": 0}
    assistant = raw_agent(url, parallel_tool_calls=False, default_headers={"x-b": "2"}, **more)
    assistant.generate_reply(messages=[{"content": "hi"}])
    (request,) = server.received
    assert request.request_body.keys() == {"model", "messages", "user", "seed"}
    assert request.json["messages"][-1] == {"content": "hi", "role": "user"}
    assert (request.header("x-a"), request.header("x-b")) == ("1", "2")


def test_a_ready_client_works(endpoint: LocalEndpoint) -> None:
    client = InferenceClient(endpoint.url, endpoint.key, "paris")
    named = {"model": "paris", "model_client_cls": "AzInferModelClient"}
    assistant = ConversableAgent("a", llm_config={"config_list": [named]})
    assistant.register_model_client(CLIENT, client=client)
    assert assistant.generate_reply(messages=HI) == "Paris."


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    """A cache on the disk; autogen keeps the frames of its creator, with all their variables."""
    with Cache.disk(7, str(tmp_path)) as cache:
        yield cache


def test_answers_are_cached_without_the_key(
    entry: Callable[..., Json], endpoint: LocalEndpoint, tmp_path: Path, cache: Cache
) -> None:
    wrapper = OpenAIWrapper(config_list=[entry("paris")])
    wrapper.register_model_client(CLIENT)
    before = len(endpoint.requests)
    answers = [wrapper.create(messages=HI, cache=cache) for _ in range(2)]
    assert [wrapper.extract_text_or_completion_object(each) for each in answers] == [["Paris."]] * 2
    assert len(endpoint.requests) == before + 1
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert endpoint.key.encode() not in kept
    assert json.dumps(wrapper.total_usage_summary)
