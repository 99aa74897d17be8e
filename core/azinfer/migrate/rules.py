"""The rules: which class of another package becomes which class of azinfer, with arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

DROPPED: Final = ""
CORE: Final = "azinfer.core"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRule:
    """A class whose constructor is rewritten argument by argument.

    Attributes:
        module: The module of the new class.
        name: The new class.
        arguments: The new name of each known argument; `DROPPED` for those that are not needed now.
        positional: The names of positional arguments, in their order.
        client: The kind of its objects, if their methods are rewritten too.
        is_async: Whether those methods are awaited.
        defaults: Arguments that were defaults of every call and now go with each call.
        any_argument: Whether arguments that are not listed pass unchanged.
    """

    module: str = CORE
    name: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    positional: tuple[str, ...] = ()
    client: str = ""
    is_async: bool = False
    defaults: frozenset[str] = frozenset()
    any_argument: bool = False


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


# azure-ai-inference. Source: the classes of 1.0.0b9.
_INFERENCE = {
    **_same("endpoint", "credential", "model", "api_version", "headers"),
    "retry_total": "max_retries",
    "read_timeout": "timeout",
    "credential_scopes": DROPPED,
    "user_agent": DROPPED,
    "logging_enable": DROPPED,
}
_CHAT_DEFAULTS = frozenset(
    {
        *("temperature", "max_tokens", "top_p", "seed", "stop", "tools", "tool_choice"),
        *("frequency_penalty", "presence_penalty", "response_format", "model_extras"),
    }
)
_EMBED_DEFAULTS = frozenset({"dimensions", "encoding_format", "input_type", "model_extras"})


def _inference(client: str, is_async: bool) -> ClassRule:
    return ClassRule(
        name="AsyncInferenceClient" if is_async else "InferenceClient",
        arguments=_INFERENCE,
        positional=("endpoint", "credential"),
        client=client,
        is_async=is_async,
        defaults=_CHAT_DEFAULTS if client == "chat-client" else _EMBED_DEFAULTS,
    )


# openai, version 1 and later.
_OPENAI = {
    **_same("timeout", "max_retries", "http_client"),
    "azure_endpoint": "endpoint",
    "base_url": "endpoint",
    "api_key": "credential",
    "azure_ad_token_provider": "credential",
    "azure_deployment": "model",
    "default_headers": "headers",
    "api_version": DROPPED,
    "organization": DROPPED,
    "project": DROPPED,
}


def _openai(is_async: bool) -> ClassRule:
    name = "AsyncInferenceClient" if is_async else "InferenceClient"
    return ClassRule(name=name, arguments=_OPENAI, client="openai-client", is_async=is_async)


_LANGCHAIN = {
    "endpoint": "endpoint",
    "project_endpoint": "endpoint",
    "azure_endpoint": "endpoint",
    "base_url": "endpoint",
    "credential": "credential",
    "api_key": "credential",
    "openai_api_key": "credential",
    "azure_ad_token_provider": "credential",
    "model": "model",
    "model_name": "model",
    "azure_deployment": "model",
    "deployment_name": "model",
    "deployment": "model",
    "api_version": DROPPED,
    "openai_api_version": DROPPED,
    "openai_api_type": DROPPED,
    "stream_usage": DROPPED,
    "request_timeout": "timeout",
    "default_headers": "headers",
    **_same("timeout", "max_retries", "model_kwargs"),
}
_LANGCHAIN_CHAT = {
    **_LANGCHAIN,
    **_same("temperature", "max_tokens", "top_p", "stop", "seed", "n", "logprobs", "top_logprobs"),
    **_same("reasoning_effort", "verbosity", "frequency_penalty", "presence_penalty"),
    **_same("logit_bias", "user", "store", "service_tier", "parallel_tool_calls", "streaming"),
    **_same("max_completion_tokens", "cache", "verbose", "callbacks", "tags", "metadata", "name"),
    **_same("rate_limiter", "disable_streaming", "profile"),
}
_LANGCHAIN_EMBED = {
    **_LANGCHAIN,
    "dimensions": "dimensions",
    "chunk_size": DROPPED,
    "embed_batch_size": DROPPED,
    "check_embedding_ctx_length": DROPPED,
    "show_progress_bar": DROPPED,
}
_LC_CHAT = ClassRule(
    module="azinfer.langchain",
    name="ChatAzInfer",
    arguments=_LANGCHAIN_CHAT,
    client="langchain-model",
)
_LC_EMBED = ClassRule(
    module="azinfer.langchain",
    name="AzInferEmbeddings",
    arguments=_LANGCHAIN_EMBED,
    client="langchain-model",
)

_LLAMA = {
    "endpoint": "endpoint",
    "azure_endpoint": "endpoint",
    "credential": "credential",
    "api_key": "credential",
    "azure_ad_token_provider": "credential",
    "model_name": "model",
    "engine": "model",
    "azure_deployment": "model",
    "deployment_name": "model",
    "deployment_id": "model",
    "deployment": "model",
    "model": "model_id",
    "model_kwargs": "additional_kwargs",
    "default_headers": "headers",
    "api_version": DROPPED,
    "reuse_client": DROPPED,
    "use_azure_ad": DROPPED,
    **_same("timeout", "max_retries", "additional_kwargs", "callback_manager"),
}
_LLAMA_LLM = {
    **_LLAMA,
    **_same("temperature", "max_tokens", "logprobs", "top_logprobs", "reasoning_effort"),
    **_same("context_window", "system_prompt", "is_function_calling_model", "output_parser"),
}
_LLAMA_EMBED = {**_LLAMA, **_same("dimensions", "embed_batch_size", "num_workers")}
_LI_LLM = ClassRule(
    module="azinfer.llama_index",
    name="AzInferLLM",
    arguments=_LLAMA_LLM,
    client="llama-index-model",
)
_LI_EMBED = ClassRule(
    module="azinfer.llama_index",
    name="AzInferEmbedding",
    arguments=_LLAMA_EMBED,
    client="llama-index-model",
)

_KERNEL = {
    "endpoint": "endpoint",
    "base_url": "endpoint",
    "api_key": "credential",
    "ad_token_provider": "credential",
    "credential": "credential",
    "deployment_name": "model",
    "ai_model_id": "model",
    "async_client": "client",
    "default_headers": "headers",
    "api_version": DROPPED,
    "token_endpoint": DROPPED,
    **_same("service_id", "env_file_path", "env_file_encoding", "instruction_role"),
}


def _kernel(name: str) -> ClassRule:
    return ClassRule(module="azinfer.semantic_kernel", name=name, arguments=_KERNEL)


def _settings(name: str) -> ClassRule:
    return ClassRule(module="azinfer.semantic_kernel", name=name, any_argument=True)


_CHAT_SETTINGS = _settings("AzInferChatPromptExecutionSettings")
_EMBED_SETTINGS = _settings("AzInferEmbeddingPromptExecutionSettings")
_SK = "semantic_kernel.connectors.ai"

CLASSES: dict[str, ClassRule] = {
    "azure.ai.inference.ChatCompletionsClient": _inference("chat-client", False),
    "azure.ai.inference.EmbeddingsClient": _inference("embed-client", False),
    "azure.ai.inference.ImageEmbeddingsClient": _inference("image-client", False),
    "azure.ai.inference.aio.ChatCompletionsClient": _inference("chat-client", True),
    "azure.ai.inference.aio.EmbeddingsClient": _inference("embed-client", True),
    "azure.ai.inference.aio.ImageEmbeddingsClient": _inference("image-client", True),
    "openai.AzureOpenAI": _openai(False),
    "openai.AsyncAzureOpenAI": _openai(True),
    "openai.OpenAI": _openai(False),
    "openai.AsyncOpenAI": _openai(True),
    "langchain_azure_ai.chat_models.AzureAIChatCompletionsModel": _LC_CHAT,
    "langchain_azure_ai.chat_models.AzureAIOpenAIApiChatModel": _LC_CHAT,
    "langchain_azure_ai.embeddings.AzureAIEmbeddingsModel": _LC_EMBED,
    "langchain_azure_ai.embeddings.AzureAIOpenAIApiEmbeddingsModel": _LC_EMBED,
    "langchain_openai.AzureChatOpenAI": _LC_CHAT,
    "langchain_openai.AzureOpenAIEmbeddings": _LC_EMBED,
    "llama_index.llms.azure_inference.AzureAICompletionsModel": _LI_LLM,
    "llama_index.llms.azure_openai.AzureOpenAI": _LI_LLM,
    "llama_index.embeddings.azure_inference.AzureAIEmbeddingsModel": _LI_EMBED,
    "llama_index.embeddings.azure_openai.AzureOpenAIEmbedding": _LI_EMBED,
    f"{_SK}.azure_ai_inference.AzureAIInferenceChatCompletion": _kernel("AzInferChatCompletion"),
    f"{_SK}.azure_ai_inference.AzureAIInferenceTextEmbedding": _kernel("AzInferTextEmbedding"),
    f"{_SK}.azure_ai_inference.AzureAIInferenceChatPromptExecutionSettings": _CHAT_SETTINGS,
    f"{_SK}.azure_ai_inference.AzureAIInferenceEmbeddingPromptExecutionSettings": _EMBED_SETTINGS,
    f"{_SK}.open_ai.AzureChatCompletion": _kernel("AzInferChatCompletion"),
    f"{_SK}.open_ai.AzureTextEmbedding": _kernel("AzInferTextEmbedding"),
    f"{_SK}.open_ai.AzureTextCompletion": _kernel("AzInferTextCompletion"),
    f"{_SK}.open_ai.AzureChatPromptExecutionSettings": _CHAT_SETTINGS,
}

# Packages of Azure, or retired with it: uses that remain are reported.
ROOTS = (
    *("azure.ai.inference", "openai", "litellm", "langchain_azure_ai"),
    *("llama_index.llms.azure_inference", "llama_index.llms.azure_openai"),
    *("llama_index.embeddings.azure_inference", "llama_index.embeddings.azure_openai"),
    f"{_SK}.azure_ai_inference",
)

_M = "azure.ai.inference.models"
# Names that become another name, wherever they are.
NAMES: dict[str, tuple[str, str]] = {
    **{
        f"{_M}.{old}": (CORE, new)
        for old, new in {
            "SystemMessage": "SystemMessage",
            "UserMessage": "UserMessage",
            "AssistantMessage": "AssistantMessage",
            "ToolMessage": "ToolMessage",
            "DeveloperMessage": "DeveloperMessage",
            "ChatRequestMessage": "ChatMessage",
            "TextContentItem": "TextPart",
            "JsonSchemaFormat": "JsonSchema",
            "ChatCompletionsToolCall": "ToolCall",
            "FunctionCall": "Function",
            "ChatCompletions": "ChatCompletion",
            "ChatChoice": "Choice",
            "ChatResponseMessage": "Message",
            "CompletionsUsage": "Usage",
            "StreamingChatCompletionsUpdate": "ChatCompletionChunk",
            "StreamingChatChoiceUpdate": "ChunkChoice",
            "StreamingChatResponseMessageUpdate": "Delta",
            "StreamingChatResponseToolCallUpdate": "ToolCallChunk",
            "EmbeddingsResult": "Embeddings",
            "EmbeddingItem": "Embedding",
            "ModelInfo": "ModelInfo",
            "StreamingChatCompletions": "ChatStream",
            "AsyncStreamingChatCompletions": "AsyncChatStream",
        }.items()
    },
    **{
        f"openai.{old}": (CORE, new)
        for old, new in {
            "OpenAIError": "InferenceError",
            "APIError": "InferenceError",
            "APIConnectionError": "APIConnectionError",
            "APITimeoutError": "APITimeoutError",
            "APIStatusError": "APIStatusError",
            "BadRequestError": "BadRequestError",
            "UnprocessableEntityError": "BadRequestError",
            "ConflictError": "BadRequestError",
            "AuthenticationError": "AuthenticationError",
            "PermissionDeniedError": "PermissionDeniedError",
            "NotFoundError": "DeploymentNotFoundError",
            "RateLimitError": "RateLimitError",
            "InternalServerError": "ServerError",
            "Stream": "ChatStream",
            "AsyncStream": "AsyncChatStream",
        }.items()
    },
    "openai.types.chat.ChatCompletion": (CORE, "ChatCompletion"),
    "openai.types.chat.ChatCompletionMessage": (CORE, "Message"),
    "openai.types.chat.ChatCompletionMessageParam": (CORE, "ChatMessage"),
    "openai.types.chat.ChatCompletionChunk": (CORE, "ChatCompletionChunk"),
    "openai.types.CreateEmbeddingResponse": (CORE, "Embeddings"),
}
_LITELLM_ERRORS = {
    "APIConnectionError": "APIConnectionError",
    "APIError": "InferenceError",
    "AuthenticationError": "AuthenticationError",
    "BadRequestError": "BadRequestError",
    "ContentPolicyViolationError": "ContentFilterError",
    "ContextWindowExceededError": "ContextLengthExceededError",
    "InternalServerError": "ServerError",
    "NotFoundError": "DeploymentNotFoundError",
    "PermissionDeniedError": "PermissionDeniedError",
    "RateLimitError": "RateLimitError",
    "ServiceUnavailableError": "ServerError",
    "Timeout": "APITimeoutError",
    "UnsupportedParamsError": "UnsupportedParameterError",
}
for _root in ("litellm", "litellm.exceptions"):
    NAMES |= {f"{_root}.{old}": (CORE, new) for old, new in _LITELLM_ERRORS.items()}
NAMES["litellm.ModelResponse"] = NAMES["litellm.types.utils.ModelResponse"] = (
    CORE,
    "ChatCompletion",
)
# Exceptions that all of Azure's SDKs raise: only where no other of them is imported.
AZURE_ERRORS = {
    f"azure.core.exceptions.{old}": (CORE, new)
    for old, new in {
        "AzureError": "InferenceError",
        "HttpResponseError": "InferenceError",
        "ClientAuthenticationError": "AuthenticationError",
        "ResourceNotFoundError": "DeploymentNotFoundError",
        "ServiceRequestError": "APIConnectionError",
        "ServiceRequestTimeoutError": "APITimeoutError",
        "ServiceResponseError": "APIConnectionError",
        "ServiceResponseTimeoutError": "APITimeoutError",
    }.items()
}

_FINISHED = {
    "STOPPED": "stop",
    "TOKEN_LIMIT_REACHED": "length",
    "CONTENT_FILTERED": "content_filter",
    "TOOL_CALLS": "tool_calls",
}
# Members of enumerations that become their text.
TEXTS: dict[str, str] = {
    f"{_M}.{old}.{member}": text
    for old, members in {
        "CompletionsFinishReason": _FINISHED,
        "ChatCompletionsToolChoicePreset": {
            "AUTO": "auto",
            "NONE": "none",
            "REQUIRED": "required",
        },
        "ChatRole": {
            "SYSTEM": "system",
            "DEVELOPER": "developer",
            "USER": "user",
            "ASSISTANT": "assistant",
            "TOOL": "tool",
        },
        "EmbeddingInputType": {"TEXT": "text", "QUERY": "query", "DOCUMENT": "document"},
        "EmbeddingEncodingFormat": {
            "FLOAT": "float",
            "BASE64": "base64",
            "BINARY": "binary",
            "INT8": "int8",
            "UINT8": "uint8",
            "UBINARY": "ubinary",
        },
        "AudioContentFormat": {"WAV": "wav", "MP3": "mp3"},
        "ImageDetailLevel": {"AUTO": "auto", "LOW": "low", "HIGH": "high"},
    }.items()
    for member, text in members.items()
}
