"""What tests of Semantic Kernel share: services of the raw server, plugins, ways to ask."""

from __future__ import annotations

from functools import reduce
from typing import Any

from semantic_kernel import Kernel
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.contents import ChatHistory, StreamingChatMessageContent
from semantic_kernel.functions import kernel_function

from azinfer.semantic_kernel import AzInferChatCompletion, AzInferChatPromptExecutionSettings
from client_driver import KEY
from raw_server import RawServer


class Weather:
    """A plugin that records its calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    @kernel_function(description="The current weather in a city")
    def get_weather(self, city: str) -> str:
        """The weather."""
        self.calls.append(city)
        return f"Sunny in {city}"

    @kernel_function(description="The current time, everywhere the same")
    def get_time(self) -> str:
        """The time."""
        self.calls.append("time")
        return "12:00"


def service(url: str, kind: Any = AzInferChatCompletion, **named: Any) -> Any:
    """A service of the raw server."""
    named = {"credential": KEY, "model": "gpt-4.1", "max_retries": 0, **named}
    return kind(url, **named)


def kernel(*services: Any, **plugins: Any) -> Kernel:
    """A kernel with services, and with plugins by their names."""
    test_kernel = Kernel()
    for each in services:
        test_kernel.add_service(each)
    for name, plugin in plugins.items():
        test_kernel.add_plugin(plugin, name)
    return test_kernel


def user_history(text: str = "hi") -> ChatHistory:
    """A history of one question."""
    history = ChatHistory()
    history.add_user_message(text)
    return history


async def collect_stream(
    chat: AzInferChatCompletion,
    history: ChatHistory | None = None,
    settings: PromptExecutionSettings | None = None,
    **named: Any,
) -> list[StreamingChatMessageContent]:
    """All messages of a stream."""
    settings = settings or AzInferChatPromptExecutionSettings()
    stream = chat.get_streaming_chat_message_contents(history or user_history(), settings, **named)
    return [message async for messages in stream for message in messages]


def join_messages(messages: list[StreamingChatMessageContent]) -> StreamingChatMessageContent:
    """Return the sum of messages of one role."""
    return reduce(lambda whole, message: whole + message, messages)


def request_body(server: RawServer, at: int = 0) -> Any:
    """The body of a request, and in it the deployment, which some URLs name instead."""
    return server.received[at].request_body
