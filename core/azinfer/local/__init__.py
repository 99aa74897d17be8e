"""The local endpoint: Azure AI model deployments over real HTTP on one's own machine."""

try:
    import starlette  # noqa: F401
    import uvicorn  # noqa: F401
except ModuleNotFoundError as error:
    from azinfer.core import missing_extra

    raise missing_extra("local", error) from error

from azinfer.local.cassette import Cassette
from azinfer.local.deployments import LocalDeployment
from azinfer.local.endpoint import LocalEndpoint
from azinfer.local.engines import (
    ChatEngine,
    EmbeddingEngine,
    EngineError,
    ImageEngine,
    Piece,
    Prompt,
)
from azinfer.local.faults import Fault
from azinfer.local.filters import ContentFilter
from azinfer.local.latency import Latency
from azinfer.local.log import Logged, RequestLog
from azinfer.local.scripts import Scripted, ScriptedCall
from azinfer.local.synthetic import SyntheticEngine
from azinfer.local.upstream import UpstreamEngine

__all__ = [
    "Cassette",
    "ChatEngine",
    "ContentFilter",
    "EmbeddingEngine",
    "EngineError",
    "Fault",
    "ImageEngine",
    "Latency",
    "LocalDeployment",
    "LocalEndpoint",
    "Logged",
    "Piece",
    "Prompt",
    "RequestLog",
    "Scripted",
    "ScriptedCall",
    "SyntheticEngine",
    "UpstreamEngine",
]
