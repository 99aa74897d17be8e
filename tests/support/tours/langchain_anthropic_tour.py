"""LangChain's own class for Claude, `ChatAnthropic`, on Messages."""

from __future__ import annotations

import functools
import warnings
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # their own, when they are imported
    from langchain_anthropic import ChatAnthropic
import pydantic
from langchain_core.messages import HumanMessage, ToolMessage
from tour import ASK, TOOL, Step, take


class City(pydantic.BaseModel):
    """The structure of the JSON answer."""

    city: str


def chat(name: str, url: str, key: str, **named: Any) -> ChatAnthropic:
    """A chat model on Messages."""
    fields: dict[str, Any] = {"model": name, "max_tokens": 2000, **named}
    return ChatAnthropic(base_url=f"{url}/anthropic", api_key=pydantic.SecretStr(key), **fields)


async def answers(url: str, key: str) -> None:
    """A text, sync and async, with its usage."""
    model = chat("claude", url, key)
    for answer in (model.invoke(ASK), await model.ainvoke(ASK)):
        assert answer.text == "Paris."
        assert answer.usage_metadata is not None
        assert answer.usage_metadata["input_tokens"] > 0


async def streams(url: str, key: str) -> None:
    """A text in parts, with its usage."""
    parts: list[Any] = [part async for part in chat("claude", url, key).astream(ASK)]
    whole = functools.reduce(lambda one, other: one + other, parts)
    assert whole.text == "Paris."
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["input_tokens"] > 0


async def calls_tools(url: str, key: str) -> None:
    """A tool loop with thinking, whose signature goes back, whole and streamed."""
    thinking = {"type": "enabled", "budget_tokens": 1024}
    model = chat("thinker", url, key, thinking=thinking).bind_tools([TOOL])
    for is_streamed in (False, True):
        if is_streamed:
            parts: list[Any] = [part async for part in model.astream(ASK)]
            answer: Any = functools.reduce(lambda one, other: one + other, parts)
        else:
            answer = await model.ainvoke(ASK)
        (call,) = answer.tool_calls
        assert (call["name"], call["args"]) == ("get_weather", {"city": "New York"})
        assert "thinking" in [block["type"] for block in answer.content]
        result = ToolMessage("Sunny", tool_call_id=call["id"])
        assert (await model.ainvoke([HumanMessage(ASK), answer, result])).text == "It is sunny."


async def returns_values(url: str, key: str) -> None:
    """A value by a tool that it must call."""
    value = chat("echo", url, key).with_structured_output(City).invoke(ASK)
    assert isinstance(value, City)
    assert value.city


STEPS: dict[str, Step] = {
    "answers": answers,
    "streams": streams,
    "calls tools": calls_tools,
    "returns values": returns_values,
}

if __name__ == "__main__":
    take(["langchain-anthropic"], STEPS)
