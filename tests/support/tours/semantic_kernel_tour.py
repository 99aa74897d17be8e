"""Semantic Kernel's own classes for Azure, of which all but those with a client want https."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Annotated, Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own, when it is imported
    from semantic_kernel import Kernel
    from semantic_kernel.connectors.ai import FunctionChoiceBehavior
    from semantic_kernel.connectors.ai.azure_ai_inference import (
        AzureAIInferenceChatCompletion,
        AzureAIInferenceChatPromptExecutionSettings,
        AzureAIInferenceTextEmbedding,
    )
    from semantic_kernel.connectors.ai.open_ai import (
        AzureChatCompletion,
        AzureChatPromptExecutionSettings,
        AzureTextEmbedding,
    )
    from semantic_kernel.contents import ChatHistory
    from semantic_kernel.functions import kernel_function
import openai
from tour import ASK, Step, take

VERSION = "2024-10-21"


def user_history() -> ChatHistory:
    """The conversation."""
    history = ChatHistory()
    history.add_user_message(ASK)
    return history


def client(url: str, key: str) -> Any:
    """An own client, which may use http."""
    return openai.AsyncAzureOpenAI(azure_endpoint=url, api_key=key, api_version=VERSION)


# Each kind of service: a chat, its settings, and embeddings.
KINDS: dict[str, tuple[Callable[..., Any], type, Callable[..., Any]]] = {
    "client": (
        lambda url, key, name: AzureChatCompletion(
            deployment_name=name, async_client=client(url, key)
        ),
        AzureChatPromptExecutionSettings,
        lambda url, key, name: AzureTextEmbedding(
            deployment_name=name, async_client=client(url, key)
        ),
    ),
    "AzureOpenAI": (
        lambda url, key, name: AzureChatCompletion(
            deployment_name=name, endpoint=url, api_key=key, api_version=VERSION
        ),
        AzureChatPromptExecutionSettings,
        lambda url, key, name: AzureTextEmbedding(
            deployment_name=name, endpoint=url, api_key=key, api_version=VERSION
        ),
    ),
    "AzureAIInference": (
        lambda url, key, name: AzureAIInferenceChatCompletion(
            ai_model_id=name, endpoint=f"{url}/models", api_key=key
        ),
        AzureAIInferenceChatPromptExecutionSettings,
        lambda url, key, name: AzureAIInferenceTextEmbedding(
            ai_model_id=name, endpoint=f"{url}/models", api_key=key
        ),
    ),
}


class Weather:
    """A plugin."""

    @kernel_function(description="The weather in a city")
    def get_weather(self, city: Annotated[str, "The city"]) -> str:
        """Return the weather."""
        return f"Sunny in {city}"


async def chat(kind: str, url: str, key: str) -> None:
    """A whole answer and a streamed one."""
    make, settings, _ = KINDS[kind]
    service = make(url, key, "fixed")
    answer = await service.get_chat_message_content(user_history(), settings())
    assert str(answer) == "Paris."
    parts = service.get_streaming_chat_message_content(user_history(), settings())
    assert "".join([str(part) async for part in parts]) == "Paris."


async def functions(kind: str, url: str, key: str) -> None:
    """Call a function and send its result back, by the kernel."""
    make, settings, _ = KINDS[kind]
    kernel = Kernel()
    kernel.add_plugin(Weather(), "weather")
    content = settings(function_choice_behavior=FunctionChoiceBehavior.Auto())
    service = make(url, key, "mistral-large")
    answer = await service.get_chat_message_content(user_history(), content, kernel=kernel)
    assert "Sunny in" in str(answer)


async def embeddings(kind: str, url: str, key: str) -> None:
    """Vectors."""
    result = KINDS[kind][2](url, key, "embed")
    assert (await result.generate_embeddings(["a", "b"])).shape == (2, 8)


STEPS = {"chat and stream": chat, "functions": functions, "embeddings": embeddings}


def step(kind: str, what: Callable[[str, str, str], Any]) -> Step:
    """Run one step with one kind of service."""
    return lambda url, key: what(kind, url, key)


if __name__ == "__main__":
    kinds = ("AzureOpenAI", "AzureAIInference") if "https:" in sys.argv[1] else ("client",)
    take(
        ["semantic-kernel"],
        {f"{kind} {name}": step(kind, what) for kind in kinds for name, what in STEPS.items()},
    )
