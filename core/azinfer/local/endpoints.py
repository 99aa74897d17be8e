"""`LocalEndpoints`: several endpoints at once, each a resource of its own."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from azinfer.core.errors import ConfigurationError
from azinfer.local.endpoint import LocalEndpoint
from azinfer.local.resource.deployment import LocalDeployment


class LocalEndpoints(Mapping[str, LocalEndpoint]):
    """Several endpoints on your own machine, by name; each has its own port, keys and deployments.

    Args:
        endpoints: The endpoints; the first is the default one of `config`.

    Raises:
        ConfigurationError: There are no endpoints.

    Example:
        >>> from azinfer.core import InferenceClient
        >>> from azinfer.core.routes import Route
        >>> from azinfer.local import LocalDeployment, LocalEndpoint, LocalEndpoints
        >>> regions = {
        ...     name: LocalEndpoint([LocalDeployment("gpt-4o")]) for name in ("main", "west")
        ... }
        >>> with LocalEndpoints(regions) as local:
        ...     route = Route("chat", [["gpt-4o@main"], ["gpt-4o@west"]])
        ...     client = InferenceClient.from_config(
        ...         local.config(), environ=local.environ(), routes=[route]
        ...     )
        ...     local["main"].stop()
        ...     answer = client.complete([{"role": "user", "content": "Hi"}], model="chat")
        ...     answer.routing.decision.endpoint
        'west'
    """

    def __init__(self, endpoints: Mapping[str, LocalEndpoint]) -> None:
        if not endpoints:
            raise ConfigurationError("pass at least one endpoint, with its name")
        self._endpoints = dict(endpoints)

    @classmethod
    def from_config(cls, path: str | Path = "azinfer.toml", **named: Any) -> Self:
        """Return the endpoints that a file describes under `[local.endpoints]`.

        Args:
            path: The file. A `[local]` table without endpoints is one endpoint, `"main"`.
            **named: Arguments of each LocalEndpoint, which replace those of the file.

        Raises:
            ConfigurationError: A setting is wrong; the message has file, line, field and reason.
            InferenceError: The weights of a model cannot be downloaded.
        """
        from azinfer.local.config.endpoint_config import read_endpoint_configs

        configs = read_endpoint_configs(path, options=named)
        if not configs:
            return cls({"main": LocalEndpoint.from_config(path, **named)})
        return cls(
            {
                name: LocalEndpoint(**{"deployments": each.deployments, **each.options})
                for name, each in configs.items()
            }
        )

    def __getitem__(self, name: str) -> LocalEndpoint:
        return self._endpoints[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._endpoints)

    def __len__(self) -> int:
        return len(self._endpoints)

    def __repr__(self) -> str:
        return f"LocalEndpoints({', '.join(f'{name}: {each}' for name, each in self.items())})"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start all endpoints, or none.

        Raises:
            InferenceError: The address of one is in use, or not one of this machine.
            ConfigurationError: The directory `data` of one cannot be used.
        """
        with contextlib.ExitStack() as started:
            for endpoint in self._endpoints.values():
                endpoint.start()
                started.callback(endpoint.stop)
            started.pop_all()

    def stop(self) -> None:
        """Stop all endpoints."""
        with contextlib.ExitStack() as stopping:
            for endpoint in self._endpoints.values():
                stopping.callback(endpoint.stop)

    def reset(self) -> None:
        """Return all endpoints to their initial state."""
        for endpoint in self._endpoints.values():
            endpoint.reset()

    def wait(self) -> None:
        """Serve until the process is interrupted."""
        for endpoint in self._endpoints.values():
            endpoint.wait()

    def config(self) -> dict[str, Any]:
        """Return what `InferenceClient.from_config` takes to reach all endpoints that run.

        It has their addresses and the facts of their deployments. The keys are not in it: pass
        `environ()` as `environ`.
        """
        tables = {
            name: {"url": endpoint.url, "credential": f"env:{_variable(name)}"}
            for name, endpoint in self._endpoints.items()
        }
        facts = {
            f"{each.name}@{name}": _facts(each)
            for name, endpoint in self._endpoints.items()
            for each in endpoint.deployments
        }
        return {"default": next(iter(tables)), "endpoints": tables, "deployments": facts}

    def environ(self) -> dict[str, str]:
        """Return the variables with the keys that `config` names."""
        return {_variable(name): endpoint.key for name, endpoint in self._endpoints.items()}


def _facts(deployment: LocalDeployment) -> dict[str, Any]:
    content_filter = deployment.content_filter
    facts = {
        "model_id": deployment.model_name,
        "model_version": deployment.model_version,
        "model_format": deployment.model_format,
        "capacity_type": deployment.capacity_type,
        "capacity": deployment.capacity,
        "content_filter": getattr(content_filter, "name", content_filter),
    }
    return {name: value for name, value in facts.items() if value}


def _variable(name: str) -> str:
    # Different names get different variables: the "_" that marks a code is itself written as one.
    code = re.sub(r"[\W_]", lambda match: f"_{ord(match[0]):x}_", name)
    return f"AZINFER_LOCAL_{code}_KEY"
