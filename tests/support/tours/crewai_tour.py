"""crewai: its clients of OpenAI, on both wires, and of Azure, and crews with them."""

from __future__ import annotations

import functools
import os
from typing import Any

os.environ |= {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false"}
os.environ["OTEL_SDK_DISABLED"] = "true"

import pydantic
from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool
from tour import ASK, Step, failure_of, take

KINDS: dict[str, dict[str, Any]] = {
    "OpenAI": {"provider": "openai"},
    "OpenAI responses": {"provider": "openai", "api": "responses"},
    "Azure": {"provider": "azure"},
}
CITIES: list[str] = []


class City(pydantic.BaseModel):
    """What is asked for as JSON."""

    city: str


@tool("get_weather")  # type: ignore[untyped-decorator]
def get_weather(city: str) -> str:
    """The weather in a city."""
    CITIES.append(city)
    return "Sunny"


def model_of(kind: str, name: str, url: str, key: str, **more: Any) -> Any:
    """A client of a deployment."""
    # For Azure it passes tools and schemas only to models that seem to be OpenAI's.
    name = f"gpt-{name}" if kind == "Azure" and name in ("thinker", "echo") else name
    where = {"endpoint": f"{url}/models"} if kind == "Azure" else {"base_url": f"{url}/openai/v1"}
    return LLM(model=name, api_key=key, max_retries=0, **where, **KINDS[kind], **more)


def crew_of(model: Any, **more: Any) -> Any:
    """A crew of one agent with one task."""
    agent = Agent(role="Helper", goal="Help", backstory="You help.", llm=model, max_retry_limit=0)
    task = Task(description=ASK, expected_output="The weather", agent=agent, **more)
    return Crew(agents=[agent], tasks=[task])


def answers(kind: str, url: str, key: str) -> None:
    """A text, and what a crew makes of it, with its usage."""
    assert model_of(kind, "fixed", url, key).call(ASK) == "Paris."
    result = crew_of(model_of(kind, "fixed", url, key)).kickoff()
    assert result.raw == "Paris."
    assert result.token_usage.completion_tokens > 0


async def answers_async(kind: str, url: str, key: str) -> None:
    """The same, awaited."""
    assert await model_of(kind, "fixed", url, key).acall(ASK) == "Paris."


def streams(kind: str, url: str, key: str) -> None:
    """A text that comes in parts."""
    assert model_of(kind, "fixed", url, key, stream=True).call(ASK) == "Paris."


def calls_tools(kind: str, url: str, key: str) -> None:
    """A crew whose agent calls a tool, whole and streamed."""
    # It calls no tools of a streamed response; see `findings`.
    for stream in (False, True)[: 1 if kind == "OpenAI responses" else 2]:
        CITIES.clear()
        model = model_of(kind, "thinker", url, key, stream=stream)
        assert "It is sunny." in crew_of(model, tools=[get_weather]).kickoff().raw
        assert CITIES == ["New York"]


def returns_values(kind: str, url: str, key: str) -> None:
    """An answer as a pydantic model describes it."""
    value = model_of(kind, "echo", url, key).call(ASK, response_model=City)
    value = value if isinstance(value, City) else City.model_validate_json(value)
    assert value == City(city="New York")


async def reports_errors(kind: str, url: str, key: str) -> None:
    """A deployment that does not exist."""
    error = await failure_of(model_of(kind, "nope", url, key).acall(ASK))
    assert "nope" in str(error) or "not found" in str(error)


def steps() -> dict[str, Step]:
    """Every step with each kind of client."""
    tried: dict[str, Any] = {
        "answers": answers,
        "answers async": answers_async,
        "streams": streams,
        "calls tools": calls_tools,
        "returns values": returns_values,
        "reports errors": reports_errors,
    }
    return {
        f"{kind} {name}": functools.partial(step, kind)
        for kind in KINDS
        for name, step in tried.items()
    }


if __name__ == "__main__":
    take(["crewai"], steps())
