"""The local endpoint: Azure AI model deployments over real HTTP on your own machine.

It is built in wings, each of which imports only itself and those before it:

- `wire`: JSON, bodies, errors and the names of surfaces
- `engines`: what writes answers and vectors
- `resource`: deployments, keys, limits, filters and stored data
- `api`: the HTTP operations, one folder each, and how a request gets to them
- `server`: socket, TLS and uvicorn
- `config`: the section `[local]` of `azinfer.toml`
- `endpoint`: `LocalEndpoint`, which starts and stops it all
- `endpoints`: `LocalEndpoints`, several of them at once
- `cli`: the command `azinfer`; the only wing that uses the client
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

for _needed in ("starlette", "uvicorn"):
    if importlib.util.find_spec(_needed) is None:
        from azinfer.core import missing_extra

        raise missing_extra("local", ModuleNotFoundError(name=_needed))

if TYPE_CHECKING:
    from azinfer.local.endpoint import LocalEndpoint
    from azinfer.local.endpoints import LocalEndpoints
    from azinfer.local.engines.base import (
        ChatEngine,
        EmbeddingEngine,
        EngineCapabilities,
        EngineError,
        ImageEngine,
        Piece,
        Prompt,
    )
    from azinfer.local.engines.cassette.cassette import Cassette
    from azinfer.local.engines.scripted import Scripted, ScriptedCall
    from azinfer.local.engines.synthetic import SyntheticEngine
    from azinfer.local.engines.upstream import UpstreamEngine
    from azinfer.local.resource.content_filter import ContentFilter
    from azinfer.local.resource.deployment import LocalDeployment
    from azinfer.local.resource.faults import Fault
    from azinfer.local.resource.latency import Latency
    from azinfer.local.resource.storage.request_log import LogEntry, RequestLog

__all__ = [
    "Cassette",
    "ChatEngine",
    "ContentFilter",
    "EmbeddingEngine",
    "EngineCapabilities",
    "EngineError",
    "Fault",
    "ImageEngine",
    "Latency",
    "LocalDeployment",
    "LocalEndpoint",
    "LocalEndpoints",
    "LogEntry",
    "Piece",
    "Prompt",
    "RequestLog",
    "Scripted",
    "ScriptedCall",
    "SyntheticEngine",
    "UpstreamEngine",
]

# The module of each public name. They are imported at first use, so that the command line does
# not load the server to print its help.
_MODULES = {
    "Cassette": "engines.cassette.cassette",
    "ChatEngine": "engines.base",
    "ContentFilter": "resource.content_filter",
    "EmbeddingEngine": "engines.base",
    "EngineCapabilities": "engines.base",
    "EngineError": "engines.base",
    "Fault": "resource.faults",
    "ImageEngine": "engines.base",
    "Latency": "resource.latency",
    "LocalDeployment": "resource.deployment",
    "LocalEndpoint": "endpoint",
    "LocalEndpoints": "endpoints",
    "LogEntry": "resource.storage.request_log",
    "Piece": "engines.base",
    "Prompt": "engines.base",
    "RequestLog": "resource.storage.request_log",
    "Scripted": "engines.scripted",
    "ScriptedCall": "engines.scripted",
    "SyntheticEngine": "engines.synthetic",
    "UpstreamEngine": "engines.upstream",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import a public name at its first use."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """Return the public names beside the module's own."""
        return sorted({*globals(), *__all__})
