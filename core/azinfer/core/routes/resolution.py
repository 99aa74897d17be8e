"""What a name means: a route, an alias or a deployment, wherever it is."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from azinfer.core.deployments import Deployments
from azinfer.core.errors import AmbiguousDeploymentError, DeploymentNotFoundError
from azinfer.core.routes.route import Member, Route


@dataclass(frozen=True, slots=True)
class Directory:
    """All names that are known. Those of routes, aliases and endpoints are case-folded keys.

    Attributes:
        default: The default endpoint.
        endpoints: The deployments that are known on each endpoint.
        listed: Endpoints whose deployments are all known.
        routes: The routes.
        aliases: Other names of routes and deployments.
    """

    default: str
    endpoints: Mapping[str, Deployments]
    listed: frozenset[str] = frozenset()
    routes: Mapping[str, Route] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Return every name that a caller may use."""
        names = [route.name for route in self.routes.values()]
        names += self.aliases
        for endpoint, deployments in self.endpoints.items():
            place = "" if endpoint == self.default else f"@{endpoint}"
            names += (f"{name}{place}" for name in deployments)
        return names

    def nearest(self, name: str) -> tuple[str, ...]:
        """Return the other names that are most like `name`, best first, at most three."""
        names = {each.casefold(): each for each in self.names()}
        names.pop(name.casefold(), None)
        return tuple(names[each] for each in difflib.get_close_matches(name.casefold(), names, n=3))


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a name means.

    Attributes:
        requested: The name, as the caller spelled it.
        rule: Why it means that: `"name@endpoint"`, `"route"`, `"default endpoint"`,
            `"other endpoint"` or `"passed through"`, after `"alias, "` where it is one.
        route: The route.
        deployment: Without a route, the deployment, as its owner spelled it if that is known.
        endpoint: Without a route, its endpoint.
    """

    requested: str
    rule: str
    route: Route | None = None
    deployment: str | None = None
    endpoint: str | None = None


def resolve(name: str, directory: Directory) -> Resolution:
    """Return what a name means, in any case.

    In this order: `name@endpoint`, a route, an alias, a deployment of the default endpoint, a
    deployment of exactly one other endpoint. An unknown name is passed on to the default
    endpoint as it is, unless all deployments there are known.

    Raises:
        AmbiguousDeploymentError: Several other endpoints have such a deployment.
        DeploymentNotFoundError: All deployments are known, and none has this name.
    """
    folded = name.strip().casefold()
    if match := _at_endpoint(name, folded, directory):
        return match
    if route := directory.routes.get(folded):
        return Resolution(name, "route", route)
    if alias := directory.aliases.get(folded):
        meant = resolve(alias, directory)
        return Resolution(
            name, f"alias, {meant.rule}", meant.route, meant.deployment, meant.endpoint
        )
    return _deployment(name.strip(), directory)


def _at_endpoint(name: str, folded: str, directory: Directory) -> Resolution | None:
    deployment, _, endpoint = folded.rpartition("@")
    if not deployment or endpoint not in directory.endpoints:
        return None
    spelled = name.strip()[: len(name.strip()) - len(endpoint) - 1]
    return Resolution(
        name, "name@endpoint", None, _canonical_name(spelled, endpoint, directory), endpoint
    )


def _deployment(name: str, directory: Directory) -> Resolution:
    default = directory.default
    if name in directory.endpoints[default]:
        known = directory.endpoints[default][name].name
        return Resolution(name, "default endpoint", None, known, default)
    others = [at for at, known in directory.endpoints.items() if name in known]
    if len(others) > 1:
        choices = [f"{directory.endpoints[at][name].name}@{at}" for at in others]
        raise AmbiguousDeploymentError(
            f"{name!r} is a deployment of several endpoints: write {_either(choices)}",
            candidates=choices,
        )
    if others:
        known = directory.endpoints[others[0]][name].name
        return Resolution(name, "other endpoint", None, known, others[0])
    if default in directory.listed or "@" in name:
        raise _unknown(name, directory)
    return Resolution(name, "passed through", None, name, default)


def _canonical_name(name: str, endpoint: str, directory: Directory) -> str:
    known = directory.endpoints[endpoint]
    if name in known:
        return known[name].name
    if endpoint in directory.listed:
        raise _unknown(f"{name}@{endpoint}", directory)
    return name


def _unknown(name: str, directory: Directory) -> DeploymentNotFoundError:
    names = sorted({each.casefold(): each for each in directory.names()}.values())
    nearest = directory.nearest(name)
    advice = f"Did you mean {_either(map(repr, nearest))}? " if nearest else ""
    endpoints = ", ".join(directory.endpoints)
    error = DeploymentNotFoundError(
        f"{name!r} is not a known route, alias or deployment. {advice}"
        f"Known names: {', '.join(names[:20]) or '-'}. Endpoints: {endpoints}.",
        deployment=name,
    )
    error.suggestions = nearest
    return error


def missing_deployments(directory: Directory) -> dict[str, str]:
    """Return the deployments of routes that their endpoints do not list.

    Returns:
        By the key of each, what is wrong and the nearest name.
    """
    missing = {}
    for member in _members(directory):
        endpoint = (member.endpoint or directory.default).casefold()
        known = directory.endpoints.get(endpoint, ())
        if endpoint not in directory.listed or member.deployment in known:
            continue
        nearest = directory.endpoints[endpoint].nearest(member.deployment)
        advice = f": did you mean {_either(map(repr, nearest))}?" if nearest else ""
        key = f"{member.deployment}@{endpoint}".casefold()
        missing[key] = f"{endpoint} lists no deployment {member.deployment!r}{advice}"
    return missing


def _members(directory: Directory) -> Iterator[Member]:
    for route in directory.routes.values():
        for tier in route.tiers:
            yield from (each for each in tier if isinstance(each, Member))


def _either(names: Iterable[str]) -> str:
    return " or ".join(names)
