"""Core beside plain httpx + orjson, the retired SDK and the openai SDK, in one run.

`python tests/benchmarks/run.py [--rounds 7]` prints a table: CPU time of the client as a ratio
to plain httpx in the same round, medians of interleaved rounds.
"""

from __future__ import annotations

import argparse
import array
import asyncio
import contextlib
import functools
import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import orjson
from azure.ai.inference import ChatCompletionsClient, EmbeddingsClient
from azure.ai.inference.aio import ChatCompletionsClient as AsyncChatCompletionsClient
from azure.core.credentials import AzureKeyCredential
from httpx_aiohttp import HttpxAiohttpClient
from rich.console import Console
from rich.table import Table

from azinfer.core import AsyncInferenceClient, InferenceClient

HERE = Path(__file__).parent
BYTECODE = Path(tempfile.gettempdir()) / "azinfer-benchmark-bytecode"
NO_RICH = "sys.modules.update({'rich': None, 'rich.console': None})"
USER: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]
TEXTS = ["a text of a few words"] * 2048
CALLS, STREAMS, ASYNC_CALLS = 200, 10, 320
Work = Callable[[], object]
PEERS = ("httpx + orjson", "azinfer.core", "azure-ai-inference", "openai")


def cpu(work: Work) -> float:
    """Seconds of CPU that a piece of work takes."""
    gc.collect()
    began = time.process_time()
    work()
    return time.process_time() - began


def wall(work: Work) -> float:
    """Seconds on the clock that a piece of work takes."""
    gc.collect()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def reported_seconds(work: Work) -> float:
    """Seconds that a piece of work says it took."""
    seconds = work()
    assert isinstance(seconds, float)
    return seconds


class Sync:
    """Every sync measurement, for each peer."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client()
        self.ours = InferenceClient(f"{url}/openai/v1", "k", "gpt-4.1")
        credential = AzureKeyCredential("k")
        base = f"{url}/models"
        self.azure = ChatCompletionsClient(endpoint=base, credential=credential, model="gpt-4.1")
        self.azure_embed = EmbeddingsClient(endpoint=base, credential=credential, model="e")
        self.openai = openai.OpenAI(base_url=f"{url}/openai/v1", api_key="k")
        self.url = url

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """Make the call with httpx and orjson alone."""
        headers = {"content-type": "application/json", "api-key": "k"}
        return self.http.post(self.url + path, content=orjson.dumps(body), headers=headers)

    def calls(self) -> dict[str, Work]:
        """Chat calls, one after the other."""

        def plain() -> None:
            for _ in range(CALLS):
                body = {"model": "gpt-4.1", "messages": USER}
                answer = orjson.loads(self.post("/openai/v1/chat/completions", body).content)
                assert answer["choices"][0]["message"]["content"]

        def ours() -> None:
            for _ in range(CALLS):
                assert self.ours.complete(USER).text

        def azure() -> None:
            for _ in range(CALLS):
                assert self.azure.complete(messages=USER).choices[0].message.content

        def theirs() -> None:
            create = self.openai.chat.completions.create
            for _ in range(CALLS):
                assert create(model="gpt-4.1", messages=USER).choices[0].message.content

        return dict(zip(PEERS, (plain, ours, azure, theirs), strict=True))

    def chunks(self, first_only: bool = False) -> dict[str, Work]:
        """Streams, read to their end or to their first chunk."""

        def plain() -> None:
            headers = {"content-type": "application/json", "api-key": "k"}
            body = orjson.dumps({"model": "gpt-4.1", "messages": USER, "stream": True})
            for _ in range(STREAMS):
                url = f"{self.url}/openai/v1/chat/completions"
                with self.http.stream("POST", url, content=body, headers=headers) as answer:
                    for line in answer.iter_lines():
                        if line.startswith("data: {"):
                            orjson.loads(line[6:])
                            if first_only:
                                break

        def read(opened: Any) -> None:
            for chunk in opened:
                assert chunk is not None
                if first_only:
                    break

        def ours() -> None:
            for _ in range(STREAMS):
                with self.ours.stream(USER) as chunks:
                    read(chunks)

        def azure() -> None:
            for _ in range(STREAMS):
                chunks: Any = self.azure.complete(messages=USER, stream=True)
                with chunks:
                    read(chunks)

        def theirs() -> None:
            create = self.openai.chat.completions.create
            for _ in range(STREAMS):
                with create(model="gpt-4.1", messages=USER, stream=True) as chunks:
                    read(chunks)

        return dict(zip(PEERS, (plain, ours, azure, theirs), strict=True))

    def embeddings(self, encoding: str) -> dict[str, Work]:
        """One batch of 2,048 vectors of 1,536 numbers."""

        def plain() -> None:
            body = {"model": "e", "input": TEXTS, "encoding_format": encoding}
            data = orjson.loads(self.post("/openai/v1/embeddings", body).content)["data"]
            if encoding == "base64":
                import base64

                vectors = [array.array("f", base64.b64decode(item["embedding"])) for item in data]
            else:
                vectors = [item["embedding"] for item in data]
            assert len(vectors) == len(TEXTS)

        def ours() -> None:
            result = self.ours.embed(
                TEXTS, model="e", model_id="text-embedding-3-small", encoding_format=encoding
            )
            assert len(result) == len(TEXTS)

        def azure() -> None:
            result = self.azure_embed.embed(input=TEXTS, encoding_format=encoding)
            assert len(result.data[0].embedding) > 0

        def theirs() -> None:
            # The SDK asks for base64 unless an option says otherwise, and decodes it.
            more: Any = {} if encoding == "base64" else {"encoding_format": "float"}
            result = self.openai.embeddings.create(model="e", input=TEXTS, **more)
            assert len(result.data[0].embedding) == 1536

        return dict(zip(PEERS, (plain, ours, azure, theirs), strict=True))


def at_once(
    url: str, calls: int, many: int, latency: bool, http: Callable[[], Any] | None = None
) -> dict[str, Work]:
    """Async chat calls, `many` of them at once; core's with an httpx client of the caller."""
    headers = {"x-latency": "100"} if latency else {}

    async def gather(ask: Callable[[], Any]) -> None:
        free = asyncio.Semaphore(many)

        async def one() -> None:
            async with free:
                await ask()

        await asyncio.gather(*(one() for _ in range(calls)))

    async def plain() -> None:
        reported_seconds = {"content-type": "application/json", "api-key": "k", **headers}
        limits = httpx.Limits(max_connections=many)
        async with httpx.AsyncClient(
            headers=reported_seconds, limits=limits, timeout=600
        ) as client:

            async def ask() -> None:
                body = orjson.dumps({"model": "gpt-4.1", "messages": USER})
                target = f"{url}/openai/v1/chat/completions"
                orjson.loads((await client.post(target, content=body)).content)

            await gather(ask)

    async def ours() -> None:
        own_http_client = http() if http is not None else None
        async with AsyncInferenceClient(
            f"{url}/openai/v1", "k", "m", headers=headers, http_client=own_http_client
        ) as client:
            await gather(lambda: client.complete(USER))
        if own_http_client is not None:
            await own_http_client.aclose()

    async def azure() -> None:
        credential = AzureKeyCredential("k")
        async with AsyncChatCompletionsClient(
            endpoint=f"{url}/models", credential=credential, model="m", headers=headers
        ) as client:
            await gather(lambda: client.complete(messages=USER))

    async def theirs() -> None:
        async with openai.AsyncOpenAI(
            base_url=f"{url}/openai/v1", api_key="k", default_headers=headers
        ) as client:
            create = client.chat.completions.create
            await gather(lambda: create(model="m", messages=USER))

    works = (plain, ours, azure, theirs)
    return {name: functools.partial(_run, work) for name, work in zip(PEERS, works, strict=True)}


def _run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


def imports(before: str = "pass") -> dict[str, Work]:
    """The import of each peer's client, in a fresh process that prints its CPU time."""
    # With the name of the client: some packages load it only then.
    statements = (
        "import httpx, orjson",
        "from azinfer.core import InferenceClient",
        "from azure.ai.inference import ChatCompletionsClient",
        "from openai import OpenAI",
    )
    return {
        peer: functools.partial(_import, each, before)
        for peer, each in zip(PEERS, statements, strict=True)
    }


def _import(statement: str, before: str = "pass") -> float:
    code = f"import sys, time; {before}; began = time.process_time(); {statement}; "
    code += "print(time.process_time() - began)"
    # With bytecode, as installers leave it; the first round writes it.
    environ = {**os.environ, "PYTHONPYCACHEPREFIX": str(BYTECODE)}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
    return float(done.stdout)


def measure_ratios(
    works: dict[str, Work], rounds: int, clock: Callable[[Work], float]
) -> dict[str, Any]:
    """The median of each peer's ratio to the first one, and that one's seconds."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for at in range(rounds + 1):
        for name, work in works.items():
            seconds = clock(work)
            if at:  # the first round warms up
                taken[name].append(seconds)
    base = taken[PEERS[0]]
    ratios = {
        name: statistics.median(mine / its for mine, its in zip(seconds, base, strict=True))
        for name, seconds in taken.items()
    }
    return {**ratios, "base": statistics.median(base)}


@contextlib.contextmanager
def serve() -> Iterator[str]:
    """The server, in its own process."""
    command = [sys.executable, str(HERE / "server.py")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    console = Console(width=120)
    with serve() as url:
        sync = Sync(url)
        rows: list[tuple[str, dict[str, Work], Callable[[Work], float], float, str]] = [
            ("chat call, sync", sync.calls(), cpu, CALLS, "0.9"),
            (
                "chat call, async, 16 at once",
                at_once(url, ASYNC_CALLS, 16, False),
                cpu,
                ASYNC_CALLS,
                "0.5",
            ),
            (
                "the same, core over httpx-aiohttp",
                at_once(url, ASYNC_CALLS, 16, False, HttpxAiohttpClient),
                cpu,
                ASYNC_CALLS,
                "0.5",
            ),
            ("streamed chunk, sync", sync.chunks(), cpu, STREAMS * 201, "0.8"),
            ("to the first chunk, sync", sync.chunks(first_only=True), cpu, STREAMS, "0.9"),
            ("2,048 × 1,536 embeddings, float", sync.embeddings("float"), cpu, 1, "0.8"),
            ("2,048 × 1,536 embeddings, base64", sync.embeddings("base64"), cpu, 1, "0.85"),
            (
                "1,000 calls, 128 at once, 100 ms (wall)",
                at_once(url, 1000, 128, True),
                wall,
                1,
                "–",
            ),
            ("import", imports(), reported_seconds, 1, "1.3"),
            ("import, without rich", imports(NO_RICH), reported_seconds, 1, "1.3"),
        ]
        table = Table("work", *PEERS, "goal", title="ratio to httpx + orjson in the same round")
        for name, works, clock, count, goal in rows:
            with console.status(name):
                result = measure_ratios(works, rounds if clock is cpu else min(3, rounds), clock)
            base = result["base"] / count * 1000
            cells = [f"{result[peer]:.2f}" for peer in PEERS[1:]]
            table.add_row(name, f"1.00 ({base:.2f} ms)", *cells, goal)
    console.print(table)


if __name__ == "__main__":
    main()
