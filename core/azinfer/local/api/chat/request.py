"""Requests: chats that are asked for, checked field by field before an engine sees them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from azinfer.local.api.chat.messages import messages
from azinfer.local.engines.schema import validation
from azinfer.local.wire.body import BodyReader, Json

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


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


def parse_chat_request(body: Json, surface: str) -> ChatRequest:
    """Check the body of a chat completion.

    Raises:
        ErrorResponse: It is wrong; the answer names the field.
    """
    given = BodyReader(body, surface)
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
        messages=messages(given),
        model=given.text("model"),
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


def check_schemas(request: ChatRequest) -> None:
    """Raise if no engine can conform to the schemas of a request's answer or tools.

    Raises:
        EngineError: A schema is too large, not valid, or refers to something that it does not
            contain.
    """
    if request.json_schema is not None:
        validation.check(request.json_schema, "response_format.json_schema.schema")
    for at, tool in enumerate(request.tools):
        where = f"tools.{at}.function.parameters"
        validation.check(tool["function"].get("parameters") or {}, where)


def _check_logprobs(given: BodyReader) -> None:
    wanted = given.boolean("logprobs")
    if given.whole("top_logprobs", 0, 20) is not None and not wanted:
        raise given.wrong("top_logprobs", "'top_logprobs' needs 'logprobs' to be true.")


def _stop(given: BodyReader) -> tuple[str, ...]:
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


def _tools(given: BodyReader) -> list[Json]:
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


def _tool_choice(given: BodyReader, tools: Sequence[Json]) -> tuple[str, str | None]:
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


def _response_format(given: BodyReader) -> Json | None:
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
