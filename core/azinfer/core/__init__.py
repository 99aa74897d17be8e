"""One client for every model deployment behind an Azure AI endpoint."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from azinfer.core.version import __version__, user_agent

if TYPE_CHECKING:
    from azinfer.core.answer_details import details_of
    from azinfer.core.arguments import check_option_names
    from azinfer.core.chunks import ChatCompletionChunk, ChunkChoice, Delta, ToolCallChunk
    from azinfer.core.citations import Citation
    from azinfer.core.client import (
        AsyncInferenceClient,
        InferenceClient,
        adapter_client,
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
    from azinfer.core.embeddings import Embedding, Embeddings, without_empty_texts
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
    from azinfer.core.request_options import ChatOptions, EmbeddingOptions
    from azinfer.core.retries import Timeout
    from azinfer.core.routing import Attempt, Candidate, Decision, Routing
    from azinfer.core.secret_names import is_secret_name, pickleable_credential, without_secrets
    from azinfer.core.streams import AsyncChatStream, ChatStream
    from azinfer.core.structured_output import strict_schema
    from azinfer.core.surfaces import Surface

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
    "without_empty_texts",
    "without_secrets",
]

# Each name is loaded when it is used for the first time: the local endpoint needs few of them,
# and a chat call not all.
_MODULES = {
    "details_of": "answer_details",
    "check_option_names": "arguments",
    "ChatCompletionChunk": "chunks",
    "ChunkChoice": "chunks",
    "Delta": "chunks",
    "ToolCallChunk": "chunks",
    "Citation": "citations",
    "AsyncInferenceClient": "client",
    "InferenceClient": "client",
    "adapter_client": "client",
    "ready_client": "client",
    "Clock": "clock",
    "ChatCompletion": "completions",
    "Choice": "completions",
    "Function": "completions",
    "Message": "completions",
    "ModelInfo": "completions",
    "ToolCall": "completions",
    "Usage": "completions",
    "continuation": "completions",
    "Deployment": "deployments",
    "Deployments": "deployments",
    "RateLimit": "deployments",
    "Embedding": "embeddings",
    "Embeddings": "embeddings",
    "without_empty_texts": "embeddings",
    "forget_endpoints": "endpoint_knowledge",
    "Endpoint": "endpoints",
    "APIConnectionError": "errors",
    "APIStatusError": "errors",
    "APITimeoutError": "errors",
    "AmbiguousDeploymentError": "errors",
    "AuthenticationError": "errors",
    "BadRequestError": "errors",
    "ConfigurationError": "errors",
    "ContentFilterError": "errors",
    "ContextLengthExceededError": "errors",
    "DeploymentNotFoundError": "errors",
    "Detail": "errors",
    "InferenceError": "errors",
    "InvalidResponseError": "errors",
    "PermissionDeniedError": "errors",
    "RateLimitError": "errors",
    "RouteExhaustedError": "errors",
    "ServerError": "errors",
    "StreamInterruptedError": "errors",
    "UnsupportedParameterError": "errors",
    "missing_extra": "errors",
    "AudioPart": "message_parts",
    "FilePart": "message_parts",
    "ImagePart": "message_parts",
    "TextPart": "message_parts",
    "media_part": "message_parts",
    "AssistantMessage": "messages",
    "ChatMessage": "messages",
    "CustomTool": "messages",
    "DeveloperMessage": "messages",
    "ImageInput": "messages",
    "JsonSchema": "messages",
    "SystemMessage": "messages",
    "Tool": "messages",
    "ToolMessage": "messages",
    "UserMessage": "messages",
    "ModelFacts": "model_catalog",
    "Profile": "model_profiles",
    "profile_of": "model_profiles",
    "HiddenEnvironment": "redaction",
    "hidden": "redaction",
    "ChatOptions": "request_options",
    "EmbeddingOptions": "request_options",
    "Timeout": "retries",
    "Attempt": "routing",
    "Candidate": "routing",
    "Decision": "routing",
    "Routing": "routing",
    "is_secret_name": "secret_names",
    "pickleable_credential": "secret_names",
    "without_secrets": "secret_names",
    "AsyncChatStream": "streams",
    "ChatStream": "streams",
    "strict_schema": "structured_output",
    "Surface": "surfaces",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
