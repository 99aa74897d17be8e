"""The state of one local endpoint: deployments, keys, limits, overrides, log and stored data.

It has only what outlives a request. The way of a request is in `azinfer.local.api`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from azinfer.local.resource.auth.authentication import Authenticator
from azinfer.local.resource.background_tasks import BackgroundTasks
from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.resource.overrides import OverridesStore
from azinfer.local.resource.prompt_cache import PromptCache
from azinfer.local.resource.rate_limits import Limits
from azinfer.local.resource.registry import Registry
from azinfer.local.resource.sealing import Seal
from azinfer.local.resource.storage.conversation_store import ConversationStore
from azinfer.local.resource.storage.file_store import FileStore
from azinfer.local.resource.storage.request_log import RequestLog
from azinfer.local.resource.storage.response_store import ResponseStore
from azinfer.local.resource.storage.thread_store import ThreadStore


@dataclass(slots=True, kw_only=True)
class ResourceState:
    """Everything that one local endpoint remembers between requests.

    Attributes:
        registry: The deployments.
        authenticator: The keys and tokens that open the endpoint.
        strict: Whether to refuse what the service refuses although real clients send it.
        log: The log of requests.
        overrides: Scripts, faults and latencies of deployments.
        store: Files and batches.
        page_size: The most entries on one page of a list of deployments.
        seed: The seed of requests that send none, or None.
        clock: Returns monotonic seconds, used to time requests.
        responses: The stored responses of the Responses API.
        conversations: The stored conversations of the Responses API.
        threads: The stored threads of Messages.
        prompt_cache: The prompts that Messages cached.
        seal: Encrypts reasoning so that only this resource can read it.
        tasks: Work that continues between requests.
        logged_hints: The hints about misspelt fields that were logged.
    """

    registry: Registry
    authenticator: Authenticator
    strict: bool
    log: RequestLog
    overrides: OverridesStore
    store: FileStore
    page_size: int
    seed: int | None
    clock: Callable[[], float]
    responses: ResponseStore = field(default_factory=ResponseStore)
    conversations: ConversationStore = field(default_factory=ConversationStore)
    threads: ThreadStore = field(default_factory=ThreadStore)
    prompt_cache: PromptCache = field(init=False)
    seal: Seal = field(default_factory=Seal)
    tasks: BackgroundTasks = field(default_factory=BackgroundTasks)
    logged_hints: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.prompt_cache = PromptCache(self.clock)

    def limits(self, deployment: LocalDeployment) -> Limits:
        """Return the rate limits of a deployment."""
        return self.registry.limits(deployment)

    async def aclose(self) -> None:
        """Close the store and every engine; unfinished batches stay in the store."""
        await self.tasks.stop()
        self.store.close()
        for engine in self.registry.engines:
            await engine.aclose()

    async def reset(self) -> None:
        """Return to the initial state, as `LocalEndpoint.reset` describes."""
        if not self.store.lasting:
            await self.tasks.stop()
        self.clear()

    def clear(self) -> None:
        """Return to the initial state when no background work needs to be stopped first."""
        if not self.store.lasting:
            self.store.clear()
        self.authenticator.keys.reset()
        self.authenticator.failed_attempts.clear()
        self.registry.reset()
        self.overrides.reset()
        self.responses.clear()
        self.conversations.clear()
        self.threads.clear()
        self.prompt_cache.clear()
        self.log.clear()
        self.logged_hints.clear()
