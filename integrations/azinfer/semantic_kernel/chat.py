"""AzInferChatCompletion: every chat deployment of an endpoint as a Semantic Kernel service."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any, ClassVar, Unpack

from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.connectors.ai.function_calling_utils import (
    update_settings_from_function_call_configuration,
)
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.contents.chat_history import ChatHistory
from semantic_kernel.contents.chat_message_content import ChatMessageContent
from semantic_kernel.contents.streaming_chat_message_content import StreamingChatMessageContent
from semantic_kernel.exceptions.service_exceptions import ServiceInvalidExecutionSettingsError
from semantic_kernel.utils.telemetry.model_diagnostics.decorators import (
    trace_chat_completion,
    trace_streaming_chat_completion,
)
from typing_extensions import override

from azinfer.core import hidden
from azinfer.semantic_kernel.connection import PROVIDER, Arguments, DeploymentConnection
from azinfer.semantic_kernel.errors import translated_errors
from azinfer.semantic_kernel.messages import to_messages
from azinfer.semantic_kernel.responses import from_chunk, from_completion, last_messages
from azinfer.semantic_kernel.settings import AzInferChatPromptExecutionSettings
from azinfer.semantic_kernel.telemetry import annotate_span, describe_answer


class AzInferChatCompletion(DeploymentConnection, ChatCompletionClientBase):
    """A chat completion service on any Azure AI endpoint: one class for every surface.

    The constructor does not touch the network.

    Args:
        endpoint: Any URL that a portal or a sample shows, loopback over http included. By
            default the environment's AZURE_AI_INFERENCE_ENDPOINT, or the variables of core.
        credential: A key, a credential of azure-identity, or a function that returns a token.
            By default the environment's key for that endpoint.
        model: The deployment's name, in any case; settings may name another for one request.
            By default the endpoint's own, or the environment's
            AZURE_OPENAI_CHAT_DEPLOYMENT_NAME.
        instruction_role: The role that instructions are sent with: `"system"` or `"developer"`.
        model_id: The model behind it, for example `"gpt-4.1"`, if its name does not say so.
        timeout: Seconds for each attempt, or a Timeout.
        max_retries: How often a call is sent again after a temporary failure.
        headers: Sent with every request.
        surface: The way to address deployments, if the URL does not say so.
        api_version: Sent instead of the surface's default.
        client: A ready client, instead of the arguments above; you close it yourself.
        service_id: The service's name in the kernel; by default the deployment's name.
        env_file_path: A file with variables that the environment lacks; by default `.env`.
        env_file_encoding: The encoding of that file; by default UTF-8.

    Raises:
        ServiceInitializationError: There is no endpoint, no credential or no deployment.

    Example:
        >>> from azinfer.semantic_kernel import AzInferChatCompletion
        >>> service = AzInferChatCompletion(
        ...     endpoint="https://contoso.services.ai.azure.com",
        ...     credential="a-key",
        ...     model="mistral-large",
        ...     service_id="chat",
        ... )
        >>> service.service_url()
        'https://contoso.services.ai.azure.com/openai/v1'
    """

    SUPPORTS_FUNCTION_CALLING: ClassVar[bool] = True
    _deployment_variable: ClassVar[str] = "AZURE_OPENAI_CHAT_DEPLOYMENT_NAME"

    def __init__(
        self,
        endpoint: str | None = None,
        credential: Any = None,
        model: str | None = None,
        *,
        instruction_role: str | None = None,
        **more: Unpack[Arguments],
    ) -> None:
        role = instruction_role or "system"
        # Tracebacks may show variables.
        credential, endpoint = hidden(credential), hidden(endpoint)
        super().__init__(endpoint, credential, model, instruction_role=role, **more)

    @override
    def get_prompt_execution_settings_class(self) -> type[PromptExecutionSettings]:
        return AzInferChatPromptExecutionSettings

    @override
    @trace_chat_completion(PROVIDER)
    async def _inner_get_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings
    ) -> list[ChatMessageContent]:
        with translated_errors():
            options = self._options(settings)
            options.pop("stream_options", None)
            model = options["model"] or self.ai_model_id
            span = annotate_span("chat", model, options)
            messages = self._prepare_chat_history_for_request(chat_history)
            answer = await self.client.complete(messages, **options)
        describe_answer(span, answer)
        return from_completion(answer, model)

    @override
    @trace_streaming_chat_completion(PROVIDER)
    async def _inner_get_streaming_chat_message_contents(
        self,
        chat_history: ChatHistory,
        settings: PromptExecutionSettings,
        function_invoke_attempt: int = 0,
    ) -> AsyncGenerator[list[StreamingChatMessageContent], Any]:
        with translated_errors():
            options = self._options(settings)
            model = options["model"] or self.ai_model_id
            span = annotate_span("chat", model, options)
            messages = self._prepare_chat_history_for_request(chat_history)
            async with self.client.stream(messages, **options) as chunks:
                async for chunk in chunks:
                    if parts := from_chunk(chunk, model, function_invoke_attempt):
                        yield parts
            describe_answer(span, chunks.completion)
            yield last_messages(chunks.completion, model, function_invoke_attempt)

    @override
    def _prepare_chat_history_for_request(
        self, chat_history: ChatHistory, role_key: str = "role", content_key: str = "content"
    ) -> list[dict[str, Any]]:
        return to_messages(chat_history.messages, self.instruction_role)

    @override
    def _verify_function_choice_settings(self, settings: PromptExecutionSettings) -> None:
        if (self._options(settings).get("n") or 1) > 1:
            raise ServiceInvalidExecutionSettingsError(
                "functions can be called for only one answer: leave out number_of_responses (n)"
            )

    @override
    def _update_function_choice_settings_callback(self) -> Callable[..., None]:
        return update_settings_from_function_call_configuration

    @override
    def _reset_function_choice_settings(self, settings: PromptExecutionSettings) -> None:
        for name in ("tool_choice", "tools"):
            setattr(settings, name, None)
