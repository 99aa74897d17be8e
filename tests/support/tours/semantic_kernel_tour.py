"""Semantic Kernel's own classes for Azure OpenAI."""

from __future__ import annotations

import warnings
from typing import Annotated, Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own, when it is imported
    from semantic_kernel import Kernel
    from semantic_kernel.connectors.ai import FunctionChoiceBehavior
    from semantic_kernel.connectors.ai.open_ai import (
        AzureChatCompletion,
        AzureChatPromptExecutionSettings,
        AzureTextEmbedding,
        OpenAIChatPromptExecutionSettings,
    )
    from semantic_kernel.contents import ChatHistory
    from semantic_kernel.functions import kernel_function
import openai
from tour import ASK, take


def asked() -> ChatHistory:
    """The conversation."""
    history = ChatHistory()
    history.add_user_message(ASK)
    return history


def service(url: str, key: str, name: str) -> AzureChatCompletion:
    """Its class, which takes https only, with a client of one's own."""
    client = openai.AsyncAzureOpenAI(azure_endpoint=url, api_key=key, api_version="2024-10-21")
    return AzureChatCompletion(deployment_name=name, async_client=client)


class Weather:
    """A plugin."""

    @kernel_function(description="The weather in a city")
    def get_weather(self, city: Annotated[str, "The city"]) -> str:
        """Tell it."""
        return f"Sunny in {city}"


async def chat(url: str, key: str) -> None:
    """A whole answer and a streamed one."""
    settings = OpenAIChatPromptExecutionSettings()
    chatting = service(url, key, "fixed")
    answer = await chatting.get_chat_message_content(asked(), settings)
    assert str(answer) == "Paris."
    parts = chatting.get_streaming_chat_message_content(asked(), settings)
    assert "".join([str(part) async for part in parts]) == "Paris."


async def functions(url: str, key: str) -> None:
    """A function called and its result told, by the kernel."""
    kernel = Kernel()
    kernel.add_plugin(Weather(), "weather")
    settings: Any = AzureChatPromptExecutionSettings()
    settings.function_choice_behavior = FunctionChoiceBehavior.Auto()
    chatting = service(url, key, "mistral-large")
    answer = await chatting.get_chat_message_content(asked(), settings, kernel=kernel)
    assert "Sunny in" in str(answer)


async def embeddings(url: str, key: str) -> None:
    """Vectors."""
    client = openai.AsyncAzureOpenAI(azure_endpoint=url, api_key=key, api_version="2024-10-21")
    found = AzureTextEmbedding(deployment_name="embed", async_client=client)
    assert (await found.generate_embeddings(["a", "b"])).shape == (2, 8)


if __name__ == "__main__":
    take(
        ["semantic-kernel"],
        {"chat and stream": chat, "functions": functions, "embeddings": embeddings},
    )
