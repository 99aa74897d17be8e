"""Several agents of AG2 in one network, each on a deployment of its own, over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from ag2 import Agent, tool
from ag2.knowledge import MemoryKnowledgeStore
from ag2.network import (
    EV_PACKET,
    EV_TEXT,
    AgentClient,
    AgentTarget,
    BaseHubListener,
    Envelope,
    Handoff,
    Hub,
    HubClient,
    LocalLink,
    Passport,
    ToolCalled,
    Transition,
    TransitionGraph,
)

from azinfer.ag2 import AzInferConfig
from azinfer.local import LocalDeployment, LocalEndpoint, SyntheticEngine


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    """A deployment for each agent; they answer differently."""
    engines = {"Alices": "Ask Bob.", "Bobs": "Ask Carol.", "Carols": "Ask Alice.", "echo": None}
    deployments = [LocalDeployment(name, engine=SyntheticEngine(engines[name])) for name in engines]
    with LocalEndpoint(deployments) as endpoint:
        yield endpoint


@pytest.fixture
def config(address: str, endpoint: LocalEndpoint) -> AzInferConfig:
    """The echoing deployment on each of the main surfaces and wires."""
    return AzInferConfig(endpoint.url + address, endpoint.key, "echo")


@dataclass
class Ear(BaseHubListener):
    """Records the messages in a hub, with their senders."""

    messages: list[tuple[str, str]] = field(default_factory=list)
    failed: list[BaseException] = field(default_factory=list)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)
    hub: Hub | None = None

    async def on_envelope_posted(self, envelope: Envelope, metadata: Any) -> None:
        if envelope.event_type in (EV_TEXT, EV_PACKET):
            assert self.hub is not None
            data = envelope.event_data
            text = str(data.get("text") or data.get("body") or data)
            async with self._news:
                self.messages.append((self.hub.name_for(envelope.sender_id), text))
                self._news.notify_all()

    async def on_turn_failed(
        self, channel_id: str, agent_id: str, envelope_id: str, exc: BaseException
    ) -> None:
        self.failed.append(exc)

    async def first(self, count: int) -> list[tuple[str, str]]:
        """Wait until a number of messages was sent."""
        async with asyncio.timeout(20), self._news:
            await self._news.wait_for(lambda: len(self.messages) >= count or bool(self.failed))
        assert not self.failed
        return self.messages[:count]


@asynccontextmanager
async def hub_of(*agents: Agent[Any]) -> AsyncIterator[tuple[Hub, Ear, list[AgentClient]]]:
    """A hub with these agents in it."""
    hub = await Hub.open(MemoryKnowledgeStore(), ttl_sweep_interval=0, expectation_sweep_interval=0)
    ear = Ear(hub=hub)
    hub.register_listener(ear)
    try:
        yield hub, ear, [await hub.register(agent) for agent in agents]
    finally:
        await hub.close()


def agent(config: AzInferConfig, name: str, **named: Any) -> Agent[Any]:
    return Agent(name, config=config.copy(model=f"{name}s"), **named)


async def test_two_agents_converse_on_two_deployments(config: AzInferConfig) -> None:
    async with hub_of(agent(config, "Alice"), agent(config, "Bob")) as (_, ear, (alice, _bob)):
        channel = await alice.open(type="conversation", target="Bob")
        await channel.send("hi")
        assert await ear.first(3) == [("Alice", "hi"), ("Bob", "Ask Carol."), ("Alice", "Ask Bob.")]
        await channel.close()


async def test_one_of_two_agents_uses_a_tool(config: AzInferConfig) -> None:
    @tool
    def get_weather(city: str) -> str:
        """The weather in a city."""
        return f"Sunny in {city}"

    reporter = Agent("Bob", config=config, tools=[get_weather])
    async with hub_of(agent(config, "Alice"), reporter) as (_, ear, (alice, _bob)):
        channel = await alice.open(type="conversation", target="Bob")
        await channel.send("What is the weather in New York?")
        assert (await ear.first(3))[1:] == [
            ("Bob", "This is a synthetic answer to: Sunny in New York"),
            ("Alice", "Ask Bob."),
        ]
        await channel.close()


async def test_agents_and_a_human_take_turns_in_a_group(config: AzInferConfig) -> None:
    async with (
        hub_of(agent(config, "Alice"), agent(config, "Bob")) as (hub, ear, (alice, _bob)),
        HubClient(LocalLink(hub), hub=hub) as people,
    ):
        human = await people.register_human(Passport(name="Carol"))

        async def speak(envelope: Envelope) -> None:
            if hub.name_for(envelope.sender_id) == "Bob" and envelope.event_type == EV_TEXT:
                await human.send(envelope.channel_id, "I approve.")

        human.on_envelope(speak)
        channel = await alice.open(
            type="discussion", target=["Bob", "Carol"], knobs={"ordering": "round_robin"}
        )
        await channel.send("hi")
        assert await ear.first(5) == [
            ("Alice", "hi"),
            ("Bob", "Ask Carol."),
            ("Carol", "I approve."),
            ("Alice", "Ask Bob."),
            ("Bob", "Ask Carol."),
        ]
        await channel.close()


async def test_a_model_says_who_speaks_next(config: AzInferConfig) -> None:
    @tool
    def hand_to_expert(question: str) -> Handoff:
        """Hand a question about olives to the expert."""
        return Handoff(target="Bob", reason="olives")

    chair = Agent("chair", config=config, tools=[hand_to_expert])
    async with hub_of(chair, agent(config, "Alice"), agent(config, "Bob")) as (hub, ear, clients):
        first, _, bob = (client.agent_id for client in clients)
        driver = await hub.register(agent(config, "Carol"))
        graph = TransitionGraph(
            initial_speaker=driver.agent_id,
            transitions=[Transition(when=ToolCalled("hand_to_expert"), then=AgentTarget(bob))],
            default_target=AgentTarget(first),
            max_turns=3,
        )
        channel = await driver.open(
            type="workflow", target=["chair", "Alice", "Bob"], knobs={"graph": graph.to_dict()}
        )
        await channel.send("Hand a question about olives to the expert")
        messages = await ear.first(3)
        assert [name for name, _ in messages] == ["Carol", "chair", "Bob"]
        assert "Ask Carol." in messages[2][1]
