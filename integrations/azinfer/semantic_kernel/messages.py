"""Translation to the wire: a chat history, its contents, calls and results of functions."""

from __future__ import annotations

import base64
import json
import mimetypes
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from semantic_kernel.contents.annotation_content import AnnotationContent
from semantic_kernel.contents.audio_content import AudioContent
from semantic_kernel.contents.binary_content import BinaryContent
from semantic_kernel.contents.chat_message_content import ChatMessageContent
from semantic_kernel.contents.function_call_content import FunctionCallContent
from semantic_kernel.contents.function_result_content import FunctionResultContent
from semantic_kernel.contents.image_content import ImageContent
from semantic_kernel.contents.reasoning_content import ReasoningContent
from semantic_kernel.contents.streaming_annotation_content import StreamingAnnotationContent
from semantic_kernel.contents.text_content import TextContent
from semantic_kernel.contents.utils.author_role import AuthorRole

from azinfer.core import AudioPart, ConfigurationError, ImagePart

Json = dict[str, Any]

# The key of an answer's metadata for its state, as core calls it.
STATE = "azinfer_state"


def to_messages(
    messages: Sequence[ChatMessageContent], instruction_role: str = "system"
) -> list[Json]:
    """Return messages of a chat history in the wire form.

    Each result of a function becomes a message of its own; contents besides results, and media in
    them, are moved to a user message after them, since the wire accepts only text there.

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
            wire.append(_with_name(message, _assistant(message)))
        else:
            system = message.role == AuthorRole.SYSTEM
            role = instruction_role if system else message.role.value
            wire.append(_with_name(message, {"role": role, "content": _content(message)}))
    if beside:
        wire.append({"role": "user", "content": beside})
    return wire


def image_source(item: ImageContent) -> bytes | str:
    """Return the bytes or the URL of an image, as core accepts them.

    Raises:
        ConfigurationError: It has neither.
    """
    source: bytes | str = _bytes(item) or _url(item)
    if isinstance(source, bytes) and item.mime_type.startswith("image/"):
        return _data_url(item.mime_type, source)
    return source


def _with_name(message: ChatMessageContent, wire: Json) -> Json:
    return {**wire, "name": message.name} if message.name else wire


def _assistant(message: ChatMessageContent) -> Json:
    for item in message.items:
        if not isinstance(item, (FunctionCallContent, TextContent, *_SILENT)):
            raise _unsendable(item, "an answer that goes back to a model")
    calls = [_call(item) for item in message.items if isinstance(item, FunctionCallContent)]
    text = "".join(item.text for item in message.items if isinstance(item, TextContent))
    wire = {"role": "assistant", **_reasoning_fields(message)}
    if "state" in wire and text == message.metadata.get("refusal"):
        text = ""  # the state has this text
    if text or not calls:
        wire["content"] = text
    if calls:
        wire["tool_calls"] = calls
    return wire


def _reasoning_fields(message: ChatMessageContent) -> Json:
    """Return what models may need back besides text and calls; core sends it to those that do."""
    items = [item for item in message.items if isinstance(item, ReasoningContent)]
    thought = "".join(item.text or "" for item in items)
    kept = {"reasoning_content": thought, "state": message.metadata.get(STATE)}
    return {name: value for name, value in kept.items() if value}


def _call(item: FunctionCallContent) -> Json:
    arguments = item.arguments or "{}"
    if not isinstance(arguments, str):
        arguments = json.dumps(dict(arguments), ensure_ascii=False)
    name = item.name or item.custom_fully_qualified_name("-")
    function = {"name": name, "arguments": arguments}
    return {"id": item.id or item.call_id or "", "type": "function", "function": function}


def _results(message: ChatMessageContent) -> tuple[list[Json], list[Json]]:
    """Return the results of functions, and the parts besides them that are not text."""
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
        raise ConfigurationError("a message with the role tool has no FunctionResultContent")
    return results, beside


def _media(result: Any) -> list[Json]:
    return list(_parts([result])) if isinstance(result, BinaryContent) else []


def _result_text(result: Any) -> str:
    """Return a function's result as text: data as JSON, which models read better than reprs."""
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
        to_wire = next(
            (convert for kind, convert in _PARTS.items() if isinstance(item, kind)), None
        )
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
    """Return the URL of a content without data.

    Paths are refused: prompts may contain text from strangers, which must not make us read files.
    """
    url = str(item.uri or "")
    if not url.startswith(("https://", "http://", "data:")):
        raise ConfigurationError(
            f"{type(item).__name__} has no data and {url!r} is not a URL; read a file with "
            f"{type(item).__name__}.from_file"
        )
    return url


def _unsendable(item: Any, where: str) -> ConfigurationError:
    return ConfigurationError(f"{type(item).__name__} cannot be sent in {where}: {str(item)[:200]}")


# What models thought, and where texts came from, is never sent back.
_SILENT = (ReasoningContent, AnnotationContent, StreamingAnnotationContent)
_PARTS: dict[type, Callable[[Any], Json]] = {
    TextContent: _text,
    ImageContent: _image,
    AudioContent: _audio,
    BinaryContent: _file,
}
