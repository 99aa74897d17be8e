"""Measure how often the small real models call the right tool with the right arguments.

    python tests/benchmarks/calling.py

Eighteen messages, five tools; each was labelled by hand before anything was measured.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from azinfer.core import AsyncInferenceClient, Tool, UserMessage
from azinfer.local import LocalDeployment, LocalEndpoint
from azinfer.local.engines import weights
from azinfer.local.engines.llama import GgufChat, GgufEmbeddings

TEXT, WHOLE = {"type": "string"}, {"type": "integer"}


def _tool(name: str, description: str, **properties: Any) -> Tool:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return Tool(name, description, schema)


TOOLS = [
    _tool("get_weather", "The current weather in a city", city=TEXT),
    _tool("add_numbers", "Add two whole numbers", a=WHOLE, b=WHOLE),
    _tool("send_email", "Send an e-mail to somebody", to=TEXT, subject=TEXT),
    _tool("set_timer", "Set a timer that rings after some minutes", minutes=WHOLE),
    _tool(
        "convert_currency",
        "Convert an amount of money from one currency to another",
        amount=WHOLE,
        to={"type": "string", "enum": ["EUR", "USD", "GBP", "JPY"]},
    ),
]
# Each message, the tool that answers it, and its arguments; None for an answer in words.
LABELLED: list[tuple[str, str | None, dict[str, Any]]] = [
    ("What is the weather in Paris?", "get_weather", {"city": "Paris"}),
    ("Is it raining in Amsterdam right now?", "get_weather", {"city": "Amsterdam"}),
    ("How warm is it today in New York?", "get_weather", {"city": "New York"}),
    ("Tell me the forecast for Delft.", "get_weather", {"city": "Delft"}),
    ("Add 3 and 4.", "add_numbers", {"a": 3, "b": 4}),
    ("What is 17 plus 25?", "add_numbers", {"a": 17, "b": 25}),
    ("Please sum up 120 and 8.", "add_numbers", {"a": 120, "b": 8}),
    (
        "Send an e-mail to ann@example.com about lunch.",
        "send_email",
        {"to": "ann@example.com", "subject": "lunch"},
    ),
    (
        "Write to bob@example.org with the subject Holidays.",
        "send_email",
        {"to": "bob@example.org", "subject": "Holidays"},
    ),
    ("Set a timer for 10 minutes.", "set_timer", {"minutes": 10}),
    ("Remind me in 25 minutes.", "set_timer", {"minutes": 25}),
    ("Convert 100 dollars to EUR.", "convert_currency", {"amount": 100, "to": "EUR"}),
    ("How many JPY do I get for 50 euros?", "convert_currency", {"amount": 50, "to": "JPY"}),
    ("Hello, how are you?", None, {}),
    ("Tell me a joke.", None, {}),
    ("Who wrote Hamlet?", None, {}),
    ("Thank you, that was helpful!", None, {}),
    ("Explain what a deployment is.", None, {}),
]


@dataclass(frozen=True, slots=True)
class Score:
    """How many of the messages got the right tool, and the right arguments too."""

    tools: int
    arguments: int
    wrong: Sequence[str]


async def measure(client: AsyncInferenceClient) -> Score:
    """Ask every message once, at temperature 0."""
    tools = arguments = 0
    wrong = []
    for text, name, expected in LABELLED:
        answer = await client.complete(
            [UserMessage(text)], tools=TOOLS, temperature=0, max_tokens=64
        )
        calls = [(call.function.name, call.function.arguments) for call in answer.tool_calls]
        result = calls[0][0] if calls else None
        tools += result == name
        right = result == name and (not calls or json.loads(calls[0][1]) == expected)
        arguments += right
        if not right:
            wrong.append(f"{text} -> {calls or answer.text!r}")
    return Score(tools, arguments, wrong)


async def _main() -> None:
    paths = [weights.pull(each, weights.cache()) for each in weights.GGUF]
    chat, embed = GgufChat(paths[0]), GgufEmbeddings(paths[1])
    deployments = [LocalDeployment("chat", engine=chat), LocalDeployment("embed", engine=embed)]
    with LocalEndpoint(deployments) as endpoint:
        async with AsyncInferenceClient(endpoint.url, endpoint.key, "chat", timeout=120) as client:
            score = await measure(client)
    print("\n".join(score.wrong))
    print(f"right tool {score.tools}, and right arguments {score.arguments}, of {len(LABELLED)}")


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
