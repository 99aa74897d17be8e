"""pydantic-ai: agents on chat completions, Responses and Messages."""

from __future__ import annotations

import functools
from typing import Any

import anthropic
import openai
import pydantic
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider
from tour import ASK, Step, take

# The deployment of each wire that always answers the same.
FIXED = {"chat": "fixed", "responses": "fixed", "messages": "claude"}


class City(pydantic.BaseModel):
    """The structure of the JSON answer."""

    city: str


def _openai(url: str, key: str) -> OpenAIProvider:
    client = openai.AsyncOpenAI(base_url=f"{url}/openai/v1", api_key=key)
    return OpenAIProvider(openai_client=client)


def model_of(wire: str, name: str, url: str, key: str) -> Any:
    """A model of pydantic-ai on a wire."""
    if wire == "chat":
        return OpenAIChatModel(name, provider=_openai(url, key))
    if wire == "responses":
        return OpenAIResponsesModel(name, provider=_openai(url, key))
    client = anthropic.AsyncAnthropic(base_url=f"{url}/anthropic", api_key=key)
    return AnthropicModel(name, provider=AnthropicProvider(anthropic_client=client))


async def answers(wire: str, url: str, key: str) -> None:
    """A text, with its usage."""
    result = await Agent(model_of(wire, FIXED[wire], url, key)).run(ASK)
    assert result.output == "Paris."
    assert result.usage.output_tokens > 0


async def streams(wire: str, url: str, key: str) -> None:
    """A text in parts."""
    async with Agent(model_of(wire, FIXED[wire], url, key)).run_stream(ASK) as result:
        parts = [part async for part in result.stream_text(delta=True)]
    assert "".join(parts) == "Paris."


async def calls_tools(wire: str, url: str, key: str) -> None:
    """A tool loop of a model that thinks; the history goes on in another run."""
    agent = Agent(model_of(wire, "thinker", url, key))
    questions: list[str] = []

    @agent.tool_plain  # type: ignore[untyped-decorator]
    def get_weather(city: str) -> str:
        """The weather in a city."""
        questions.append(city)
        return "Sunny"

    result = await agent.run(ASK)
    assert (result.output, questions) == ("It is sunny.", ["New York"])
    again = await agent.run(ASK, message_history=result.all_messages())
    assert (again.output, questions) == ("It is sunny.", ["New York"] * 2)


async def returns_values(wire: str, url: str, key: str) -> None:
    """A value by a schema."""
    agent = Agent(model_of(wire, "echo", url, key), output_type=City)
    assert (await agent.run(ASK)).output.city


def steps() -> dict[str, Step]:
    """Every step on every wire."""
    tried = {
        "answers": answers,
        "streams": streams,
        "calls tools": calls_tools,
        "returns values": returns_values,
    }
    return {
        f"{wire} {name}": functools.partial(step, wire)
        for wire in ("chat", "responses", "messages")
        for name, step in tried.items()
    }


if __name__ == "__main__":
    take(["pydantic-ai-slim"], steps())
