"""Call LlamaIndex components sync and async in the same way, so that each test covers both."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Sequence
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from client_driver import SURFACES

USER = [ChatMessage("hi")]
# Tests that look at the body of a request, which has another form on the other wires.
on_chat = pytest.mark.parametrize("llama_address", SURFACES, indirect=True)
# The documents of indexes.
FACTS = [
    "A deployment is a name given to a model under a configuration.",
    "The harvest of olives begins in October, when the first fruits turn purple.",
    "The old lighthouse was built of granite and has guided ships since 1847.",
]


def payload_of(component: Any) -> dict[str, Any]:
    """Return what events of the framework have of a component; before 0.14.24 nothing."""
    payload: dict[str, Any] = component.to_payload() if hasattr(component, "to_payload") else {}
    return payload


class Person(BaseModel):
    """A person."""

    name: str
    age: int


def call_method(component: Any, kind: str, method: str, *args: Any, **named: Any) -> Any:
    """Return what a method returns, or all that its stream yields; `kind` is sync or async."""
    if kind == "sync":
        result = getattr(component, method)(*args, **named)
        return list(result) if inspect.isgenerator(result) else result

    async def call_async() -> Any:
        result = await getattr(component, f"a{method}")(*args, **named)
        return [each async for each in result] if hasattr(result, "__aiter__") else result

    return asyncio.run(call_async())


def get_weather(city: str) -> str:
    """The current weather in a city."""
    return f"It is sunny in {city}."


def ping() -> str:
    """Check whether the machine is up."""
    return "pong"


def tool(function: Any = get_weather) -> FunctionTool:
    """Return a tool of a function."""
    return FunctionTool.from_defaults(function)


def deltas(responses: Sequence[ChatResponse]) -> str:
    """Join the deltas of a stream."""
    return "".join(each.delta or "" for each in responses)
