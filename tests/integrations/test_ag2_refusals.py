"""Answers for AG2 that end early: refusals, half calls, and calls without arguments."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from ag2 import Agent, MemoryStream, tool
from ag2.events import BaseEvent, ToolErrorEvent, ToolResultEvent

from azinfer.ag2 import AzInferConfig, AzInferModelClient
from client_driver import KEY
from raw_server import RawServer
from tool_calls import (
    NO_ARGUMENTS,
    REFUSAL,
    answer_with_call,
    count_in_every_chunk,
    refuse,
)

with warnings.catch_warnings():
    # autogen imports a deprecated part of jsonschema.
    warnings.filterwarnings("ignore", ".*jsonschema", DeprecationWarning)
    from autogen import ConversableAgent, LLMConfig, register_function

Make = Callable[..., AzInferConfig]
CLIENT: Any = AzInferModelClient  # AG2's types want an instance where it wants the class


@tool
def ping() -> str:
    """Say whether the machine answers."""
    return "pong"


async def ask(config: AzInferConfig, *tools: Any) -> tuple[Any, list[BaseEvent]]:
    """Ask an agent, and return its answer and all events."""
    stream, events = MemoryStream(), []

    async def note(event: BaseEvent) -> None:
        events.append(event)

    stream.subscribe(note)
    return await Agent("agent", config=config, tools=tools).ask("hi", stream=stream), events


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("arguments", NO_ARGUMENTS)
async def test_a_tool_without_parameters_runs_without_arguments(
    server: RawServer, configuration: Make, streaming: bool, arguments: Any
) -> None:
    answer_with_call(server, "ping", arguments)
    reply, events = await ask(configuration(streaming=streaming), ping)
    assert not [event for event in events if isinstance(event, ToolErrorEvent)]
    assert [event for event in events if isinstance(event, ToolResultEvent)]
    assert reply.body == "done"


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("arguments", ['{"city": "Par', '{"city": ["Par"', '{"city":'])
async def test_half_a_call_does_not_run(
    server: RawServer, configuration: Make, streaming: bool, arguments: str
) -> None:
    calls: list[str] = []

    @tool
    def get_weather(city: str = "nowhere") -> str:
        """Return the weather in a city."""
        calls.append(city)
        return "Sunny"

    answer_with_call(server, "get_weather", arguments, "length")
    _, events = await ask(configuration(streaming=streaming), get_weather)
    assert calls == []
    assert [event for event in events if isinstance(event, ToolErrorEvent)]


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_refusal_is_the_text_and_goes_back_as_text(
    server: RawServer, configuration: Make, streaming: bool
) -> None:
    refuse(server)
    reply, _ = await ask(configuration(streaming=streaming))
    assert reply.body == REFUSAL
    await reply.ask("Why?")
    back = server.received[-1].json["messages"][1]
    assert back == {"role": "assistant", "content": REFUSAL}


async def test_usage_in_every_chunk_is_the_last_one(server: RawServer, configuration: Make) -> None:
    count_in_every_chunk(server)
    reply, _ = await ask(configuration(streaming=True))
    usage = reply.response.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (3, 3, 6)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("arguments", NO_ARGUMENTS)
def test_a_tool_of_classic_agents_runs_without_arguments(
    server: RawServer, url: str, streaming: bool, arguments: Any
) -> None:
    answer_with_call(server, "ping", arguments)
    entry = {
        "model": "gpt-4.1",
        "model_client_cls": "AzInferModelClient",
        "base_url": url,
        "api_key": KEY,
        "max_retries": 0,
        "stream": streaming,
    }
    caller = ConversableAgent("caller", llm_config=LLMConfig(entry, cache_seed=None))
    runner = ConversableAgent("runner", llm_config=False, human_input_mode="NEVER")

    def ping() -> str:
        """Say whether the machine answers."""
        return "pong"

    register_function(ping, caller=caller, executor=runner, description="ping")
    caller.register_model_client(CLIENT)  # last, since registering a tool makes the clients anew
    chat = runner.initiate_chat(caller, message="hi", max_turns=2, silent=True)
    assert chat.chat_history[2]["tool_responses"][0]["content"] == "pong"
    assert chat.chat_history[-1]["content"] == "done"
