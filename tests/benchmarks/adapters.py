"""The LangChain adapter beside langchain-openai, langchain-azure-ai and LangChain's own floor.

`python tests/benchmarks/adapters.py [--rounds 7]` prints CPU time of the client, medians of
interleaved rounds.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI
from rich.console import Console
from rich.table import Table
from run import CALLS, STREAMS, USER, cpu, serve

from azinfer.core import InferenceClient
from azinfer.langchain import ChatAzInfer

QUESTION = USER[0]["content"]
CHUNKS = 200
FLOOR, LEAST = "LangChain in memory", "the least on core"
OURS, REMEMBERED = "azinfer.langchain", "azinfer.langchain, core in memory"


class Floor(GenericFakeChatModel):
    """A model in memory: what LangChain itself costs."""

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for _ in range(CHUNKS):
            yield ChatGenerationChunk(message=AIMessageChunk(content="token "))


class Least(GenericFakeChatModel):
    """The least that a LangChain model on the core client can do: it looks at no answer.

    Between reads of a socket the same code takes longer than in a loop of its own, so this and
    not the sum of its parts is the measure of an adapter.
    """

    client: Any

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        self.client.complete(USER)
        return ChatResult(generations=[ChatGeneration(message=AIMessage("x"))])

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        with self.client.stream(USER) as chunks:
            for _ in chunks:
                yield ChatGenerationChunk(message=AIMessageChunk(content="token "))


class Remembered(InferenceClient):
    """A core client that gives one answer again from memory, like the floor's model."""

    def stream(self, *args: Any, **kwargs: Any) -> Any:
        """The answer's chunks, which came once."""
        if not hasattr(self, "kept"):
            with super().stream(*args, **kwargs) as chunks:
                self.kept = Kept(list(chunks), chunks.completion)
        return self.kept


class Kept(list[Any]):
    """The chunks of a stream that was read to its end."""

    def __init__(self, chunks: list[Any], completion: Any) -> None:
        super().__init__(chunks)
        self.completion = completion

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *error: object) -> None:
        return None


def models(url: str) -> dict[str, Any]:
    """Every model that is measured."""
    from langchain_azure_ai.chat_models import (  # type: ignore[import-untyped]
        AzureAIOpenAIApiChatModel,
    )

    v1 = f"{url}/openai/v1"
    nothing: Iterator[Any] = iter(())
    client = InferenceClient(v1, "k", "gpt-4.1")
    return {
        FLOOR: Floor(messages=iter(lambda: AIMessage("x"), None)),
        LEAST: Least(messages=nothing, client=client),
        OURS: ChatAzInfer(endpoint=v1, credential="k", model="gpt-4.1"),
        REMEMBERED: ChatAzInfer(client=Remembered(v1, "k", "gpt-4.1")),
        "langchain-openai": ChatOpenAI(base_url=v1, api_key="k", model="gpt-4.1"),  # type: ignore[arg-type]
        "langchain-azure-ai": AzureAIOpenAIApiChatModel(
            endpoint=v1, credential="k", model="gpt-4.1"
        ),
    }


def call_model(model: Any) -> None:
    """Ask, one call after the other."""
    for _ in range(CALLS):
        assert model.invoke(QUESTION).content


def read_streams(model: Any) -> None:
    """Read streams to their end."""
    for _ in range(STREAMS):
        for _chunk in model.stream(QUESTION):
            pass


def bare(client: InferenceClient, stream: bool) -> None:
    """The same by the core client alone."""
    for _ in range(STREAMS if stream else CALLS):
        if stream:
            with client.stream(USER) as chunks:
                for _chunk in chunks:
                    pass
        else:
            assert client.complete(USER).text


def import_seconds(module: str) -> float:
    """CPU seconds that an import takes in a fresh process."""
    code = f"import time; began = time.process_time(); import {module}; "
    code += "print(time.process_time() - began)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def medians(works: dict[str, Callable[[], Any]], rounds: int, clock: Any) -> dict[str, float]:
    """The median of each work, in interleaved rounds."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for at in range(rounds + 1):
        for name, work in works.items():
            seconds = clock(work)
            if at:
                taken[name].append(seconds)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with serve() as url:
        began = time.perf_counter()
        chat_models = models(url)
        client = InferenceClient(f"{url}/openai/v1", "k", "gpt-4.1")
        calls: dict[str, Callable[[], Any]] = {
            name: functools.partial(call_model, model)
            for name, model in chat_models.items()
            if name != REMEMBERED
        }
        calls["core"] = functools.partial(bare, client, False)
        streams: dict[str, Callable[[], Any]] = {
            name: functools.partial(read_streams, model) for name, model in chat_models.items()
        }
        streams["core"] = functools.partial(bare, client, True)
        call, stream = medians(calls, rounds, cpu), medians(streams, rounds, cpu)
    imports: dict[str, Callable[[], Any]] = {
        name: functools.partial(import_seconds, module) for name, module in MODULES.items()
    }
    load = medians(imports, rounds, lambda work: work())
    table = Table("", "import", "invoke", "over core", "streamed chunk", "to the floor", "to least")
    for name in ("core", *chat_models):
        chunk = stream[name] / STREAMS / CHUNKS * 1e6
        table.add_row(
            name,
            f"{load[name] / load[FLOOR]:.2f}" if name in load else "",
            f"{call[name] / CALLS * 1000:.2f} ms" if name in call else "",
            f"{(call[name] - call['core']) / CALLS * 1000:.2f} ms" if name in call else "",
            f"{chunk:.1f} µs",
            f"{stream[name] / stream[FLOOR]:.2f}",
            f"{stream[name] / stream[LEAST]:.2f}",
        )
    console = Console(width=110)
    console.print(table)
    console.print(f"import: a ratio to {MODULES[FLOOR]}, in fresh processes")
    console.print(f"{time.perf_counter() - began:.0f} s")


MODULES = {
    FLOOR: "langchain_core.language_models.chat_models",
    OURS: "azinfer.langchain",
    "langchain-openai": "langchain_openai",
    "langchain-azure-ai": "langchain_azure_ai.chat_models.openai",
}


if __name__ == "__main__":
    main()
