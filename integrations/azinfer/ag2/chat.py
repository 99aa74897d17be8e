"""AzInferClient: the model client that answers AG2's agents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ag2.config import LLMClient
from ag2.context import ConversationContext
from ag2.events import BaseEvent, ModelMessageChunk, ModelReasoning, ModelResponse
from ag2.response import ResponseProto
from ag2.tools.schemas import ToolSchema
from fast_depends.library.serializer import SerializerProto
from typing_extensions import override

from azinfer.ag2.connection import reveal
from azinfer.ag2.messages import to_messages, to_prompt, to_tools
from azinfer.ag2.responses import from_completion
from azinfer.ag2.structured import response_format_of
from azinfer.core import AsyncInferenceClient, ChatCompletion, ChatMessage, ConfigurationError


class AzInferClient(LLMClient):
    """A model client of AG2; `AzInferConfig` creates it.

    Args:
        client: The core client that sends.
        streaming: Whether answers come in parts.
        **options: Options of each call: the deployment as `model`, `temperature`, `headers` (also
            pydantic's SecretStr) and so on.

    Raises:
        ConfigurationError: `n` is larger than 1, but AG2 uses one answer.
    """

    def __init__(
        self, client: AsyncInferenceClient, *, streaming: bool = False, **options: Any
    ) -> None:
        if (options.get("n") or 1) > 1:
            raise ConfigurationError("an agent of AG2 uses one answer: leave out n")
        self._client = client
        self._streaming = streaming
        self._options = options

    @override
    async def __call__(
        self,
        messages: Sequence[BaseEvent],
        context: ConversationContext,
        *,
        tools: Iterable[ToolSchema],
        response_schema: ResponseProto[Any] | None,
        serializer: SerializerProto,
    ) -> ModelResponse:
        """Request the next message, and send what arrives to the stream.

        Raises:
            InferenceError: The core client's errors, as they are.
            UnsupportedInputError: An input has no wire form.
            UnsupportedToolError: A chat deployment cannot call this kind of tool.
        """
        request = to_messages(to_prompt(context.prompt, response_schema), messages, serializer)
        options = self._call_options(tools, response_schema)
        if self._streaming:
            answer = await self._stream(request, options, context)
        else:
            answer = await self._client.complete(request, **options)
            if answer.reasoning:
                await context.send(ModelReasoning(answer.reasoning))
        response = from_completion(answer)
        if response.message and response.content:
            await context.send(response.message)
        return response

    def _call_options(
        self, tools: Iterable[ToolSchema], response_schema: ResponseProto[Any] | None
    ) -> dict[str, Any]:
        """Return the options of one call."""
        options = dict(self._options)
        if headers := options.get("headers"):
            options["headers"] = {name: reveal(value) for name, value in headers.items()}
        if wire := to_tools(tools):
            options["tools"] = wire
        else:
            # The service refuses it without tools.
            options.pop("tool_choice", None)
        if wanted := response_format_of(response_schema):
            options["response_format"] = wanted
        return options

    async def _stream(
        self, request: list[ChatMessage], options: dict[str, Any], context: ConversationContext
    ) -> ChatCompletion:
        async with self._client.stream(request, **options) as chunks:
            async for chunk in chunks:
                if thought := chunk.reasoning:
                    await context.send(ModelReasoning(thought))
                if text := chunk.text:
                    await context.send(ModelMessageChunk(text))
        return chunks.completion
