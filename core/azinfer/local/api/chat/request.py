"""Requests of chats: checked field by field before an engine sees them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from azinfer.local.api.chat.messages import check_messages
from azinfer.local.engines.schema.budget import run_in_thread
from azinfer.local.wire.body import BodyReader, Json
from azinfer.local.wire.shared_options import check_shared_options

_MOST_TOOLS = 128
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass(slots=True, kw_only=True)  # making a frozen one takes four times as long
class ChatRequest:
    """A chat completion request that was checked.

    `strict_name` is the name of the answer's schema if it is to be strict.
    """

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
    logprobs: int | None = None
    strict_name: str | None = None


def parse_chat_request(body: Json, surface: str) -> ChatRequest:
    """Return the checked request of a chat completion's body.

    Raises:
        ErrorResponse: The body is not valid; the error names the field.
    """
    fields = BodyReader(body, surface)
    check_shared_options(body, surface)
    for name in ("frequency_penalty", "presence_penalty"):
        fields.number(name, -2, 2, 0)
    tools = _tools(fields)
    choice, named = _tool_choice(fields, tools)
    limit = fields.whole("max_completion_tokens", 1, 10**6) or fields.whole("max_tokens", 1, 10**6)
    options = body.get("stream_options")
    if options is not None and not isinstance(options, Mapping):
        raise fields.error("stream_options", "Invalid type for 'stream_options'.", "invalid_type")
    return ChatRequest(
        messages=check_messages(fields),
        model=fields.text("model"),
        stream=fields.boolean("stream"),
        include_usage=bool((options or {}).get("include_usage")),
        max_tokens=limit,
        temperature=fields.number("temperature", 0, 2, 1),
        top_p=fields.number("top_p", 0, 1, 1),
        stop=_stop(fields),
        seed=fields.whole("seed", -(2**63), 2**63 - 1),
        n=fields.whole("n", 1, 128) or 1,
        tools=tools,
        tool_choice=choice,
        named_tool=named,
        parallel=fields.boolean("parallel_tool_calls", True),
        json_schema=_response_format(fields),
        logprobs=_logprobs(fields),
        strict_name=_strict_name(body.get("response_format")),
    )


async def check_schemas(request: ChatRequest) -> None:
    """Raise if no engine can conform to the schemas of a request's answer or tools.

    Raises:
        EngineError: A schema is too large, not valid, or refers to something that it does not
            contain.
    """
    schemas = {
        f"tools.{at}.function.parameters": tool["function"].get("parameters") or {}
        for at, tool in enumerate(request.tools)
    }
    if request.json_schema is not None:
        schemas["response_format.json_schema.schema"] = request.json_schema
    if schemas:
        await run_in_thread(_check_schemas, schemas)


def _check_schemas(schemas: Mapping[str, Json]) -> None:
    # Most programs send no schema.
    from azinfer.local.engines.schema import validation

    for where, schema in schemas.items():
        validation.check(schema, where)


def _logprobs(fields: BodyReader) -> int | None:
    wanted, alternatives = fields.boolean("logprobs"), fields.whole("top_logprobs", 0, 20)
    if alternatives is not None and not wanted:
        raise fields.error("top_logprobs", "'top_logprobs' needs 'logprobs' to be true.")
    return (alternatives or 0) if wanted else None


def _stop(fields: BodyReader) -> tuple[str, ...]:
    stop = fields.body.get("stop")
    texts = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
        raise fields.error("stop", "'stop' must be a text or a list of texts that are not empty.")
    if fields.openai and len(texts) > 4:
        message = (
            "Invalid 'stop': array too long. Expected an array with maximum length 4, but got an "
            f"array with length {len(texts)} instead."
        )
        raise fields.error("stop", message, "array_above_max_length")
    return tuple(texts)


def _tools(fields: BodyReader) -> list[Json]:
    tools = fields.body.get("tools")
    if tools is None:
        return []
    if not isinstance(tools, list):
        raise fields.error("tools", "'tools' must be a list.", "invalid_type")
    if len(tools) > _MOST_TOOLS:
        message = (
            "Invalid 'tools': array too long. Expected an array with maximum length "
            f"{_MOST_TOOLS}, but got an array with length {len(tools)} instead."
        )
        raise fields.error("tools", message, "array_above_max_length")
    if not tools:
        raise fields.error("tools", "[] is too short - 'tools'", "empty_array")
    for at, tool in enumerate(tools):
        _check_tool(fields, tool, at)
    return tools


def _check_tool(fields: BodyReader, tool: Any, at: int) -> None:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise fields.error(
            f"tools.{at}.function.name",
            f"Invalid 'tools[{at}].function.name': letters, digits, _ and -, at most 64.",
        )
    schema = function.get("parameters") if isinstance(function, Mapping) else None
    if schema is not None and not isinstance(schema, Mapping):
        raise fields.error(f"tools.{at}.function.parameters", "'parameters' must be a JSON Schema.")
    if fields.openai:
        _check_tool_type(fields, tool, at)


def _check_tool_type(fields: BodyReader, tool: Json, at: int) -> None:
    kind = tool.get("type")
    if kind is None:
        message = f"Missing required parameter: 'tools[{at}].type'."
        raise fields.error(f"tools.{at}.type", message, "missing_required_parameter")
    if kind != "function":
        raise fields.unsupported(f"tools.{at}.type", kind, ("function",))


def _tool_choice(fields: BodyReader, tools: Sequence[Json]) -> tuple[str, str | None]:
    """Return the mode, and the name of the tool if the choice names one."""
    choice = fields.body.get("tool_choice")
    if choice is None:
        return ("auto" if tools else "none"), None
    if choice in ("auto", "none", "required"):
        if not tools and choice != "none":
            raise fields.error(
                "tool_choice", "'tool_choice' is only allowed when 'tools' are specified."
            )
        return choice, None
    function = choice.get("function") if isinstance(choice, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if name not in [tool["function"]["name"] for tool in tools]:
        raise fields.error(
            "tool_choice", f"Tool choice {name!r} not found in 'tools' parameter.", "invalid_value"
        )
    return "named", name


def _response_format(fields: BodyReader) -> Json | None:
    """Return the JSON Schema that the answer must conform to; None for free text."""
    wanted = fields.body.get("response_format")
    kind = wanted.get("type") if isinstance(wanted, Mapping) else wanted
    if kind is None or kind == "text":
        return None
    if kind == "json_object":
        return {"type": "object"}
    described = wanted.get("json_schema") if isinstance(wanted, Mapping) else None
    if kind != "json_schema" or not isinstance(described, Mapping):
        raise fields.error(
            "response_format", "'response_format' must be text, json_object or json_schema."
        )
    schema, name = described.get("schema"), described.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise fields.error(
            "response_format.json_schema.name",
            "Invalid 'response_format.json_schema.name': letters, digits, _ and -, at most 64.",
        )
    if not isinstance(schema, Mapping):
        raise fields.error("response_format.json_schema.schema", "'schema' must be a JSON Schema.")
    return dict(schema)


def _strict_name(wanted: Any) -> str | None:
    described = wanted.get("json_schema") if isinstance(wanted, Mapping) else None
    return described["name"] if described and described.get("strict") is True else None
