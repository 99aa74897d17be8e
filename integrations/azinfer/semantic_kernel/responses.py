"""Translation from the wire: answers and chunks to Semantic Kernel's contents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from openai.types.completion_usage import CompletionTokensDetails, PromptTokensDetails
from semantic_kernel.connectors.ai.completion_usage import CompletionUsage
from semantic_kernel.contents.annotation_content import AnnotationContent, CitationType
from semantic_kernel.contents.chat_message_content import ChatMessageContent
from semantic_kernel.contents.function_call_content import FunctionCallContent
from semantic_kernel.contents.reasoning_content import ReasoningContent
from semantic_kernel.contents.streaming_annotation_content import StreamingAnnotationContent
from semantic_kernel.contents.streaming_chat_message_content import StreamingChatMessageContent
from semantic_kernel.contents.streaming_reasoning_content import StreamingReasoningContent
from semantic_kernel.contents.streaming_text_content import StreamingTextContent
from semantic_kernel.contents.text_content import TextContent
from semantic_kernel.contents.utils.author_role import AuthorRole
from semantic_kernel.contents.utils.finish_reason import FinishReason

from azinfer.core import (
    ChatCompletion,
    ChatCompletionChunk,
    Choice,
    ChunkChoice,
    Message,
    ToolCallChunk,
    Usage,
    details_of,
)
from azinfer.semantic_kernel.messages import STATE

_Annotation = TypeVar("_Annotation", AnnotationContent, StreamingAnnotationContent)


def from_completion(answer: ChatCompletion, model: str) -> list[ChatMessageContent]:
    """Return an answer in the form of Semantic Kernel, one message for each choice.

    Args:
        answer: The answer.
        model: The service's name for its model.
    """
    return [
        ChatMessageContent(
            role=AuthorRole.ASSISTANT,
            items=list(_items(choice)),
            inner_content=answer,
            ai_model_id=model,
            metadata=metadata_of(answer, choice),
            finish_reason=from_finish_reason(choice.finish_reason),
        )
        for choice in answer.choices
    ]


def from_chunk(
    chunk: ChatCompletionChunk, model: str, attempt: int
) -> list[StreamingChatMessageContent]:
    """Return what a chunk adds, one message for each choice; empty if it adds nothing.

    Usage, metadata and the finish reason come with the last messages: see `last_messages`.

    Args:
        chunk: The chunk.
        model: The service's name for its model; the same for all messages of a stream.
        attempt: The number of earlier rounds of function calls.
    """
    return [
        StreamingChatMessageContent(
            role=AuthorRole.ASSISTANT,
            choice_index=choice.index,
            items=items,
            inner_content=chunk,
            ai_model_id=model,
            metadata={"logprobs": choice.logprobs} if choice.logprobs else None,
            function_invoke_attempt=attempt,
        )
        for choice in chunk.choices
        if (items := list(_streamed_items(choice)))
    ]


def last_messages(
    answer: ChatCompletion, model: str, attempt: int
) -> list[StreamingChatMessageContent]:
    """Return the messages that end a stream, one for each choice, with sources and metadata."""
    return [
        StreamingChatMessageContent(
            role=AuthorRole.ASSISTANT,
            choice_index=choice.index,
            items=list(_annotations(choice.message, StreamingAnnotationContent)),
            ai_model_id=model,
            metadata=metadata_of(answer, choice),
            finish_reason=from_finish_reason(choice.finish_reason),
            function_invoke_attempt=attempt,
        )
        for choice in answer.choices
    ]


def metadata_of(answer: ChatCompletion, choice: Choice) -> dict[str, Any]:
    """Return an answer's metadata, by Semantic Kernel's names where they exist.

    It has `usage` (a CompletionUsage), `logprobs`, `content_filter_results` and, as the service
    spelled it, `finish_reason`; what the service did not send is left out.
    """
    metadata = {
        **details_of(answer, choice),
        "usage": from_usage(answer.usage),
        STATE: choice.message.state,
    }
    return {name: value for name, value in metadata.items() if value}


def from_usage(usage: Usage | None) -> CompletionUsage | None:
    """Return token counts in the form of Semantic Kernel."""
    if usage is None:
        return None
    return CompletionUsage(
        prompt_tokens=usage.prompt_tokens,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=usage.cached_tokens),
        completion_tokens=usage.completion_tokens,
        completion_tokens_details=CompletionTokensDetails(reasoning_tokens=usage.reasoning_tokens),
    )


def from_finish_reason(reason: str | None) -> FinishReason | None:
    """Return why an answer ended; None for a reason that Semantic Kernel does not know."""
    return FinishReason(reason) if reason in _REASONS else None


_REASONS = frozenset(each.value for each in FinishReason)


def _items(choice: Choice) -> Iterator[Any]:
    message = choice.message
    if message.reasoning:
        yield ReasoningContent(text=message.reasoning)
    if text := message.content or message.refusal:
        yield TextContent(text=text)
    yield from _annotations(message, AnnotationContent)
    for call in message.tool_calls:
        yield FunctionCallContent(
            id=call.id, name=call.function.name, arguments=call.function.arguments
        )


def _annotations(message: Message, kind: type[_Annotation]) -> Iterator[_Annotation]:
    """Return the sources that a message names."""
    for each in message.citations:
        yield kind(
            file_id=each.file_id,
            quote=each.text,
            start_index=each.start,
            end_index=each.end,
            url=each.url,
            title=each.title,
            type=CitationType.FILE_CITATION if each.file_id else CitationType.URL_CITATION,
        )


def _streamed_items(choice: ChunkChoice) -> Iterator[Any]:
    delta = choice.delta
    if delta.reasoning:
        yield StreamingReasoningContent(choice_index=choice.index, text=delta.reasoning)
    if text := delta.content or delta.refusal:
        yield StreamingTextContent(choice_index=choice.index, text=text)
    for call in delta.tool_calls:
        yield from _streamed_call(call)


def _streamed_call(call: ToolCallChunk) -> Iterator[FunctionCallContent]:
    """Return the parts of a call, which add up to the call again.

    Semantic Kernel takes the part `{}` as missing arguments and leaves it out of the sum, so an
    empty object inside arguments is passed on in two parts.
    """
    texts = ["{", "}"] if call.arguments == "{}" and call.id is None else [call.arguments]
    for text in texts:
        yield FunctionCallContent(id=call.id, index=call.index, name=call.name, arguments=text)
