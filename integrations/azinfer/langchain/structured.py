"""Structured output: the request for it, and the parser of its answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from langchain_core.exceptions import ModelRefusalError, OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import Runnable, RunnableGenerator
from langchain_core.utils.function_calling import (
    convert_to_json_schema,
    convert_to_openai_tool,
)
from langchain_core.utils.json import parse_json_markdown, parse_partial_json
from langchain_core.utils.pydantic import is_basemodel_subclass
from typing_extensions import override

from azinfer.core import strict_schema
from azinfer.langchain.errors import answer_filtered
from azinfer.langchain.responses import parse_arguments

# Returns the value of a complete answer, or (True) of one so far; None if it has no value.
Parse = Callable[[AIMessage, bool], Any]
Make = Callable[[Any], Any]


def response_format_of(schema: Any, method: str, strict: bool | None) -> dict[str, Any]:
    """Return the `response_format` that asks for values of a schema."""
    if method == "json_mode":
        return {"type": "json_object"}
    if isinstance(schema, dict) and schema.get("type") == "json_schema":
        return schema
    strict = True if strict is None and isinstance(schema, type) else strict
    described = convert_to_json_schema(schema, strict=strict)
    described = strict_schema(described) if strict else described
    named = {"name": described.pop("title"), "schema": described}
    if description := described.pop("description", None):
        named["description"] = description
    if strict is not None:
        named["strict"] = strict
    return {"type": "json_schema", "json_schema": named}


def parser_of(schema: Any, method: str, include_raw: bool) -> Runnable[AIMessage, Any]:
    """Return a parser that turns an answer into a value, or `{"raw", "parsed", "parsing_error"}`.

    While an answer is streamed, the values grow.
    """
    kind, parse = _RawAndValues if include_raw else _Values, _parser_for(schema, method)

    # Generators and not functions, so that values come while an answer is streamed.
    def read(messages: Iterator[AIMessage]) -> Iterator[Any]:
        answer = kind(parse)
        for message in messages:
            yield from answer.add(message)
        yield from answer.end()

    async def aread(messages: AsyncIterator[AIMessage]) -> AsyncIterator[Any]:
        answer = kind(parse)
        async for message in messages:
            for value in answer.add(message):
                yield value
        for value in answer.end():
            yield value

    return RunnableGenerator(read, aread)


class _Values:
    """The values of an answer so far, part by part."""

    def __init__(self, parse: Parse) -> None:
        self._parse = parse
        self._whole: Any = None
        self._last: Any = None

    def add(self, message: AIMessage) -> Iterator[Any]:
        """Yield the value that a further part of the answer changes."""
        self._whole = message if self._whole is None else self._whole + message
        value = None
        with suppress(Exception):  # no value yet
            value = self._parse(self._whole, True)
        if value not in (None, self._last):
            self._last = value
            yield value

    def end(self) -> Iterator[Any]:
        """Yield the value that the end of the answer adds."""
        value = self._value()
        if value is None or value != self._last:
            yield value

    def _value(self) -> Any:
        message = _check_complete(self._whole)
        try:
            return self._parse(message, False)
        except OutputParserException:
            raise
        except ValueError as error:
            text = f"the answer does not match its schema ({error}): {message.text[:200]}"
            raise OutputParserException(text, llm_output=message.text) from error


class _RawAndValues(_Values):
    """The same together with the parts themselves, with errors as values."""

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
    """A part that later steps and traces add up: messages grow, and the last value counts.

    LangChain's AddableDict would add up lists, and cannot add dictionaries.
    """

    def __add__(self, other: _Part) -> _Part:
        whole = _Part({**self, **other})
        if "raw" in self and "raw" in other:
            whole["raw"] = self["raw"] + other["raw"]
        return whole


def _parser_for(schema: Any, method: str) -> Parse:
    make = _constructor_of(schema)
    if method == "function_calling":
        name = convert_to_openai_tool(schema)["function"]["name"]
        return lambda message, partial: _parse_call(message, partial, make, name)
    return lambda message, partial: _parse_text(message, partial, make)


def _constructor_of(schema: Any) -> Make:
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        model: Any = schema
        make: Make = getattr(model, "model_validate", None) or model.parse_obj  # of pydantic 1
        return make
    return lambda value: value


def _parse_call(message: AIMessage, partial: bool, make: Make, name: str) -> Any:
    if not partial:
        calls: Sequence[Any] = message.invalid_tool_calls
        if isinstance(message, AIMessageChunk):
            calls = message.tool_call_chunks  # in whose tool calls LangChain repairs broken JSON
        for call in calls:
            parse_arguments(call["name"], call["args"])
    arguments = [call["args"] for call in message.tool_calls if call["name"] == name]
    return make(arguments[0]) if arguments else None


def _parse_text(message: AIMessage, partial: bool, make: Make) -> Any:
    if message.tool_calls:
        return None
    parser = parse_partial_json if partial else _whole_json
    return make(parse_json_markdown(message.text, parser=parser))


def _whole_json(text: str) -> Any:
    # Models add words after it, and write line breaks into strings.
    return json.JSONDecoder(strict=False).raw_decode(text)[0]


def _check_complete(message: AIMessage) -> AIMessage:
    """Raise for refusals and incomplete answers, which differ from answers without a value."""
    if refusal := message.additional_kwargs.get("refusal"):
        raise ModelRefusalError(f"the model refused: {refusal}", raw_message=message)
    reason = message.response_metadata.get("finish_reason")
    if reason == "content_filter":
        raise answer_filtered(message.response_metadata.get("content_filter_results", {}))
    if reason == "length":
        raise OutputParserException(
            "the answer was cut off before its value was complete: raise max_tokens",
            llm_output=message.text,
        )
    return message
