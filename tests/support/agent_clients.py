"""What tests of Agent Framework share: clients of the raw server, messages, ways to call."""

from __future__ import annotations

from typing import Any

from agent_framework import ChatResponse, ChatResponseUpdate, Content, Message, tool

from azinfer.agent_framework import AzInferChatClient
from client_driver import KEY
from raw_server import RawServer, chat, reply

MESSAGE = [Message("user", ["hi"])]


def client(url: str, kind: Any = AzInferChatClient, **arguments: Any) -> Any:
    """Return a client of the raw server that does not repeat failed calls."""
    arguments = {"credential": KEY, "model": "gpt-4.1", "max_retries": 0, **arguments}
    return kind(url, **arguments)


async def stream(
    client: AzInferChatClient, messages: list[Message] | None = None, **arguments: Any
) -> tuple[list[ChatResponseUpdate], ChatResponse[Any]]:
    """Return the updates of a stream and the response that they add up to."""
    response = client.get_response(messages or MESSAGE, stream=True, **arguments)
    updates = [update async for update in response]
    return updates, await response.get_final_response()


async def both(
    client: AzInferChatClient, messages: Any = MESSAGE, **arguments: Any
) -> list[ChatResponse[Any]]:
    """Return the response of a whole call and that of a stream."""
    whole = await client.get_response(messages, **arguments)
    return [whole, (await stream(client, messages, **arguments))[1]]


async def send(server: RawServer, client: AzInferChatClient, *messages: Message) -> Any:
    """Send messages and return them as they arrived."""
    server.will(reply(chat()))
    await client.get_response(list(messages))
    return server.received[-1].request_body["messages"]


def user(*contents: Content | str) -> Message:
    """Return a message of the user."""
    return Message("user", list(contents))


class Weather:
    """Two tools that remember their calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.tools = [
            tool(self.get_weather, approval_mode="never_require"),
            tool(self.get_time, approval_mode="never_require"),
        ]

    def get_weather(self, city: str) -> str:
        """Return the current weather in a city."""
        self.calls.append(city)
        return f"Sunny in {city}"

    def get_time(self) -> str:
        """Return the current time."""
        self.calls.append("time")
        return "12:00"
