"""autogen: its clients of OpenAI, Azure OpenAI and Azure's models route, and agents with them."""

from __future__ import annotations

import functools
from typing import Any

import openai
import pydantic
from autogen_agentchat.agents import AssistantAgent
from autogen_core.models import CreateResult, ModelInfo, UserMessage
from autogen_ext.models.azure import AzureAIChatCompletionClient
from autogen_ext.models.openai import AzureOpenAIChatCompletionClient, OpenAIChatCompletionClient
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ResourceNotFoundError
from tour import ASK, Step, failure_of, take

KINDS = ("OpenAI", "AzureOpenAI", "AzureAI")
INFO = ModelInfo(
    vision=False,
    function_calling=True,
    json_output=True,
    family="unknown",
    structured_output=True,
    multiple_system_messages=True,
)
USER: Any = [UserMessage(content=ASK, source="user")]


class City(pydantic.BaseModel):
    """What is asked for as JSON."""

    city: str


def client_of(kind: str, name: str, url: str, key: str) -> Any:
    """A client of a deployment."""
    named: dict[str, Any] = {"model": name, "model_info": INFO}
    if kind == "AzureAI":
        credential = AzureKeyCredential(key)
        return AzureAIChatCompletionClient(endpoint=f"{url}/models", credential=credential, **named)
    named |= {"api_key": key, "max_retries": 0}
    if kind == "OpenAI":
        return OpenAIChatCompletionClient(base_url=f"{url}/openai/v1", **named)
    where = {"azure_endpoint": url, "azure_deployment": name, "api_version": "2024-10-21"}
    return AzureOpenAIChatCompletionClient(**where, **named)


async def answers(client: Any) -> None:
    """A text, with its usage."""
    answer = await client.create(USER)
    assert (answer.content, answer.usage.completion_tokens) == ("Paris.", 2)


async def streams(client: Any) -> None:
    """A text in parts, and what they add up to."""
    parts = [part async for part in client.create_stream(USER)]
    assert isinstance(parts[-1], CreateResult)
    assert "".join(parts[:-1]) == parts[-1].content == "Paris."


async def calls_tools(client: Any) -> None:
    """An agent that calls a tool, whole and streamed."""
    cities: list[str] = []

    async def get_weather(city: str) -> str:
        """The weather in a city."""
        cities.append(city)
        return "Sunny"

    # A streamed call in several parts is an error of the client of the models route.
    ways = (False,) if isinstance(client, AzureAIChatCompletionClient) else (False, True)
    for stream in ways:
        agent = AssistantAgent(
            "agent",
            client,
            tools=[get_weather],
            reflect_on_tool_use=True,
            model_client_stream=stream,
        )
        result = await agent.run(task=ASK)
        assert result.messages[-1].content == "It is sunny."
    assert cities == ["New York"] * len(ways)


async def returns_values(client: Any) -> None:
    """An answer as a pydantic model describes it."""
    answer = await client.create(USER, json_output=City)
    assert City.model_validate_json(answer.content) == City(city="New York")


async def reports_errors(client: Any) -> None:
    """A deployment that does not exist."""
    error = await failure_of(client.create(USER))
    assert isinstance(error, openai.NotFoundError | ResourceNotFoundError)


async def run_step(kind: str, name: str, step: Any, url: str, key: str) -> None:
    """Take a step with a client, and close it."""
    client = client_of(kind, name, url, key)
    try:
        await step(client)
    finally:
        await client.close()


def steps() -> dict[str, Step]:
    """Every step with each kind of client."""
    tried: dict[str, Any] = {
        "answers": ("fixed", answers),
        "streams": ("fixed", streams),
        "calls tools": ("thinker", calls_tools),
        "returns values": ("mistral-large", returns_values),
        "reports errors": ("nope", reports_errors),
    }
    each: dict[str, Step] = {
        f"{kind} {name}": functools.partial(run_step, kind, *step)
        for kind in KINDS
        for name, step in tried.items()
    }
    # It refuses schemas of its own accord.
    del each["AzureAI returns values"]
    return each


if __name__ == "__main__":
    take(["autogen-ext"], steps())
