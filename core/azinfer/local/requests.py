"""Requests: the bodies of operations, checked field by field before an engine sees them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from azinfer.local.refusals import (
    DEPLOYMENTS,
    SERVERLESS,
    V1,
    Refusal,
    bad_request,
    extra_parameters,
)

Json = dict[str, Any]

# "Get chat completions" and "Get embeddings" of the model inference API.
_DEFINED = frozenset(
    [
        "messages",
        "model",
        "stream",
        "temperature",
        "top_p",
        "frequency_penalty",
        "presence_penalty",
        "max_tokens",
        "stop",
        "seed",
        "tools",
        "tool_choice",
        "response_format",
        "modalities",
        "user_security_context",
    ]
)
# Beyond them, what the models route accepts without the header `extra-parameters`.
_KNOWN_EXTRAS = frozenset(
    [
        "stream_options",
        "n",
        "logprobs",
        "top_logprobs",
        "logit_bias",
        "user",
        "parallel_tool_calls",
        "max_completion_tokens",
        "reasoning_effort",
        "store",
        "metadata",
        "service_tier",
        "prediction",
    ]
)
CHAT = _DEFINED | _KNOWN_EXTRAS
EMBEDDINGS = frozenset(["input", "model", "dimensions", "encoding_format", "input_type", "user"])
_ENCODINGS = ("float", "base64", "int8", "uint8", "binary", "ubinary")
_INPUT_TYPES = ("text", "query", "document")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat completion that was asked for, checked."""

    messages: list[Json]
    model: str | None
    stream: bool
    include_usage: bool
    max_tokens: int | None
    temperature: float
    top_p: float
    stop: tuple[str, ...]
    seed: int | None
    n: int
    tools: list[Json]
    tool_choice: str
    named_tool: str | None
    parallel: bool
    json_schema: Json | None


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """Vectors that were asked for, checked."""

    texts: list[str]
    dimensions: int | None
    encoding: str


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """Vectors of images that were asked for, checked."""

    images: list[tuple[bytes, str | None]]
    dimensions: int | None
    encoding: str


class _Body:
    """A body, and the refusals for what is wrong with it."""

    def __init__(self, body: Json, surface: str) -> None:
        self.body = body
        self.surface = surface

    @property
    def openai(self) -> bool:
        """Whether OpenAI's own API was asked, and not that of all models."""
        return self.surface in (V1, DEPLOYMENTS)

    def wrong(self, param: str, message: str, code: str = "") -> Refusal:
        """The refusal for one field."""
        return bad_request(self.surface, message, param, code)

    def number(self, name: str, low: float, high: float, default: float) -> float:
        """A number within bounds, or the default."""
        value = self.body.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(name, f"Invalid type for '{name}': expected a number.", "invalid_type")
        if not low <= value <= high:
            raise self.wrong(
                name,
                f"Invalid '{name}': expected a value between {low:g} and {high:g}, got {value:g}.",
            )
        return value

    def whole(self, name: str, low: int, high: int) -> int | None:
        """An integer within bounds, or None."""
        value = self.body.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(
                name, f"Invalid type for '{name}': expected an integer.", "invalid_type"
            )
        return int(self.number(name, low, high, 0))

    def boolean(self, name: str, default: bool = False) -> bool:
        """A boolean, or the default."""
        value = self.body.get(name)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(
                name, f"Invalid type for '{name}': expected a boolean.", "invalid_type"
            )
        return default if value is None else value


def check_extras(
    body: Json, surface: str, header: str | None, strict: bool, known: frozenset[str]
) -> Json:
    """The body without the fields that the operation does not know, or a refusal of them.

    Args:
        body: The request's body.
        surface: Where it was sent.
        header: The header `extra-parameters`.
        strict: Whether unknown fields are refused without the header, as the service does.
        known: The fields that it knows.
    """
    if surface in (V1, DEPLOYMENTS):
        header = None
    if header not in (None, "error", "drop", "pass-through"):
        message = f"extra-parameters must be error, drop or pass-through, not '{header}'."
        raise bad_request(surface, message)
    # By the letter the API defines fewer fields than models take; serverless endpoints hold to it.
    if header in ("error", "drop") or (strict and surface == SERVERLESS):
        known = known - _KNOWN_EXTRAS
    if header == "drop":
        return {name: value for name, value in body.items() if name in known}
    extras = sorted(name for name in body if name not in known)
    if extras and (header == "error" if header else strict):
        raise extra_parameters(surface, extras)
    return body


def chat_request(body: Json, surface: str) -> ChatRequest:
    """Check the body of a chat completion.

    Raises:
        Refusal: It is wrong; the answer names the field.
    """
    given = _Body(body, surface)
    for name in ("frequency_penalty", "presence_penalty"):
        given.number(name, -2, 2, 0)
    _check_logprobs(given)
    tools = _tools(given)
    choice, named = _tool_choice(given, tools)
    limit = given.whole("max_completion_tokens", 1, 10**6) or given.whole("max_tokens", 1, 10**6)
    options = body.get("stream_options")
    if options is not None and not isinstance(options, Mapping):
        raise given.wrong("stream_options", "Invalid type for 'stream_options'.", "invalid_type")
    return ChatRequest(
        messages=_messages(given),
        model=_model(given),
        stream=given.boolean("stream"),
        include_usage=bool((options or {}).get("include_usage")),
        max_tokens=limit,
        temperature=given.number("temperature", 0, 2, 1),
        top_p=given.number("top_p", 0, 1, 1),
        stop=_stop(given),
        seed=given.whole("seed", -(2**63), 2**63 - 1),
        n=given.whole("n", 1, 128) or 1,
        tools=tools,
        tool_choice=choice,
        named_tool=named,
        parallel=given.boolean("parallel_tool_calls", True),
        json_schema=_response_format(given),
    )


def embedding_request(body: Json, surface: str) -> EmbeddingRequest:
    """Check the body of an embeddings request.

    Raises:
        Refusal: It is wrong; the answer names the field.
    """
    given = _Body(body, surface)
    texts = body.get("input")
    if isinstance(texts, str):
        texts = [texts]
    if not isinstance(texts, list) or not texts:
        raise given.wrong("input", "'input' must be a text or a list of at least one text.")
    if not all(isinstance(text, str) for text in texts):
        raise given.wrong(
            "input",
            "'input' has something other than texts. Token ids are those of another tokenizer; "
            "send the texts (check_embedding_ctx_length=False in langchain-openai).",
        )
    if len(texts) > 2048:
        raise given.wrong("input", "'input' has too many texts; at most 2048.")
    _model(given)
    return EmbeddingRequest(texts, given.whole("dimensions", 1, 10**5), _encoding(given))


def image_request(body: Json, surface: str) -> ImageRequest:
    """Check the body of an image embeddings request.

    Raises:
        Refusal: It is wrong; the answer names the field.
    """
    given = _Body(body, surface)
    inputs = body.get("input")
    if not isinstance(inputs, list) or not inputs:
        raise given.wrong("input", "'input' must be a list of at least one image.")
    images = [_image(given, each, at) for at, each in enumerate(inputs)]
    _model(given)
    return ImageRequest(images, given.whole("dimensions", 1, 10**5), _encoding(given))


def _image(given: _Body, item: Any, at: int) -> tuple[bytes, str | None]:
    url = item.get("image") if isinstance(item, Mapping) else None
    text = item.get("text") if isinstance(item, Mapping) else None
    head, _, data = url.partition(",") if isinstance(url, str) else ("", "", "")
    if not re.fullmatch(r"data:image/[\w.+-]+;base64", head) or not isinstance(text, str | None):
        raise given.wrong(f"input.{at}", "An image must be a data URL: data:image/png;base64,…")
    try:
        return base64.b64decode(data, validate=True), text
    except binascii.Error:
        raise given.wrong(f"input.{at}.image", "The image is no base64.") from None


def _model(given: _Body) -> str | None:
    model = given.body.get("model")
    if model is not None and not isinstance(model, str):
        raise given.wrong("model", "Invalid type for 'model': expected a string.", "invalid_type")
    return model


def _encoding(given: _Body) -> str:
    known = _ENCODINGS[:2] if given.openai else _ENCODINGS
    encoding = given.body.get("encoding_format") or "float"
    if encoding not in known:
        message = f"'encoding_format' must be one of {', '.join(known)}, not {encoding!r}."
        raise given.wrong("encoding_format", message)
    kind = given.body.get("input_type")
    if not given.openai and kind not in (None, *_INPUT_TYPES):
        message = f"'input_type' must be one of {', '.join(_INPUT_TYPES)}, not {kind!r}."
        raise given.wrong("input_type", message)
    return str(encoding)


def _check_logprobs(given: _Body) -> None:
    wanted = given.boolean("logprobs")
    if given.whole("top_logprobs", 0, 20) is not None and not wanted:
        raise given.wrong("top_logprobs", "'top_logprobs' needs 'logprobs' to be true.")


def _stop(given: _Body) -> tuple[str, ...]:
    stop = given.body.get("stop")
    texts = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
        raise given.wrong("stop", "'stop' must be a text or a list of texts that are not empty.")
    if given.openai and len(texts) > 4:
        message = (
            "Invalid 'stop': array too long. Expected an array with maximum length 4, but got an "
            f"array with length {len(texts)} instead."
        )
        raise given.wrong("stop", message, "array_above_max_length")
    return tuple(texts)


def _messages(given: _Body) -> list[Json]:
    messages = given.body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise given.wrong("messages", "'messages' must be a list of at least one message.")
    open_calls: set[str] = set()
    for at, message in enumerate(messages):
        _message(given, message, f"messages.{at}", open_calls)
    return messages


def _message(given: _Body, message: Any, where: str, open_calls: set[str]) -> None:
    role = message.get("role") if isinstance(message, Mapping) else None
    if role not in _ROLES:
        raise given.wrong(f"{where}.role", f"Invalid value: {role!r}. Supported: {_ROLES}.")
    content = message.get("content")
    if content is None and role not in ("assistant", "tool"):
        raise given.wrong(f"{where}.content", "Invalid value for 'content': expected a string.")
    if isinstance(content, list):
        _parts(given, content, f"{where}.content")
    elif content is not None and not isinstance(content, str):
        raise given.wrong(f"{where}.content", "Invalid type for 'content'.", "invalid_type")
    if role == "assistant":
        open_calls.update(_called(given, message.get("tool_calls"), where))
    if role == "tool" and message.get("tool_call_id") not in open_calls:
        raise given.wrong(
            f"{where}.role",
            "Invalid parameter: messages with role 'tool' must be a response to a preceding "
            "message with 'tool_calls'.",
        )


def _parts(given: _Body, parts: list[Any], where: str) -> None:
    for at, part in enumerate(parts):
        if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
            place = f"{where}.{at}.type"
            raise given.wrong(place, f"Missing required parameter: '{place}'.")


def _called(given: _Body, calls: Any, where: str) -> list[str]:
    if calls is None:
        return []
    if not isinstance(calls, list):
        raise given.wrong(f"{where}.tool_calls", "'tool_calls' must be a list.", "invalid_type")
    ids = []
    for at, call in enumerate(calls):
        place = f"{where}.tool_calls.{at}"
        for name in ("id", "type", "function"):
            if not isinstance(call, Mapping) or not call.get(name):
                raise given.wrong(
                    f"{place}.{name}",
                    f"Missing required parameter: '{place}.{name}'.",
                    "missing_required_parameter",
                )
        function = call["function"]
        if not isinstance(function, Mapping) or not isinstance(function.get("arguments"), str):
            raise given.wrong(f"{place}.function.arguments", "'arguments' must be a JSON string.")
        ids.append(call["id"])
    return ids


def _tools(given: _Body) -> list[Json]:
    tools = given.body.get("tools")
    if tools is None:
        return []
    if not isinstance(tools, list):
        raise given.wrong("tools", "'tools' must be a list.", "invalid_type")
    if not tools:
        raise given.wrong("tools", "[] is too short - 'tools'", "empty_array")
    for at, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, Mapping) else None
        name = function.get("name") if isinstance(function, Mapping) else None
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise given.wrong(
                f"tools.{at}.function.name",
                f"Invalid 'tools[{at}].function.name': letters, digits, _ and -, at most 64.",
            )
        schema = function.get("parameters") if isinstance(function, Mapping) else None
        if schema is not None and not isinstance(schema, Mapping):
            raise given.wrong(
                f"tools.{at}.function.parameters", "'parameters' must be a JSON Schema."
            )
    return tools


def _tool_choice(given: _Body, tools: Sequence[Json]) -> tuple[str, str | None]:
    """The mode, and the tool's name where one is named."""
    choice = given.body.get("tool_choice")
    if choice is None:
        return ("auto" if tools else "none"), None
    if choice in ("auto", "none", "required"):
        if not tools and choice != "none":
            raise given.wrong(
                "tool_choice", "'tool_choice' is only allowed when 'tools' are specified."
            )
        return choice, None
    function = choice.get("function") if isinstance(choice, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if name not in [tool["function"]["name"] for tool in tools]:
        raise given.wrong(
            "tool_choice", f"Tool choice {name!r} not found in 'tools' parameter.", "invalid_value"
        )
    return "named", name


def _response_format(given: _Body) -> Json | None:
    """The JSON Schema that the answer must conform to; None for free text."""
    wanted = given.body.get("response_format")
    kind = wanted.get("type") if isinstance(wanted, Mapping) else wanted
    if kind is None or kind == "text":
        return None
    if kind == "json_object":
        return {"type": "object"}
    described = wanted.get("json_schema") if isinstance(wanted, Mapping) else None
    if kind != "json_schema" or not isinstance(described, Mapping):
        raise given.wrong(
            "response_format", "'response_format' must be text, json_object or json_schema."
        )
    schema, name = described.get("schema"), described.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise given.wrong(
            "response_format.json_schema.name",
            "Invalid 'response_format.json_schema.name': letters, digits, _ and -, at most 64.",
        )
    if not isinstance(schema, Mapping):
        raise given.wrong("response_format.json_schema.schema", "'schema' must be a JSON Schema.")
    return dict(schema)
