"""Several endpoints with scripted answers, and a client of all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from azinfer.core import AsyncInferenceClient, InferenceClient
from client_driver import KEY, ClientDriver
from raw_server import RawServer, failure, reply

Config = dict[str, Any]


class Fleet:
    """Servers by the name of their endpoint."""

    def __init__(self, names: str) -> None:
        self.servers = {name: RawServer().start() for name in names}

    def __getitem__(self, name: str) -> RawServer:
        return self.servers[name]

    def config(self, tiers: Any = (), **more: Any) -> Config:
        """A configuration with all endpoints; the first is the default, `chat` is a route."""
        endpoints = {name: {"url": server.url} for name, server in self.servers.items()}
        for name, changes in more.pop("endpoints", {}).items():
            endpoints[name] = {**endpoints.get(name, {}), **changes}
        routes = dict(more.pop("routes", {}))
        if tiers:
            names = ("policy", "guard", "params")
            routes["chat"] = {"tiers": tiers, **{n: more.pop(n) for n in names if n in more}}
        return {
            "default": next(iter(self.servers)),
            "endpoints": endpoints,
            "routes": routes,
            **more,
        }

    @property
    def counts(self) -> dict[str, int]:
        """Return how many requests each server got."""
        return {name: len(server.received) for name, server in self.servers.items()}

    def stop(self) -> None:
        """Stop all servers."""
        for server in self.servers.values():
            server.stop()


@contextmanager
def routed_driver(kind: str, config: Mapping[str, Any], **options: Any) -> Iterator[ClientDriver]:
    """A driver whose client comes from a configuration."""
    cls = InferenceClient if kind == "sync" else AsyncInferenceClient
    environ = {"AZURE_AI_API_KEY": KEY}
    driver = ClientDriver(kind, "localhost", KEY)
    driver.client = cls.from_config(config, **{"environ": environ, **options})
    try:
        yield driver
    finally:
        driver.close()


def rate_limit_reply(seconds: float | None = None) -> Any:
    """Return the behaviour of a deployment whose rate limit is used up."""
    headers = {} if seconds is None else {"retry-after": f"{seconds:g}"}
    return reply(failure("RateLimitReached", "too many requests"), 429, headers)
