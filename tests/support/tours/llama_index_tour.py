"""LlamaIndex's own classes for Azure."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # their own, when they are imported
    from llama_index.core.llms import ChatMessage
    from llama_index.core.tools import FunctionTool
    from llama_index.embeddings.azure_inference import AzureAIEmbeddingsModel  # type: ignore[import-untyped]
    from llama_index.embeddings.azure_openai import AzureOpenAIEmbedding  # type: ignore[import-untyped]
    from llama_index.llms.azure_inference import AzureAICompletionsModel  # type: ignore[import-untyped]
    from llama_index.llms.azure_openai import AzureOpenAI  # type: ignore[import-untyped]
from tour import ASK, Step, take

AZURE: dict[str, Any] = {"api_version": "2024-10-21"}
MESSAGES = [ChatMessage(role="user", content=ASK)]


def chats(url: str, key: str) -> dict[str, Callable[[str], Any]]:
    """Chat models, each in its own way of naming a deployment."""
    return {
        "AzureAICompletionsModel": lambda name: AzureAICompletionsModel(
            endpoint=f"{url}/models", credential=key, model_name=name
        ),
        # What is behind the deployment must be one of the models that it knows.
        "AzureOpenAI": lambda name: AzureOpenAI(
            engine=name, model="gpt-4o", azure_endpoint=url, api_key=key, **AZURE
        ),
    }


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"Sunny in {city}"


def chat(model: Callable[[str], Any]) -> None:
    """A whole answer."""
    assert model("fixed").chat(MESSAGES).message.content == "Paris."


def stream(model: Callable[[str], Any]) -> None:
    """A streamed answer."""
    *_, last = model("fixed").stream_chat(MESSAGES)
    assert last.message.content == "Paris."


async def chat_async(model: Callable[[str], Any]) -> None:
    """The same, awaited."""
    assert (await model("fixed").achat(MESSAGES)).message.content == "Paris."
    *_, last = [part async for part in await model("fixed").astream_chat(MESSAGES)]
    assert last.message.content == "Paris."


def tools(model: Callable[[str], Any]) -> None:
    """A tool called."""
    tool = FunctionTool.from_defaults(get_weather)
    chosen = model("mistral-large")
    answer = chosen.chat_with_tools([tool], user_msg=ASK)
    (call,) = chosen.get_tool_calls_from_response(answer)
    assert (call.tool_name, call.tool_kwargs) == ("get_weather", {"city": "New York"})


STEPS = {"chat": chat, "stream": stream, "async": chat_async, "tools": tools}


def embeddings(url: str, key: str) -> None:
    """Vectors of both classes."""
    result = AzureAIEmbeddingsModel(endpoint=f"{url}/models", credential=key, model_name="embed")
    assert [len(each) for each in result.get_text_embedding_batch(["a", "b"])] == [8, 8]
    other = AzureOpenAIEmbedding(
        model="text-embedding-3-small",
        deployment_name="embed",
        azure_endpoint=url,
        api_key=key,
        **AZURE,
    )
    assert [len(each) for each in other.get_text_embedding_batch(["a", "b"])] == [8, 8]


def step(kind: str, what: Any) -> Step:
    """Run one step with one class."""
    return lambda url, key: what(chats(url, key)[kind])


if __name__ == "__main__":
    packages = [
        "llama-index-llms-azure-inference",
        "llama-index-embeddings-azure-inference",
        "llama-index-llms-azure-openai",
        "llama-index-embeddings-azure-openai",
    ]
    steps = {f"{kind} {name}": step(kind, STEPS[name]) for kind in chats("", "") for name in STEPS}
    take(packages, {**steps, "embeddings": embeddings})
