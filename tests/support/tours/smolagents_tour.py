"""smolagents: models on v1 and on the classic surface, agents that call tools and write code."""

from __future__ import annotations

import functools
from typing import Any

import openai
from smolagents import AzureOpenAIModel, CodeAgent, OpenAIModel, ToolCallingAgent, tool
from tour import ASK, PARAMETERS, USER, Step, take


@tool  # type: ignore[untyped-decorator]
def get_weather(city: str) -> str:
    """Say what the weather in a city is.

    Args:
        city: The name of the city.
    """
    return f"Sunny in {city}"


def model_of(kind: str, name: str, url: str, key: str) -> Any:
    """A model of either kind."""
    if kind == "OpenAIModel":
        return OpenAIModel(name, api_base=f"{url}/openai/v1", api_key=key)
    return AzureOpenAIModel(name, azure_endpoint=url, api_key=key, api_version="2024-10-21")


def answers(kind: str, url: str, key: str) -> None:
    """A text, with its usage."""
    answer = model_of(kind, "fixed", url, key).generate(USER)
    assert answer.content == "Paris."
    assert answer.token_usage.output_tokens == 2


def streams(kind: str, url: str, key: str) -> None:
    """A text in parts."""
    parts = model_of(kind, "fixed", url, key).generate_stream(USER)
    assert "".join(part.content or "" for part in parts) == "Paris."


def returns_json(kind: str, url: str, key: str) -> None:
    """An answer true to a JSON Schema."""
    wanted = {"name": "city", "schema": PARAMETERS, "strict": True}
    form: Any = {"type": "json_schema", "json_schema": wanted}
    answer = model_of(kind, "mistral-large", url, key).generate(USER, response_format=form)
    assert answer.content == '{"city": "New York"}'


def calls_tools(kind: str, url: str, key: str) -> None:
    """An agent that calls a tool until it has its answer, whole and streamed."""
    for stream in (False, True):
        agent = ToolCallingAgent(
            tools=[get_weather],
            model=model_of(kind, "agent", url, key),
            verbosity_level=0,
            stream_outputs=stream,
        )
        assert agent.run(ASK) == "It is sunny."


def runs_code(kind: str, url: str, key: str) -> None:
    """An agent that writes a program, which it runs."""
    model = model_of(kind, "coder", url, key)
    agent = CodeAgent(tools=[get_weather], model=model, verbosity_level=0)
    assert agent.run(ASK) == "Sunny in New York"


def reports_errors(kind: str, url: str, key: str) -> None:
    """A deployment that does not exist."""
    try:
        model_of(kind, "nope", url, key).generate(USER)
    except openai.NotFoundError as error:
        assert error.code == "DeploymentNotFound"  # noqa: PT017
        return
    raise AssertionError("no error was raised")


def steps() -> dict[str, Step]:
    """Every step with both kinds of models."""
    tried = {
        "answers": answers,
        "streams": streams,
        "returns json": returns_json,
        "calls tools": calls_tools,
        "runs code": runs_code,
        "reports errors": reports_errors,
    }
    return {
        f"{kind} {name}": functools.partial(step, kind)
        for kind in ("OpenAIModel", "AzureOpenAIModel")
        for name, step in tried.items()
    }


if __name__ == "__main__":
    take(["smolagents"], steps())
