"""any-llm: its providers of OpenAI, Azure OpenAI, Azure's models route and Azure's Claude."""

from __future__ import annotations

import functools
import json
from typing import Any

import any_llm
import pydantic
from tour import ASK, TOOL, USER, Step, failure_of, take

# The deployment of each provider that always answers the same.
FIXED = {"openai": "fixed", "azureopenai": "fixed", "azure": "fixed", "azureanthropic": "claude"}


class City(pydantic.BaseModel):
    """What is asked for as JSON."""

    city: str


def options(provider: str, url: str, key: str) -> dict[str, Any]:
    """What leads a provider to the endpoint."""
    paths = {"openai": "/openai/v1", "azureopenai": "", "azure": "/models"}
    path = paths.get(provider, "/anthropic")
    return {"provider": provider, "api_base": url + path, "api_key": key}


def answers(provider: str, url: str, key: str) -> None:
    """A text, with its usage."""
    where = options(provider, url, key)
    answer: Any = any_llm.completion(FIXED[provider], USER, **where)
    assert answer.choices[0].message.content == "Paris."
    assert answer.usage.completion_tokens == 2


async def streams(provider: str, url: str, key: str) -> None:
    """A text in parts."""
    where = options(provider, url, key)
    chunks: Any = await any_llm.acompletion(FIXED[provider], USER, stream=True, **where)
    parts = [choice.delta.content or "" async for chunk in chunks for choice in chunk.choices]
    assert "".join(parts) == "Paris."


def calls_tools(provider: str, url: str, key: str) -> None:
    """A tool called, and its result sent back."""
    ask: Any = functools.partial(
        any_llm.completion, "thinker", tools=[TOOL], **options(provider, url, key)
    )
    message = ask(messages=USER).choices[0].message
    (call,) = message.tool_calls
    assert json.loads(call.function.arguments) == {"city": "New York"}
    result = {"role": "tool", "tool_call_id": call.id, "content": "Sunny"}
    answer = ask(messages=[*USER, message.model_dump(exclude_none=True), result])
    assert answer.choices[0].message.content == "It is sunny."


def returns_values(provider: str, url: str, key: str) -> None:
    """An answer as a pydantic model describes it."""
    where = options(provider, url, key)
    answer: Any = any_llm.completion("echo", USER, response_format=City, **where)
    assert City.model_validate_json(answer.choices[0].message.content).city == "New York"


async def reports_errors(provider: str, url: str, key: str) -> None:
    """A deployment that does not exist, and a wrong key."""
    where = options(provider, url, key)
    error = await failure_of(any_llm.acompletion("nope", USER, **where))
    assert "nope" in str(error) or "deployment" in str(error).lower()
    error = await failure_of(any_llm.acompletion("echo", USER, **{**where, "api_key": "wrong"}))
    assert any(word in str(error) for word in ("401", "Unauthorized", "key"))


def embeds(provider: str, url: str, key: str) -> None:
    """Vectors."""
    answer = any_llm.embedding("embed", ["a", "b"], **options(provider, url, key))
    assert [len(item.embedding) for item in answer.data] == [8, 8]


def responds(provider: str, url: str, key: str) -> None:
    """A response of the Responses API."""
    answer: Any = any_llm.responses("fixed", ASK, **options(provider, url, key))
    assert answer.output_text == "Paris."


def lists_models(provider: str, url: str, key: str) -> None:
    """The deployments by their names."""
    names = [model.id for model in any_llm.list_models(**options(provider, url, key))]
    assert "fixed" in names


def steps() -> dict[str, Step]:
    """Every step with each provider that has it."""
    tried: dict[str, Any] = {
        "answers": answers,
        "streams": streams,
        "calls tools": calls_tools,
        "returns values": returns_values,
        "reports errors": reports_errors,
    }
    pairs = [(provider, name, step) for provider in FIXED for name, step in tried.items()]
    pairs += [(provider, "embeds", embeds) for provider in ("openai", "azureopenai", "azure")]
    for provider in ("openai", "azureopenai"):
        pairs += [(provider, "responds", responds), (provider, "lists models", lists_models)]
    return {
        f"{provider} {name}": functools.partial(step, provider) for provider, name, step in pairs
    }


if __name__ == "__main__":
    take(["any-llm-sdk"], steps())
