"""The Agent Framework adapter beside the framework's own OpenAI client and its own floor.

`python tests/benchmarks/agent_framework_adapter.py [--rounds 7]` prints CPU time of the client,
medians of interleaved rounds. "Adds" is what a client takes beyond the SDK below it in the same
run: azinfer.core below ours, openai below the framework's.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from typing import Any

from adapters import import_seconds, medians
from agent_framework import (
    BaseChatClient,
    ChatMiddlewareLayer,
    ChatResponse,
    ChatResponseUpdate,
    Content,
    FunctionInvocationLayer,
    Message,
)
from agent_framework.observability import ChatTelemetryLayer
from agent_framework.openai import OpenAIChatCompletionClient
from openai import AsyncOpenAI
from rich.console import Console
from rich.table import Table
from run import CALLS, STREAMS, USER, cpu, serve

from azinfer.agent_framework import AzInferChatClient
from azinfer.core import AsyncInferenceClient

FLOOR, OURS, THEIRS = "framework in memory", "azinfer.agent_framework", "framework's OpenAI client"
CORE, SDK = "azinfer.core", "openai"
BELOW = {OURS: CORE, THEIRS: SDK}
MODULES = {
    "agent_framework": "agent_framework",
    "its chat layers": "agent_framework; agent_framework.BaseChatClient; "
    "agent_framework.FunctionInvocationLayer; agent_framework.ChatMiddlewareLayer; "
    "import agent_framework.observability",
    OURS: "azinfer.agent_framework",
    THEIRS: "agent_framework.openai; agent_framework.openai.OpenAIChatCompletionClient",
}
CHUNKS = 200
MESSAGES = [Message("user", [USER[0]["content"]])]


class Memory(BaseChatClient[Any]):
    """The innermost layer of the floor: it answers from memory."""

    def _inner_get_response(self, *, stream: bool, **_: Any) -> Any:
        return self._build_response_stream(self._stream()) if stream else self._answer()

    async def _answer(self) -> ChatResponse[Any]:
        return ChatResponse(messages=Message("assistant", [Content.from_text("x")]))

    async def _stream(self) -> AsyncIterator[ChatResponseUpdate]:
        for _ in range(CHUNKS):
            text = Content.from_text("token ", merge_mode="append")
            yield ChatResponseUpdate(contents=[text], role="assistant")


class Floor(
    FunctionInvocationLayer[Any], ChatMiddlewareLayer[Any], ChatTelemetryLayer[Any], Memory
):
    """A client in memory: what the framework itself costs."""


async def call(client: Any) -> None:
    """Call, one after the other."""
    for _ in range(CALLS):
        assert (await client.get_response(MESSAGES)).text


async def stream(client: Any) -> None:
    """Read streams to their end."""
    for _ in range(STREAMS):
        async for _update in client.get_response(MESSAGES, stream=True):
            pass


async def call_core(client: AsyncInferenceClient) -> None:
    """The same by the core client alone."""
    for _ in range(CALLS):
        assert (await client.complete(USER)).text


async def stream_core(client: AsyncInferenceClient) -> None:
    """The same by the core client alone."""
    for _ in range(STREAMS):
        async with client.stream(USER) as chunks:
            async for _chunk in chunks:
                pass


async def call_sdk(client: Any) -> None:
    """The same by the openai SDK alone."""
    for _ in range(CALLS):
        answer = await client.chat.completions.create(model="gpt-4.1", messages=USER)
        assert answer.choices[0].message.content


async def stream_sdk(client: Any) -> None:
    """The same by the openai SDK alone."""
    usage = {"include_usage": True}
    for _ in range(STREAMS):
        async with await client.chat.completions.create(
            model="gpt-4.1", messages=USER, stream=True, stream_options=usage
        ) as chunks:
            async for _chunk in chunks:
                pass


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    with serve() as url, asyncio.Runner() as runner:
        core = AsyncInferenceClient(f"{url}/openai/v1", "k", "gpt-4.1")
        sdk = AsyncOpenAI(base_url=f"{url}/openai/v1", api_key="k")
        ours = AzInferChatClient(f"{url}/openai/v1", "k", "gpt-4.1")
        theirs: Any = OpenAIChatCompletionClient("gpt-4.1", async_client=sdk)

        def works(
            by: Callable[[Any], Any], bare: Callable[[Any], Any], bare_sdk: Callable[[Any], Any]
        ) -> dict[str, Callable[[], Any]]:
            pairs = {FLOOR: (by, Floor()), CORE: (bare, core), OURS: (by, ours)}
            pairs |= {SDK: (bare_sdk, sdk), THEIRS: (by, theirs)}
            return {
                name: functools.partial(lambda run, each: runner.run(run(each)), run, each)
                for name, (run, each) in pairs.items()
            }

        calls = medians(works(call, call_core, call_sdk), rounds, cpu)
        streams = medians(works(stream, stream_core, stream_sdk), rounds, cpu)
        runner.run(sdk.close())
        runner.run(ours.aclose())
    imports: dict[str, Callable[[], Any]] = {
        name: functools.partial(import_seconds, module) for name, module in MODULES.items()
    }
    load = medians(imports, rounds, lambda work: work())

    def overhead(taken: dict[str, float], name: str) -> float:
        return taken[name] - taken[BELOW[name]]

    table = Table("", "call", "adds", "streamed chunk", "adds")
    for name in (FLOOR, CORE, OURS, SDK, THEIRS):
        each, chunk = 1e6 / CALLS, 1e6 / STREAMS / CHUNKS
        more = name in BELOW
        table.add_row(
            name,
            f"{calls[name] * each:.0f} µs",
            f"{overhead(calls, name) * each:.0f} µs" if more else "",
            f"{streams[name] * chunk:.1f} µs",
            f"{overhead(streams, name) * chunk:.1f} µs" if more else "",
        )
    console = Console(width=110)
    console.print(table)
    for what, taken in (("call", calls), ("chunk", streams)):
        ratio = overhead(taken, OURS) / overhead(taken, THEIRS)
        console.print(f"a {what} adds {ratio:.2f} of what the framework's own client adds")
    for name in MODULES:
        console.print(
            f"import {name}: {load[name] * 1000:.0f} ms, "
            f"{load[name] / load['agent_framework']:.2f} of agent_framework, "
            f"{load[name] / load['its chat layers']:.2f} of its chat layers"
        )


if __name__ == "__main__":
    main()
