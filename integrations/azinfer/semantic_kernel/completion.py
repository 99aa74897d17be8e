"""AzInferTextCompletion: prompts without roles, answered by a chat deployment."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, ClassVar, Unpack

from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.connectors.ai.text_completion_client_base import TextCompletionClientBase
from semantic_kernel.contents.streaming_text_content import StreamingTextContent
from semantic_kernel.contents.text_content import TextContent
from semantic_kernel.utils.telemetry.model_diagnostics.decorators import (
    trace_streaming_text_completion,
    trace_text_completion,
)
from typing_extensions import override

from azinfer.core import ChatCompletion, Choice, UserMessage, hidden
from azinfer.semantic_kernel.connection import PROVIDER, Arguments, DeploymentConnection
from azinfer.semantic_kernel.errors import translated_errors
from azinfer.semantic_kernel.responses import metadata_of
from azinfer.semantic_kernel.settings import AzInferChatPromptExecutionSettings
from azinfer.semantic_kernel.telemetry import annotate_span, describe_answer


class AzInferTextCompletion(DeploymentConnection, TextCompletionClientBase):
    """A text completion service: each prompt is sent to a chat deployment as a user message.

    No surface has an operation for plain text any more, and every deployment that writes text
    accepts messages. Arguments, settings and errors are those of AzInferChatCompletion.

    Example:
        >>> from azinfer.semantic_kernel import AzInferTextCompletion
        >>> endpoint = "https://contoso.services.ai.azure.com"
        >>> AzInferTextCompletion(endpoint, "a-key", "mistral-large").service_id
        'mistral-large'
    """

    _deployment_variable: ClassVar[str] = "AZURE_OPENAI_TEXT_DEPLOYMENT_NAME"

    def __init__(
        self,
        endpoint: str | None = None,
        credential: Any = None,
        model: str | None = None,
        **more: Unpack[Arguments],
    ) -> None:
        # Tracebacks may show variables.
        credential, endpoint = hidden(credential), hidden(endpoint)
        super().__init__(endpoint, credential, model, **more)

    @override
    def get_prompt_execution_settings_class(self) -> type[PromptExecutionSettings]:
        return AzInferChatPromptExecutionSettings

    @override
    @trace_text_completion(PROVIDER)
    async def _inner_get_text_contents(
        self, prompt: str, settings: PromptExecutionSettings
    ) -> list[TextContent]:
        with translated_errors():
            options = self._options(settings)
            options.pop("stream_options", None)
            model = options["model"] or self.ai_model_id
            span = annotate_span("text_completions", model, options)
            answer = await self.client.complete([UserMessage(prompt)], **options)
        describe_answer(span, answer)
        return [
            TextContent(
                text=choice.message.content or choice.message.refusal or "",
                inner_content=answer,
                ai_model_id=model,
                metadata=_metadata(answer, choice),
            )
            for choice in answer.choices
        ]

    @override
    @trace_streaming_text_completion(PROVIDER)
    async def _inner_get_streaming_text_contents(
        self, prompt: str, settings: PromptExecutionSettings
    ) -> AsyncGenerator[list[StreamingTextContent], Any]:
        with translated_errors():
            options = self._options(settings)
            model = options["model"] or self.ai_model_id
            span = annotate_span("text_completions", model, options)
            async with self.client.stream([UserMessage(prompt)], **options) as chunks:
                async for chunk in chunks:
                    parts = [
                        StreamingTextContent(
                            choice_index=choice.index,
                            text=text,
                            inner_content=chunk,
                            ai_model_id=model,
                        )
                        for choice in chunk.choices
                        if (text := choice.delta.content or choice.delta.refusal)
                    ]
                    if parts:
                        yield parts
            answer = chunks.completion
            describe_answer(span, answer)
            yield [
                StreamingTextContent(
                    choice_index=choice.index,
                    text="",
                    ai_model_id=model,
                    metadata=_metadata(answer, choice),
                )
                for choice in answer.choices
            ]


def _metadata(answer: ChatCompletion, choice: Choice) -> dict[str, Any]:
    """Return the metadata of a text; with the reasoning, for which texts have no content."""
    thought = choice.message.reasoning
    return {**metadata_of(answer, choice), **({"reasoning": thought} if thought else {})}
