"""Structured output: what the service is asked for, and what reads the answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from typing import Any, cast

from langchain_core.exceptions import ModelRefusalError, OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.output_parsers import (
    JsonOutputParser,
    PydanticOutputParser,
)
from langchain_core.output_parsers.openai_tools import (
    JsonOutputKeyToolsParser,
    PydanticToolsParser,
)
from langchain_core.outputs import ChatGeneration
from langchain_core.runnables import Runnable, RunnableGenerator
from langchain_core.runnables.utils import AddableDict
from langchain_core.utils.function_calling import (
    convert_to_json_schema,
    convert_to_openai_tool,
)
from langchain_core.utils.pydantic import is_basemodel_subclass

from azinfer.langchain.errors import answer_filtered
from azinfer.langchain.messages import without_defaults


def response_format_of(schema: Any, method: str, strict: bool | None) -> dict[str, Any]:
    """The `response_format` that asks for values of a schema."""
    if method == "json_mode":
        return {"type": "json_object"}
    if isinstance(schema, Mapping) and schema.get("type") == "json_schema":
        return dict(schema)
    strict = True if strict is None and isinstance(schema, type) else strict
    described = convert_to_json_schema(schema, strict=strict)
    described = without_defaults(described) if strict else described
    named = {"name": described.pop("title"), "schema": described}
    if description := described.pop("description", None):
        named["description"] = description
    if strict is not None:
        named["strict"] = strict
    return {"type": "json_schema", "json_schema": named}


def parser_of(schema: Any, method: str) -> Runnable[AIMessage, Any]:
    """What makes a value of a schema of an answer; in a stream, values that grow."""
    parser = _parser(schema, method)

    # Generators and no functions, so that what comes is handed on while an answer is streamed.
    def checked(messages: Iterator[AIMessage]) -> Iterator[AIMessage]:
        whole: AIMessage | None = None
        for message in messages:
            whole = _added(whole, message)
            yield message
        _check(whole, parser)

    async def achecked(messages: AsyncIterator[AIMessage]) -> AsyncIterator[AIMessage]:
        whole: AIMessage | None = None
        async for message in messages:
            whole = _added(whole, message)
            yield message
        _check(whole, parser)

    parsed: Runnable[AIMessage, Any] = RunnableGenerator(checked, achecked, name="check") | parser
    return parsed


def raw_and_parsed(schema: Any, method: str) -> Runnable[AIMessage, Any]:
    """What makes an answer `{"raw", "parsed", "parsing_error"}`, growing while it is streamed."""
    parser = _parser(schema, method)

    def both(messages: Iterator[AIMessage]) -> Iterator[dict[str, Any]]:
        whole: AIMessage | None = None
        for message in messages:
            whole = _added(whole, message)
            yield from _beside(message, whole, parser)
        yield _at_the_end(whole, parser)

    async def aboth(messages: AsyncIterator[AIMessage]) -> AsyncIterator[dict[str, Any]]:
        whole: AIMessage | None = None
        async for message in messages:
            whole = _added(whole, message)
            for part in _beside(message, whole, parser):
                yield part
        yield _at_the_end(whole, parser)

    return RunnableGenerator(both, aboth, name="parse")


def _parser(schema: Any, method: str) -> Any:
    pydantic = isinstance(schema, type) and is_basemodel_subclass(schema)
    if method == "function_calling" and pydantic:
        return PydanticToolsParser(tools=[schema], first_tool_only=True)
    if method == "function_calling":
        name = convert_to_openai_tool(schema)["function"]["name"]
        return JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)
    return PydanticOutputParser(pydantic_object=schema) if pydantic else JsonOutputParser()


def _added(whole: AIMessage | None, message: AIMessage) -> AIMessage:
    added: Any = message if whole is None else cast("Any", whole) + message
    return cast("AIMessage", added)


def _beside(message: AIMessage, whole: AIMessage, parser: Any) -> Iterator[dict[str, Any]]:
    """A part of the answer, and what the answer comes to so far."""
    yield AddableDict(raw=message)
    if isinstance(whole, AIMessageChunk):
        with suppress(Exception):
            value = parser.parse_result([ChatGeneration(message=whole)], partial=True)
            # Streamed dictionaries add up; what can be added would be there twice.
            if value is not None and not hasattr(value, "__add__"):
                yield AddableDict(parsed=value)


def _at_the_end(whole: AIMessage | None, parser: Any) -> dict[str, Any]:
    try:
        return AddableDict(parsed=parser.invoke(_told(whole)), parsing_error=None)
    except Exception as error:
        return AddableDict(parsed=None, parsing_error=error)


def _check(whole: AIMessage | None, parser: Any) -> None:
    """Tell of an answer that is no value; of a stream nobody else asks that at its end."""
    message = _told(whole)
    if isinstance(message, AIMessageChunk):
        parser.invoke(message)


def _told(message: AIMessage | None) -> AIMessage:
    """Tell refusals and answers that were cut off from answers that are no value."""
    if message is None:
        raise OutputParserException("the model answered nothing")
    if refusal := message.additional_kwargs.get("refusal"):
        raise ModelRefusalError(f"the model refused: {refusal}", raw_message=message)
    reason = message.response_metadata.get("finish_reason")
    if reason == "content_filter":
        raise answer_filtered(message.response_metadata.get("content_filter_results") or {})
    if reason == "length":
        raise OutputParserException(
            "the answer was cut off before its value was whole: raise max_tokens",
            llm_output=str(message.content),
        )
    return message
