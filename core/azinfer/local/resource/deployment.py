"""Deployments of the local endpoint: the facts and behaviour of each, and its engine."""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import Any

from azinfer.core.deployments import RateLimit
from azinfer.core.errors import ConfigurationError
from azinfer.core.model_catalog import UNKNOWN_MODEL, ModelFacts, find
from azinfer.local.engines.base import Engine, EngineCapabilities, capabilities_of
from azinfer.local.engines.scripted import Scripted
from azinfer.local.engines.synthetic import SyntheticEngine
from azinfer.local.resource.content_filter import ContentFilter
from azinfer.local.resource.faults import Fault
from azinfer.local.resource.latency import Latency
from azinfer.local.wire.surfaces import WIRES

# "Accounts - Deployments" of the Cognitive Services management REST API.
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,63}")
CAPACITY_TYPES = (
    *("Standard", "GlobalStandard", "DataZoneStandard", "DeveloperTier"),
    *("ProvisionedManaged", "GlobalProvisionedManaged", "DataZoneProvisionedManaged"),
    *("GlobalBatch", "DataZoneBatch"),
)
LARGEST_CAPACITY = 1_000_000
_MOST = 10**12


@dataclass(frozen=True)
class LocalDeployment:
    """A name given to a model under a configuration, with the engine that answers.

    Attributes:
        name: The name that requests use, in any case.
        model_name: The name of the model; by default the deployment's name.
        engine: The engine that answers; several deployments may share one. Vectors of a synthetic
            engine without chosen dimensions are as long as those of the model.
        model_version: The model's version.
        model_format: The model's publisher.
        capacity_type: The SKU, one of `CAPACITY_TYPES`, for example `"GlobalStandard"`.
        capacity: Of a standard type, thousands of tokens a minute; of a provisioned type, how
            many requests may run at once. By default 1 is listed, and a standard type has
            no limits.
        content_filter: The content filter; a name is only listed, and finds nothing.
        rate_limits: Requests and tokens a period; beyond them the response is 429. By default they
            follow from the capacity of a standard type; empty for no limits.
        spillover: The deployment of the same model that takes over instead of a 429; empty
            for no spillover.
        latency: The latency that is added to the engine's.
        faults: The faults of its requests.
        script: The answers that replace those of its engine.
        wires: The wires that it serves, of `"chat"`, `"responses"` and `"messages"`; empty for
            those that its model is known to have, and all of an unknown model.

    Raises:
        ConfigurationError: A field has an invalid value.

    Example:
        >>> LocalDeployment("prod-chat", "gpt-4.1", capacity=10).limits[0].key
        'request'
    """

    name: str
    model_name: str = ""
    engine: Engine = field(default_factory=SyntheticEngine)
    _: KW_ONLY
    model_version: str = "1"
    model_format: str = "azinfer"
    capacity_type: str = "GlobalStandard"
    capacity: int | None = None
    content_filter: str | ContentFilter = "Microsoft.DefaultV2"
    rate_limits: tuple[RateLimit, ...] | None = None
    spillover: str = ""
    latency: Latency = field(default_factory=Latency)
    faults: tuple[Fault, ...] = ()
    script: tuple[Scripted, ...] = ()
    wires: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"{self.name!r} is not a valid deployment name; use 2 to 64 letters, digits, _, . "
                "and -, beginning with a letter or digit"
            )
        if self.capacity_type not in CAPACITY_TYPES:
            import difflib  # needed only for mistakes

            near = difflib.get_close_matches(self.capacity_type, CAPACITY_TYPES, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigurationError(
                f"capacity_type {self.capacity_type!r} is unknown; {hint}choose from "
                f"{', '.join(CAPACITY_TYPES)}"
            )
        if self.capacity is not None and not 1 <= self.capacity <= LARGEST_CAPACITY:
            raise ConfigurationError(
                f"capacity must be between 1 and {LARGEST_CAPACITY}, not {self.capacity}"
            )
        _check_limits(self.rate_limits or ())
        _check_wires(self.wires)
        if not self.model_name:
            object.__setattr__(self, "model_name", self.name)
        if type(self.engine) is SyntheticEngine and (length := self.facts.dimensions):
            object.__setattr__(self, "engine", self.engine.with_default_dimensions(length))

    @property
    def has_model(self) -> bool:
        """Whether its configuration names the model, and not only the deployment."""
        return self.model_name != self.name

    @cached_property
    def facts(self) -> ModelFacts:
        """What the catalog knows about its model."""
        return find(self.model_name, is_model_id=self.has_model) or UNKNOWN_MODEL

    @cached_property
    def served_wires(self) -> tuple[str, ...]:
        """The wires on which it answers conversations."""
        if self.wires:
            return self.wires
        known = tuple(wire for wire in WIRES if wire in self.facts.wires)
        # A model that answers chats may have Responses or not; many have.
        return ("chat", "responses") if known == ("chat",) else known or WIRES

    @property
    def units(self) -> int:
        """The listed capacity."""
        return self.capacity or 1

    @property
    def is_provisioned(self) -> bool:
        """Whether its capacity limits how many requests run at once."""
        return "Provisioned" in self.capacity_type

    @property
    def limits(self) -> tuple[RateLimit, ...]:
        """The limits that are enforced: its rate limits, or those that follow from its capacity.

        Source: "Manage Azure OpenAI quota": for each 1,000 tokens a minute, 6 requests a
        minute, which are counted as one in ten seconds.
        """
        if self.rate_limits is not None:
            return self.rate_limits
        if self.capacity is None or not self.capacity_type.endswith(("Standard", "Tier")):
            return ()
        return (
            RateLimit("request", self.capacity, 10),
            RateLimit("token", 1000 * self.capacity, 60),
        )

    @cached_property
    def filter(self) -> ContentFilter:
        """The content filter."""
        content_filter = self.content_filter
        return ContentFilter(content_filter) if isinstance(content_filter, str) else content_filter

    @cached_property
    def engine_capabilities(self) -> EngineCapabilities:
        """What the engine can do."""
        return capabilities_of(self.engine)

    @cached_property
    def operations(self) -> frozenset[str]:
        """What requests can ask of it: `"chat"`, `"embeddings"`, `"images"`, `"rerank"`.

        This is what its engine can do, as far as its model is known to do it. If the two have
        nothing in common, its name says nothing of its model, and the engine decides.
        """
        engine, model = self.engine_capabilities, self.facts
        able = {
            "chat": engine.chat,
            "embeddings": engine.embeddings,
            "images": engine.images,
            "rerank": engine.embeddings,
        }
        of_engine = frozenset(name for name, can in able.items() if can)
        if not model.wires:
            return of_engine
        of_model = {"rerank"} if "rerank" in model.wires else set()
        if self.wires or not set(WIRES).isdisjoint(model.wires):
            of_model.add("chat")
        if "embeddings" in model.wires:
            of_model |= {"embeddings", "rerank"}
            of_model |= {"images"} if "image" in model.inputs else set()
        return of_engine & of_model or of_engine

    @property
    def capabilities(self) -> dict[str, str]:
        """What it can do, in the words of the project's list."""
        names = {
            "chat_completion": "chat",
            "embeddings": "embeddings",
            "image_embeddings": "images",
        }
        return {name: "true" for name, each in names.items() if each in self.operations}

    def info(self) -> dict[str, str]:
        """Return the answer of the operation `info`."""
        # The words of the protocol's own list of types, of which services write some otherwise;
        # `load_client` of azure-ai-inference knows them all.
        kind = "embeddings" if "embeddings" in self.operations else "image_embeddings"
        kind = "chat-completion" if "chat" in self.operations else kind
        return {
            "model_name": self.model_name,
            "model_type": kind,
            "model_provider_name": self.model_format,
        }

    def in_project(self) -> dict[str, Any]:
        """Return the entry in the list of the project data plane."""
        return {
            "name": self.name,
            "type": "ModelDeployment",
            "modelName": self.model_name,
            "modelVersion": self.model_version,
            "modelPublisher": self.model_format,
            "capabilities": self.capabilities,
            "sku": {"name": self.capacity_type, "capacity": self.units},
        }


def _check_wires(wires: tuple[str, ...]) -> None:
    for wire in wires:
        if wire not in WIRES:
            raise ConfigurationError(f"unknown wire {wire!r}; choose from {', '.join(WIRES)}")


def _check_limits(limits: tuple[RateLimit, ...]) -> None:
    for limit in limits:
        if limit.key not in ("request", "token"):
            reason = f"must be 'request' or 'token', not {limit.key!r}"
            raise ConfigurationError(f"the key of a rate limit {reason}")
        if not (0 < limit.count <= _MOST and 0 < limit.renewal_period <= _MOST):
            raise ConfigurationError(
                f"a rate limit of {limit.count} in {limit.renewal_period} s is not valid; "
                f"both numbers must be above 0 and at most {_MOST}"
            )
    if len({limit.key for limit in limits}) < len(limits):
        raise ConfigurationError(
            "a deployment can have one rate limit for requests and one for tokens"
        )
