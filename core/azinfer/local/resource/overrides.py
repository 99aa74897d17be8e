"""Behaviour: what a deployment was told to answer, to be slow with and to get wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from azinfer.local.engines.base import Piece, Prompt, Sleep
from azinfer.local.engines.scripted import Script, Scripted, ScriptedEngine
from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.resource.faults import Faults
from azinfer.local.resource.latency import Latency


class Behaviour:
    """What one deployment does besides what its engine does.

    Args:
        deployment: The deployment, whose script, latency and faults it begins with.
        sleep: How latency waits.

    Attributes:
        latency: How slow it is.
        faults: What goes wrong.
        script: What it answers instead of its engine; empty for its engine's answers.
    """

    def __init__(self, deployment: LocalDeployment, sleep: Sleep) -> None:
        self.deployment = deployment
        self.latency = deployment.latency
        self.faults = Faults(deployment.faults)
        self.script = Script(deployment.name, deployment.script)
        self.sleep = sleep

    def engine(self, messages: Sequence[Mapping[str, Any]]) -> Any:
        """What writes the answer to a conversation, as slowly as it is told to.

        Raises:
            EngineError: The script has no answer to it.
        """
        engine: Any = self.deployment.engine
        if self.script:
            engine = ScriptedEngine(self.script.next(messages))
        return engine if self.latency == Latency() else _Slow(engine, self.latency, self.sleep)

    def write(self, answers: Sequence[Scripted]) -> None:
        """Answer this from now on; nothing for its engine's answers."""
        self.script = Script(self.deployment.name, answers)

    async def wait(self) -> None:
        """Wait as long as an answer that is no chat takes."""
        await self.latency.before_first(self.sleep)


class Behaviours:
    """The behaviour of every deployment, as it is now.

    Args:
        sleep: How latency waits.
    """

    def __init__(self, sleep: Sleep = asyncio.sleep) -> None:
        self._sleep = sleep
        self._by_name: dict[str, Behaviour] = {}

    def of(self, deployment: LocalDeployment) -> Behaviour:
        """What a deployment does besides what its engine does."""
        found = self._by_name.get(deployment.name)
        # One that was deployed anew behaves as it is configured now.
        if found is None or found.deployment is not deployment:
            found = self._by_name[deployment.name] = Behaviour(deployment, self._sleep)
        return found

    def reset(self) -> None:
        """Let all do again what they are configured to do."""
        self._by_name.clear()


class _Slow:
    """An engine that takes its time."""

    def __init__(self, engine: Any, latency: Latency, sleep: Sleep) -> None:
        self.calls_tools = getattr(engine, "calls_tools", False)
        self.copies_arguments = getattr(engine, "copies_arguments", False)
        self._engine, self._latency, self._sleep = engine, latency, sleep

    async def chat(self, prompt: Prompt) -> AsyncIterator[Piece]:
        async with aclosing(self._engine.chat(prompt)) as pieces:
            async for piece in self._latency.paced(pieces, self._sleep):
                yield piece
