"""The local endpoint: Azure AI model deployments over real HTTP on one's own machine."""

try:
    import starlette  # noqa: F401
    import uvicorn  # noqa: F401
except ModuleNotFoundError as error:
    from azinfer.core import missing_extra

    raise missing_extra("local", error) from error

from azinfer.local.endpoint import LocalEndpoint
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
    "LogEntry",
    "Piece",
    "Prompt",
    "RequestLog",
    "Scripted",
    "ScriptedCall",
    "SyntheticEngine",
    "UpstreamEngine",
]
