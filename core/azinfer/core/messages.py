"""What goes into a conversation: messages, their parts, tools and response formats."""

from __future__ import annotations

import base64
import dataclasses
import mimetypes
from collections.abc import (
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from azinfer.core.completions import Message, ToolCall
from azinfer.core.errors import (
    ConfigurationError,
)
from azinfer.core.structured_output import adapter_of, strict_schema

Json: TypeAlias = dict[str, Any]
Source: TypeAlias = bytes | Path | str


@dataclass(frozen=True, slots=True)
class TextPart:
    """Text in a user message that also has other parts."""

    text: str

    def to_wire(self) -> Json:
        """The part as it is sent."""
        return {"type": "text", "text": self.text}


@dataclass(frozen=True, slots=True)
class ImagePart:
    """An image in a user message.

    Attributes:
        source: Bytes, a Path that is read when the message is sent, a URL (passed on, never
            fetched here) or a data URL.
        detail: How closely to look: `"auto"`, `"low"` or `"high"`.
    """

    source: Source
    detail: str | None = None

    def to_wire(self) -> Json:
        """The part as it is sent."""
        detail = {"detail": self.detail} if self.detail else {}
        return {"type": "image_url", "image_url": {"url": image_url(self.source), **detail}}


@dataclass(frozen=True, slots=True)
class AudioPart:
    """Sound in a user message.

    Attributes:
        source: Bytes, a Path, a data URL, or a URL (passed on, never fetched here).
        format: `"wav"` or `"mp3"`; found from the bytes or the name when left out.
    """

    source: Source
    format: str | None = None

    def to_wire(self) -> Json:
        """The part as it is sent: inline data, or the URL for models that take one."""
        if isinstance(self.source, str) and not self.source.startswith("data:"):
            return {"type": "audio_url", "audio_url": {"url": _url(self.source, "audio")}}
        data, kind = _audio(self.source)
        return {"type": "input_audio", "input_audio": {"data": data, "format": self.format or kind}}


Part: TypeAlias = TextPart | ImagePart | AudioPart | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SystemMessage:
    """What the model is told before the conversation."""

    content: str

    def to_wire(self) -> Json:
        """The message as it is sent."""
        return {"role": "system", "content": self.content}


@dataclass(frozen=True, slots=True)
class DeveloperMessage:
    """What reasoning models of OpenAI are told before the conversation."""

    content: str

    def to_wire(self) -> Json:
        """The message as it is sent."""
        return {"role": "developer", "content": self.content}


@dataclass(frozen=True, slots=True)
class UserMessage:
    """What the user says: text, or parts of text, images and sound."""

    content: str | Sequence[Part | str]

    def to_wire(self) -> Json:
        """The message as it is sent."""
        if isinstance(self.content, str):
            return {"role": "user", "content": self.content}
        return {"role": "user", "content": [_part(part) for part in self.content]}


@dataclass(frozen=True, slots=True)
class AssistantMessage:
    """What the model said earlier, with the tools it called."""

    content: str | None = None
    tool_calls: Sequence[ToolCall | Mapping[str, Any]] = ()

    def to_wire(self) -> Json:
        """The message as it is sent."""
        return _assistant(self.content, self.tool_calls)


@dataclass(frozen=True, slots=True)
class ToolMessage:
    """What a tool answered."""

    content: str
    tool_call_id: str

    def to_wire(self) -> Json:
        """The message as it is sent."""
        return {"role": "tool", "tool_call_id": self.tool_call_id, "content": self.content}


ChatMessage: TypeAlias = (
    SystemMessage
    | DeveloperMessage
    | UserMessage
    | AssistantMessage
    | ToolMessage
    | Message
    | Mapping[str, Any]
)


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call.

    Attributes:
        name: Letters, digits, `_` and `-`; at most 64.
        description: What it is for.
        parameters: Its arguments as a JSON Schema; None for none.
        strict: Whether the service must hold the arguments to the schema.
    """

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] | None = None
    strict: bool | None = None

    def to_wire(self) -> Json:
        """The tool as it is sent."""
        return {"type": "function", "function": _set_fields(self)}


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """A JSON Schema that the answer must conform to.

    Attributes:
        name: Letters, digits, `_` and `-`; at most 64.
        schema: The schema.
        strict: Whether the service must hold the answer to it.
        description: What the answer is.
    """

    name: str
    schema: Mapping[str, Any]
    strict: bool | None = True
    description: str | None = None

    def to_wire(self) -> Json:
        """The response format as it is sent."""
        return {"type": "json_schema", "json_schema": _set_fields(self)}


@dataclass(frozen=True, slots=True)
class ImageInput:
    """An image to embed, with or without a text that goes into the same vector."""

    image: Source
    text: str | None = None

    def to_wire(self) -> Json:
        """The input as it is sent."""
        wire = {"image": image_url(self.image)}
        return wire if self.text is None else {**wire, "text": self.text}


def messages_to_wire(messages: Sequence[ChatMessage]) -> list[Json]:
    """Messages as they are sent: typed ones and mappings of the wire form, mixed.

    Raises:
        ConfigurationError: There is no message, or one that is neither.
    """
    if isinstance(messages, str | bytes | Mapping):
        raise ConfigurationError("messages is one message; give a list, like [UserMessage('…')]")
    wire = [_message(message, position) for position, message in enumerate(messages)]
    if not wire:
        raise ConfigurationError("messages is empty; give at least one, like UserMessage('…')")
    return wire


def tool_choice_to_wire(choice: str | Mapping[str, Any]) -> Any:
    """`tool_choice` as it is sent; a name that is no mode means that tool."""
    if isinstance(choice, Mapping) or choice in ("auto", "none", "required"):
        return choice
    return {"type": "function", "function": {"name": choice}}


def response_format_to_wire(wanted: Any) -> Any:
    """`response_format` as it is sent: a name, a mapping, a JsonSchema, or a type to fill."""
    if isinstance(wanted, str):
        return {"type": wanted}
    if isinstance(wanted, JsonSchema):
        return wanted.to_wire()
    if isinstance(wanted, type):
        schema = strict_schema(adapter_of(wanted).json_schema())
        return JsonSchema(wanted.__name__, schema).to_wire()
    # A JsonSchemaFormat of azure-ai-inference is what stands inside.
    if isinstance(wanted, Mapping) and "schema" in wanted and "type" not in wanted:
        return {"type": "json_schema", "json_schema": wanted}
    return wanted


def image_url(source: Source) -> str:
    """An image as a URL: a data URL of bytes or of a file, or the URL as it was given."""
    if isinstance(source, str):
        return _url(source, "image")
    data, name = _read(source)
    kind = _image_type(data) or mimetypes.guess_type(name)[0]
    if not kind or not kind.startswith("image/"):
        raise ConfigurationError(
            f"{name or 'the image'} is no PNG, JPEG, GIF, WebP or BMP; give a data URL instead"
        )
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _message(message: ChatMessage, position: int) -> Json:
    if isinstance(message, Mapping):
        if not isinstance(message.get("role"), str):
            raise ConfigurationError(f"messages[{position}] has no role: {sorted(message)}")
        return dict(message)
    if isinstance(message, Message):
        return _assistant(message.content, message.tool_calls)
    if hasattr(message, "to_wire"):
        return message.to_wire()
    raise ConfigurationError(
        f"messages[{position}] is a {type(message).__name__}; give a message such as "
        "UserMessage('…') or a mapping with role and content"
    )


def _assistant(content: str | None, tool_calls: Sequence[ToolCall | Mapping[str, Any]]) -> Json:
    message: Json = {"role": "assistant"}
    if content is not None or not tool_calls:
        message["content"] = content or ""
    if tool_calls:
        # `type` is required: without it the service answers 424 (models) or 400.
        message["tool_calls"] = [
            call.to_wire() if isinstance(call, ToolCall) else {"type": "function", **call}
            for call in tool_calls
        ]
    return message


def _part(part: Part | str) -> Json:
    if isinstance(part, str):
        return TextPart(part).to_wire()
    return dict(part) if isinstance(part, Mapping) else part.to_wire()


def _set_fields(value: Tool | JsonSchema) -> Json:
    fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
    return {name: value for name, value in fields if value is not None}


def _url(text: str, what: str) -> str:
    if text.startswith(("https://", "http://", "data:")):
        return text
    raise ConfigurationError(
        f"{what} {text[:60]!r} is no URL; give bytes, a pathlib.Path, a URL or a data URL"
    )


def _read(source: bytes | Path) -> tuple[bytes, str]:
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source), ""
    if not hasattr(source, "read_bytes"):
        raise ConfigurationError(
            f"a {type(source).__name__} is no image or sound; give bytes, a pathlib.Path, a URL or "
            "a data URL"
        )
    try:
        return source.read_bytes(), source.name
    except OSError as error:
        raise ConfigurationError(f"{source} cannot be read: {error.strerror}") from None


def _image_type(data: bytes) -> str | None:
    starts = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif", b"BM": "bmp"}
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((f"image/{kind}" for start, kind in starts.items() if data.startswith(start)), None)


def _audio(source: Source) -> tuple[str, str]:
    if isinstance(source, str):
        head, _, encoded = source.partition(",")
        return encoded, "mp3" if "mp3" in head or "mpeg" in head else "wav"
    data, _ = _read(source)
    return base64.b64encode(data).decode(), "wav" if data.startswith(b"RIFF") else "mp3"


Image: TypeAlias = Source | tuple[Source, str] | ImageInput


def image_inputs(images: Sequence[Image]) -> list[ImageInput]:
    """Return images in the form in which each is sent.

    Raises:
        ConfigurationError: It is one image and not a list.
    """
    if isinstance(images, str | bytes | Path | ImageInput):
        raise ConfigurationError("images is one image; give a list, like [Path('cat.png')]")
    return [_image(image) for image in images]


def _image(image: Image) -> ImageInput:
    if isinstance(image, ImageInput):
        return image
    return ImageInput(*image) if isinstance(image, tuple) else ImageInput(image)
