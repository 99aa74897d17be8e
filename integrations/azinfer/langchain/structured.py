"""Structured output: what the service is asked for, and what reads the answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
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
from langchain_core.utils.function_calling import (
    convert_to_json_schema,
    convert_to_openai_tool,
)
from langchain_core.utils.pydantic import is_basemodel_subclass
from typing_extensions import override

from azinfer.core import strict_schema
from azinfer.langchain.errors import answer_filtered


def response_format_of(schema: Any, method: str, strict: bool | None) -> dict[str, Any]:
    """The `response_format` that asks for values of a schema."""
    if method == "json_mode":
        return {"type": "json_object"}
    if isinstance(schema, Mapping) and schema.get("type") == "json_schema":
        return dict(schema)
    strict = True if strict is None and isinstance(schema, type) else strict
    described = convert_to_json_schema(schema, strict=strict)
    described = strict_schema(described) if strict else described
    named = {"name": described.pop("title"), "schema": described}
    if description := described.pop("description", None):
        named["description"] = description
    if strict is not None:
        named["strict"] = strict
    return {"type": "json_schema", "json_schema": named}


def parser_of(schema: Any, method: str) -> Runnable[AIMessage, Any]:
    """What makes a value of a schema of an answer; in a stream, values that grow."""
    return _reading(lambda: _Values(_parser(schema, method)))


def raw_and_parsed(schema: Any, method: str) -> Runnable[AIMessage, Any]:
    """What makes an answer `{"raw", "parsed", "parsing_error"}`, growing while it is streamed."""
    return _reading(lambda: _RawAndValues(_parser(schema, method)))


class _Values:
    """The values that an answer comes to, part by part."""

    def __init__(self, parser: Any) -> None:
        self._parser = parser
        self._whole: AIMessage | None = None
        self._last: Any = None

    def add(self, message: AIMessage) -> Iterator[Any]:
        """What a further part of the answer changes."""
        self._whole = message if self._whole is None else cast("Any", self._whole) + message
        value = None
        if isinstance(message, AIMessageChunk):
            with suppress(Exception):  # no value yet
                value = self._parsed(partial=True)
        if value not in (None, self._last):
            self._last = value
            yield value

    def end(self) -> Iterator[Any]:
        """What is still to be told at the answer's end."""
        value = self._value()
        if value is None or value != self._last:
            yield value

    def _value(self) -> Any:
        """What the whole answer comes to; None where the model called a tool instead."""
        message = _told(self._whole)
        if isinstance(self._parser, JsonOutputParser) and message.tool_calls:
            return None
        return self._parsed()

    def _parsed(self, partial: bool = False) -> Any:
        message = cast("AIMessage", self._whole)
        if isinstance(self._parser, PydanticToolsParser):
            # It fails at calls of other tools, which the parsers of other schemas leave alone.
            own = {convert_to_openai_tool(tool)["function"]["name"] for tool in self._parser.tools}
            calls = [call for call in message.tool_calls if call["name"] in own]
            message = message.model_copy(update={"tool_calls": calls})
        return self._parser.parse_result([ChatGeneration(message=message)], partial=partial)


class _RawAndValues(_Values):
    """The same beside the parts themselves, with errors as values."""

    @override
    def add(self, message: AIMessage) -> Iterator[Any]:
        yield _Part(raw=message)
        for value in super().add(message):
            yield _Part(parsed=value)

    @override
    def end(self) -> Iterator[Any]:
        try:
            yield _Part(parsed=self._value(), parsing_error=None)
        except Exception as error:
            yield _Part(parsed=None, parsing_error=error)


class _Part(dict[str, Any]):
    """What a step after this one, and a trace, add up: messages grow, and the last value stays.

    LangChain's AddableDict would add up lists, and adds no dictionaries.
    """

    def __add__(self, other: _Part) -> _Part:
        whole = _Part({**self, **other})
        if "raw" in self and "raw" in other:
            whole["raw"] = self["raw"] + other["raw"]
        return whole


def _reading(start: Callable[[], _Values]) -> Runnable[AIMessage, Any]:
    # A generator and no function, so that values come while an answer is streamed.
    def read(messages: Iterator[AIMessage]) -> Iterator[Any]:
        answer = start()
        for message in messages:
            yield from answer.add(message)
        yield from answer.end()

    async def aread(messages: AsyncIterator[AIMessage]) -> AsyncIterator[Any]:
        answer = start()
        async for message in messages:
            for value in answer.add(message):
                yield value
        for value in answer.end():
            yield value

    return RunnableGenerator(read, aread, name="parse")


def _parser(schema: Any, method: str) -> Any:
    pydantic = isinstance(schema, type) and is_basemodel_subclass(schema)
    if method == "function_calling" and pydantic:
        return PydanticToolsParser(tools=[schema], first_tool_only=True)
    if method == "function_calling":
        name = convert_to_openai_tool(schema)["function"]["name"]
        return JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)
    return PydanticOutputParser(pydantic_object=schema) if pydantic else JsonOutputParser()


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
