"""The deployments of the local endpoint: the five facts of each, and the engine behind it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from azinfer.core.deployments import RateLimit
from azinfer.core.errors import ConfigurationError
from azinfer.local.engines import ChatEngine, EmbeddingEngine, ImageEngine
from azinfer.local.faults import Fault
from azinfer.local.filters import ContentFilter
from azinfer.local.latency import Latency
from azinfer.local.scripts import Scripted
from azinfer.local.synthetic import SyntheticEngine

# "Accounts - Deployments" of the Cognitive Services management REST API.
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,63}")


@dataclass(frozen=True)
class LocalDeployment:
    """A name given to a model under a configuration, with the engine that answers.

    Attributes:
        name: What requests call it, in any case.
        model_name: The model it says it is; the deployment's name when left out.
        engine: What answers; several deployments may share one.
        model_version: The model's version.
        model_format: The model's publisher.
        capacity_type: The SKU, for example `"GlobalStandard"`.
        capacity: Thousands of tokens a minute, or, of a provisioned type, how many requests
            may be inside at once.
        content_filter: The content filter; a name alone is listed and finds nothing.
        rate_limits: Requests and tokens a period; beyond them it answers 429.
        latency: How long it takes besides what its engine takes.
        faults: What goes wrong with requests to it.
        script: What it answers instead of its engine.

    Raises:
        ConfigurationError: The name is none that a deployment can have.
    """

    name: str
    model_name: str = ""
    engine: ChatEngine | EmbeddingEngine | ImageEngine = field(default_factory=SyntheticEngine)
    model_version: str = "1"
    model_format: str = "azinfer"
    capacity_type: str = "GlobalStandard"
    capacity: int = 1
    content_filter: str | ContentFilter = "Microsoft.DefaultV2"
    rate_limits: tuple[RateLimit, ...] = ()
    latency: Latency = field(default_factory=Latency)
    faults: tuple[Fault, ...] = ()
    script: tuple[Scripted, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"{self.name!r} is no name for a deployment: 2 to 64 letters, digits, _, . and -, "
                "beginning with a letter or digit"
            )
        if not self.model_name:
            object.__setattr__(self, "model_name", self.name)

    @property
    def filter(self) -> ContentFilter:
        """The content filter."""
        given = self.content_filter
        return ContentFilter(given) if isinstance(given, str) else given

    @property
    def capabilities(self) -> dict[str, str]:
        """What the engine can do, in the words of the project's list."""
        can = {"chat_completion": "chat", "embeddings": "embed", "image_embeddings": "embed_images"}
        return {name: "true" for name, method in can.items() if hasattr(self.engine, method)}

    def info(self) -> dict[str, str]:
        """The answer of the operation `info`."""
        kind = "chat-completion" if hasattr(self.engine, "chat") else "embedding"
        return {
            "model_name": self.model_name,
            "model_type": kind,
            "model_provider_name": self.model_format,
        }

    def in_project(self) -> dict[str, Any]:
        """The entry in the list of the project data plane."""
        return {
            "name": self.name,
            "type": "ModelDeployment",
            "modelName": self.model_name,
            "modelVersion": self.model_version,
            "modelPublisher": self.model_format,
            "capabilities": self.capabilities,
            "sku": {"name": self.capacity_type, "capacity": self.capacity},
        }

    def in_arm(self, account: str) -> dict[str, Any]:
        """The entry in the list of Azure Resource Manager."""
        camel = {"chat_completion": "chatCompletion", "image_embeddings": "imageEmbeddings"}
        model = {"format": self.model_format, "name": self.model_name}
        return {
            "id": f"{account}/deployments/{self.name}",
            "type": "Microsoft.CognitiveServices/accounts/deployments",
            "name": self.name,
            "sku": {"name": self.capacity_type, "capacity": self.capacity},
            "properties": {
                "model": {**model, "version": self.model_version},
                "raiPolicyName": self.filter.name,
                "capabilities": {
                    camel.get(key, key): value for key, value in self.capabilities.items()
                },
                "provisioningState": "Succeeded",
                "rateLimits": [
                    {"key": each.key, "renewalPeriod": each.renewal_period, "count": each.count}
                    for each in self.rate_limits
                ],
            },
        }


class Registry:
    """The deployments by name, in any case.

    Raises:
        ConfigurationError: Two have the same name but for its case.
    """

    def __init__(self, deployments: Iterable[LocalDeployment]) -> None:
        self._by_name: dict[str, LocalDeployment] = {}
        for deployment in deployments:
            if self._by_name.setdefault(deployment.name.casefold(), deployment) is not deployment:
                raise ConfigurationError(
                    f"two deployments are called {deployment.name!r}; case makes no difference"
                )

    def __iter__(self) -> Iterator[LocalDeployment]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def get(self, name: str) -> LocalDeployment | None:
        """The deployment of this name, in any case."""
        return self._by_name.get(name.strip().casefold())
