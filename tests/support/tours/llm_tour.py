"""llm: models from its own configuration, in Python and on the command line, and embeddings."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import llm
import openai
import pydantic
from tour import ASK, Step, failure_of, take

NAMES = ("fixed", "mistral-large", "thinker", "nope")


class City(pydantic.BaseModel):
    """What is asked for as JSON."""

    city: str


def configure(url: str) -> None:
    """Write its configuration, with each deployment on both wires."""
    folder = os.environ["LLM_USER_PATH"]
    models = [
        {"model_id": f"{wire}-{name}", "model_name": name, "api_base": f"{url}/openai/v1"}
        | {"supports_schema": True, "supports_tools": True, "responses": wire == "responses"}
        | {"api_key_name": "local", "reasoning": True}
        for wire in ("chat", "responses")
        for name in NAMES
    ]
    # JSON is YAML, too.
    Path(folder, "extra-openai-models.yaml").write_text(json.dumps(models), "utf-8")
    os.environ["OPENAI_BASE_URL"] = f"{url}/openai/v1"


def model_of(wire: str, name: str, url: str) -> Any:
    """A model of its configuration."""
    configure(url)
    return llm.get_model(f"{wire}-{name}")


def answers(wire: str, url: str, key: str) -> None:
    """A text, with its usage."""
    answer = model_of(wire, "fixed", url).prompt(ASK, key=key, stream=False)
    assert answer.text() == "Paris."
    assert answer.usage().output == 2


def streams(wire: str, url: str, key: str) -> None:
    """A text in parts, and the next turn."""
    conversation = model_of(wire, "fixed", url).conversation()
    assert list(conversation.prompt(ASK, key=key))
    assert "".join(conversation.prompt("And then?", key=key)) == "Paris."


async def answers_async(wire: str, url: str, key: str) -> None:
    """The same, awaited."""
    configure(url)
    answer = llm.get_async_model(f"{wire}-fixed").prompt(ASK, key=key)
    assert await answer.text() == "Paris."


def calls_tools(wire: str, url: str, key: str) -> None:
    """A chain of a tool call and the answer."""
    cities: list[str] = []

    def get_weather(city: str) -> str:
        """Return the weather in a city."""
        cities.append(city)
        return "Sunny"

    # Without an effort it asks for no encrypted reasoning, and sends back only its id.
    options = {"reasoning_effort": "low"}
    model = model_of(wire, "thinker", url)
    chain = model.chain(ASK, tools=[get_weather], key=key, options=options)
    assert chain.text().endswith("It is sunny.")
    assert cities == ["New York"]


def returns_json(wire: str, url: str, key: str) -> None:
    """An answer as a pydantic model describes it."""
    answer = model_of(wire, "mistral-large", url).prompt(ASK, schema=City, key=key)
    assert json.loads(answer.text()) == {"city": "New York"}


async def reports_errors(wire: str, url: str, key: str) -> None:
    """A deployment that does not exist."""
    configure(url)
    error = await failure_of(llm.get_async_model(f"{wire}-nope").prompt(ASK, key=key).text())
    assert isinstance(error, openai.NotFoundError)


def runs_as_a_command(wire: str, url: str, key: str) -> None:
    """A text on the command line."""
    configure(url)
    command = [sys.executable, "-m", "llm", "-m", f"{wire}-fixed", "--key", key, ASK]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "Paris."


def embeds(url: str, key: str) -> None:
    """Vectors, as long as those of the real model."""
    configure(url)
    vectors = llm.get_embedding_model("3-small").embed_multi(["a cat", "b"], key=key)
    assert [len(vector) for vector in vectors] == [1536, 1536]


def steps() -> dict[str, Step]:
    """Every step on both wires."""
    tried: dict[str, Any] = {
        "answers": answers,
        "streams": streams,
        "answers async": answers_async,
        "calls tools": calls_tools,
        "returns json": returns_json,
        "reports errors": reports_errors,
        "runs as a command": runs_as_a_command,
    }
    each: dict[str, Step] = {
        f"{wire} {name}": functools.partial(step, wire)
        for wire in ("chat", "responses")
        for name, step in tried.items()
    }
    return each | {"embeds": embeds}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LLM_USER_PATH"] = folder
        take(["llm"], steps())
