"""Structured output: values of a pydantic model, from complete and from streamed answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ToolCallBlock
from llama_index.core.bridge.pydantic import BaseModel, ValidationError
from llama_index.core.program.utils import create_flexible_model
from pydantic_core import from_json

from azinfer.core import InvalidResponseError

_CUT = {
    "length": "it ran out of tokens; raise max_tokens",
    "content_filter": "the content filter ended it",
}


def parse_value(response: ChatResponse, output_cls: type[BaseModel]) -> Any:
    """Return an answer as a value.

    Raises:
        InvalidResponseError: The model refused, or its answer was cut off.
        ValidationError: The answer does not match the model.
    """
    if refusal := response.message.additional_kwargs.get("refusal"):
        raise InvalidResponseError(f"the model refused: {refusal}")
    if why := _CUT.get(response.additional_kwargs.get("finish_reason", "")):
        raise InvalidResponseError(f"the answer is not a complete {output_cls.__name__}: {why}")
    return output_cls.model_validate_json(_json_of(response))


def parse_stream(responses: Iterable[ChatResponse], output_cls: type[BaseModel]) -> Generator[Any]:
    """Yield the value of a streamed answer as it grows, and the complete value at its end.

    Raises:
        InvalidResponseError: As for `parse_value`.
        ValidationError: As for `parse_value`.
    """
    accumulator = _ValueAccumulator(output_cls)
    for response in responses:
        yield from accumulator.add(response)
    yield accumulator.value()


async def aparse_stream(
    responses: AsyncIterable[ChatResponse], output_cls: type[BaseModel]
) -> AsyncGenerator[Any]:
    """Yield the same from an async stream."""
    accumulator = _ValueAccumulator(output_cls)
    async for response in responses:
        for value in accumulator.add(response):
            yield value
    yield accumulator.value()


class _ValueAccumulator:
    """The values of an incomplete answer: of the model, or with missing fields."""

    def __init__(self, output_cls: type[BaseModel]) -> None:
        self._output_cls = output_cls
        self._flexible = create_flexible_model(output_cls)
        self._before: Any = None
        self._last = ChatResponse(message=ChatMessage())

    def value(self) -> Any:
        """Return the value at the end."""
        return parse_value(self._last, self._output_cls)

    def add(self, response: ChatResponse) -> Iterable[Any]:
        """Return the value so far, if there is a new one."""
        self._last = response
        try:
            fields = from_json(_json_of(response), allow_partial="trailing-strings")
        except ValueError:
            return ()
        if not isinstance(fields, dict) or fields == self._before or _is_last(response):
            return ()
        self._before = fields
        try:
            return (self._output_cls.model_validate(fields),)
        except ValidationError:
            return (self._flexible.model_validate(fields),)


def _is_last(response: ChatResponse) -> bool:
    return "finish_reason" in response.additional_kwargs


def _json_of(response: ChatResponse) -> str:
    """Return the arguments of the first tool call, or the text."""
    for block in response.message.blocks:
        if isinstance(block, ToolCallBlock):
            return str(block.tool_kwargs)
    return response.message.content or ""
