"""Routes beside other routers, on the same scripted endpoints in one run.

`python tests/benchmarks/routing.py [--rounds 7] [--before DIR]` prints two tables: what each
router does when deployments fail, and the CPU time of a call. A scenario begins no further calls
of a router after 30 s, so that fewer than all may be good. `--before` is the folder `core` of
an earlier build, to compare a client without routes. A router that is not installed is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import gc
import importlib
import json
import logging
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import httpx
from rich.console import Console
from rich.table import Table

from azinfer.core import AssistantMessage, AsyncInferenceClient, UserMessage

HERE = Path(__file__).parent
MODEL = "gpt-4.1"
USER: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]
LIMITED = {"status": 429, "code": "RateLimitReached"}
Counts = dict[str, int]


class Endpoints:
    """The scripted endpoints."""

    def __init__(self, ports: list[int]) -> None:
        self.ports = ports
        self.urls = [f"http://127.0.0.1:{port}/openai/v1" for port in ports]

    def script(self, *scripts: dict[str, Any]) -> None:
        """Set the behaviour of the endpoints; those not named are healthy."""
        for at, port in enumerate(self.ports):
            script = scripts[at] if at < len(scripts) else {}
            self._ask(port, "script", json.dumps(script).encode())

    def counts(self) -> list[int]:
        """Return how many requests each got."""
        return [self._ask(port, "count")["count"] for port in self.ports]

    def _ask(self, port: int, path: str, body: bytes | None = None) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/{path}", body)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


@contextlib.contextmanager
def serve(count: int) -> Iterator[Endpoints]:
    command = [sys.executable, str(HERE / "routing_server.py"), str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield Endpoints(json.loads(process.stdout.readline()))
        finally:
            process.kill()


class Azinfer:
    """A route of azinfer."""

    name = "azinfer"

    def __init__(self, urls: list[str], tiers: bool = True, **policy: Any) -> None:
        endpoints = {f"e{at}": {"url": url} for at, url in enumerate(urls)}
        members = [f"{MODEL}@{name}" for name in endpoints]
        route = {"tiers": [[each] for each in members] if tiers else [members], "policy": policy}
        config = {"default": "e0", "endpoints": endpoints, "routes": {"chat": route}}
        environ = {"AZURE_AI_API_KEY": "key"}
        self.client = AsyncInferenceClient.from_config(config, environ=environ, model="chat")

    async def call(self, **options: Any) -> str:
        return (await self.client.complete(USER, **options)).text

    async def stream(self) -> AsyncIterator[tuple[str, float]]:
        async with self.client.stream(USER) as chunks:
            async for chunk in chunks:
                yield chunk.text, chunk.raw.get("at", 0.0)

    async def converse(self) -> None:
        first = await self.client.complete(USER, wire="responses")
        message = first.choices[0].message
        again = [*USER, AssistantMessage(message.content, state=message.state), UserMessage("Why?")]
        await self.client.complete(again, wire="responses")

    async def close(self) -> None:
        await self.client.aclose()


class LiteLLM:
    """LiteLLM's Router: `order` for tiers, else by latency."""

    name = "LiteLLM Router"

    def __init__(self, urls: list[str], tiers: bool = True, **policy: Any) -> None:
        import litellm

        litellm.suppress_debug_info = True
        for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        params = {"model": f"openai/{MODEL}", "api_key": "key"}
        models = [
            {
                "model_name": "chat",
                "litellm_params": {
                    **params,
                    "api_base": url,
                    **({"order": at + 1} if tiers else {}),
                },
            }
            for at, url in enumerate(urls)
        ]
        strategy = "simple-shuffle" if tiers else "latency-based-routing"
        router: Any = vars(litellm)["Router"]
        self.router = router(model_list=models, routing_strategy=strategy)

    async def call(self, **options: Any) -> str:
        answer = await self.router.acompletion("chat", USER, **options)
        return str(answer.choices[0].message.content)

    async def stream(self) -> AsyncIterator[tuple[str, float]]:
        async for chunk in await self.router.acompletion("chat", USER, stream=True):
            yield chunk.choices[0].delta.content or "", getattr(chunk, "at", 0.0)

    async def converse(self) -> None:
        first = await self.router.aresponses(model="chat", input=USER)
        items = [item.model_dump(exclude_none=True) for item in first.output]
        await self.router.aresponses(model="chat", input=[*USER, *items, *USER])

    async def close(self) -> None:
        pass


class LangChain:
    """LangChain's fallbacks over its OpenAI client, without retries of their own."""

    name = "LangChain fallbacks"

    def __init__(self, urls: list[str], tiers: bool = True, **policy: Any) -> None:
        from langchain_openai import ChatOpenAI

        options: dict[str, Any] = {"model": MODEL, "api_key": "key", "max_retries": 0}
        first, *others = [ChatOpenAI(base_url=url, **options) for url in urls]
        self.chat = first.with_fallbacks(others)

    async def call(self, **options: Any) -> str:
        return str((await self.chat.ainvoke("What is the capital of France?", **options)).content)

    async def stream(self) -> AsyncIterator[tuple[str, float]]:
        async for chunk in self.chat.astream("What is the capital of France?"):
            yield str(chunk.content), 0.0

    async def close(self) -> None:
        pass


class PydanticAI:
    """pydantic-ai's FallbackModel over its OpenAI model, without retries of its client."""

    name = "pydantic-ai FallbackModel"

    def __init__(self, urls: list[str], tiers: bool = True, **policy: Any) -> None:
        from openai import AsyncOpenAI

        # It need not be installed: without it this row is left out.
        agents, fallback, openai, provider = (
            importlib.import_module(f"pydantic_ai{name}")
            for name in ("", ".models.fallback", ".models.openai", ".providers.openai")
        )
        clients = [AsyncOpenAI(base_url=url, api_key="key", max_retries=0) for url in urls]
        providers = [provider.OpenAIProvider(openai_client=client) for client in clients]
        models = [openai.OpenAIChatModel(MODEL, provider=each) for each in providers]
        self.agent: Any = agents.Agent(fallback.FallbackModel(*models))

    async def call(self, **options: Any) -> str:
        settings: Any = options or None
        return str((await self.agent.run(USER[0]["content"], model_settings=settings)).output)

    async def stream(self) -> AsyncIterator[tuple[str, float]]:
        async with self.agent.run_stream(USER[0]["content"]) as streamed:
            async for text in streamed.stream_text(delta=True, debounce_by=None):
                yield text, 0.0

    async def close(self) -> None:
        pass


class OpenAI:
    """The openai SDK with its own two retries, on the first endpoint: it knows no other."""

    name = "openai SDK"

    def __init__(self, urls: list[str], tiers: bool = True, **policy: Any) -> None:
        from openai import AsyncOpenAI

        self.client = AsyncOpenAI(base_url=urls[0], api_key="key")

    async def call(self, **options: Any) -> str:
        answer = await self.client.chat.completions.create(model=MODEL, messages=USER, **options)
        return str(answer.choices[0].message.content)

    async def stream(self) -> AsyncIterator[tuple[str, float]]:
        chunks: Any = await self.client.chat.completions.create(
            model=MODEL, messages=USER, stream=True
        )
        async for chunk in chunks:
            yield chunk.choices[0].delta.content or "", 0.0

    async def close(self) -> None:
        await self.client.close()


ROUTERS: list[Any] = [Azinfer, LiteLLM, LangChain, PydanticAI, OpenAI]


LONGEST = 30.0  # seconds after which a router begins no further call of a scenario


async def count_successes(
    call: Callable[[], Awaitable[Any]], calls: int, at_once: int, longest: float = 30.0
) -> tuple[int, float]:
    """Return how many calls succeeded, and the seconds that the slowest of them took."""
    left = iter(range(calls))
    good: list[float] = []
    end = time.perf_counter() + LONGEST

    async def work() -> None:
        for _ in left:
            began = time.perf_counter()
            if began > end:
                return
            with contextlib.suppress(Exception):
                await asyncio.wait_for(call(), longest)
                good.append(time.perf_counter() - began)

    await asyncio.gather(*(work() for _ in range(at_once)))
    return len(good), max(good, default=0.0)


async def run_limited(kind: Any, endpoints: Endpoints) -> str:
    endpoints.script({**LIMITED, "retry_after": 5})
    router = kind(endpoints.urls)
    good, _ = await count_successes(router.call, 120, 4)
    await router.close()
    return f"{endpoints.counts()[0]} ({good} good)"


async def run_reopened(kind: Any, endpoints: Endpoints) -> str:
    endpoints.script({**LIMITED, "retry_after": 3}, {"delay": 0.2}, {"delay": 0.2})
    router = kind(endpoints.urls)
    good, _ = await count_successes(router.call, 300, 12)
    await router.close()
    return f"{endpoints.counts()[0]} ({good} good)"


async def run_hanging(kind: Any, endpoints: Endpoints) -> str:
    endpoints.script({"hang": True})
    router = kind(endpoints.urls, hedge=0.25)
    good, slowest = await count_successes(router.call, 12, 12, longest=5.0)
    await router.close()
    return f"{good} of 12" + (f", slowest {slowest:.2f} s" if good else "")


async def cut(kind: Any, endpoints: Endpoints) -> str:
    endpoints.script({"cut": 5})
    router = kind(endpoints.urls)

    async def read() -> None:
        tokens = [text async for text, _ in router.stream() if text]
        assert len("".join(tokens).split()) == 21

    good, _ = await count_successes(read, 30, 1)
    await router.close()
    return f"{good} of 30"


async def run_throttled(kind: Any, endpoints: Endpoints) -> str:
    script = {**LIMITED, "retry_after": 1, "for_seconds": 1.5}
    endpoints.script(script, script, script)
    router = kind(endpoints.urls)
    good, _ = await count_successes(router.call, 6, 6)
    await router.close()
    return f"{good} of 6"


async def slow(kind: Any, endpoints: Endpoints) -> str:
    endpoints.script({"delay": 0.3}, {"delay": 0.3}, {"delay": 0.02})
    router = kind(endpoints.urls, tiers=False)
    await count_successes(router.call, 300, 4)
    await router.close()
    counts = endpoints.counts()
    return f"{100 * (counts[0] + counts[1]) / sum(counts):.0f} %"


async def run_rejected(kind: Any, endpoints: Endpoints) -> str:
    script = {"refuses": "max_tokens"}
    endpoints.script(script, script, script)
    router = kind(endpoints.urls)
    good, _ = await count_successes(lambda: router.call(max_tokens=5), 20, 1)
    await router.close()
    return f"{sum(endpoints.counts())} ({good} good)"


async def run_filtered(kind: Any, endpoints: Endpoints) -> str:
    endpoints.script({"status": 400, "code": "content_filter"})
    router = kind(endpoints.urls)
    await count_successes(router.call, 20, 1)
    await router.close()
    return f"{sum(endpoints.counts()[1:])} of 20"


async def run_encrypted(kind: Any, endpoints: Endpoints) -> str:
    endpoints.script(*({"resource": f"resource-{at}"} for at in range(3)))
    router = kind(endpoints.urls, tiers=False)
    if not hasattr(router, "converse"):
        await router.close()
        return "–"
    good, _ = await count_successes(router.converse, 200, 4)
    await router.close()
    return f"{200 - good} of 200"


async def run_prefixed(kind: Any, endpoints: Endpoints) -> str:
    endpoints.script()
    router = kind(endpoints.urls, tiers=False, affinity="prefix")
    await count_successes(router.call, 200, 4)
    counts = endpoints.counts()
    home = counts.index(max(counts))
    await router.close()
    full = [{"delay": 0.02}] * 3
    full[home] = {"at_once": 1, "delay": 0.02}
    endpoints.script(*full)
    router = kind(endpoints.urls, tiers=False, affinity="prefix")
    await count_successes(router.call, 200, 8)
    await router.close()
    shares = [100 * each[home] / sum(each) for each in (counts, endpoints.counts())]
    return f"{shares[0]:.0f} %, full {shares[1]:.0f} %"


SCENARIOS: dict[str, Any] = {
    "first always 429, 120 calls, 4 at once: calls to it": run_limited,
    "429 with re-opening, 300 calls, 12 at once: calls to it": run_reopened,
    "first hangs, 12 calls: answered within 5 s": run_hanging,
    "first cuts streams after 5 tokens: whole streams": cut,
    "all on 429 for 1.5 s: answered": run_throttled,
    "two of three slow (300 ms): share of calls to the slow": slow,
    "a rejected parameter, 20 calls: requests": run_rejected,
    "a refused prompt: sent elsewhere": run_filtered,
    "encrypted reasoning continued: failures": run_encrypted,
    "the same prefix, 200 calls: share on one": run_prefixed,
}


async def behaviours(only: str) -> None:
    table = Table("scenario", *(kind.name for kind in ROUTERS))
    with serve(3) as endpoints:
        for name, scenario in SCENARIOS.items():
            if only and only not in scenario.__name__:
                continue
            row = []
            for kind in ROUTERS:
                try:
                    row.append(await scenario(kind, endpoints))
                except ModuleNotFoundError:
                    row.append("not installed")
            table.add_row(name, *row)
            print(name, "|", " | ".join(row), file=sys.stderr, flush=True)
    Console(width=200).print(table)


class Plain:
    """httpx, with the work of a client that the caller would write."""

    name = "httpx"

    def __init__(self, urls: list[str]) -> None:
        self.client = httpx.AsyncClient()
        self.url = f"{urls[0]}/chat/completions"

    async def call(self) -> str:
        headers = {"api-key": "key"}
        answer = await self.client.post(
            self.url, json={"model": MODEL, "messages": USER}, headers=headers
        )
        return str(answer.json()["choices"][0]["message"]["content"])

    async def close(self) -> None:
        await self.client.aclose()


class Unrouted:
    """azinfer with one endpoint."""

    name = "azinfer, one endpoint"

    def __init__(self, urls: list[str]) -> None:
        self.client = AsyncInferenceClient(urls[0], "key", MODEL)

    async def call(self) -> str:
        return (await self.client.complete(USER)).text

    async def close(self) -> None:
        await self.client.aclose()


class Thousand(Azinfer):
    """A route of azinfer over 1,000 deployments."""

    name = "azinfer, 1,000 deployments"

    def __init__(self, urls: list[str]) -> None:
        endpoints = {f"e{at}": {"url": url} for at, url in enumerate(urls)}
        members = [f"m{at}@e{at % len(urls)}" for at in range(1000)]
        config = {"default": "e0", "endpoints": endpoints, "routes": {"chat": {"tiers": [members]}}}
        environ = {"AZURE_AI_API_KEY": "key"}
        self.client = AsyncInferenceClient.from_config(config, environ=environ, model="chat")


class Three(Azinfer):
    """A route of azinfer over 3 deployments of one tier."""

    name = "azinfer, 3 deployments"

    def __init__(self, urls: list[str]) -> None:
        super().__init__(urls, tiers=False)


CALLS = 200


async def costs(rounds: int) -> dict[str, float]:
    """Return the CPU milliseconds of a call, for each client the median of rounds in turn."""
    kinds: list[Any] = [Plain, Unrouted, Azinfer, Three, Thousand, *ROUTERS[1:]]
    taken: dict[str, list[float]] = collections.defaultdict(list)
    with serve(3) as endpoints:
        routers = []
        for kind in kinds:
            with contextlib.suppress(ModuleNotFoundError):
                routers.append((kind.name, kind(endpoints.urls)))
        for turn in range(rounds + 1):
            for name, router in routers:
                gc.collect()
                began = time.process_time()
                for _ in range(CALLS):
                    await router.call()
                if turn:
                    taken[name].append(1000 * (time.process_time() - began) / CALLS)
        for _, router in routers:
            await router.close()
    return {name: statistics.median(values) for name, values in taken.items()}


async def first_chunk() -> float:
    """Return the milliseconds from when the service sent the first chunk to when it is read."""
    late = []
    with serve(3) as endpoints:
        endpoints.script({"token_seconds": 0.005})
        router = Azinfer(endpoints.urls)
        for _ in range(30):
            async for _, sent in router.stream():
                late.append(1000 * (time.time() - sent))
                break
        await router.close()
    return statistics.median(late)


BEFORE = """
import asyncio, sys, time
sys.path.insert(0, sys.argv[1])
from azinfer.core import AsyncInferenceClient
async def main():
    client = AsyncInferenceClient(sys.argv[2], "key", "gpt-4.1")
    user = [{"role": "user", "content": "What is the capital of France?"}]
    for _ in range(300):
        await client.complete(user)
    began = time.process_time()
    for _ in range(1000):
        await client.complete(user)
    print(time.process_time() - began)
    await client.aclose()
asyncio.run(main())
"""


def unrouted_ratio(before: str, rounds: int) -> float:
    """Return the CPU time of a client without routes, as a ratio to that of an earlier build."""
    builds = {"before": before, "now": str(HERE.parents[1] / "core")}
    taken: dict[str, list[float]] = collections.defaultdict(list)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with serve(1) as endpoints:
        for _ in range(rounds):
            for name, folder in builds.items():
                command = [sys.executable, "-c", BEFORE, folder, endpoints.urls[0]]
                done = subprocess.run(
                    command, capture_output=True, text=True, check=True, env=environment
                )
                taken[name].append(float(done.stdout))
    return min(taken["now"]) / min(taken["before"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--before", help="the folder core of an earlier build")
    parser.add_argument("--only", default="", help="a scenario, or cpu")
    options = parser.parse_args()
    if options.only != "cpu":
        asyncio.run(behaviours(options.only))
    if options.only not in ("", "cpu"):
        return
    taken = asyncio.run(costs(options.rounds))
    plain, one = taken["httpx"], taken["azinfer, one endpoint"]
    table = Table("client", "CPU ms a call", "to httpx", "to azinfer with one endpoint")
    for name, value in taken.items():
        table.add_row(name, f"{value:.3f}", f"{value / plain:.2f}", f"{value / one:.2f}")
    Console().print(table)
    print(f"first chunk: {asyncio.run(first_chunk()):.1f} ms after the service sent it")
    if options.before:
        ratio = unrouted_ratio(options.before, options.rounds)
        print(f"without routes, to the build before: {ratio:.2f}")


if __name__ == "__main__":
    main()
