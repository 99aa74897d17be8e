"""The AG2 adapter beside core alone, AG2's own floor, and AG2's OpenAIConfig where it runs.

`python tests/benchmarks/ag2_adapter.py [--rounds 7]` prints CPU time of the client, medians of
interleaved rounds. OpenAIConfig needs openai 3.27 or newer, which other frameworks here refuse:
in an environment with `ag2[openai]`, orjson, httpx, rich and azinfer alone, it is measured too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ag2 import Agent
from ag2 import config as ag2_config
from ag2.events import ModelMessage, ModelMessageChunk, ModelResponse, Usage
from rich.console import Console
from rich.table import Table

from azinfer.ag2 import AzInferConfig
from azinfer.core import AsyncInferenceClient

QUESTION = "What is the capital of France?"
USER: list[Any] = [{"role": "user", "content": QUESTION}]
ASKS, STREAMS, CHUNKS = 200, 10, 200
FLOOR = "AG2 in memory"


class Floor:
    """A model in memory, configuration and client at once: what AG2 itself costs."""

    def __init__(self, streaming: bool) -> None:
        self._streaming = streaming

    def create(self) -> Floor:
        """The client."""
        return self

    async def __call__(self, messages: Any, context: Any, **named: Any) -> ModelResponse:
        """The same answer, at once."""
        for _ in range(CHUNKS if self._streaming else 0):
            await context.send(ModelMessageChunk("token "))
        message = ModelMessage("Paris.")
        await context.send(message)
        return ModelResponse(message, usage=Usage(9, 64, 73), model="gpt", provider="none")


@contextlib.contextmanager
def serve() -> Iterator[str]:
    """The URL of a server in a process of its own."""
    command = [sys.executable, str(Path(__file__).parent / "server.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


def configs(url: str, streaming: bool) -> dict[str, Any]:
    """Every configuration that is measured."""
    v1 = f"{url}/openai/v1"
    results: dict[str, Any] = {
        FLOOR: Floor(streaming),
        "azinfer.ag2": AzInferConfig(v1, "k", "gpt-4.1", streaming=streaming),
    }
    if isinstance(ag2_config.OpenAIConfig, type):  # a stand-in where openai is missing or older
        results["ag2 OpenAIConfig"] = ag2_config.OpenAIConfig(
            model="gpt-4.1", base_url=v1, api_key="k", streaming=streaming
        )
    return results


async def run_turns(config: Any, count: int) -> None:
    """Turns of an agent, one after the other."""
    agent = Agent("a", config=config)
    for _ in range(count):
        assert (await agent.ask(QUESTION)).body


async def bare(client: AsyncInferenceClient, count: int, streaming: bool) -> None:
    """The same by the core client alone."""
    for _ in range(count):
        if streaming:
            async with client.stream(USER) as chunks:
                async for _chunk in chunks:
                    pass
        else:
            assert (await client.complete(USER)).text


def cpu(work: Callable[[], Any]) -> float:
    """Seconds of CPU that a piece of async work takes."""
    gc.collect()
    began = time.process_time()
    asyncio.run(work())
    return time.process_time() - began


def import_seconds(module: str) -> float:
    """CPU seconds that an import takes in a fresh process."""
    code = f"import time; began = time.process_time(); import {module}; "
    code += "print(time.process_time() - began)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def medians(works: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The median of each measurement, in interleaved rounds; the first round warms up."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for at in range(rounds + 1):
        for name, measure in works.items():
            seconds = measure()
            if at:
                taken[name].append(seconds)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def measure_turns(url: str, streaming: bool, rounds: int) -> dict[str, float]:
    """CPU seconds of a turn, or of a stream, by each configuration and by core."""
    count = STREAMS if streaming else ASKS
    client = AsyncInferenceClient(f"{url}/openai/v1", "k", "gpt-4.1")
    works: dict[str, Callable[[], float]] = {
        name: lambda config=config: cpu(lambda: run_turns(config, count))  # type: ignore[misc]
        for name, config in configs(url, streaming).items()
    }
    works["core"] = lambda: cpu(lambda: bare(client, count, streaming))
    return {name: seconds / count for name, seconds in medians(works, rounds).items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    began = time.perf_counter()
    with serve() as url:
        ask, stream = measure_turns(url, False, rounds), measure_turns(url, True, rounds)
    modules = {FLOOR: "ag2", "azinfer.ag2": "azinfer.ag2", "ag2 OpenAIConfig": "ag2.config.openai"}
    works: dict[str, Callable[[], float]] = {
        name: lambda name=name: import_seconds(modules[name])  # type: ignore[misc]
        for name in ask
        if name in modules
    }
    load = medians(works, rounds)
    table = Table("", "import", "ask", "over AG2 and core", "chunk", "over AG2's and core's")
    for name in ask:
        over = ask[name] - ask[FLOOR] - ask["core"]
        over_chunk = (stream[name] - stream[FLOOR] - stream["core"]) / CHUNKS
        alone = name in (FLOOR, "core")
        table.add_row(
            name,
            f"{load[name] / load[FLOOR]:.2f}" if name in load else "",
            f"{ask[name] * 1000:.2f} ms",
            "" if alone else f"{over * 1000:+.2f} ms",
            f"{stream[name] / CHUNKS * 1e6:.1f} µs",
            "" if alone else f"{over_chunk * 1e6:+.1f} µs",
        )
    console = Console(width=110)
    console.print(table)
    if "ag2 OpenAIConfig" not in ask:
        console.print("ag2 OpenAIConfig: left out, it needs ag2\\[openai], which is openai>=3.27")
    console.print(
        f"import: ratio to ag2 ({load[FLOOR]:.2f} s); {time.perf_counter() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
