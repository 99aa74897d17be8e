"""Deployments: the names of models under a configuration, and finding one by its name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from typing import Any

from azinfer.core.surfaces import WireName


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The rate limit of a deployment: `count` requests or tokens in `renewal_period` seconds.

    Attributes:
        key: What is counted: `"request"` or `"token"`.
        count: The number that is allowed in one period.
        renewal_period: The length of the period, in seconds.
    """

    key: str
    count: float
    renewal_period: float

    @classmethod
    def from_wire(cls, raw: Mapping[str, Any]) -> RateLimit:
        """Return one entry of ARM's `rateLimits`."""
        return cls(raw["key"], raw["count"], raw["renewalPeriod"])


@dataclass(frozen=True, slots=True)
class Deployment:
    """A name for a model under a configuration; requests are routed to it.

    A fact that the service does not report stays None (or empty); nothing is guessed.

    Attributes:
        name: The name of the deployment, in its owner's spelling.
        model_name: The model behind it, for example `"gpt-4.1"`.
        model_version: The model's version, for example `"2025-04-14"`.
        model_format: The model's publisher, for example `"OpenAI"` or `"Mistral AI"`.
        capacity_type: The SKU, for example `"GlobalStandard"` or `"ProvisionedManaged"`.
        capacity: Thousands of tokens a minute (standard types) or provisioned units.
        content_filter: The name of the content filter policy.
        rate_limits: The limits of requests and tokens.
        capabilities: What the deployment can do, in the words of the service.
        raw: The entry as the service sent it.
        concurrency: The most calls at once that a route sends there.
        wire: The form of conversations that the configuration declares for it.
        retires: The day on which the service retires its model, for example `"2027-04-14"`.
        sources: Where each fact is from, by its name: `"azure"` (Azure Resource Manager),
            `"project"`, `"classic"` (the resource's own list) or `"declared"`.
    """

    name: str
    model_name: str | None = None
    _: KW_ONLY
    model_version: str | None = None
    model_format: str | None = None
    capacity_type: str | None = None
    capacity: float | None = None
    content_filter: str | None = None
    rate_limits: tuple[RateLimit, ...] = ()
    capabilities: Mapping[str, str] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    concurrency: int | None = None
    wire: WireName | None = None
    retires: str | None = None
    sources: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_wire(cls, raw: Mapping[str, Any]) -> Deployment:
        """Return one entry of a list of deployments: of ARM, of a project or the classic list.

        Source: "Accounts - Deployments" of the Cognitive Services management REST API,
        "Deployments - List" of the AI Foundry projects REST API.
        """
        if "properties" in raw:
            return _with_source(_from_arm(raw), "azure")
        if "modelName" in raw or raw.get("type") == "ModelDeployment":
            return _with_source(_from_project(raw), "project")
        return _with_source(cls(raw["id"], raw.get("model"), raw=raw), "classic")

    def with_retirement(self, day: str | None) -> Deployment:
        """Return the deployment with the day on which its model retires, as Azure says it."""
        if day is None:
            return self
        return replace(self, retires=day, sources={**self.sources, "retires": "azure"})


_FACTS = tuple(
    each.name for each in fields(Deployment) if each.name not in ("name", "raw", "sources")
)


def _with_source(deployment: Deployment, source: str) -> Deployment:
    """Return a deployment whose facts are all from one list."""
    known = (name for name in _FACTS if getattr(deployment, name))
    return replace(deployment, sources=dict.fromkeys(known, source))


def _from_arm(raw: Mapping[str, Any]) -> Deployment:
    properties = raw["properties"]
    model = properties.get("model") or {}
    sku = raw.get("sku") or {}
    return Deployment(
        raw["name"],
        model_name=model.get("name"),
        model_version=model.get("version"),
        model_format=model.get("format"),
        capacity_type=sku.get("name"),
        capacity=sku.get("capacity"),
        content_filter=properties.get("raiPolicyName"),
        rate_limits=tuple(map(RateLimit.from_wire, properties.get("rateLimits") or ())),
        capabilities=properties.get("capabilities") or {},
        raw=raw,
    )


def _from_project(raw: Mapping[str, Any]) -> Deployment:
    sku = raw.get("sku") or {}
    return Deployment(
        raw["name"],
        model_name=raw.get("modelName"),
        model_version=raw.get("modelVersion"),
        model_format=raw.get("modelPublisher"),
        capacity_type=sku.get("name"),
        capacity=sku.get("capacity"),
        capabilities=raw.get("capabilities") or {},
        raw=raw,
    )


class Deployments(Mapping[str, Deployment]):
    """Deployments by name, in any case; iterates over the names in their owners' spelling.

    Example:
        >>> deployments = Deployments([Deployment("Mistral-Large", "mistral-large-2411")])
        >>> deployments["mistral-LARGE"].model_name
        'mistral-large-2411'
        >>> deployments.nearest("mistral-larg")
        ('Mistral-Large',)
    """

    def __init__(self, deployments: Iterable[Deployment] = ()) -> None:
        self._by_name = {deployment.name.casefold(): deployment for deployment in deployments}

    def __getitem__(self, name: str) -> Deployment:
        if not isinstance(name, str):
            raise TypeError(
                f"deployments are found by their names, not by {name!r}; list(deployments) has them"
            )
        return self._by_name[name.casefold()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.casefold() in self._by_name

    def __iter__(self) -> Iterator[str]:
        return (deployment.name for deployment in self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def __repr__(self) -> str:
        return f"Deployments({list(self._by_name.values())!r})"

    def over(self, others: Deployments) -> Deployments:
        """Return the deployments of both; where both know a fact, that of this object counts."""
        joined = dict(others._by_name)
        for name, deployment in self._by_name.items():
            other = joined.get(name, deployment)
            known = {at: fact for at in _FACTS if (fact := getattr(deployment, at))}
            own = {at: deployment.sources.get(at, "declared") for at in known}
            raw = deployment.raw or other.raw
            joined[name] = replace(other, **known, raw=raw, sources={**other.sources, **own})
        return Deployments(joined.values())

    def nearest(self, name: str) -> tuple[str, ...]:
        """Return the names that are most like `name`, best first, at most three."""
        import difflib  # needed only for errors

        close = difflib.get_close_matches(name.casefold(), self._by_name, n=3)
        return tuple(self._by_name[folded].name for folded in close)
