"""The content of requests: messages, tools, response formats and images to embed."""

from __future__ import annotations

import dataclasses
from collections.abc import (
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

from azinfer.core.arguments import check_tool, is_iterable, refuse
from azinfer.core.completions import Message, ToolCall
from azinfer.core.errors import (
    ConfigurationError,
)
from azinfer.core.message_parts import Part, Source, image_url, parts_to_wire
from azinfer.core.structured_output import adapter_of, strict_schema

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SystemMessage:
    """Instructions for the model, before the conversation.

    Example:
        >>> SystemMessage("Be brief.").to_wire()
        {'role': 'system', 'content': 'Be brief.'}
    """

    role: ClassVar[Literal["system"]] = "system"
    content: str

    def to_wire(self) -> Json:
        """Return the message as it is sent."""
        return {"role": "system", "content": self.content}


@dataclass(frozen=True, slots=True)
class DeveloperMessage:
    """Instructions for reasoning models of OpenAI, before the conversation.

    Example:
        >>> DeveloperMessage("Be brief.").to_wire()
        {'role': 'developer', 'content': 'Be brief.'}
    """

    role: ClassVar[Literal["developer"]] = "developer"
    content: str

    def to_wire(self) -> Json:
        """Return the message as it is sent."""
        return {"role": "developer", "content": self.content}


@dataclass(frozen=True, slots=True)
class UserMessage:
    """A message of the user: text, or parts with text, images, audio and files.

    Example:
        >>> UserMessage("Hello").to_wire()
        {'role': 'user', 'content': 'Hello'}
        >>> UserMessage(["Look:"]).to_wire()["content"]
        [{'type': 'text', 'text': 'Look:'}]
    """

    role: ClassVar[Literal["user"]] = "user"
    content: str | Sequence[Part | str]

    def to_wire(self) -> Json:
        """Return the message as it is sent."""
        content = self.content
        if not isinstance(content, str):
            return {"role": "user", "content": parts_to_wire(content)}
        return {"role": "user", "content": content}


@dataclass(frozen=True, slots=True)
class AssistantMessage:
    """An earlier message of the model, with the tools it called.

    Attributes:
        content: The text.
        tool_calls: The tools it called.
        reasoning: The reasoning that it showed; sent to models that need it back.
        state: The `state` of the answer that this message stands for.

    Example:
        >>> AssistantMessage("Paris.").to_wire()
        {'role': 'assistant', 'content': 'Paris.'}
    """

    role: ClassVar[Literal["assistant"]] = "assistant"
    content: str | None = None
    tool_calls: Sequence[ToolCall | Mapping[str, Any]] = ()
    reasoning: str | None = None
    state: Mapping[str, Any] | None = None

    def to_wire(self) -> Json:
        """Return the message as it is sent."""
        return _assistant(self)


@dataclass(frozen=True, slots=True)
class ToolMessage:
    """The result of a tool call.

    Attributes:
        content: The answer: text, or parts where the wire takes them.
        tool_call_id: The `id` of the call.
        is_error: Whether the tool failed, for wires with a field for that.

    Example:
        >>> ToolMessage("18 °C", tool_call_id="call_1").to_wire()
        {'role': 'tool', 'tool_call_id': 'call_1', 'content': '18 °C'}
    """

    role: ClassVar[Literal["tool"]] = "tool"
    content: str | Sequence[Part | str]
    tool_call_id: str
    is_error: bool = False

    def to_wire(self) -> Json:
        """Return the message as it is sent."""
        content: Any = self.content
        if not isinstance(content, str):
            content = parts_to_wire(content)
        failed = {"is_error": True} if self.is_error else {}
        return {"role": "tool", "tool_call_id": self.tool_call_id, "content": content, **failed}


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
        parameters: Its arguments as a JSON Schema; None if it takes no arguments.
        strict: Whether the service enforces the schema.

    Example:
        >>> Tool("weather", "The weather now").to_wire()["function"]
        {'name': 'weather', 'description': 'The weather now'}
    """

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] | None = None
    strict: bool | None = None

    def __post_init__(self) -> None:
        check_tool(self.name, self.description, parameters=self.parameters)

    def to_wire(self) -> Json:
        """Return the tool as it is sent."""
        return {"type": "function", "function": _set_fields(self)}


@dataclass(frozen=True, slots=True)
class CustomTool:
    """A tool that takes free text instead of JSON, for models and wires that have it.

    Attributes:
        name: Letters, digits, `_` and `-`; at most 64.
        description: What it is for.
        format: What the text must be, for example a grammar; None for any text.

    Example:
        >>> CustomTool("shell").to_wire()
        {'type': 'custom', 'custom': {'name': 'shell'}}
    """

    name: str
    description: str | None = None
    format: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        check_tool(self.name, self.description, format=self.format)

    def to_wire(self) -> Json:
        """Return the tool as it is sent."""
        return {"type": "custom", "custom": _set_fields(self)}


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """A JSON Schema that the response must follow.

    Attributes:
        name: Letters, digits, `_` and `-`; at most 64.
        schema: The schema.
        strict: Whether the service enforces the schema.
        description: What the response is.

    Example:
        >>> JsonSchema("city", {"type": "object"}).to_wire()["json_schema"]
        {'name': 'city', 'schema': {'type': 'object'}, 'strict': True}
    """

    name: str
    schema: Mapping[str, Any]
    strict: bool | None = True
    description: str | None = None

    def __post_init__(self) -> None:
        check_tool(self.name, self.description, schema=self.schema)

    def to_wire(self) -> Json:
        """Return the response format as it is sent."""
        return {"type": "json_schema", "json_schema": _set_fields(self)}


@dataclass(frozen=True, slots=True)
class ImageInput:
    """An image to embed, with or without a text that goes into the same vector.

    Example:
        >>> ImageInput("https://example.com/a.png", "a cat").to_wire()
        {'image': 'https://example.com/a.png', 'text': 'a cat'}
    """

    image: Source
    text: str | None = None

    def to_wire(self) -> Json:
        """Return the input as it is sent."""
        wire = {"image": image_url(self.image)}
        return wire if self.text is None else {**wire, "text": self.text}


_ONE_MESSAGE = (str, bytes, Mapping)


def messages_to_wire(messages: Sequence[ChatMessage]) -> list[Json]:
    """Return messages as they are sent: typed ones and mappings of the wire form, mixed.

    Raises:
        ConfigurationError: There are no messages, or one of them is neither.
    """
    if not isinstance(messages, list) and (
        isinstance(messages, _ONE_MESSAGE) or not is_iterable(messages)
    ):
        raise ConfigurationError(
            "messages must be a list: pass [UserMessage('…')], not one message of the type "
            f"{type(messages).__name__}",
            param="messages",
        )
    wire = [_message(message, position) for position, message in enumerate(messages)]
    if not wire:
        raise ConfigurationError("messages is empty; pass at least one, such as UserMessage('…')")
    return wire


def tool_choice_to_wire(choice: str | Mapping[str, Any]) -> Any:
    """Return `tool_choice` as it is sent; a name that is not a mode is a tool's name."""
    if isinstance(choice, Mapping) or choice in ("auto", "none", "required"):
        return choice
    if not isinstance(choice, str):
        refuse("tool_choice", choice, "'auto', 'none', 'required', or the name of a tool")
    return {"type": "function", "function": {"name": choice}}


def tools_to_wire(tools: Any) -> list[Any]:
    """Return tools as they are sent: typed ones and mappings of the wire form, mixed.

    Raises:
        ConfigurationError: It is not a list, or one of them is neither.
    """
    own = (Tool, CustomTool)
    if isinstance(tools, (str, Mapping)) or not is_iterable(tools):
        raise ConfigurationError(
            f"tools must be a list: pass [Tool(…)], not a value of the type {type(tools).__name__}",
            param="tools",
        )
    wire = [tool.to_wire() if isinstance(tool, own) else tool for tool in tools]
    for position, tool in enumerate(wire):
        if not isinstance(tool, Mapping):
            raise ConfigurationError(
                f"tools[{position}] has the type {type(tool).__name__}; pass a Tool, a CustomTool "
                "or a mapping of the wire form",
                param="tools",
            )
    return wire


def response_format_to_wire(form: Any) -> Any:
    """Return `response_format` as it is sent: a name, a mapping, a JsonSchema or a type."""
    if isinstance(form, str):
        return {"type": form}
    if isinstance(form, JsonSchema):
        return form.to_wire()
    if isinstance(form, type):
        schema = strict_schema(adapter_of(form).json_schema())
        return JsonSchema(form.__name__, schema).to_wire()
    # A JsonSchemaFormat of azure-ai-inference is only the inner object.
    if isinstance(form, Mapping) and "schema" in form and "type" not in form:
        return {"type": "json_schema", "json_schema": form}
    return form


def _message(message: ChatMessage, position: int) -> Json:
    if isinstance(message, Message):
        return _assistant(message)
    if not isinstance(message, Mapping | type) and hasattr(message, "to_wire"):
        wire = message.to_wire()
        if "role" in wire:  # which parts of a message lack
            return wire
    if isinstance(message, Mapping):
        if not isinstance(message.get("role"), str):
            raise ConfigurationError(f"messages[{position}] has no role, only {sorted(message)}")
        return _without_nulls(dict(message))
    raise ConfigurationError(
        f"messages[{position}] has the type {type(message).__name__}; pass a message such as "
        "UserMessage('…'), or a mapping with role and content"
    )


def _assistant(message: AssistantMessage | Message) -> Json:
    wire: Json = {"role": "assistant"}
    if message.content is not None or not message.tool_calls:
        refusal = message.refusal if isinstance(message, Message) else None
        wire["content"] = message.content or refusal or ""
    if message.tool_calls:
        # `type` is required: without it the service responds with 424 (models) or 400.
        wire["tool_calls"] = [
            call.to_wire() if isinstance(call, ToolCall) else {"type": "function", **call}
            for call in message.tool_calls
        ]
    if message.reasoning:
        wire["reasoning_content"] = message.reasoning
    if message.state:
        wire["state"] = message.state
    return wire


def _without_nulls(wire: Json) -> Json:
    """Return a message without `content: null`, which many services refuse.

    A refusal becomes the text of its message: only few services read it back.
    """
    if wire.get("role") not in ("assistant", "tool"):
        return wire
    for name in ("tool_calls", "refusal"):
        if name in wire and not wire[name]:
            del wire[name]
    if wire.get("content") is None:
        wire.pop("content", None)
        if not wire.get("tool_calls") and not wire.get("audio") and not wire.get("function_call"):
            wire["content"] = wire.pop("refusal", "")
    return wire


def _set_fields(value: Tool | CustomTool | JsonSchema) -> Json:
    fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
    return {name: value for name, value in fields if value is not None}


Image: TypeAlias = Source | tuple[Source, str] | ImageInput


def image_inputs(images: Sequence[Image]) -> list[ImageInput]:
    """Return images in the form in which each is sent.

    Raises:
        ConfigurationError: It is one image and not a list.
    """
    if isinstance(images, str | bytes | Path | ImageInput) or not is_iterable(images):
        raise ConfigurationError(
            "images must be a list, not one image; pass [Path('cat.png')], not a value of the type "
            f"{type(images).__name__}",
            param="images",
        )
    return [_image(image) for image in images]


def _image(image: Image) -> ImageInput:
    if isinstance(image, ImageInput):
        return image
    return ImageInput(*image) if isinstance(image, tuple) else ImageInput(image)
