"""Agents with sessions, providers and middleware, and workflows of several of them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_framework import (
    AgentContext,
    AgentSession,
    ChatContext,
    ChatMiddleware,
    Content,
    ContextProvider,
    FileCheckpointStorage,
    FunctionInvocationContext,
    InMemoryCheckpointStorage,
    Message,
    SlidingWindowStrategy,
    agent_middleware,
    chat_middleware,
    function_middleware,
)
from agent_framework.orchestrations import (
    ConcurrentBuilder,
    GroupChatBuilder,
    HandoffBuilder,
    SequentialBuilder,
)

from agent_clients import Weather, client, user
from azinfer.agent_framework import AzInferChatClient
from azinfer.local import LocalDeployment, LocalEndpoint, Scripted, ScriptedCall
from client_driver import WIRES
from raw_server import RawServer, chat, events, part, reply
from raw_server import stream as sse
from wire_requests import chat_body, wire_of

Next = Callable[[], Awaitable[None]]
OSLO = ScriptedCall("get_weather", {"city": "Oslo"}, "c1")


@pytest.fixture(scope="module")
def shared_endpoint() -> Iterator[LocalEndpoint]:
    """Two deployments, as strict as the service."""
    everywhere = ("chat", *WIRES)
    deployments = [LocalDeployment("echo"), LocalDeployment("Mistral-Large", wires=everywhere)]
    with LocalEndpoint(deployments, strict=True) as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(shared_endpoint: LocalEndpoint) -> LocalEndpoint:
    """The same, with nothing scripted or recorded."""
    shared_endpoint.reset()
    shared_endpoint.requests.clear()
    return shared_endpoint


@pytest.fixture
def chats(address: str, endpoint: LocalEndpoint) -> AzInferChatClient:
    """A client on one of the main surfaces or wires."""
    return AzInferChatClient(endpoint.url + address, endpoint.key, "echo")


def messages_of(endpoint: LocalEndpoint) -> list[tuple[str, str]]:
    """Return the roles and texts of the last request."""
    return [(each["role"], each.get("content", "")) for each in chat_body(endpoint)["messages"]]


async def test_a_session_keeps_the_conversation(
    chats: AzInferChatClient, endpoint: LocalEndpoint
) -> None:
    agent = chats.as_agent(name="guide", instructions="Be brief.")
    session = agent.create_session()
    endpoint.script("echo", "Hello Ada.", "You are Ada.")
    await agent.run("I am Ada.", session=session)
    assert (await agent.run("Who am I?", session=session)).text == "You are Ada."
    assert messages_of(endpoint) == [
        ("system", "Be brief."),
        ("user", "I am Ada."),
        ("assistant", "Hello Ada."),
        ("user", "Who am I?"),
    ]
    assert session.service_session_id is None


async def test_a_session_is_stored_without_the_key(
    chats: AzInferChatClient, endpoint: LocalEndpoint
) -> None:
    agent = chats.as_agent(tools=Weather().tools)
    session = agent.create_session()
    endpoint.script("echo", Scripted(tool_calls=(OSLO,)), "Sunny.", "Oslo.")
    await agent.run("The weather in Oslo?", session=session)
    text = json.dumps(session.to_dict())
    assert endpoint.key not in text
    again = AgentSession.from_dict(json.loads(text))
    assert (await agent.run("Which city?", session=again)).text == "Oslo."
    roles = [each["role"] for each in chat_body(endpoint)["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant", "user"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_reasoning_survives_a_stored_session(
    server: RawServer, url: str, streamed: bool
) -> None:
    thought: dict[str, Any] = {"reasoning_content": "Hm."}
    answer = [part(None, **thought), part("Yes.", "stop")]
    server.will(sse(events(*answer)) if streamed else reply(chat("Yes.", message=thought)))
    agent = client(url).as_agent(default_options={"store": False})
    session = agent.create_session()
    if streamed:
        async for _ in (running := agent.run("Well?", stream=True, session=session)):
            pass
        await running.get_final_response()
    else:
        await agent.run("Well?", session=session)
    again = AgentSession.from_dict(json.loads(json.dumps(session.to_dict())))
    (messages,) = (
        state["messages"] for state in again.state.values() if state and "messages" in state
    )
    contents = [content for message in messages for content in message.contents]
    assert [each.text for each in contents if each.type == "text_reasoning"] == ["Hm."]


async def test_streams_of_one_session_follow_each_other(
    chats: AzInferChatClient, endpoint: LocalEndpoint
) -> None:
    agent = chats.as_agent()
    session = agent.create_session()
    for text in ("One", "Two"):
        async for _ in agent.run(text, stream=True, session=session):
            pass
    assert [role for role, _ in messages_of(endpoint)] == ["user", "assistant", "user"]


class Name(ContextProvider):
    """A provider that adds instructions and remembers what it saw."""

    def __init__(self) -> None:
        super().__init__("name")
        self.answers: list[str] = []

    async def before_run(self, *, context: Any, **_: Any) -> None:
        context.extend_instructions(self.source_id, "The user is Ada.")

    async def after_run(self, *, context: Any, **_: Any) -> None:
        self.answers.append(context.response.text)


async def test_a_context_provider_adds_to_a_run(
    chats: AzInferChatClient, endpoint: LocalEndpoint
) -> None:
    name = Name()
    agent = chats.as_agent(instructions="Be brief.", context_providers=[name])
    await agent.run("hi")
    assert messages_of(endpoint)[0] == ("system", "Be brief.\nThe user is Ada.")
    assert name.answers == ["This is a synthetic answer to: hi"]


async def test_middleware_of_all_kinds_runs(
    chats: AzInferChatClient, endpoint: LocalEndpoint
) -> None:
    steps: list[str] = []

    @agent_middleware
    async def around_agent(context: AgentContext, call_next: Next) -> None:
        steps.append("agent")
        await call_next()

    @chat_middleware
    async def around_chat(context: ChatContext, call_next: Next) -> None:
        steps.append("chat")
        await call_next()

    @function_middleware
    async def around_function(context: FunctionInvocationContext, call_next: Next) -> None:
        await call_next()
        steps.append(f"function {context.function.name}")

    endpoint.script("echo", Scripted(tool_calls=(OSLO,)), "Sunny.")
    agent = chats.as_agent(
        tools=Weather().tools, middleware=[around_agent, around_chat, around_function]
    )
    assert (await agent.run("The weather?")).text == "Sunny."
    assert steps == ["agent", "chat", "function get_weather", "chat"]


class Watch(ChatMiddleware):
    """Middleware that notes when calls return, and when their streams end."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    async def process(self, context: ChatContext, call_next: Next) -> None:
        context.stream_result_hooks.append(self._end)
        await call_next()
        self.steps.append("returned")

    def _end(self, response: Any) -> Any:
        self.steps.append(f"ended with {response.usage_details['output_token_count']} tokens")
        return response


async def test_a_streams_usage_is_known_at_its_own_end(
    chats: AzInferChatClient, endpoint: LocalEndpoint
) -> None:
    watch = Watch()
    endpoint.script("echo", Scripted("One two.", completion_tokens=2))
    streaming = chats.get_response([user("hi")], stream=True, middleware=[watch])
    async for update in streaming:
        watch.steps += ["text"] * bool(update.text)
    await streaming.get_final_response()
    assert watch.steps[0] == "returned"
    assert watch.steps[1] == "text"
    assert watch.steps[-1] == "ended with 2 tokens"


async def test_a_long_conversation_may_be_compacted(server: RawServer, url: str) -> None:
    server.will(reply(chat()))
    strategy = SlidingWindowStrategy(keep_last_groups=1)
    messages = [user("One"), Message("assistant", ["1"]), user("Two")]
    await client(url, compaction_strategy=strategy).get_response(messages)
    assert server.received[0].request_body["messages"] == [{"role": "user", "content": "Two"}]


async def test_an_agent_may_be_a_tool_of_another(
    chats: AzInferChatClient, endpoint: LocalEndpoint
) -> None:
    expert = chats.as_agent(name="expert", description="Knows")
    call = ScriptedCall("expert", {"task": "Explain"}, "c1")
    endpoint.script("echo", Scripted(tool_calls=(call,)), "From the expert.", "It is so.")
    answer = await chats.as_agent(tools=[expert.as_tool()]).run("Why?")
    assert answer.text == "It is so."
    assert messages_of(endpoint)[-1] == ("tool", "From the expert.")


async def test_one_agent_may_change_its_deployment_for_a_run(
    chats: AzInferChatClient, endpoint: LocalEndpoint
) -> None:
    agent = chats.as_agent()
    await agent.run("hi", options={"model": "mistral-large"})
    assert endpoint.requests[-1].deployment == "Mistral-Large"
    await agent.run("hi")
    assert endpoint.requests[-1].deployment == "echo"


def pair(chats: AzInferChatClient) -> list[Any]:
    """Return two agents of one client."""
    return [
        chats.as_agent(name="writer", instructions="Write."),
        chats.as_agent(name="critic", instructions="Criticise."),
    ]


async def test_agents_work_one_after_another(
    chats: AzInferChatClient, endpoint: LocalEndpoint
) -> None:
    endpoint.script("echo", "A poem.", "Nice poem.")
    result = await SequentialBuilder(participants=pair(chats)).build().run("Write")
    assert [str(output) for output in result.get_outputs()] == ["Nice poem."]
    assert messages_of(endpoint)[0] == ("system", "Criticise.")
    assert ("assistant", "A poem.") in messages_of(endpoint) or ("user", "A poem.") in messages_of(
        endpoint
    )


async def test_agents_work_at_once(chats: AzInferChatClient, endpoint: LocalEndpoint) -> None:
    result = await ConcurrentBuilder(participants=pair(chats)).build().run("Write")
    (output,) = result.get_outputs()
    assert {message.author_name for message in output.messages} >= {"writer", "critic"}
    assert len(endpoint.requests) == 2


async def test_agents_take_turns_in_a_group(
    chats: AzInferChatClient, endpoint: LocalEndpoint, address: str
) -> None:
    endpoint.script("echo", "A poem.", "Nice poem.", "Thanks.")
    workflow = GroupChatBuilder(
        participants=pair(chats),
        selection_func=lambda state: list(state.participants)[state.current_round % 2],
        max_rounds=3,
    ).build()
    await workflow.run("Write")
    texts = [each[1] for each in messages_of(endpoint)[1:]]
    if wire_of(address) == "messages":  # two turns of assistants in a row are one turn
        assert texts == ["Write", "A poem.Nice poem."]
        return
    assert texts == ["Write", "A poem.", "Nice poem."]
    names = [each.get("name") for each in chat_body(endpoint)["messages"]]
    is_named = wire_of(address) == "chat"
    assert names[2:] == (["writer", "critic"] if is_named else [None, None])


async def test_an_agent_hands_over_to_another(
    chats: AzInferChatClient, endpoint: LocalEndpoint
) -> None:
    triage, billing = (
        chats.as_agent(name=name, require_per_service_call_history_persistence=True)
        for name in ("triage", "billing")
    )
    handoff = ScriptedCall("handoff_to_billing", {}, "h1")
    endpoint.script("echo", Scripted(tool_calls=(handoff,)), "The bill is 5.")
    workflow = HandoffBuilder(
        participants=[triage, billing],
        termination_condition=lambda messages: "5" in messages[-1].text,
    ).with_start_agent(triage)
    result = await workflow.build().run("My bill?")
    assert str(result.get_outputs()[-1]) == "The bill is 5."
    assert [each["function"]["name"] for each in chat_body(endpoint.requests[0])["tools"]] == [
        "handoff_to_billing"
    ]


@pytest.mark.parametrize("kind", ["memory", "files"])
async def test_a_workflow_resumes_at_a_checkpoint(
    chats: AzInferChatClient, endpoint: LocalEndpoint, tmp_path: Path, kind: str
) -> None:
    storage: Any = InMemoryCheckpointStorage()
    if kind == "files":
        storage = FileCheckpointStorage(tmp_path)

    def workflow() -> Any:
        return SequentialBuilder(
            participants=pair(chats), checkpoint_storage=storage, name="line"
        ).build()

    endpoint.script("echo", "A poem.", "Nice poem.")
    await workflow().run("Write")
    checkpoints = await storage.list_checkpoints(workflow_name="line")
    assert len(checkpoints) == 5
    assert len(endpoint.requests) == 2
    # After the first agent, before the second.
    middle = sorted(checkpoints, key=lambda each: each.iteration_count)[2]
    endpoint.script("echo", "Better poem.")
    result = await workflow().run(checkpoint_id=middle.checkpoint_id)
    assert [str(output) for output in result.get_outputs()] == ["Better poem."]
    assert len(endpoint.requests) == 3
    assert all(endpoint.key not in path.read_text() for path in tmp_path.rglob("*.json"))


async def test_a_streamed_workflow_is_kept_in_files(
    chats: AzInferChatClient, endpoint: LocalEndpoint, tmp_path: Path
) -> None:
    # Parts of streamed texts are a class of our own, which no checkpoint may contain.
    storage = FileCheckpointStorage(tmp_path)
    workflow = SequentialBuilder(
        participants=pair(chats), checkpoint_storage=storage, name="line"
    ).build()
    endpoint.script("echo", "One", "Two")
    async for _ in workflow.run("Write", stream=True):
        pass
    checkpoints = await storage.list_checkpoints(workflow_name="line")
    assert len(checkpoints) == 5
    assert "azinfer" not in "".join(path.read_text() for path in tmp_path.rglob("*.json"))


async def test_a_workflow_waits_for_an_approval(
    chats: AzInferChatClient, endpoint: LocalEndpoint, tmp_path: Path
) -> None:
    from agent_framework import tool

    removed: list[str] = []

    @tool(approval_mode="always_require")
    def remove(name: str) -> str:
        """Remove a file."""
        removed.append(name)
        return "gone"

    storage = FileCheckpointStorage(tmp_path)

    def workflow() -> Any:
        agent = chats.as_agent(name="cleaner", tools=[remove])
        return SequentialBuilder(
            participants=[agent], checkpoint_storage=storage, name="line"
        ).build()

    call = ScriptedCall("remove", {"name": "a"}, "c1")
    endpoint.script("echo", Scripted(tool_calls=(call,)), "Done.")
    waiting = await workflow().run("Remove a")
    (request,) = waiting.get_request_info_events()
    assert isinstance(request.data, Content)
    latest = await storage.get_latest(workflow_name="line")
    assert latest is not None
    responses = {request.request_id: request.data.to_function_approval_response(True)}
    result = await workflow().run(checkpoint_id=latest.checkpoint_id, responses=responses)
    assert removed == ["a"]
    assert [str(output) for output in result.get_outputs()][-1] == "Done."
