"""DSPy: signatures through each of its adapters, agents, streams and embeddings."""

from __future__ import annotations

import functools
from typing import Any, Literal

import dspy
import pydantic
from tour import ASK, Step, failure_of, take

ADAPTERS: dict[str, Any] = {
    "chat": dspy.ChatAdapter,
    "json": dspy.JSONAdapter,
    "xml": dspy.XMLAdapter,
}
TEXT = 'The person "Ann" is 42 and lives in Rome.'


class Person(pydantic.BaseModel):
    """What is looked for."""

    name: str
    age: int


class Extract(dspy.Signature):  # type: ignore[misc]
    """Find who a text is about."""

    text: str = dspy.InputField()
    person: Person = dspy.OutputField()
    city: Literal["Paris", "Rome"] = dspy.OutputField()
    sure: bool = dspy.OutputField()


def model(name: str, url: str, key: str, **more: Any) -> Any:
    """A deployment as DSPy's model."""
    where = {"api_base": f"{url}/openai/v1", "api_key": key, "cache": False, "num_retries": 0}
    return dspy.LM(f"openai/{name}", **where, **more)


def answers(adapter: str, url: str, key: str) -> None:
    """A field that is text, in one call."""
    lm = model("echo", url, key)
    with dspy.context(lm=lm, adapter=ADAPTERS[adapter]()):
        assert dspy.Predict("question -> answer")(question=ASK).answer == "New York"
    assert len(lm.history) == 1
    assert lm.history[0]["usage"]["completion_tokens"] > 0


def returns_values(adapter: str, url: str, key: str) -> None:
    """Fields of several types, after a thought and examples."""
    person = Person(name="Bob", age=7)
    example = dspy.Example(text="Bob is 7.", person=person, city="Paris", sure=False)
    program = dspy.ChainOfThought(Extract)
    program.predict.demos = [example]
    with dspy.context(lm=model("echo", url, key), adapter=ADAPTERS[adapter]()):
        result = program(text=TEXT)
    assert (result.person.age, result.city, result.sure) == (42, "Rome", True)
    assert result.reasoning


def acts(adapter: str, url: str, key: str) -> None:
    """An agent that calls a tool once and then has its answer."""
    cities: list[str] = []

    def get_weather(city: str) -> str:
        """Return the weather in a city."""
        cities.append(city)
        return "Sunny"

    with dspy.context(lm=model("echo", url, key), adapter=ADAPTERS[adapter]()):
        assert dspy.ReAct("question -> answer", tools=[get_weather])(question=ASK).answer
    assert cities == ["New York"]


def calls_tools(url: str, key: str) -> None:
    """A tool called by the model's own way of calling."""

    def get_weather(city: str) -> str:
        """Return the weather in a city."""
        return f"Sunny in {city}"

    class Ask(dspy.Signature):  # type: ignore[misc]
        """Answer with tools."""

        question: str = dspy.InputField()
        tools: list[dspy.Tool] = dspy.InputField()
        outputs: dspy.ToolCalls = dspy.OutputField()

    adapter = dspy.ChatAdapter(use_native_function_calling=True)
    with dspy.context(lm=model("thinker", url, key), adapter=adapter):
        result = dspy.Predict(Ask)(question=ASK, tools=[dspy.Tool(get_weather)])
    (call,) = result.outputs.tool_calls
    assert (call.name, call.args) == ("get_weather", {"city": "New York"})


async def streams(url: str, key: str) -> None:
    """A field in parts."""
    listeners = [dspy.streaming.StreamListener(signature_field_name="answer")]
    program = dspy.streamify(dspy.Predict("question -> answer"), stream_listeners=listeners)
    parts = []
    with dspy.context(lm=model("echo", url, key)):
        async for part in program(question=ASK):
            parts.append(part)
    assert "".join(part.chunk for part in parts[:-1]) == parts[-1].answer == "New York"


def embeds(url: str, key: str) -> None:
    """Vectors."""
    where = {"api_base": f"{url}/openai/v1", "api_key": key, "caching": False}
    assert dspy.Embedder("openai/embed", **where)(["a", "b"]).shape == (2, 8)


async def reports_errors(url: str, key: str) -> None:
    """A deployment that does not exist."""
    error = await failure_of(model("nope", url, key).acall("Hello"))
    assert "nope" in str(error)


def steps() -> dict[str, Step]:
    """Every step, with each adapter where one matters."""
    tried = {"answers": answers, "returns values": returns_values, "acts": acts}
    each: dict[str, Step] = {
        f"{adapter} {name}": functools.partial(step, adapter)
        for adapter in ADAPTERS
        for name, step in tried.items()
    }
    more: dict[str, Step] = {
        "calls tools": calls_tools,
        "streams": streams,
        "embeds": embeds,
        "reports errors": reports_errors,
    }
    return each | more


if __name__ == "__main__":
    take(["dspy"], steps())
