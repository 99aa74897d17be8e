"""Translation to core: AG2's events and tools (`responses` translates answers back)."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ag2.compact import CompactionSummary
from ag2.events import (
    BaseEvent,
    BinaryInput,
    BinaryType,
    DataInput,
    FileIdInput,
    Input,
    ModelRequest,
    ModelResponse,
    TextInput,
    ToolResultEvent,
    ToolResultsEvent,
    UrlInput,
)
from ag2.exceptions import UnsupportedInputError, UnsupportedToolError
from ag2.files import UploadedFile
from ag2.response import ResponseProto
from ag2.tools.final import FunctionToolSchema
from ag2.tools.schemas import ToolSchema
from fast_depends.library.serializer import SerializerProto

from azinfer.ag2.responses import PROVIDER, REASONING, STATE
from azinfer.core import (
    AssistantMessage,
    AudioPart,
    ChatMessage,
    Function,
    ImagePart,
    SystemMessage,
    TextPart,
    Tool,
    ToolCall,
    ToolMessage,
    UserMessage,
)

Part = TextPart | ImagePart | AudioPart | dict[str, Any]

_FORMATS = {"audio/mpeg": "mp3", "audio/x-wav": "wav"}


def to_prompt(prompt: Iterable[str], response_schema: ResponseProto[Any] | None) -> str:
    """Return the instructions before the conversation; empty without instructions."""
    instructions = response_schema and response_schema.system_prompt
    return "\n".join(each for each in (*prompt, instructions) if each)


def to_messages(
    prompt: str, events: Iterable[BaseEvent], serializer: SerializerProto
) -> list[ChatMessage]:
    """Return the history of a stream as core's messages; other events are left out.

    Raises:
        UnsupportedInputError: An input has no wire form.
    """
    events = list(events)
    unattached = _unattached_results(events)
    messages: list[ChatMessage] = [SystemMessage(prompt)] if prompt else []
    for event in events:
        if isinstance(event, ModelResponse):
            messages += _assistant_messages(event, unattached, serializer)
        elif isinstance(event, ToolResultsEvent):
            messages += _tool_messages(event.results, serializer)
        elif isinstance(event, ModelRequest) and event.parts:
            messages.append(UserMessage(_content(event.parts, serializer)))
        elif isinstance(event, CompactionSummary):
            messages.append(UserMessage(f"[What was said before, in short]\n{event.summary}"))
    return messages


def to_tools(schemas: Iterable[ToolSchema]) -> list[Tool]:
    """Return tools in the form of core.

    Raises:
        UnsupportedToolError: One is run by another provider, or loaded later.
    """
    return [_tool(schema) for schema in schemas]


def _unattached_results(events: Iterable[BaseEvent]) -> dict[str, ToolResultEvent]:
    """Return results of tools outside a ToolResultsEvent: those of tools that end a turn."""
    results = {each.parent_id: each for each in events if isinstance(each, ToolResultEvent)}
    for event in events:
        for each in event.results if isinstance(event, ToolResultsEvent) else ():
            results.pop(each.parent_id, None)
    return results


def _assistant_messages(
    response: ModelResponse, unattached: Mapping[str, ToolResultEvent], serializer: SerializerProto
) -> Iterator[ChatMessage]:
    calls, metadata = response.tool_calls.calls, response.metadata
    text, state = response.content, metadata.get(STATE)
    if state and text == metadata.get("refusal"):
        text = None  # the state has this text
    if text or calls or state:
        # The arguments go back unchanged: invalid JSON must not fail here.
        yield AssistantMessage(
            text or None,
            [ToolCall(each.id, Function(each.name, each.arguments or "{}")) for each in calls],
            reasoning=metadata.get(REASONING),
            state=state,
        )
    yield from _tool_messages(
        [unattached[each.id] for each in calls if each.id in unattached], serializer
    )


def _tool_messages(
    results: Sequence[ToolResultEvent], serializer: SerializerProto
) -> Iterator[ChatMessage]:
    for each in results:
        parts = [_part(part, serializer) for part in each.result.parts]
        texts = [part.text for part in parts if isinstance(part, TextPart)]
        yield ToolMessage("\n".join(texts) if len(texts) == len(parts) else parts, each.parent_id)


def _content(inputs: Sequence[Input], serializer: SerializerProto) -> str | list[Part]:
    parts = [_part(each, serializer) for each in inputs]
    return parts[0].text if len(parts) == 1 and isinstance(parts[0], TextPart) else parts


def _part(item: Input, serializer: SerializerProto) -> Part:
    if isinstance(item, TextInput):
        return TextPart(item.content)
    if isinstance(item, DataInput):
        return TextPart(serializer.encode(item.data).decode())
    if isinstance(item, BinaryInput):
        return _binary(item)
    if isinstance(item, UrlInput):
        return _url(item)
    if isinstance(item, FileIdInput):
        return _file(item)
    raise UnsupportedInputError(type(item).__name__, PROVIDER)


def _binary(item: BinaryInput) -> Part:
    url = f"data:{item.media_type};base64,{base64.b64encode(item.data).decode()}"
    ending = item.media_type.rpartition("/")[2].partition("+")[0]
    if item.kind == BinaryType.IMAGE:
        return ImagePart(url, item.vendor_metadata.get("detail"))
    if item.kind == BinaryType.AUDIO:
        return AudioPart(item.data, _FORMATS.get(item.media_type, ending))
    if item.kind == BinaryType.DOCUMENT:
        name = item.vendor_metadata.get("filename") or f"document.{ending}"
        return {"type": "file", "file": {"filename": name, "file_data": url}}
    raise UnsupportedInputError(f"BinaryInput of the kind {_name_of(item.kind)}", PROVIDER)


def _url(item: UrlInput) -> Part:
    if item.kind == BinaryType.IMAGE:
        return ImagePart(item.url)
    if item.kind == BinaryType.AUDIO:
        return AudioPart(item.url)
    raise UnsupportedInputError(
        f"UrlInput of the kind {_name_of(item.kind)}, which is not fetched: pass its bytes",
        PROVIDER,
    )


def _file(item: FileIdInput) -> Part:
    if isinstance(item, UploadedFile) and item.provider is not None:
        raise UnsupportedInputError(f"file uploaded to {_name_of(item.provider)}", PROVIDER)
    return {"type": "file", "file": {"file_id": item.file_id}}


def _name_of(kind: Any) -> str:
    return str(getattr(kind, "value", kind))


def _tool(schema: ToolSchema) -> Tool:
    if not isinstance(schema, FunctionToolSchema):
        raise UnsupportedToolError(schema.type, PROVIDER)
    if schema.defer_loading:
        raise UnsupportedToolError("function with defer_loading", PROVIDER)
    function = schema.function
    parameters = {"properties": {}, **function.parameters, "type": "object"}
    return Tool(function.name, function.description or None, parameters)
