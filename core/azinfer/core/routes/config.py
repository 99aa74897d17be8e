"""What routes read from `azinfer.toml`: `[routes]` and `[aliases]`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from azinfer.core.client_config import ClientConfig
from azinfer.core.deployments import Deployments
from azinfer.core.errors import ConfigurationError
from azinfer.core.routes.plan import plan
from azinfer.core.routes.policy import Policy
from azinfer.core.routes.resolution import Directory
from azinfer.core.routes.route import NESTED, Member, Route
from azinfer.core.toml_tables import Table

_TYPES: dict[str, type] = {
    "attempts": int,
    "failures": int,
    "affinity": str,
    "on_filter": str,
    "service_spillover": bool,
}


def directory_of(
    settings: ClientConfig,
    default: str,
    routes: Iterable[Route] = (),
    aliases: Mapping[str, str] | None = None,
) -> Directory:
    """Return all names of a file and of the caller, checked.

    Args:
        settings: The file.
        default: The default endpoint.
        routes: Routes of the caller; they win over the file's of the same name.
        aliases: Aliases of the caller; they win too.

    Raises:
        ConfigurationError: Something is wrong; if it is in the file, the text has line and field.
    """
    tables = settings.names.tables("routes")
    own = settings.names.table("aliases")
    read = {name.casefold(): _route(name, table, settings) for name, table in tables.items()}
    read |= {route.name.casefold(): route for route in routes}
    targets = {**own.texts(), **(aliases or {})}
    known: dict[str, Deployments] = {}
    for name, endpoint in settings.endpoints.items():
        known[name.casefold()] = endpoint.deployments
    directory = Directory(
        default.casefold(),
        known,
        routes=read,
        aliases={name.casefold(): target for name, target in targets.items()},
    )
    zones = zones_of(settings)
    for name, table in tables.items():
        if read[name.casefold()] not in (routes or ()):
            _check_route(read[name.casefold()], directory, zones, table)
    for route in routes:
        plan(route, directory, zones)
    for alias in targets:
        if reason := _circle(alias, directory):
            raise own.wrong(reason, alias) if alias in own else ConfigurationError(reason)
    return directory


def zones_of(settings: ClientConfig) -> dict[str, str | None]:
    """Return the data zone of each endpoint, by its case-folded name."""
    return {name.casefold(): each.zone for name, each in settings.endpoints.items()}


def _route(name: str, table: Table, settings: ClientConfig) -> Route:
    """Return one table of `[routes]`."""
    tiers = table.require("tiers", list)
    guard = table.get("guard", list) or []
    params = table.table("params")
    policy = _policy(table.table("policy"))
    table.close()
    members = [_tier(tier, table, settings.endpoints) for tier in tiers]
    try:
        return Route(
            name,
            members,
            policy,
            guard=guard,
            params={key: params.value(key) for key in params.fields},
        )
    except ConfigurationError as error:
        field = "guard" if "guard" in error.message else "tiers"
        raise table.wrong(_without_route(error.message), field) from None


def _tier(tier: Any, table: Table, endpoints: Iterable[str]) -> list[str | Member]:
    if not isinstance(tier, Sequence) or isinstance(tier, str):
        raise table.wrong(
            'must be a list of tiers, each a list of deployments: [["gpt-4o@main"]]', "tiers"
        )
    return [_member(entry, table, endpoints) for entry in tier]


def _member(entry: Any, table: Table, endpoints: Iterable[str]) -> str | Member:
    if isinstance(entry, Member):
        return entry
    if not isinstance(entry, str):
        raise table.wrong(
            f'must name a deployment, such as "gpt-4o@main:3", not {entry!r}', "tiers"
        )
    if entry.startswith(NESTED):
        return entry
    try:
        member = Member.parse(entry)
    except ConfigurationError as error:
        raise table.wrong(f"{entry!r}: {error.message}", "tiers") from None
    known = {name.casefold(): name for name in endpoints}
    if member.endpoint is not None and member.endpoint.casefold() not in known:
        raise table.wrong(
            f"{entry!r} names an unknown endpoint; {_nearest(member.endpoint, known.values())}",
            "tiers",
        )
    return member


def _nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return f"{meant}known: {', '.join(names) or 'none'}"


def _policy(table: Table) -> Policy:
    values: dict[str, Any] = {}
    for field in fields(Policy):
        value = table.get(field.name, _TYPES.get(field.name, float))
        if value is not None:
            values[field.name] = value
    table.close()
    try:
        return Policy(**values)
    except ConfigurationError as error:
        raise table.wrong(error.message.partition(": ")[2], error.param) from None


def _check_route(
    route: Route, directory: Directory, zones: Mapping[str, str | None], table: Table
) -> None:
    """Raise an error if this route does not fit the others and the endpoints."""
    try:
        plan(route, directory, zones)
    except ConfigurationError as error:
        reason = _without_route(error.message)
        if reason.startswith("there is no route"):
            names = [each.name for each in directory.routes.values() if each is not route]
            missing = reason.split("'")[1]
            reason = f"there is no route {missing!r}; {_nearest(missing, names)}"
        raise table.wrong(reason, "tiers") from None


def _without_route(message: str) -> str:
    """Return a message without the name of the route, where the field names it."""
    return re.sub(r"^route '[^']*':? ", "", message)


def _circle(alias: str, directory: Directory) -> str | None:
    """Return the error text for an alias that refers to itself, or None."""
    path = [alias]
    while (target := directory.aliases.get(path[-1].strip().casefold())) is not None:
        if path[-1].strip().casefold() in directory.routes:
            return None
        path.append(target)
        if len(path) > len(directory.aliases) + 1:
            return f"refers to itself: {' → '.join(path[:5])}"
    return None
