"""A route ready for use: its tiers in order, and what its guards leave out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from azinfer.core.deployments import Deployment
from azinfer.core.errors import ConfigurationError
from azinfer.core.routes.choice import Tier
from azinfer.core.routes.facts import Facts
from azinfer.core.routes.guard import difference
from azinfer.core.routes.resolution import Directory
from azinfer.core.routes.route import Member, Nested, Route


@dataclass(frozen=True, slots=True)
class Plan:
    """A route ready for use.

    Attributes:
        route: The route.
        tiers: Its deployments by preference, including those of routes that follow.
        refused: Deployments that a guard leaves out, with the number of their tier, and why.
        spillover: The deployment on the same resource that the service itself may use instead
            of a provisioned one, by the key of the latter.
        counts_tokens: Whether any of its deployments has a limit of tokens.
    """

    route: Route
    tiers: tuple[Tier, ...]
    refused: Mapping[Member, tuple[int, str]]
    spillover: Mapping[str, str]
    counts_tokens: bool


def plan(
    route: Route,
    directory: Directory,
    zones: Mapping[str, str | None],
    guards: tuple[str, ...] = (),
) -> Plan:
    """Return a route ready for use.

    In each tier, provisioned deployments come before others.

    Args:
        route: The route.
        directory: All names.
        zones: The data zone of each endpoint.
        guards: Guards besides the route's own.

    Raises:
        ConfigurationError: A route or endpoint that it names does not exist, a route contains
            itself, or it contains a deployment twice.
    """
    tiers = [
        [_complete_member(member, route, directory, zones) for member in tier]
        for tier in _flat(route, directory, ())
    ]
    _refuse_twice(route, tiers)
    first = tiers[0][0].facts
    refused: dict[Member, tuple[int, str]] = {}
    allowed: list[Tier] = []
    for number, tier in enumerate(tiers):
        kept: list[Member] = []
        for member in tier:
            reason = difference((*route.guard, *guards), first, member.facts)
            if reason and member is not tiers[0][0]:
                refused[member] = (number, reason)
            else:
                kept.append(member)
        for provisioned in (True, False):
            if part := [each for each in kept if each.facts.provisioned is provisioned]:
                allowed.append(Tier(part))
    counts = any(member.facts.tokens for tier in allowed for member in tier.members)
    return Plan(route, tuple(allowed), refused, _spillover(route, allowed), counts)


def _spillover(route: Route, tiers: list[Tier]) -> dict[str, str]:
    """Return where the service itself may send what a provisioned deployment cannot take.

    Source: "Manage traffic with spillover for provisioned deployments": both deployments belong
    to one resource and process data in the same zone.
    """
    if not route.policy.service_spillover:
        return {}
    members = [member for tier in tiers for member in tier.members]
    return {
        member.key: other.deployment
        for at, member in enumerate(members)
        if member.facts.provisioned
        for other in members[:at:-1]
        if _takes_over(member, other)
    }


def _takes_over(member: Member, other: Member) -> bool:
    one, two = member.facts, other.facts
    same = (one.data_zone, one.content_filter) == (two.data_zone, two.content_filter)
    return same and member.endpoint == other.endpoint and not two.provisioned


def _flat(route: Route, directory: Directory, above: tuple[str, ...]) -> list[list[Member]]:
    """Return the tiers of a route, and after them those of the route that follows."""
    tiers: list[list[Member]] = []
    for tier in route.tiers:
        members = [each for each in tier if isinstance(each, Member)]
        if members:
            tiers.append(members)
        for nested in (each for each in tier if isinstance(each, Nested)):
            following = directory.routes.get(nested.route.casefold())
            if following is None:
                raise ConfigurationError(
                    f"route {route.name!r}: there is no route {nested.route!r}"
                )
            path = (*above, route.name)
            if following.name in path:
                raise ConfigurationError(
                    f"route {route.name!r} contains itself: {' → '.join((*path, following.name))}"
                )
            tiers += _flat(following, directory, path)
    return tiers


def _complete_member(
    member: Member, route: Route, directory: Directory, zones: Mapping[str, str | None]
) -> Member:
    """Return the deployment with its endpoint, spelled as its owner did, and its facts."""
    endpoint = (member.endpoint or directory.default).casefold()
    if endpoint not in directory.endpoints:
        raise ConfigurationError(
            f"route {route.name!r}: {member} names an unknown endpoint; "
            f"choose from {', '.join(directory.endpoints)}"
        )
    deployments = directory.endpoints[endpoint]
    known = deployments.get(member.deployment) or Deployment(member.deployment)
    facts = Facts.of(known, zones.get(endpoint))
    return replace(member, deployment=known.name, endpoint=endpoint, facts=facts)


def _refuse_twice(route: Route, tiers: list[list[Member]]) -> None:
    seen: set[str] = set()
    for member in (member for tier in tiers for member in tier):
        if member.key in seen:
            raise ConfigurationError(f"route {route.name!r}: {member} appears in it twice")
        seen.add(member.key)
