"""What clients read of `azinfer.toml`: endpoints, and facts that no service tells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from azinfer.core.deployments import Deployment, Deployments
from azinfer.core.endpoints import Endpoint
from azinfer.core.errors import ConfigurationError
from azinfer.core.toml_tables import Table, read


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """One table of `[endpoints]`, in the words of the client's constructor.

    Attributes:
        url: Any form of URL.
        credential: `"entra"`, `"env:NAME"`, or None for the environment's usual variables.
        surface: The surface to speak, where the URL does not say.
        api_version: Sent instead of the surface's default.
        headers: Sent with every request.
        deployments: What the file says of deployments there.
    """

    url: str
    credential: str | None
    surface: str | None
    api_version: str | None
    headers: Mapping[str, str]
    deployments: Deployments


@dataclass(frozen=True, slots=True)
class Settings:
    """All endpoints of a file by name, and which one is meant where none is named."""

    path: str
    endpoints: Mapping[str, EndpointSettings]
    default: str | None

    def endpoint(self, name: str | None = None) -> EndpointSettings:
        """The endpoint of a name, or the default one.

        Raises:
            ConfigurationError: There is none.
        """
        wanted = name or self.default
        if wanted is None:
            raise ConfigurationError(
                f"{self.path} has several endpoints: pass endpoint=, or set default at its top "
                f"to one of {', '.join(self.endpoints)}"
            )
        if wanted not in self.endpoints:
            known = ", ".join(self.endpoints)
            raise ConfigurationError(f"{self.path} has no endpoint {wanted!r}; it has {known}")
        return self.endpoints[wanted]


def settings_from(path: str | Path) -> Settings:
    """Read and check a file.

    Raises:
        ConfigurationError: Something in it is wrong; the text has file, line, field and reason.
    """
    root = read(path)
    tables = root.tables("endpoints")
    if "routes" in root:
        raise root.wrong("routes are not supported yet; name the deployment itself", "routes")
    if not tables:
        raise root.wrong("is missing; add a table [endpoints.main] with a url", "endpoints")
    default = root.get("default", str) or (next(iter(tables)) if len(tables) == 1 else None)
    if default is not None and default not in tables:
        raise root.wrong(f"there is no endpoint {default!r}, but {', '.join(tables)}", "default")
    facts = _deployments(root, tables, default)
    root.get("local", dict)  # the local endpoint reads it
    root.close()
    endpoints = {name: _endpoint(table, facts[name]) for name, table in tables.items()}
    return Settings(str(path), endpoints, default)


def _endpoint(table: Table, deployments: list[Deployment]) -> EndpointSettings:
    headers = table.table("headers")
    found = EndpointSettings(
        table.needed("url", str),
        table.get("credential", str),
        table.get("surface", str),
        table.get("api_version", str),
        headers.texts(),
        Deployments(deployments),
    )
    table.close()
    if found.credential and not re.fullmatch(r"entra|env:\w+", found.credential):
        raise table.wrong(
            'give "entra" or "env:NAME", the variable that holds the key; a key itself does '
            "not belong in a file",
            "credential",
        )
    _check(table, "surface", "localhost", found.surface)
    _check(table, "url", found.url, found.surface)
    _check(table, "api_version", found.url, found.surface, found.api_version)
    return found


def _check(table: Table, field: str, url: str, *named: str | None) -> None:
    """Refuse a field that makes an address that is not understood."""
    try:
        Endpoint.parse(url, *named)
    except ConfigurationError as error:
        raise table.wrong(error.message, field) from None


def _deployments(
    root: Table, endpoints: Iterable[str], default: str | None
) -> dict[str, list[Deployment]]:
    """What the file says of deployments, by endpoint."""
    facts: dict[str, list[Deployment]] = {name: [] for name in endpoints}
    for key, table in root.tables("deployments").items():
        name, _, endpoint = key.rpartition("@") if "@" in key else (key, "", default)
        if not name or endpoint not in facts:
            raise table.wrong(
                f"name the deployment and its endpoint, like {name or 'gpt-4o'}@"
                f"{next(iter(facts))}; there are the endpoints {', '.join(facts)}"
            )
        deployment = Deployment(
            name,
            table.get("model_id", str),
            table.get("model_version", str),
            table.get("model_format", str),
            table.get("capacity_type", str),
            table.get("capacity", float),
            table.get("content_filter", str),
        )
        table.close()
        facts[endpoint].append(deployment)
    return facts
