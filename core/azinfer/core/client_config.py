"""What clients read from `azinfer.toml`: endpoints, facts about deployments, routes, aliases."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from azinfer.core.deployments import Deployment, Deployments, RateLimit
from azinfer.core.endpoints import Endpoint
from azinfer.core.errors import PASS_CREDENTIAL, ConfigurationError
from azinfer.core.local_addresses import LocalAddress, local_address
from azinfer.core.redaction import hidden
from azinfer.core.surfaces import WIRES, WireName
from azinfer.core.toml_tables import Table, read, table_of

N = TypeVar("N", int, float)

_LONGEST_EXCHANGE = 5  # seconds


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """One table of `[endpoints]`, with the names of the client's constructor.

    Attributes:
        url: Any form of URL; of a local endpoint, its address.
        credential: `"entra"`, `"env:NAME"`, None for the usual variables, or the key of a local
            endpoint.
        surface: The surface to speak, where the URL does not say.
        api_version: Sent instead of the surface's default.
        headers: Sent with every request.
        deployments: What the file says about its deployments.
        zone: Where its data is processed; the caller chooses the name.
        wire: The form of conversations on it.
        discover: Where its deployments are listed: `"project"`, `"azure"`, `"classic"`, or the URL
            of a project or of an account in Azure Resource Manager; None for nowhere.
    """

    url: str = field(repr=False)  # its query may have a key
    credential: str | None = field(repr=False)
    surface: str | None
    api_version: str | None
    headers: Mapping[str, str]
    deployments: Deployments
    zone: str | None = None
    wire: WireName | None = None
    discover: str | None = None


@dataclass(frozen=True, slots=True)
class SharedConfig:
    """The table `[shared]`: what processes share.

    Attributes:
        redis: The URL of a Redis server, or `"env:NAME"` with the variable that has it.
        prefix: How all keys there begin.
        timeout: Seconds that an exchange with it may take.
    """

    redis: str = field(repr=False)
    prefix: str = "azinfer"
    timeout: float = 0.2


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """All endpoints, routes and aliases of a file.

    Attributes:
        path: The file; for a mapping, the name that errors use.
        endpoints: The endpoints by name.
        default: The endpoint to use where no other is named.
        names: The table that routes and aliases are read from.
        shared: What processes share; None for nothing.
    """

    path: str
    endpoints: Mapping[str, EndpointConfig]
    default: str | None
    names: Table
    shared: SharedConfig | None = None

    def endpoint(self, name: str | None = None) -> EndpointConfig:
        """Return the endpoint with a name, or the default one.

        Raises:
            ConfigurationError: The file has no such endpoint.
        """
        name = name or self.default
        if name is None:
            raise ConfigurationError(
                f"{self.path} has several endpoints: pass endpoint=, or set default at its top "
                f"to one of {', '.join(self.endpoints)}"
            )
        if name not in self.endpoints:
            known = ", ".join(self.endpoints)
            raise ConfigurationError(f"{self.path} has no endpoint {name!r}, only {known}")
        return self.endpoints[name]

    def in_words_of_the_file(self, error: ConfigurationError, name: str) -> ConfigurationError:
        """Return the error of an endpoint's client with what to change in the file.

        Args:
            error: The error.
            name: The endpoint, in lower case.
        """
        if error.param == "credential":
            advice = (
                'add credential = "env:NAME", the variable with its key, or credential = '
                f'"entra" below [endpoints.{name}]'
            )
            error.message = error.message.replace(PASS_CREDENTIAL, advice)
        if error.message.startswith("credential='env:"):
            tables = self.names.tables("endpoints")
            (table,) = (each for key, each in tables.items() if key.casefold() == name)
            return table.wrong(error.message.partition(": ")[2], "credential")
        return error


def read_client_config(config: str | Path | Mapping[str, Any]) -> ClientConfig:
    """Read and check a file, or a mapping in its form; routes and aliases are read later.

    Raises:
        ConfigurationError: Something in it is wrong; the text has file, line, field and reason.
    """
    root = table_of(config) if isinstance(config, Mapping) else read(config)
    tables = root.tables("endpoints")
    if not tables:
        raise root.wrong("is missing; add a table [endpoints.main] with a url", "endpoints")
    default = root.get("default", str) or _usual(tables)
    if default is not None and default not in tables:
        raise root.wrong(
            f"unknown endpoint {default!r}; choose from {', '.join(tables)}", "default"
        )
    facts = _deployments(root, tables, default)
    for other in ("routes", "aliases"):  # read elsewhere
        root.get(other, dict)
    local = root.table("local")
    shared = _shared_config(root)
    root.close()
    endpoints = {
        name: _endpoint(table, facts[name], local_address(local, name, table))
        for name, table in tables.items()
    }
    return ClientConfig(root.path, endpoints, default, root, shared)


def _shared_config(root: Table) -> SharedConfig | None:
    """Return the table `[shared]`, if there is one."""
    table = root.table("shared")
    if "shared" not in root:
        return None
    redis, default = table.require("redis", str), SharedConfig("")
    prefix, timeout = table.get("prefix", str), table.get("timeout", float)
    table.close()
    if not re.match(r"env:\w+$|rediss?://|unix://", redis):
        raise table.wrong(
            'must be a URL such as "redis://localhost:6379/0", or "env:NAME" with its variable',
            "redis",
        )
    if timeout is not None and not 0 < timeout <= _LONGEST_EXCHANGE:
        raise table.wrong(f"must be above 0 and at most {_LONGEST_EXCHANGE}", "timeout")
    return SharedConfig(redis, prefix or default.prefix, timeout or default.timeout)


def _usual(names: Iterable[str]) -> str | None:
    """Return the endpoint that is the default where the file names none."""
    known = tuple(names)
    return known[0] if len(known) == 1 else "main" if "main" in known else None


def _endpoint(
    table: Table, deployments: list[Deployment], local: LocalAddress | None
) -> EndpointConfig:
    headers = table.table("headers")
    config = EndpointConfig(
        table.require("url", str),
        table.get("credential", str),
        table.get("surface", str),
        table.get("api_version", str),
        headers.texts(),
        Deployments(deployments),
        table.get("zone", str),
        _wire(table),
        table.get("discover", str),
    )
    table.close()
    if config.credential is not None and not re.fullmatch(r"entra|env:\w+", config.credential):
        raise table.wrong(
            'must be "entra", or "env:NAME" with the name of the variable that has the key; do not '
            "write the key itself into a file",
            "credential",
        )
    if local is not None:
        credential = config.credential or hidden(local.credential)
        config = replace(config, url=local.url, credential=credential)
    if config.discover is not None and not re.match(
        r"(project|azure|classic)$|https?://", config.discover
    ):
        raise table.wrong(
            'must be "project", "azure" (Azure Resource Manager), "classic" (the resource\'s own '
            f"list), or the URL of a project or an account, not {config.discover!r}",
            "discover",
        )
    for name in ("surface", "api_version"):
        if getattr(config, name) == "":
            raise table.wrong("must not be empty; leave it out to use the default", name)
    _check(table, "surface", "localhost", config.surface)
    _check(table, "url", config.url, config.surface)
    _check(table, "api_version", config.url, config.surface, config.api_version)
    return config


def _check(table: Table, field: str, url: str, *named: str | None) -> None:
    """Check that a field makes a valid endpoint."""
    try:
        Endpoint.parse(url, *named)
    except ConfigurationError as error:
        raise table.wrong(error.message, field) from None


def _deployments(
    root: Table, endpoints: Iterable[str], default: str | None
) -> dict[str, list[Deployment]]:
    """Return the deployments in the file, by endpoint."""
    facts: dict[str, list[Deployment]] = {name: [] for name in endpoints}
    for key, table in root.tables("deployments").items():
        name, _, endpoint = key.rpartition("@") if "@" in key else (key, "", default)
        if not name or endpoint not in facts:
            raise table.wrong(
                f"must be a deployment and its endpoint, such as {name or 'gpt-4o'}@"
                f"{next(iter(facts))}; the endpoints are {', '.join(facts)}"
            )
        deployment = Deployment(
            name,
            table.get("model_id", str),
            model_version=table.get("model_version", str),
            model_format=table.get("model_format", str),
            capacity_type=table.get("capacity_type", str),
            capacity=table.get("capacity", float),
            content_filter=table.get("content_filter", str),
            rate_limits=_rate_limits(table),
            concurrency=_count(table, "concurrency", int),
            wire=_wire(table),
        )
        table.close()
        facts[endpoint].append(deployment)
    return facts


def _rate_limits(table: Table) -> tuple[RateLimit, ...]:
    """Return the limits as the service counts them: requests in slices of ten seconds.

    Source: "Manage Azure OpenAI quota", how token and request limits are enforced.
    """
    limits: list[RateLimit] = []
    if requests := _count(table, "rpm", float):
        limits.append(RateLimit("request", max(1.0, requests / 6), 10.0))
    if tokens := _count(table, "tpm", float):
        limits.append(RateLimit("token", tokens, 60.0))
    return tuple(limits)


def _wire(table: Table) -> WireName | None:
    """Return the form of conversations that a table declares."""
    named = table.get("wire", str)
    for wire in WIRES:
        if named == wire:
            return wire
    if named is not None:
        raise table.wrong(f"must be one of {', '.join(WIRES)}, not {named!r}", "wire")
    return None


def _count(table: Table, name: str, kind: type[N]) -> N | None:
    count = table.get(name, kind)
    if count is not None and count < 1:
        raise table.wrong(f"must be at least 1, not {count:g}", name)
    return count
