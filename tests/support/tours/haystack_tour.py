"""haystack: its generators and embedders of Azure and of OpenAI, and an agent."""

from __future__ import annotations

import functools
import os
from typing import Any

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"

import openai
import pydantic
from haystack import Document
from haystack.components.agents import Agent
from haystack.components.embedders import (
    AzureOpenAIDocumentEmbedder,
    AzureOpenAITextEmbedder,
    OpenAIDocumentEmbedder,
    OpenAITextEmbedder,
)
from haystack.components.generators.chat import (
    AzureOpenAIChatGenerator,
    AzureOpenAIResponsesChatGenerator,
    OpenAIChatGenerator,
    OpenAIResponsesChatGenerator,
)
from haystack.dataclasses import ChatMessage
from haystack.tools import tool
from haystack.utils import Secret
from tour import ASK, Step, take

GENERATORS: dict[str, Any] = {
    "OpenAI": OpenAIChatGenerator,
    "OpenAI responses": OpenAIResponsesChatGenerator,
    "Azure": AzureOpenAIChatGenerator,
    "Azure responses": AzureOpenAIResponsesChatGenerator,
}
EMBEDDERS: dict[str, Any] = {
    "OpenAI": (OpenAITextEmbedder, OpenAIDocumentEmbedder),
    "Azure": (AzureOpenAITextEmbedder, AzureOpenAIDocumentEmbedder),
}
USER = [ChatMessage.from_user(ASK)]


class City(pydantic.BaseModel):
    """What is asked for as JSON."""

    city: str


def options(kind: str, name: str, url: str, key: str) -> dict[str, Any]:
    """What leads a component to a deployment."""
    if "Azure" not in kind:
        where = {"api_base_url": f"{url}/openai/v1", "model": name}
    else:
        where = {"azure_endpoint": url, "azure_deployment": name}
    return {**where, "api_key": Secret.from_token(key), "max_retries": 0}


def generator(kind: str, name: str, url: str, key: str, **more: Any) -> Any:
    """A generator of a kind."""
    return GENERATORS[kind](**options(kind, name, url, key), **more)


def answers(kind: str, url: str, key: str) -> None:
    """A text, with its usage."""
    (reply,) = generator(kind, "fixed", url, key).run(USER)["replies"]
    assert reply.text == "Paris."
    assert reply.meta["usage"]


async def answers_async(kind: str, url: str, key: str) -> None:
    """The same, awaited."""
    (reply,) = (await generator(kind, "fixed", url, key).run_async(USER))["replies"]
    assert reply.text == "Paris."


def streams(kind: str, url: str, key: str) -> None:
    """A text in parts."""
    parts: list[Any] = []
    model = generator(kind, "fixed", url, key, streaming_callback=parts.append)
    (reply,) = model.run(USER)["replies"]
    assert "".join(part.content for part in parts) == reply.text == "Paris."


def calls_tools(kind: str, url: str, key: str) -> None:
    """An agent with a model that thinks, which calls a tool, whole and streamed."""
    cities: list[str] = []

    @tool  # type: ignore[untyped-decorator]
    def get_weather(city: str) -> str:
        """The weather in a city."""
        cities.append(city)
        return "Sunny"

    for callback in (None, lambda part: None):
        agent = Agent(chat_generator=generator(kind, "thinker", url, key), tools=[get_weather])
        result = agent.run(messages=USER, streaming_callback=callback)
        assert result["last_message"].text == "It is sunny."
    assert cities == ["New York"] * 2


def returns_json(kind: str, url: str, key: str) -> None:
    """An answer as a pydantic model describes it."""
    name = "text_format" if "responses" in kind else "response_format"
    model = generator(kind, "mistral-large", url, key, generation_kwargs={name: City})
    (reply,) = model.run(USER)["replies"]
    assert City.model_validate_json(reply.text) == City(city="New York")


def embeds(kind: str, url: str, key: str) -> None:
    """Vectors of a text and of documents."""
    of_text, of_documents = (each(**options(kind, "embed", url, key)) for each in EMBEDDERS[kind])
    assert len(of_text.run("a cat")["embedding"]) == 8
    documents = of_documents.run([Document(content="a"), Document(content="b")])["documents"]
    assert [len(document.embedding) for document in documents] == [8, 8]


def reports_errors(kind: str, url: str, key: str) -> None:
    """A deployment that does not exist."""
    try:
        generator(kind, "nope", url, key).run(USER)
    except openai.NotFoundError as error:
        assert error.code == "DeploymentNotFound"  # noqa: PT017
        return
    raise AssertionError("no error was raised")


def steps() -> dict[str, Step]:
    """Every step with each generator, and embeddings."""
    tried: dict[str, Any] = {
        "answers": answers,
        "answers async": answers_async,
        "streams": streams,
        "calls tools": calls_tools,
        "returns json": returns_json,
        "reports errors": reports_errors,
    }
    each: dict[str, Step] = {
        f"{kind} {name}": functools.partial(step, kind)
        for kind in GENERATORS
        for name, step in tried.items()
    }
    return each | {f"{kind} embeds": functools.partial(embeds, kind) for kind in EMBEDDERS}


if __name__ == "__main__":
    take(["haystack-ai"], steps())
