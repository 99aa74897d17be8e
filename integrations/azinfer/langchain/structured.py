"""Structured output: what the service is asked for, and what reads the answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from langchain_core.exceptions import ModelRefusalError, OutputParserException
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import (
    JsonOutputKeyToolsParser,
    PydanticToolsParser,
)
from langchain_core.runnables import Runnable, RunnableGenerator
from langchain_core.utils.function_calling import (
    convert_to_json_schema,
    convert_to_openai_tool,
)
from langchain_core.utils.pydantic import is_basemodel_subclass


def response_format_of(schema: Any, method: str, strict: bool | None) -> dict[str, Any]:
    """The `response_format` that asks for values of a schema."""
    if method == "json_mode":
        return {"type": "json_object"}
    if isinstance(schema, Mapping) and schema.get("type") == "json_schema":
        return dict(schema)
    strict = True if strict is None and isinstance(schema, type) else strict
    described = convert_to_json_schema(schema, strict=strict)
    named = {"name": described.pop("title"), "schema": described}
    if description := described.pop("description", None):
        named["description"] = description
    if strict is not None:
        named["strict"] = strict
    return {"type": "json_schema", "json_schema": named}


def parser_of(schema: Any, method: str) -> Runnable[AIMessage, Any]:
    """What makes a value of a schema of an answer."""
    pydantic = isinstance(schema, type) and is_basemodel_subclass(schema)
    parser: Runnable[Any, Any]
    if method == "function_calling" and pydantic:
        parser = PydanticToolsParser(tools=[schema], first_tool_only=True)
    elif method == "function_calling":
        name = convert_to_openai_tool(schema)["function"]["name"]
        parser = JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)
    elif pydantic:
        parser = PydanticOutputParser(pydantic_object=schema)
    else:
        parser = JsonOutputParser()
    # A generator and no function, so that values grow while an answer is streamed.
    return RunnableGenerator(_all_checked, _all_achecked, name="check") | parser


def _all_checked(messages: Iterator[AIMessage]) -> Iterator[AIMessage]:
    for message in messages:
        yield _checked(message)


async def _all_achecked(messages: AsyncIterator[AIMessage]) -> AsyncIterator[AIMessage]:
    async for message in messages:
        yield _checked(message)


def _checked(message: AIMessage) -> AIMessage:
    """Tell refusals and answers that were cut off from answers that are no value."""
    if refusal := message.additional_kwargs.get("refusal"):
        raise ModelRefusalError(f"the model refused: {refusal}", raw_message=message)
    if message.response_metadata.get("finish_reason") == "length":
        raise OutputParserException(
            "the answer was cut off before its value was whole: raise max_tokens",
            llm_output=str(message.content),
        )
    return message
