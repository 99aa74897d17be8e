"""One way to ask LlamaIndex components sync and async, so that each test holds for both."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

USER = [ChatMessage("hi")]


class Person(BaseModel):
    """A person."""

    name: str
    age: int


def ask(component: Any, kind: str, method: str, *args: Any, **named: Any) -> Any:
    """What a method returns, or all that its stream yields; `kind` is sync or async."""
    if kind == "sync":
        found = getattr(component, method)(*args, **named)
        return list(found) if inspect.isgenerator(found) else found

    async def asked() -> Any:
        found = await getattr(component, f"a{method}")(*args, **named)
        return [each async for each in found] if hasattr(found, "__aiter__") else found

    return asyncio.run(asked())


def get_weather(city: str) -> str:
    """The current weather in a city."""
    return f"It is sunny in {city}."


def ping() -> str:
    """Tell whether the machine is there."""
    return "pong"


def tool(function: Any = get_weather) -> FunctionTool:
    """A tool of a function."""
    return FunctionTool.from_defaults(function)


def deltas(responses: Sequence[ChatResponse]) -> str:
    """What a stream's deltas add up to."""
    return "".join(each.delta or "" for each in responses)
