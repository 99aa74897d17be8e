"""AzInferChatCompletion: every chat deployment of an endpoint as a Semantic Kernel service."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any, ClassVar

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

from azinfer.semantic_kernel.errors import as_theirs
from azinfer.semantic_kernel.messages import (
    from_chunk,
    from_completion,
    last_messages,
    to_messages,
)
from azinfer.semantic_kernel.service import PROVIDER, Service
from azinfer.semantic_kernel.settings import AzInferChatPromptExecutionSettings


class AzInferChatCompletion(Service, ChatCompletionClientBase):
    """A chat completion service on any Azure AI endpoint: one class for every surface.

    Takes what `azinfer.core.InferenceClient` takes, or such a client as `client`; the arguments
    are those of Service, and `instruction_role`: the role that system messages are sent with,
    `"system"` or `"developer"`.

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

    @override
    def get_prompt_execution_settings_class(self) -> type[PromptExecutionSettings]:
        return AzInferChatPromptExecutionSettings

    @override
    @trace_chat_completion(PROVIDER)
    async def _inner_get_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings
    ) -> list[ChatMessageContent]:
        with as_theirs():
            options = self._options(settings)
            options.pop("stream_options", None)
            messages = self._prepare_chat_history_for_request(chat_history)
            answer = await self.client.complete(messages, **options)
        return from_completion(answer, self._get_ai_model_id(settings))

    @override
    @trace_streaming_chat_completion(PROVIDER)
    async def _inner_get_streaming_chat_message_contents(
        self,
        chat_history: ChatHistory,
        settings: PromptExecutionSettings,
        function_invoke_attempt: int = 0,
    ) -> AsyncGenerator[list[StreamingChatMessageContent], Any]:
        model = self._get_ai_model_id(settings)
        with as_theirs():
            options = self._options(settings)
            messages = self._prepare_chat_history_for_request(chat_history)
            async with self.client.stream(messages, **options) as chunks:
                async for chunk in chunks:
                    if parts := from_chunk(chunk, model, function_invoke_attempt):
                        yield parts
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
                "functions are called for one answer alone: leave out number_of_responses (n)"
            )

    @override
    def _update_function_choice_settings_callback(self) -> Callable[..., None]:
        return update_settings_from_function_call_configuration

    @override
    def _reset_function_choice_settings(self, settings: PromptExecutionSettings) -> None:
        if isinstance(settings, AzInferChatPromptExecutionSettings):
            settings.tool_choice = settings.tools = None
