"""openai-agents: agents on Responses, its default, and on chat completions."""

from __future__ import annotations

import functools
from typing import Any

import openai
import pydantic
from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    SQLiteSession,
    function_tool,
    set_tracing_disabled,
)
from tour import ASK, Step, failure_of, take

# Its traces go to OpenAI.
set_tracing_disabled(True)
MODELS: dict[str, Any] = {
    "responses": OpenAIResponsesModel,
    "chat": OpenAIChatCompletionsModel,
}


class City(pydantic.BaseModel):
    """What is asked for as JSON."""

    city: str


def agent_of(wire: str, name: str, url: str, key: str, **more: Any) -> Agent[Any]:
    """An agent whose model is reached by a wire."""
    client = openai.AsyncOpenAI(base_url=f"{url}/openai/v1", api_key=key, max_retries=0)
    model = MODELS[wire](model=name, openai_client=client)
    return Agent(name="agent", instructions="Be brief.", model=model, **more)


async def answers(wire: str, url: str, key: str) -> None:
    """A text, with its usage."""
    result = await Runner.run(agent_of(wire, "fixed", url, key), ASK)
    assert result.final_output == "Paris."
    assert result.context_wrapper.usage.output_tokens > 0


async def streams(wire: str, url: str, key: str) -> None:
    """A text in parts."""
    result = Runner.run_streamed(agent_of(wire, "fixed", url, key), ASK)
    parts = [
        event.data.delta
        async for event in result.stream_events()
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    ]
    assert "".join(parts) == result.final_output == "Paris."


async def calls_tools(wire: str, url: str, key: str) -> None:
    """A tool loop of a model that thinks, whole and streamed, in one session."""
    cities: list[str] = []

    @function_tool  # type: ignore[untyped-decorator]
    def get_weather(city: str) -> str:
        """The weather in a city."""
        cities.append(city)
        return "Sunny"

    agent = agent_of(wire, "thinker", url, key, tools=[get_weather])
    session = SQLiteSession("weather")
    result = await Runner.run(agent, ASK, session=session)
    assert (result.final_output, cities) == ("It is sunny.", ["New York"])
    streamed = Runner.run_streamed(agent, ASK, session=session)
    events = [event.type async for event in streamed.stream_events()]
    assert "run_item_stream_event" in events
    assert (streamed.final_output, cities) == ("It is sunny.", ["New York"] * 2)


async def hands_off(wire: str, url: str, key: str) -> None:
    """One agent passes the conversation to another."""
    other = agent_of(wire, "fixed", url, key)
    settings = ModelSettings(tool_choice="required")
    first = agent_of(wire, "mistral-large", url, key, handoffs=[other], model_settings=settings)
    result = await Runner.run(first, ASK)
    assert (result.final_output, result.last_agent) == ("Paris.", other)


async def returns_values(wire: str, url: str, key: str) -> None:
    """A value by a schema."""
    agent = agent_of(wire, "mistral-large", url, key, output_type=City)
    assert (await Runner.run(agent, ASK)).final_output == City(city="New York")


async def reports_errors(wire: str, url: str, key: str) -> None:
    """A deployment that does not exist."""
    error = await failure_of(Runner.run(agent_of(wire, "nope", url, key), ASK))
    assert isinstance(error, openai.NotFoundError)
    assert error.code == "DeploymentNotFound"


def steps() -> dict[str, Step]:
    """Every step on both wires."""
    tried = {
        "answers": answers,
        "streams": streams,
        "calls tools": calls_tools,
        "hands off": hands_off,
        "returns values": returns_values,
        "reports errors": reports_errors,
    }
    return {
        f"{wire} {name}": functools.partial(step, wire)
        for wire in MODELS
        for name, step in tried.items()
    }


if __name__ == "__main__":
    take(["openai-agents"], steps())
