"""What the adapters themselves cost, beyond core and beyond their frameworks.

`python tests/benchmarks/adapters_own.py [--before CHECKOUT] [--rounds 9]` prints the CPU time of
calls, streamed chunks and a pipeline, medians of interleaved rounds. With another checkout it
prints that one's too, and the ratios.

What an adapter adds is measured in two ways: over the sum of core and of the framework with a model
in memory, and over the least that a model of the framework on core can do, which looks at no
answer. Between reads of a socket the framework's own code takes longer than in a loop of its own:
the first difference has that in it, the second one has the adapter alone.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve()
CALLS, STREAMS, CHUNKS, VECTORS, DIMENSIONS = 200, 10, 200, 2048, 1536
# What is measured, and how many of it there are in a round.
COUNTS = {"call": CALLS, "chunk": STREAMS * CHUNKS, "pipeline": 1}
MESSAGE = "What is the capital of France?"


@contextlib.contextmanager
def serve() -> Iterator[str]:
    """The server, in its own process."""
    command = [sys.executable, str(HERE.parent / "server.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def call(run: Callable[[], Any]) -> Callable[[], None]:
    """Return what makes all calls of a round."""

    def calls() -> None:
        for _ in range(CALLS):
            assert run()

    return calls


def stream(run: Callable[[], Any]) -> Callable[[], None]:
    """Return what reads all streams of a round."""

    def streams() -> None:
        for _ in range(STREAMS):
            assert sum(1 for _ in run()) >= CHUNKS

    return streams


def core_works(url: str) -> dict[str, Callable[[], Any]]:
    """Core alone, which the adapters are on top of."""
    from azinfer.core import InferenceClient

    client = InferenceClient(f"{url}/openai/v1", "k", "gpt-4.1")
    texts = ["a text of a few words"] * VECTORS
    messages: list[Any] = [{"role": "user", "content": MESSAGE}]

    def read() -> Any:
        with client.stream(messages) as chunks:
            yield from chunks

    return {
        "call": call(lambda: client.complete(messages).text),
        "chunk": stream(read),
        "pipeline": lambda: client.embed(texts, model="e", model_id="text-embedding-3-small"),
    }


def langchain_works(url: str) -> dict[str, Callable[[], Any]]:
    """The adapter for LangChain, and LangChain with a model in memory."""
    from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage, AIMessageChunk
    from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

    from azinfer.core import InferenceClient
    from azinfer.langchain import ChatAzInfer

    class Floor(GenericFakeChatModel):
        def _stream(self, *args: Any, **kwargs: Any) -> Any:
            for _ in range(CHUNKS):
                yield ChatGenerationChunk(message=AIMessageChunk(content="token "))

    client = InferenceClient(f"{url}/openai/v1", "k", "gpt-4.1")
    wire: list[Any] = [{"role": "user", "content": MESSAGE}]

    class Least(Floor):
        def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
            client.complete(wire)
            return ChatResult(generations=[ChatGeneration(message=AIMessage("x"))])

        def _stream(self, *args: Any, **kwargs: Any) -> Any:
            with client.stream(wire) as chunks:
                for _ in chunks:
                    yield ChatGenerationChunk(message=AIMessageChunk(content="token "))

    ours = ChatAzInfer(endpoint=f"{url}/openai/v1", credential="k", model="gpt-4.1")
    floor = Floor(messages=(AIMessage("x") for _ in itertools.count()))
    least = Least(messages=iter(()))
    return {
        "call": call(lambda: ours.invoke(MESSAGE).content),
        "chunk": stream(lambda: ours.stream(MESSAGE)),
        "call, floor": call(lambda: floor.invoke(MESSAGE).content),
        "chunk, floor": stream(lambda: floor.stream(MESSAGE)),
        "call, least": call(lambda: least.invoke(MESSAGE).content),
        "chunk, least": stream(lambda: least.stream(MESSAGE)),
    }


def llama_index_works(url: str) -> dict[str, Callable[[], Any]]:
    """The adapter for LlamaIndex, and LlamaIndex with models in memory."""
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.base.llms.types import ChatMessage, ChatResponse
    from llama_index.core.ingestion import IngestionPipeline
    from llama_index.core.llms import MockLLM
    from llama_index.core.llms.callbacks import llm_chat_callback
    from llama_index.core.schema import TextNode

    from azinfer.core import InferenceClient
    from azinfer.llama_index import AzInferEmbedding, AzInferLLM

    class Floor(MockLLM):
        @llm_chat_callback()
        def chat(self, messages: Any, **kwargs: Any) -> ChatResponse:
            return ChatResponse(message=ChatMessage("x", role="assistant"))

        @llm_chat_callback()
        def stream_chat(self, messages: Any, **kwargs: Any) -> Any:
            def chunks() -> Any:
                text = ""
                for _ in range(CHUNKS):
                    text += "token "
                    message = ChatMessage(text, role="assistant")
                    yield ChatResponse(message=message, delta="token ")

            return chunks()

    client = InferenceClient(f"{url}/openai/v1", "k", "gpt-4.1")
    wire: list[Any] = [{"role": "user", "content": MESSAGE}]

    class Least(MockLLM):
        @llm_chat_callback()
        def chat(self, messages: Any, **kwargs: Any) -> ChatResponse:
            client.complete(wire)
            return ChatResponse(message=ChatMessage("x", role="assistant"))

        @llm_chat_callback()
        def stream_chat(self, messages: Any, **kwargs: Any) -> Any:
            def chunks() -> Any:
                text = ""
                with client.stream(wire) as parts:
                    for _ in parts:
                        text += "token "
                        message = ChatMessage(text, role="assistant")
                        yield ChatResponse(message=message, delta="token ")

            return chunks()

    class Embedded(BaseEmbedding):
        vectors: list[list[float]]

        def _get_text_embedding(self, text: str) -> list[float]:
            raise AssertionError(text)

        def _get_query_embedding(self, query: str) -> list[float]:
            raise AssertionError(query)

        async def _aget_query_embedding(self, query: str) -> list[float]:
            raise AssertionError(query)

        def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
            return self.vectors

    ours = AzInferLLM(endpoint=f"{url}/openai/v1", credential="k", model="gpt-4.1")
    floor, least = Floor(max_tokens=None), Least(max_tokens=None)
    question = [ChatMessage(MESSAGE)]
    vectors = AzInferEmbedding(
        endpoint=f"{url}/openai/v1",
        credential="k",
        model="e",
        model_id="text-embedding-3-small",
        embed_batch_size=VECTORS,
    )
    embedded = Embedded(vectors=[[0.5] * DIMENSIONS] * VECTORS, embed_batch_size=VECTORS)

    def pipe(model: Any) -> None:
        pipeline = IngestionPipeline(transformations=[model], disable_cache=True)
        nodes = pipeline.run(nodes=[TextNode(text=f"text {at}") for at in range(VECTORS)])
        embedding = nodes[-1].embedding
        assert embedding is not None
        assert len(embedding) == DIMENSIONS

    return {
        "call": call(lambda: ours.chat(question).message.content),
        "chunk": stream(lambda: ours.stream_chat(question)),
        "pipeline": functools.partial(pipe, vectors),
        "call, floor": call(lambda: floor.chat(question).message.content),
        "chunk, floor": stream(lambda: floor.stream_chat(question)),
        "call, least": call(lambda: least.chat(question).message.content),
        "chunk, least": stream(lambda: least.stream_chat(question)),
        "pipeline, floor": functools.partial(pipe, embedded),
    }


WORKS = {"core": core_works, "langchain": langchain_works, "llama_index": llama_index_works}


def work(root: str, url: str) -> None:
    """Do what stdin names, with the packages of a checkout, and print the seconds of CPU."""
    sys.path[:0] = [f"{root}/core", f"{root}/integrations"]
    import azinfer.core

    assert Path(azinfer.core.__file__).is_relative_to(root), azinfer.core.__file__
    works = {
        f"{package}, {name}": run
        for package, make in WORKS.items()
        for name, run in make(url).items()
    }
    print("|".join(works), flush=True)
    for line in sys.stdin:
        gc.collect()
        began = time.process_time()
        works[line.strip()]()
        print(time.process_time() - began, flush=True)


class Worker:
    """A process that works with the packages of one checkout."""

    def __init__(self, root: str, url: str) -> None:
        command = [sys.executable, str(HERE), "--work", root, url]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        self.names = self._line().split("|")
        self.taken: dict[str, list[float]] = {name: [] for name in self.names}

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def run(self, name: str, keep: bool) -> None:
        """Do one piece of work, and keep how long it took."""
        assert self._process.stdin is not None
        print(name, file=self._process.stdin, flush=True)
        seconds = float(self._line())
        if keep:
            self.taken[name].append(seconds)

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()

    def micros(self, name: str) -> float:
        """Microseconds of one call, chunk or pipeline; median of the rounds."""
        count = COUNTS[name.split(", ")[1]]
        return statistics.median(self.taken[name]) / count * 1e6

    def over_sum(self, package: str, what: str) -> float:
        """Microseconds of an adapter over core and its framework, each in a loop of its own."""
        floor = self.micros(f"{package}, {what}, floor")
        return self.micros(f"{package}, {what}") - floor - self.micros(f"core, {what}")

    def over_least(self, package: str, what: str) -> float:
        """Microseconds of an adapter over the least that a model of its framework can do."""
        return self.micros(f"{package}, {what}") - self.micros(f"{package}, {what}, least")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--before", help="the root of another checkout to compare with")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="call, chunk or pipeline")
    named = parser.parse_args()
    with serve() as url:
        roots = [named.before, str(HERE.parents[2])] if named.before else [str(HERE.parents[2])]
        workers = [Worker(root, url) for root in roots]
        names = [name for name in workers[0].names if named.only in name]
        try:
            for at in range(named.rounds + 1):
                for name in names:
                    for worker in workers[:: 1 if at % 2 else -1]:
                        worker.run(name, keep=at > 0)
        finally:
            for worker in workers:
                worker.end()
    table = Table("µs", *(f"{column}" for column in roots), "ratio")
    for name in names:
        add_row(table, name, [worker.micros(name) for worker in workers])
    for package, what in itertools.product(WORKS, COUNTS):
        if f"{package}, {what}, floor" in names:
            title = f"{package}, {what}: over the sum"
            add_row(table, title, [worker.over_sum(package, what) for worker in workers])
        if f"{package}, {what}, least" in names:
            title = f"{package}, {what}: over the least"
            add_row(table, title, [worker.over_least(package, what) for worker in workers])
    Console(width=120).print(table)


def add_row(table: Table, title: str, micros: list[float]) -> None:
    """Add a line with the times of each checkout and their ratio."""
    cells = [f"{each:,.1f}" for each in micros]
    table.add_row(title, *cells, f"{micros[-1] / micros[0]:.2f}" if len(micros) > 1 else "")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(*sys.argv[2:])
    else:
        main()
