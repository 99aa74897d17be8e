"""Overrides: the scripts, faults and latencies that replace or change what an engine does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, cast

from azinfer.local.engines.base import (
    ChatEngine,
    EngineCapabilities,
    Piece,
    Prompt,
    Sleep,
    capabilities_of,
    open_chat,
)
from azinfer.local.engines.scripted import Script, Scripted, ScriptedEngine
from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.resource.faults import Faults
from azinfer.local.resource.latency import Latency


class Overrides:
    """What replaces or changes the behaviour of one deployment's engine.

    Args:
        deployment: The deployment, whose configuration gives the first script, latency and faults.
        sleep: Waits for a number of seconds.

    Attributes:
        latency: The latency that is added.
        faults: The faults of requests.
        script: The scripted answers that replace the engine's; empty to use the engine.
    """

    def __init__(self, deployment: LocalDeployment, sleep: Sleep) -> None:
        self.deployment = deployment
        self.latency = deployment.latency
        self.faults = Faults(deployment.faults)
        self.script = Script(deployment.name, deployment.script)
        self.sleep = sleep

    def chat_engine(self, messages: Sequence[Mapping[str, Any]]) -> ChatEngine:
        """Return the engine that answers a conversation, with the script and latency applied.

        Raises:
            EngineError: The script has no answer to the conversation.
        """
        # Admission has checked that the engine can chat.
        engine = cast(ChatEngine, self.deployment.engine)
        if self.script:
            engine = ScriptedEngine(self.script.next(messages))
        if not (self.latency.first_token or self.latency.per_token):
            return engine
        return _DelayedEngine(engine, self.latency, self.sleep)

    def set_script(self, answers: Sequence[Scripted]) -> None:
        """Replace the script; without answers, use the engine."""
        self.script = Script(self.deployment.name, answers)

    async def wait(self) -> None:
        """Wait for the latency of a response that is not a chat."""
        await self.latency.before_first(self.sleep)


class OverridesStore:
    """The current overrides of every deployment.

    Args:
        sleep: Waits for a number of seconds.
    """

    def __init__(self, sleep: Sleep = asyncio.sleep) -> None:
        self._sleep = sleep
        self._by_name: dict[str, Overrides] = {}

    def of(self, deployment: LocalDeployment) -> Overrides:
        """Return the overrides of a deployment."""
        overrides = self._by_name.get(deployment.name)
        # A deployment that was replaced starts again with its own configuration.
        if overrides is None or overrides.deployment is not deployment:
            overrides = self._by_name[deployment.name] = Overrides(deployment, self._sleep)
        return overrides

    def reset(self) -> None:
        """Return every deployment to its configuration."""
        self._by_name.clear()


class _DelayedEngine:
    """An engine that adds a latency to another."""

    def __init__(self, engine: ChatEngine, latency: Latency, sleep: Sleep) -> None:
        self.capabilities: EngineCapabilities = capabilities_of(engine)
        self._engine, self._latency, self._sleep = engine, latency, sleep

    async def chat(self, prompt: Prompt) -> AsyncIterator[Piece]:
        """Write the answer of the other engine at the pace of the latency."""
        # The waits are between tokens.
        prompt = replace(prompt, whole=False)
        async with aclosing(open_chat(self._engine, prompt)) as pieces:
            async for piece in self._latency.pace(pieces, self._sleep):
                yield piece

    async def aclose(self) -> None:
        """Do nothing: the other engine is closed by its owner."""
