"""Routes: names that applications use, and the deployments behind each, in tiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from azinfer.core.errors import ConfigurationError
from azinfer.core.routes.facts import Facts
from azinfer.core.routes.guard import GUARDS
from azinfer.core.routes.policy import Policy

NESTED = "route:"


@dataclass(frozen=True, slots=True)
class Member:
    """One deployment of a tier.

    Attributes:
        deployment: Its name, in any case.
        endpoint: The name of its endpoint; None is the default one.
        weight: How much of the tier's load it takes, relative to the others; above 0.
        facts: What is known about it.
    """

    deployment: str
    endpoint: str | None = None
    weight: float = 1.0
    facts: Facts = field(default=Facts(), compare=False)

    @classmethod
    def parse(cls, text: str) -> Member:
        """Read `"name"`, `"name@endpoint"` or `"name@endpoint:weight"`.

        Raises:
            ConfigurationError: The text has another form.

        Example:
            >>> Member.parse("gpt-4o@west:3").weight
            3.0
        """
        name, at, place = text.strip().rpartition("@")
        if not at:
            return cls(_check_name(place, text))
        endpoint, colon, weight = place.partition(":")
        return cls(
            _check_name(name, text), _check_name(endpoint, text), _weight(weight) if colon else 1.0
        )

    def __post_init__(self) -> None:
        if not self.weight > 0 or self.weight == float("inf"):
            raise ConfigurationError(f"weight must be above 0, not {self.weight!r}")

    def __str__(self) -> str:
        return f"{self.deployment}@{self.endpoint}" if self.endpoint else self.deployment

    @property
    def key(self) -> str:
        """The name by which its state is kept."""
        return str(self).casefold()


@dataclass(frozen=True, slots=True)
class Nested:
    """Another route, whose tiers follow."""

    route: str


@dataclass(frozen=True, slots=True, init=False)
class Route:
    """A name that applications use as `model=`, and where calls to it go.

    Attributes:
        name: The name, in any case.
        tiers: Deployments by preference: the second tier is used when no deployment of the
            first can take the call. Each is a Member, or a text like `"gpt-4o@west:3"`
            (deployment, endpoint, weight). The last tier may be another route, `"route:NAME"`:
            its tiers follow, under the policy of this one.
        policy: How it behaves.
        guard: Facts that must not change when a call moves on to another deployment:
            `"content_filter"`, `"data_zone"`, `"model"`, `"model_version"`. The first
            deployment of the route is what others are compared with. Embeddings are always
            guarded by model and version.
        params: Options of a call; those that the caller passes win.

    Example:
        >>> Route("chat", [["gpt-4o-ptu@main"], ["gpt-4o@main:3", "gpt-4o@west"]]).tiers[1][0]
        Member(deployment='gpt-4o', endpoint='main', weight=3.0)
    """

    name: str
    tiers: tuple[tuple[Member | Nested, ...], ...]
    policy: Policy
    guard: tuple[str, ...]
    params: Mapping[str, Any]

    def __init__(
        self,
        name: str,
        tiers: Sequence[Sequence[str | Member]],
        policy: Policy | None = None,
        *,
        guard: Sequence[str] = (),
        params: Mapping[str, Any] | None = None,
    ) -> None:
        read = tuple(tuple(map(_entry, tier)) for tier in tiers)
        if not read or not all(read):
            raise ConfigurationError(f"route {name!r}: give at least one deployment in each tier")
        for tier in read:
            if any(isinstance(each, Nested) for each in tier) and (
                tier is not read[-1] or len(tier) > 1
            ):
                raise ConfigurationError(f"route {name!r}: a route may only be the last tier")
        for each in guard:
            if each not in GUARDS:
                raise ConfigurationError(
                    f"route {name!r}: guard {each!r} is unknown; choose from {', '.join(GUARDS)}"
                )
        values = (
            _check_name(name, name),
            read,
            policy or Policy(),
            tuple(guard),
            dict(params or {}),
        )
        for at, value in zip(self.__slots__, values, strict=True):
            object.__setattr__(self, at, value)


def _entry(entry: str | Member) -> Member | Nested:
    if isinstance(entry, Member):
        return entry
    if entry.startswith(NESTED):
        return Nested(_check_name(entry.removeprefix(NESTED), entry))
    return Member.parse(entry)


def _check_name(name: str, text: str) -> str:
    if name.strip():
        return name.strip()
    raise ConfigurationError(
        f"{text!r} does not name a deployment; write name, name@endpoint or name@endpoint:weight"
    )


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(f"weight must be a number above 0, not {text!r}") from None
