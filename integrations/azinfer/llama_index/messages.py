"""Translation to the wire: LlamaIndex messages, content blocks and tools."""

from __future__ import annotations

import base64
import json
import mimetypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.tools.types import BaseTool

from azinfer.core import AudioPart, ConfigurationError, ImagePart

Json = dict[str, Any]

# The key under which an assistant's message has the state of an answer, as core calls it.
STATE = "azinfer_state"

_ROLES = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "developer",
    MessageRole.USER: "user",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.FUNCTION: "function",
    MessageRole.TOOL: "tool",
    MessageRole.CHATBOT: "assistant",  # the name in the APIs of Cohere and Google
    MessageRole.MODEL: "assistant",
}


def to_messages(messages: Sequence[ChatMessage]) -> list[Json]:
    """Return LlamaIndex messages in the wire form, without changing them.

    Raises:
        ConfigurationError: A content block cannot be sent; the text names it.
    """
    return [_message(_ROLES[message.role], message) for message in messages]


def to_tools(tools: Sequence[BaseTool]) -> list[Json]:
    """Return tools in the wire form."""
    return [tool.metadata.to_openai_tool(skip_length_check=True) for tool in tools]


def to_tool_choice(choice: Any, required: bool, tools: Sequence[Json]) -> Any:
    """Return a tool choice of any form that LlamaIndex's models know in the wire form.

    Args:
        choice: `"auto"`, `"none"`, `"required"` (or `"any"`, True), a tool's name, the wire form,
            or None.
        required: Whether some tool must be called if there is no choice.
        tools: The tools, in the wire form.

    Raises:
        ConfigurationError: It names a tool that does not exist.
    """
    if choice is None or choice is False:
        return "required" if required else None
    if choice is True or choice == "any":
        return "required"
    if isinstance(choice, Mapping) or choice in ("auto", "none", "required"):
        return choice
    names = [tool["function"]["name"] for tool in tools]
    if choice not in names:
        raise ConfigurationError(
            f"tool_choice={choice!r} is not the name of a tool; choose from {names}"
        )
    return {"type": "function", "function": {"name": choice}}


def _plain_message(role: str, message: ChatMessage) -> Json:
    parts = list(_parts(message.blocks))
    name = message.additional_kwargs.get("name")
    wire: Json = {"role": role, "content": parts, **({"name": name} if name else {})}
    if role != "user" or len(parts) < 2:
        texts = [part.get("text") for part in parts]
        if None not in texts:
            wire["content"] = "\n".join(map(str, texts))
    return wire


def _message(role: str, message: ChatMessage) -> Json:
    if role == "tool":
        return _tool_answer(message)
    return _assistant(message) if role == "assistant" else _plain_message(role, message)


def _tool_answer(message: ChatMessage) -> Json:
    call_id = message.additional_kwargs.get("tool_call_id")
    if not call_id:
        raise ConfigurationError(
            "a message with the role 'tool' needs the id of the call that it answers: "
            "ChatMessage(…, additional_kwargs={'tool_call_id': …})"
        )
    content: Any = list(_parts(message.blocks))
    if all(part["type"] == "text" for part in content):
        content = "\n".join(part["text"] for part in content)
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def _assistant(message: ChatMessage) -> Json:
    if audio := message.additional_kwargs.get("reference_audio_id"):
        return {"role": "assistant", "audio": {"id": audio}}
    blocks = [block for block in message.blocks if not isinstance(block, ToolCallBlock)]
    parts = list(_parts(blocks))
    if media := [part["type"] for part in parts if part["type"] != "text"]:
        raise ConfigurationError(f"an assistant's message with {media[0]} cannot be sent back")
    wire: Json = {"role": "assistant"}
    calls = _calls(message)
    text = "\n".join(part["text"] for part in parts)
    if state := message.additional_kwargs.get(STATE):
        wire["state"] = state
        if text == message.additional_kwargs.get("refusal"):
            text = ""  # the state has this text
    thoughts = [block.content for block in message.blocks if isinstance(block, ThinkingBlock)]
    if thought := "".join(text for text in thoughts if text):
        wire["reasoning_content"] = thought  # core sends it to models that need it back
    if text or not calls:
        wire["content"] = text
    if calls:
        wire["tool_calls"] = calls
    return wire


def _calls(message: ChatMessage) -> list[Json]:
    """Return the calls of an assistant: its blocks, or the field of older versions."""
    blocks = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
    if blocks:
        return [to_call(each.tool_call_id, each.tool_name, each.tool_kwargs) for each in blocks]
    kept = message.additional_kwargs.get("tool_calls") or ()
    return [dict(each) if isinstance(each, Mapping) else each.model_dump() for each in kept]


def to_call(call_id: str | None, name: str, arguments: str | Mapping[str, Any]) -> Json:
    """Return one tool call in the wire form, with its arguments as a JSON string."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    function = {"name": name, "arguments": text or "{}"}
    return {"id": call_id or "", "type": "function", "function": function}


def _parts(blocks: Sequence[Any]) -> Iterator[Json]:
    for block in blocks:
        translate = _BLOCKS.get(type(block))
        if translate is None:
            raise ConfigurationError(f"a {type(block).__name__} cannot be sent to any deployment")
        yield from translate(block)


def _text(block: TextBlock) -> Iterator[Json]:
    yield {"type": "text", "text": block.text}


def _image(block: ImageBlock) -> Iterator[Json]:
    if block.url:
        yield ImagePart(str(block.url), block.detail).to_wire()
        return
    data = block.resolve_image().read()
    source = _data_url(data, block.image_mimetype) if block.image_mimetype else data
    yield ImagePart(source, block.detail).to_wire()


def _audio(block: AudioBlock) -> Iterator[Json]:
    source = str(block.url) if block.url else block.resolve_audio().read()
    yield AudioPart(source, block.format).to_wire()


def _document(block: DocumentBlock) -> Iterator[Json]:
    if block.data is None and block.path is None:
        raise ConfigurationError("a DocumentBlock needs data or path; URLs are not fetched")
    data = block.resolve_document().read()
    kind = block.document_mimetype or mimetypes.guess_type(str(block.path))[0] or ""
    if kind.startswith("text/"):
        yield {"type": "text", "text": data.decode()}
        return
    name = block.title or "document"
    if "." not in name:  # the wire requires a file name with the right extension
        name += mimetypes.guess_extension(kind) or ".pdf"
    url = _data_url(data, kind or "application/pdf")
    yield {"type": "file", "file": {"filename": name, "file_data": url}}


def _citable(block: CitableBlock) -> Iterator[Json]:
    yield {"type": "text", "text": f"{block.title} ({block.source})"}
    yield from _parts(block.content)


def _citation(block: CitationBlock) -> Iterator[Json]:
    yield from _parts([block.cited_content])


def _nothing(block: Any) -> Iterator[Json]:
    return iter(())


def _data_url(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


_BLOCKS: dict[type, Callable[[Any], Iterator[Json]]] = {
    TextBlock: _text,
    ImageBlock: _image,
    AudioBlock: _audio,
    DocumentBlock: _document,
    CitableBlock: _citable,
    CitationBlock: _citation,
    ThinkingBlock: _nothing,  # it is sent back besides the content: see `_assistant`
    CachePoint: _nothing,  # the service caches prompts by itself
}
