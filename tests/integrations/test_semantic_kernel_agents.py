"""Agents of Semantic Kernel on the three main surfaces: turns, streams, groups, summaries."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel
from semantic_kernel.agents import (
    ChatCompletionAgent,
    ChatHistoryAgentThread,
    ConcurrentOrchestration,
    GroupChatOrchestration,
    HandoffOrchestration,
    MagenticOrchestration,
    OrchestrationHandoffs,
    RoundRobinGroupChatManager,
    SequentialOrchestration,
    StandardMagenticManager,
)
from semantic_kernel.agents.orchestration.tools import structured_outputs_transform
from semantic_kernel.agents.runtime import InProcessRuntime
from semantic_kernel.connectors.ai.function_choice_behavior import FunctionChoiceBehavior
from semantic_kernel.contents import (
    ChatHistory,
    ChatHistorySummarizationReducer,
    ChatMessageContent,
    FunctionCallContent,
    FunctionResultContent,
)
from semantic_kernel.functions import KernelArguments

from azinfer.local import LocalDeployment, LocalEndpoint, SyntheticEngine
from azinfer.semantic_kernel import AzInferChatCompletion, AzInferChatPromptExecutionSettings
from kernels import Weather, request_body
from raw_server import RawServer, chat, reply
from wire_requests import CUT_ANSWER, MANY_WORDS, chat_body, wire_of

Make = Callable[..., Any]
NEW_YORK = "What is the weather in New York?"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    """Deployments that answer differently, as strict as the service."""
    deployments = [
        LocalDeployment("Paris", engine=SyntheticEngine("Paris.")),
        LocalDeployment("Rome", engine=SyntheticEngine("Rome.")),
        LocalDeployment("echo"),
    ]
    with LocalEndpoint(deployments, strict=True) as endpoint:
        yield endpoint


@pytest.fixture
def make(address: str, endpoint: LocalEndpoint) -> Any:
    """Makes services of one surface or wire."""
    endpoint.reset()

    def create(model: str) -> AzInferChatCompletion:
        return AzInferChatCompletion(endpoint.url + address, endpoint.key, model)

    return create


@pytest.fixture
async def runtime() -> AsyncIterator[InProcessRuntime]:
    """The runtime of orchestrations."""
    runtime = InProcessRuntime()
    runtime.start()
    yield runtime
    await runtime.stop_when_idle()


def agent(chat_service: AzInferChatCompletion, name: str = "Guide", **named: Any) -> Any:
    return ChatCompletionAgent(
        service=chat_service, name=name, instructions="Be brief.", description=name, **named
    )


async def test_an_agent_answers_with_a_plugin(
    make: Any, endpoint: LocalEndpoint, address: str
) -> None:
    weather = Weather()
    response = await agent(make("echo"), plugins=[weather]).get_response(messages=NEW_YORK)
    assert str(response) == "This is a synthetic answer to: Sunny in New York"
    assert (weather.calls, response.message.name) == (["New York"], "Guide")
    assert response.message.metadata["usage"].completion_tokens > 0
    messages_field = chat_body(endpoint)["messages"]
    name = {"name": "Guide"} if wire_of(address) == "chat" else {}  # other wires have no names
    assert messages_field[0] == {"role": "system", "content": "Be brief.", **name}


async def test_an_agent_talks_over_several_turns(make: Any, endpoint: LocalEndpoint) -> None:
    guide = agent(make("echo"), plugins=[Weather()])
    first = await guide.get_response(messages=NEW_YORK)
    second = await guide.get_response(messages="Thank you", thread=first.thread)
    assert str(second) == "This is a synthetic answer to: Thank you"
    roles = [each["role"] for each in chat_body(endpoint)["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]
    history = ChatHistory()
    async for message in second.thread.get_messages():
        history.add_message(message)
    restored = ChatHistory.restore_chat_history(history.serialize())
    thread = ChatHistoryAgentThread(restored)
    third = await guide.get_response(messages="Good bye", thread=thread)
    assert str(third) == "This is a synthetic answer to: Good bye"
    assert len(chat_body(endpoint)["messages"]) == 8


async def test_an_agent_streams_and_goes_on(make: Any, endpoint: LocalEndpoint) -> None:
    weather, between = Weather(), []

    async def note(message: ChatMessageContent) -> None:
        between.append(message)

    guide = agent(make("echo"), plugins=[weather])
    texts, thread = [], None
    stream = guide.invoke_stream(messages=NEW_YORK, on_intermediate_message=note)
    async for response in stream:
        texts.append(str(response.message))
        thread = response.thread
    assert "".join(texts) == "This is a synthetic answer to: Sunny in New York"
    assert len([text for text in texts if text]) > 3
    kinds = [type(each.items[0]) for each in between]
    assert kinds == [FunctionCallContent, FunctionResultContent]
    again = [each async for each in guide.invoke_stream(messages="Thank you", thread=thread)]
    assert "".join(str(each.message) for each in again).endswith("to: Thank you")
    roles = [each["role"] for each in chat_body(endpoint)["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]


async def test_an_agent_has_settings_of_its_own(make: Any, endpoint: LocalEndpoint) -> None:
    settings = AzInferChatPromptExecutionSettings(
        max_tokens=16, temperature=0, function_choice_behavior=FunctionChoiceBehavior.NoneInvoke()
    )
    guide = agent(make("echo"), plugins=[Weather()], arguments=KernelArguments(settings))
    assert str(await guide.get_response(messages=MANY_WORDS)) == CUT_ANSWER
    body = chat_body(endpoint)
    assert (body["tool_choice"], body["temperature"]) == ("none", 0)


async def test_a_group_talks_in_turn(
    make: Any, endpoint: LocalEndpoint, runtime: InProcessRuntime, address: str
) -> None:
    group = GroupChatOrchestration(
        members=[agent(make("paris"), "France"), agent(make("rome"), "Italy")],
        manager=RoundRobinGroupChatManager(max_rounds=3),
    )
    result = await group.invoke("Which city?", runtime)
    assert str(await result.get(timeout=20)) == "Paris."
    message_lists = [chat_body(each)["messages"] for each in endpoint.requests]
    # On Messages, the turns of two assistants in a row are one turn.
    last = 3 if wire_of(address) == "messages" else 4
    assert [len(messages) for messages in message_lists] == [2, 3, last]
    assert message_lists[1][-1]["content"] == "Paris."


async def test_agents_work_one_after_another(make: Any, runtime: InProcessRuntime) -> None:
    line = SequentialOrchestration(members=[agent(make("paris")), agent(make("echo"), "Echo")])
    result = await line.invoke("Which city?", runtime)
    assert str(await result.get(timeout=20)) == "This is a synthetic answer to: Paris."


async def test_agents_work_at_once(make: Any, runtime: InProcessRuntime) -> None:
    both = ConcurrentOrchestration(members=[agent(make("paris")), agent(make("rome"), "Italy")])
    result = await both.invoke("Which city?", runtime)
    value = await result.get(timeout=20)
    assert sorted(map(str, value)) == ["Paris.", "Rome."]


async def test_an_agent_hands_over_to_another(
    make: Any, endpoint: LocalEndpoint, runtime: InProcessRuntime
) -> None:
    endpoint.script("paris", {"tool_calls": [{"name": "Handoff-transfer_to_Expert"}]})
    done = {"name": "Handoff-complete_task", "arguments": {"task_summary": "done"}}
    endpoint.script("rome", {"tool_calls": [done]})
    triage, expert = agent(make("paris"), "Triage"), agent(make("rome"), "Expert")
    handing = HandoffOrchestration(
        members=[triage, expert], handoffs=OrchestrationHandoffs().add(triage, expert, "Knows")
    )
    result = await handing.invoke("Help", runtime)
    assert "done" in str(await result.get(timeout=20))
    assert [each.deployment for each in endpoint.requests] == ["Paris", "Rome"]
    offered = [each["function"]["name"] for each in chat_body(endpoint.requests[0])["tools"]]
    assert "Handoff-transfer_to_Expert" in offered


def ledger(satisfied: bool) -> str:
    """Return the progress report of a manager of agents."""
    no, yes = {"reason": "r", "answer": False}, {"reason": "r", "answer": True}
    return json.dumps(
        {
            "is_request_satisfied": yes if satisfied else no,
            "is_in_loop": no,
            "is_progress_being_made": yes,
            "next_speaker": {"reason": "r", "answer": "Expert"},
            "instruction_or_question": {"reason": "r", "answer": "Name it"},
        }
    )


async def test_a_manager_plans_what_agents_do(
    make: Any, endpoint: LocalEndpoint, runtime: InProcessRuntime, address: str
) -> None:
    endpoint.script("paris", "Facts", "Plan", ledger(False), ledger(True), "It is Rome.")
    planned = MagenticOrchestration(
        members=[agent(make("rome"), "Expert")],
        manager=StandardMagenticManager(chat_completion_service=make("paris")),
    )
    result = await planned.invoke("Which city?", runtime)
    assert str(await result.get(timeout=20)) == "It is Rome."
    bodies = [chat_body(each) for each in endpoint.requests]
    forms = [each["response_format"] for each in bodies if "response_format" in each]
    name = None if wire_of(address) == "messages" else "ProgressLedger"
    assert [form["json_schema"].get("name") for form in forms] == [name] * 2
    assert [each.deployment for each in endpoint.requests] == [
        *["Paris"] * 3,
        "Rome",
        *["Paris"] * 2,
    ]
    assert any("Rome." in str(message["content"]) for message in bodies[-1]["messages"])


class City(BaseModel):
    """A city."""

    name: str


async def test_a_group_comes_to_a_value(make: Any, runtime: InProcessRuntime) -> None:
    transform: Any = structured_outputs_transform(City, make("echo"))
    line = SequentialOrchestration[str, City](
        members=[agent(make("paris"))],
        output_transform=transform,
    )
    result = await line.invoke("Which city?", runtime)
    assert await result.get(timeout=20) == City(name="Paris.")


async def test_a_long_history_is_summarised(make: Any) -> None:
    history = ChatHistorySummarizationReducer(
        service=make("paris"), target_count=2, threshold_count=0
    )
    # Not add_user_message: in Python 3.13 functools.singledispatchmethod keeps its methods by
    # equality, and reducers of one configuration are equal, so the first would get them all.
    for at in range(4):
        history.add_message({"role": "user", "content": f"question {at}"})
        history.add_message({"role": "assistant", "content": f"answer {at}"})
    assert await history.reduce() is not None
    assert len(history.messages) <= 3
    assert history.messages[0].content == "Paris."


async def test_the_name_of_an_agent_goes_to_the_wire(server: RawServer, service: Make) -> None:
    server.will(reply(chat("a")))
    guide = agent(service())
    first = await guide.get_response(messages="hi")
    await guide.get_response(messages="and?", thread=first.thread)
    assert request_body(server, 1)["messages"][2] == {
        "role": "assistant",
        "content": "a",
        "name": "Guide",
    }
