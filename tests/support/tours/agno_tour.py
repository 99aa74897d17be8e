"""agno: agents on its models of OpenAI, Azure OpenAI and Azure's models route."""

from __future__ import annotations

import functools
from typing import Any

import pydantic
from agno.agent import Agent, RunContentEvent
from agno.exceptions import ModelProviderError
from agno.knowledge.embedder.azure_openai import AzureOpenAIEmbedder
from agno.knowledge.embedder.openai import OpenAIEmbedder
from agno.models.azure import AzureAIFoundry, AzureOpenAI, AzureOpenAIResponses
from agno.models.message import Message
from agno.models.openai import OpenAIChat, OpenAIResponses
from agno.run import RunStatus
from tour import ASK, Step, take

KINDS: dict[str, Any] = {
    "OpenAIChat": OpenAIChat,
    "OpenAIResponses": OpenAIResponses,
    "AzureOpenAI": AzureOpenAI,
    "AzureOpenAIResponses": AzureOpenAIResponses,
    "AzureAIFoundry": AzureAIFoundry,
}


class City(pydantic.BaseModel):
    """What is asked for as JSON."""

    model_config = pydantic.ConfigDict(extra="forbid")

    city: str


def model_of(kind: str, name: str, url: str, key: str) -> Any:
    """A model of a kind."""
    named: dict[str, Any] = {"id": name, "api_key": key, "max_retries": 0}
    if kind == "AzureAIFoundry":
        return AzureAIFoundry(azure_endpoint=f"{url}/models", **named)
    if "Azure" in kind:
        return KINDS[kind](azure_endpoint=url, **named)
    return KINDS[kind](base_url=f"{url}/openai/v1", **named)


def agent_of(kind: str, name: str, url: str, key: str, **more: Any) -> Any:
    """An agent with such a model."""
    return Agent(model=model_of(kind, name, url, key), telemetry=False, **more)


def answers(kind: str, url: str, key: str) -> None:
    """A text, with its usage."""
    result = agent_of(kind, "fixed", url, key).run(ASK)
    assert (result.content, result.metrics.output_tokens) == ("Paris.", 2)


async def answers_async(kind: str, url: str, key: str) -> None:
    """The same, awaited."""
    assert (await agent_of(kind, "fixed", url, key).arun(ASK)).content == "Paris."


def streams(kind: str, url: str, key: str) -> None:
    """A text in parts."""
    events = agent_of(kind, "fixed", url, key).run(ASK, stream=True)
    parts = [event.content or "" for event in events if isinstance(event, RunContentEvent)]
    assert "".join(parts) == "Paris."


def calls_tools(kind: str, url: str, key: str) -> None:
    """A tool loop of a model that thinks, whole and streamed."""
    cities: list[str] = []

    def get_weather(city: str) -> str:
        """Return the weather in a city."""
        cities.append(city)
        return "Sunny"

    result = agent_of(kind, "thinker", url, key, tools=[get_weather]).run(ASK)
    assert result.content.endswith("It is sunny.")
    events = list(agent_of(kind, "thinker", url, key, tools=[get_weather]).run(ASK, stream=True))
    assert events
    assert cities == ["New York"] * 2


def returns_values(kind: str, url: str, key: str) -> None:
    """An answer as a pydantic model describes it."""
    result = agent_of(kind, "mistral-large", url, key, output_schema=City).run(ASK)
    assert result.content == City(city="New York")


def reports_errors(kind: str, url: str, key: str) -> None:
    """A deployment that does not exist: of the model, and of an agent."""
    model = model_of(kind, "nope", url, key)
    try:
        model.response([Message(role="user", content=ASK)])
    except ModelProviderError as error:
        assert error.status_code == 404  # noqa: PT017
    else:
        raise AssertionError("no error was raised")
    assert agent_of(kind, "nope", url, key).run(ASK).status == RunStatus.error


def embeds(url: str, key: str) -> None:
    """Vectors of its default model."""
    for embedder in (
        OpenAIEmbedder(api_key=key, base_url=f"{url}/openai/v1"),
        AzureOpenAIEmbedder(api_key=key, azure_endpoint=url),
    ):
        assert len(embedder.get_embedding("a cat")) == 1536


def steps() -> dict[str, Step]:
    """Every step with each kind of model."""
    tried: dict[str, Any] = {
        "answers": answers,
        "answers async": answers_async,
        "streams": streams,
        "calls tools": calls_tools,
        "returns values": returns_values,
        "reports errors": reports_errors,
    }
    each: dict[str, Step] = {
        f"{kind} {name}": functools.partial(step, kind)
        for kind in KINDS
        for name, step in tried.items()
    }
    return each | {"embeds": embeds}


if __name__ == "__main__":
    take(["agno"], steps())
