"""One client for every model deployment behind an Azure AI endpoint."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from azinfer.core.client import (
    AsyncInferenceClient,
    InferenceClient,
    adapter_client,
    check_option_names,
    ready_client,
)
from azinfer.core.clock import Clock
from azinfer.core.completions import (
    ChatCompletion,
    Choice,
    Function,
    Message,
    ModelInfo,
    ToolCall,
    Usage,
    continuation,
)
from azinfer.core.deployments import Deployment, Deployments, RateLimit
from azinfer.core.endpoint_knowledge import forget_endpoints
from azinfer.core.endpoints import Endpoint
from azinfer.core.errors import (
    AmbiguousDeploymentError,
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ContentFilterError,
    ContextLengthExceededError,
    DeploymentNotFoundError,
    Detail,
    InferenceError,
    InvalidResponseError,
    PermissionDeniedError,
    RateLimitError,
    RouteExhaustedError,
    ServerError,
    StreamInterruptedError,
    UnsupportedParameterError,
    missing_extra,
)
from azinfer.core.message_parts import AudioPart, FilePart, ImagePart, TextPart, media_part
from azinfer.core.messages import (
    AssistantMessage,
    ChatMessage,
    CustomTool,
    DeveloperMessage,
    ImageInput,
    JsonSchema,
    SystemMessage,
    Tool,
    ToolMessage,
    UserMessage,
)
from azinfer.core.model_catalog import ModelFacts
from azinfer.core.model_profiles import Profile, profile_of
from azinfer.core.redaction import HiddenEnvironment, hidden
from azinfer.core.retries import Timeout
from azinfer.core.routing import Attempt, Candidate, Decision, Routing
from azinfer.core.secret_names import is_secret_name, pickleable_credential, without_secrets
from azinfer.core.structured_output import strict_schema
from azinfer.core.surfaces import Surface
from azinfer.core.version import __version__, user_agent

if TYPE_CHECKING:
    from azinfer.core.answer_details import details_of
    from azinfer.core.chunks import ChatCompletionChunk, ChunkChoice, Delta, ToolCallChunk
    from azinfer.core.citations import Citation
    from azinfer.core.embeddings import Embedding, Embeddings
    from azinfer.core.request_options import ChatOptions, EmbeddingOptions
    from azinfer.core.streams import AsyncChatStream, ChatStream

__all__ = [
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "AmbiguousDeploymentError",
    "AssistantMessage",
    "AsyncChatStream",
    "AsyncInferenceClient",
    "Attempt",
    "AudioPart",
    "AuthenticationError",
    "BadRequestError",
    "Candidate",
    "ChatCompletion",
    "ChatCompletionChunk",
    "ChatMessage",
    "ChatOptions",
    "ChatStream",
    "Choice",
    "ChunkChoice",
    "Citation",
    "Clock",
    "ConfigurationError",
    "ContentFilterError",
    "ContextLengthExceededError",
    "CustomTool",
    "Decision",
    "Delta",
    "Deployment",
    "DeploymentNotFoundError",
    "Deployments",
    "Detail",
    "DeveloperMessage",
    "Embedding",
    "EmbeddingOptions",
    "Embeddings",
    "Endpoint",
    "FilePart",
    "Function",
    "HiddenEnvironment",
    "ImageInput",
    "ImagePart",
    "InferenceClient",
    "InferenceError",
    "InvalidResponseError",
    "JsonSchema",
    "Message",
    "ModelFacts",
    "ModelInfo",
    "PermissionDeniedError",
    "Profile",
    "RateLimit",
    "RateLimitError",
    "RouteExhaustedError",
    "Routing",
    "ServerError",
    "StreamInterruptedError",
    "Surface",
    "SystemMessage",
    "TextPart",
    "Timeout",
    "Tool",
    "ToolCall",
    "ToolCallChunk",
    "ToolMessage",
    "UnsupportedParameterError",
    "Usage",
    "UserMessage",
    "__version__",
    "adapter_client",
    "check_option_names",
    "continuation",
    "details_of",
    "forget_endpoints",
    "hidden",
    "is_secret_name",
    "media_part",
    "missing_extra",
    "pickleable_credential",
    "profile_of",
    "ready_client",
    "strict_schema",
    "user_agent",
    "without_secrets",
]

# What a chat call does not need is loaded when it is used for the first time.
_MODULES = {
    "details_of": "answer_details",
    "ChatCompletionChunk": "chunks",
    "ChunkChoice": "chunks",
    "Delta": "chunks",
    "ToolCallChunk": "chunks",
    "Citation": "citations",
    "Embedding": "embeddings",
    "Embeddings": "embeddings",
    "ChatOptions": "request_options",
    "EmbeddingOptions": "request_options",
    "AsyncChatStream": "streams",
    "ChatStream": "streams",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
