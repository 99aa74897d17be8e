"""Translation both ways: a chat history to the wire, answers to Semantic Kernel's contents."""

from __future__ import annotations

import base64
import json
import mimetypes
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from openai.types.completion_usage import CompletionTokensDetails, PromptTokensDetails
from pydantic import BaseModel
from semantic_kernel.connectors.ai.completion_usage import CompletionUsage
from semantic_kernel.contents.annotation_content import AnnotationContent
from semantic_kernel.contents.audio_content import AudioContent
from semantic_kernel.contents.binary_content import BinaryContent
from semantic_kernel.contents.chat_message_content import ChatMessageContent
from semantic_kernel.contents.function_call_content import FunctionCallContent
from semantic_kernel.contents.function_result_content import FunctionResultContent
from semantic_kernel.contents.image_content import ImageContent
from semantic_kernel.contents.reasoning_content import ReasoningContent
from semantic_kernel.contents.streaming_chat_message_content import StreamingChatMessageContent
from semantic_kernel.contents.streaming_reasoning_content import StreamingReasoningContent
from semantic_kernel.contents.streaming_text_content import StreamingTextContent
from semantic_kernel.contents.text_content import TextContent
from semantic_kernel.contents.utils.author_role import AuthorRole
from semantic_kernel.contents.utils.finish_reason import FinishReason

from azinfer.core import (
    AudioPart,
    ChatCompletion,
    ChatCompletionChunk,
    Choice,
    ChunkChoice,
    ConfigurationError,
    ImagePart,
    ToolCallChunk,
    Usage,
)

Json = dict[str, Any]


def to_messages(
    messages: Sequence[ChatMessageContent], instruction_role: str = "system"
) -> list[Json]:
    """Messages of a chat history in the wire form.

    Each result of a function becomes a message of its own; what stands beside results, and media
    in them, moves into a user message after them, since the wire takes only text there.

    Args:
        messages: The messages, oldest first.
        instruction_role: The role of instructions: `"system"` or `"developer"`.

    Raises:
        ConfigurationError: A content cannot be sent; the text names it.
    """
    wire: list[Json] = []
    beside: list[Json] = []
    for message in messages:
        if beside and message.role != AuthorRole.TOOL:
            wire.append({"role": "user", "content": beside})
            beside = []
        if message.role == AuthorRole.TOOL:
            results, more = _results(message)
            wire += results
            beside += more
        elif message.role == AuthorRole.ASSISTANT:
            wire.append(_named(message, _assistant(message)))
        else:
            system = message.role == AuthorRole.SYSTEM
            role = instruction_role if system else message.role.value
            wire.append(_named(message, {"role": role, "content": _content(message)}))
    if beside:
        wire.append({"role": "user", "content": beside})
    return wire


def from_completion(answer: ChatCompletion, model: str) -> list[ChatMessageContent]:
    """An answer as Semantic Kernel has it, one message a choice.

    Args:
        answer: The answer.
        model: What the service calls its model.
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
    """What a chunk adds, one message a choice; none where it adds nothing.

    Usage, metadata and the reason of the end come with the last messages: see `last_messages`.

    Args:
        chunk: The chunk.
        model: What the service calls its model; the same for all messages of a stream.
        attempt: How often functions were called before.
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
    """The messages that end a stream, one a choice: they have the metadata of the whole answer."""
    return [
        StreamingChatMessageContent(
            role=AuthorRole.ASSISTANT,
            choice_index=choice.index,
            items=[],
            ai_model_id=model,
            metadata=metadata_of(answer, choice),
            finish_reason=from_finish_reason(choice.finish_reason),
            function_invoke_attempt=attempt,
        )
        for choice in answer.choices
    ]


def image_source(item: ImageContent) -> bytes | str:
    """The bytes or the URL of an image, as core takes them.

    Raises:
        ConfigurationError: It has neither.
    """
    source: bytes | str = _bytes(item) or _url(item)
    if isinstance(source, bytes) and item.mime_type.startswith("image/"):
        return _data_url(item.mime_type, source)
    return source


def metadata_of(answer: ChatCompletion, choice: Choice) -> Json:
    """What is known of an answer beside its contents, by Semantic Kernel's names where it has some.

    Among it `usage` (a CompletionUsage), `logprobs`, `content_filter_results` and, as the service
    spelled it, `finish_reason`; what the service did not tell is left out.
    """
    routing = answer.routing
    attempt = routing.attempts[-1] if routing and routing.attempts else None
    found = {
        "id": answer.id,
        "created": answer.created,
        "system_fingerprint": answer.raw.get("system_fingerprint"),
        "usage": from_usage(answer.usage),
        "logprobs": choice.logprobs,
        "model": answer.model,
        "deployment": routing and routing.deployment,
        "request_id": attempt and attempt.request_id,
        "adapted": list(routing.adapted) if routing else None,
        "finish_reason": choice.finish_reason,
        "refusal": choice.message.refusal,
        "content_filter_results": choice.content_filter_results,
        "prompt_filter_results": list(answer.prompt_filter_results),
    }
    return {name: value for name, value in found.items() if value}


def from_usage(usage: Usage | None) -> CompletionUsage | None:
    """Token counts as Semantic Kernel has them."""
    if usage is None:
        return None
    return CompletionUsage(
        prompt_tokens=usage.prompt_tokens,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=usage.cached_tokens),
        completion_tokens=usage.completion_tokens,
        completion_tokens_details=CompletionTokensDetails(reasoning_tokens=usage.reasoning_tokens),
    )


def from_finish_reason(reason: str | None) -> FinishReason | None:
    """Why an answer ended; None for a reason that Semantic Kernel has no name for."""
    return FinishReason(reason) if reason in _REASONS else None


_REASONS = frozenset(each.value for each in FinishReason)


def _items(choice: Choice) -> Iterator[Any]:
    message = choice.message
    if message.reasoning:
        yield ReasoningContent(text=message.reasoning)
    if text := message.content or message.refusal:
        yield TextContent(text=text)
    for call in message.tool_calls:
        yield FunctionCallContent(
            id=call.id, name=call.function.name, arguments=call.function.arguments
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
    """A part of a call, as the parts add up again.

    Semantic Kernel takes the part `{}` for no arguments at all and leaves it out of the sum, so
    that an empty object inside of arguments is handed over in two parts.
    """
    texts = ["{", "}"] if call.arguments == "{}" and call.id is None else [call.arguments]
    for text in texts:
        yield FunctionCallContent(id=call.id, index=call.index, name=call.name, arguments=text)


def _named(message: ChatMessageContent, wire: Json) -> Json:
    return {**wire, "name": message.name} if message.name else wire


def _assistant(message: ChatMessageContent) -> Json:
    text, calls = "", []
    for item in message.items:
        if isinstance(item, FunctionCallContent):
            calls.append(_call(item))
        elif isinstance(item, TextContent):
            text += item.text
        elif not isinstance(item, _SILENT):
            raise _unsendable(item, "an answer that goes back to a model")
    wire: Json = {"role": "assistant"}
    if text or not calls:
        wire["content"] = text
    if calls:
        wire["tool_calls"] = calls
    return wire


def _call(item: FunctionCallContent) -> Json:
    given = item.arguments
    arguments = json.dumps(dict(given)) if isinstance(given, Mapping) else given or "{}"
    name = item.name or item.custom_fully_qualified_name("-")
    function = {"name": name, "arguments": arguments}
    return {"id": item.id or item.call_id or "", "type": "function", "function": function}


def _results(message: ChatMessageContent) -> tuple[list[Json], list[Json]]:
    """The results of functions, and what stands beside them or is no text, as parts."""
    results: list[Json] = []
    beside: list[Json] = []
    for item in message.items:
        if isinstance(item, FunctionResultContent):
            media = _media(item.result)
            content = "(attached below)" if media else _result_text(item.result)
            called = item.id or item.call_id or ""
            results.append({"role": "tool", "tool_call_id": called, "content": content})
            beside += media
        else:
            beside += _parts([item])
    if not results:
        raise ConfigurationError("a message of the role tool has no FunctionResultContent")
    return results, beside


def _media(result: Any) -> list[Json]:
    return list(_parts([result])) if isinstance(result, BinaryContent) else []


def _result_text(result: Any) -> str:
    """A function's result as text: JSON where it is data, which models read better than reprs."""
    if isinstance(result, BaseModel) and not isinstance(result, TextContent | ChatMessageContent):
        return result.model_dump_json()
    if isinstance(result, Mapping | list | tuple):
        return json.dumps(result, default=_plain, ensure_ascii=False)
    return str(result)


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)


def _content(message: ChatMessageContent) -> str | list[Json]:
    parts = list(_parts(message.items))
    if len(parts) == 1 and parts[0]["type"] == "text":
        return str(parts[0]["text"])
    return parts or ""


def _parts(items: Iterable[Any]) -> Iterator[Json]:
    for item in items:
        to_wire = next((made for kind, made in _PARTS.items() if isinstance(item, kind)), None)
        if to_wire is not None:
            yield to_wire(item)
        elif not isinstance(item, _SILENT):
            raise _unsendable(item, "a message")


def _text(item: TextContent) -> Json:
    return {"type": "text", "text": item.text}


def _image(item: ImageContent) -> Json:
    return ImagePart(image_source(item), item.metadata.get("detail")).to_wire()


def _audio(item: AudioContent) -> Json:
    source: bytes | str = _bytes(item) or _url(item)
    kind = mimetypes.guess_extension(item.mime_type) if isinstance(source, bytes) else None
    return AudioPart(source, kind and kind.lstrip(".")).to_wire()


def _file(item: BinaryContent) -> Json:
    data = _bytes(item)
    if not data:
        raise ConfigurationError("a BinaryContent has no data; URLs of documents are not fetched")
    ending = mimetypes.guess_extension(item.mime_type) or ".bin"
    file = {"filename": f"document{ending}", "file_data": _data_url(item.mime_type, data)}
    return {"type": "file", "file": file}


def _bytes(item: BinaryContent) -> bytes:
    return bytes(item.data)


def _data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _url(item: BinaryContent) -> str:
    """The URL of a content without data.

    A path is none: prompts are made of what strangers wrote, who must not have files read.
    """
    url = str(item.uri or "")
    if not url.startswith(("https://", "http://", "data:")):
        raise ConfigurationError(
            f"{type(item).__name__} has no data and {url!r} is no URL; read a file with "
            f"{type(item).__name__}.from_file"
        )
    return url


def _unsendable(item: Any, where: str) -> ConfigurationError:
    return ConfigurationError(f"{type(item).__name__} cannot be sent in {where}: {str(item)[:200]}")


# What models thought, and where texts came from, is never sent back.
_SILENT = (ReasoningContent, AnnotationContent)
_PARTS: dict[type, Callable[[Any], Json]] = {
    TextContent: _text,
    ImageContent: _image,
    AudioContent: _audio,
    BinaryContent: _file,
}
