"""The Semantic Kernel adapter beside its own Azure connectors and its own floor.

`python tests/benchmarks/semantic_kernel_adapter.py [--rounds 7]` prints CPU time of the client,
medians of interleaved rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import warnings
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, ClassVar

from adapters import import_seconds, medians
from azure.ai.inference.aio import ChatCompletionsClient
from azure.core.credentials import AzureKeyCredential
from openai import AsyncAzureOpenAI
from rich.console import Console
from rich.table import Table
from run import CALLS, STREAMS, USER, cpu, serve
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.contents import (
    AuthorRole,
    ChatHistory,
    ChatMessageContent,
    StreamingChatMessageContent,
    StreamingTextContent,
    TextContent,
)

from azinfer.core import AsyncInferenceClient
from azinfer.semantic_kernel import AzInferChatCompletion

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from semantic_kernel.connectors.ai.azure_ai_inference import AzureAIInferenceChatCompletion
    from semantic_kernel.connectors.ai.open_ai import AzureChatCompletion

FLOOR, OURS = "Semantic Kernel in memory", "azinfer.semantic_kernel"
MODULES = {
    FLOOR: "semantic_kernel.connectors.ai.chat_completion_client_base",
    OURS: "azinfer.semantic_kernel",
    "AzureAIInferenceChatCompletion": "semantic_kernel.connectors.ai.azure_ai_inference",
    "AzureChatCompletion": "semantic_kernel.connectors.ai.open_ai",
}
CHUNKS = 200


class Floor(ChatCompletionClientBase):
    """A service in memory: what Semantic Kernel itself costs."""

    SUPPORTS_FUNCTION_CALLING: ClassVar[bool] = True

    async def _inner_get_chat_message_contents(self, *_: Any) -> list[ChatMessageContent]:
        return [ChatMessageContent(role=AuthorRole.ASSISTANT, items=[TextContent(text="x")])]

    async def _inner_get_streaming_chat_message_contents(
        self, *_: Any
    ) -> AsyncGenerator[list[StreamingChatMessageContent], Any]:
        for _at in range(CHUNKS):
            text = StreamingTextContent(choice_index=0, text="token ")
            yield [
                StreamingChatMessageContent(role=AuthorRole.ASSISTANT, choice_index=0, items=[text])
            ]


def services(url: str) -> dict[str, Any]:
    """Every service that is measured."""
    openai = AsyncAzureOpenAI(azure_endpoint=url, api_key="k", api_version="2024-10-21")
    retired = ChatCompletionsClient(f"{url}/models", AzureKeyCredential("k"))
    return {
        FLOOR: Floor(ai_model_id="gpt-4.1"),
        OURS: AzInferChatCompletion(f"{url}/openai/v1", "k", "gpt-4.1"),
        "AzureAIInferenceChatCompletion": AzureAIInferenceChatCompletion("gpt-4.1", client=retired),
        "AzureChatCompletion": AzureChatCompletion(deployment_name="gpt-4.1", async_client=openai),
    }


def user_history() -> ChatHistory:
    """The question, as a history."""
    history = ChatHistory()
    history.add_user_message(USER[0]["content"])
    return history


async def call_service(service: Any) -> None:
    """Ask, one call after the other."""
    settings = service.get_prompt_execution_settings_class()()
    for _ in range(CALLS):
        assert str(await service.get_chat_message_content(user_history(), settings))


async def read_streams(service: Any) -> None:
    """Read streams to their end."""
    settings = service.get_prompt_execution_settings_class()()
    for _ in range(STREAMS):
        async for _part in service.get_streaming_chat_message_content(user_history(), settings):
            pass


async def bare(client: AsyncInferenceClient, stream: bool) -> None:
    """The same by the core client alone."""
    for _ in range(STREAMS if stream else CALLS):
        if stream:
            async with client.stream(USER) as chunks:
                async for _chunk in chunks:
                    pass
        else:
            assert (await client.complete(USER)).text


async def close_all(expected: dict[str, Any], client: AsyncInferenceClient) -> None:
    """Close what has something to close."""
    await expected[OURS].aclose()
    await expected["AzureAIInferenceChatCompletion"].client.close()
    await expected["AzureChatCompletion"].client.close()
    await client.aclose()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with serve() as url, asyncio.Runner() as runner:
        result = services(url)
        client = AsyncInferenceClient(f"{url}/openai/v1", "k", "gpt-4.1")

        def works(ask: Callable[[Any], Any], stream: bool) -> dict[str, Callable[[], Any]]:
            asks: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
                name: functools.partial(ask, service) for name, service in result.items()
            }
            asks["core"] = functools.partial(bare, client, stream)
            return {
                name: functools.partial(lambda each: runner.run(each()), each)
                for name, each in asks.items()
            }

        call = medians(works(call_service, False), rounds, cpu)
        stream = medians(works(read_streams, True), rounds, cpu)
        runner.run(close_all(result, client))
    imports: dict[str, Callable[[], Any]] = {
        name: functools.partial(import_seconds, module) for name, module in MODULES.items()
    }
    load = medians(imports, rounds, lambda work: work())
    table = Table("", "import", "call", "over core", "streamed chunk", "over core's own")
    for name in MODULES:
        table.add_row(
            name,
            f"{load[name] / load[FLOOR]:.2f}",
            f"{call[name] / CALLS * 1000:.2f} ms",
            "" if name == FLOOR else f"{(call[name] - call['core']) / CALLS * 1000:.2f} ms",
            f"{stream[name] / stream[FLOOR]:.2f}",
            "" if name == FLOOR else f"{(stream[name] - stream['core']) / stream[FLOOR]:.2f}",
        )
    console = Console(width=120)
    console.print(table)
    console.print(f"import and streamed chunk: ratios to {FLOOR} in the same run")
    each = stream[FLOOR] / STREAMS / CHUNKS * 1e6
    console.print(f"{FLOOR}: import {load[FLOOR]:.2f} s, chunk {each:.0f} µs")


if __name__ == "__main__":
    main()
