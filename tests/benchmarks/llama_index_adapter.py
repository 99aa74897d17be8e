"""The LlamaIndex adapter beside its incumbents and LlamaIndex's own floor.

`python tests/benchmarks/llama_index_adapter.py [--rounds 7]` prints CPU time of the client for
calls, streamed chunks, embedding batches and imports, and how long a pipeline takes beside core,
medians of interleaved rounds.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adapters import import_seconds, medians
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.schema import BaseNode, TextNode
from llama_index.embeddings.azure_inference import (  # type: ignore[import-untyped]
    AzureAIEmbeddingsModel,
)
from llama_index.embeddings.azure_openai import (  # type: ignore[import-untyped]
    AzureOpenAIEmbedding,
)
from llama_index.llms.azure_inference import (  # type: ignore[import-untyped]
    AzureAICompletionsModel,
)
from llama_index.llms.azure_openai import AzureOpenAI  # type: ignore[import-untyped]
from rich.console import Console
from rich.table import Table
from run import CALLS, STREAMS, TEXTS, USER, cpu, serve, wall

from azinfer.core import InferenceClient
from azinfer.llama_index import AzInferEmbedding, AzInferLLM
from azinfer.local import LocalDeployment, LocalEndpoint
from azinfer.local.engines import weights
from azinfer.local.engines.llama import GgufEmbeddings

QUESTION = [ChatMessage(USER[0]["content"])]
FACTS = (Path(__file__).parent.parent / "support/facts.txt").read_text("utf-8").splitlines()
CHUNKS = 200
FLOOR, OURS, CORE = "LlamaIndex in memory", "azinfer.llama_index", "core"
MODULES = {
    FLOOR: "llama_index.core",
    OURS: "azinfer.llama_index",
    "azure-inference": "llama_index.llms.azure_inference, llama_index.embeddings.azure_inference",
    "azure-openai": "llama_index.llms.azure_openai, llama_index.embeddings.azure_openai",
}
Works = dict[str, Callable[[], Any]]


def models(url: str) -> dict[str, Any]:
    """Every model that is measured."""
    named: dict[str, Any] = {"model": "gpt-4.1", "engine": "gpt-4.1", "api_key": "k"}
    theirs = AzureAICompletionsModel(endpoint=f"{url}/models", credential="k", model_name="gpt-4.1")
    # Its metadata asks for /info with every call until it has an answer; not here.
    theirs._model_name, theirs._model_type = "gpt-4.1", "chat-completions"
    theirs._model_provider = "OpenAI"
    return {
        FLOOR: MockLLM(max_tokens=CHUNKS),
        OURS: AzInferLLM(endpoint=f"{url}/openai/v1", credential="k", model="gpt-4.1"),
        "azure-inference": theirs,
        "azure-openai": AzureOpenAI(azure_endpoint=url, api_version="2024-10-21", **named),
    }


def embeddings(url: str) -> dict[str, Any]:
    """Every embedding that is measured, each handing over 2,048 texts at once."""
    named: dict[str, Any] = {"embed_batch_size": len(TEXTS)}
    name = "text-embedding-3-small"
    return {
        OURS: AzInferEmbedding(
            endpoint=f"{url}/openai/v1", credential="k", model="e", model_id=name, **named
        ),
        "azure-inference": AzureAIEmbeddingsModel(
            endpoint=f"{url}/models", credential="k", model_name="e", **named
        ),
        "azure-openai": AzureOpenAIEmbedding(
            azure_endpoint=url,
            api_key="k",
            azure_deployment="e",
            model=name,
            api_version="2024-10-21",
            **named,
        ),
    }


def call_model(model: Any) -> None:
    """Ask, one call after the other."""
    for _ in range(CALLS):
        assert model.chat(QUESTION).message.content


def read_streams(model: Any) -> None:
    """Read streams to their end."""
    for _ in range(STREAMS):
        for _chunk in model.stream_chat(QUESTION):
            pass


def bare(client: InferenceClient, what: str) -> None:
    """The same by the core client alone."""
    if what == "embed":
        assert len(client.embed(TEXTS, model="e", model_id="text-embedding-3-small")) == len(TEXTS)
    for _ in range({"call": CALLS, "stream": STREAMS}.get(what, 0)):
        if what == "call":
            assert client.complete(USER).text
        else:
            with client.stream(USER) as chunks:
                for _chunk in chunks:
                    pass


def measure_all(rounds: int) -> dict[str, dict[str, float]]:
    """CPU seconds of calls, streams and embedding batches, by what is measured."""
    with serve() as url:
        client = InferenceClient(f"{url}/openai/v1", "k", "gpt-4.1")
        chat_models, vectors = models(url), embeddings(url)
        embed = [each.get_text_embedding_batch for each in vectors.values()]
        works: dict[str, Works] = {
            "call": {
                name: functools.partial(call_model, each) for name, each in chat_models.items()
            },
            "stream": {
                name: functools.partial(read_streams, each) for name, each in chat_models.items()
            },
            "embed": {
                name: functools.partial(each, TEXTS)
                for name, each in zip(vectors, embed, strict=True)
            },
        }
        for what, each in works.items():
            each[CORE] = functools.partial(bare, client, what)
        return {what: medians(each, rounds, cpu) for what, each in works.items()}


def time_pipeline(rounds: int) -> float:
    """Time that a pipeline takes to embed 200 paragraphs with the real small model, over core's.

    Median of the rounds; in each, one goes after the other, in turns first.
    """
    engine = GgufEmbeddings(weights.pull(weights.MINILM, weights.cache()), threads=2)
    with LocalEndpoint([LocalDeployment("embed", engine=engine)]) as endpoint:
        client = InferenceClient(endpoint.url, endpoint.key, "embed", timeout=300)
        pipeline = IngestionPipeline(
            transformations=[AzInferEmbedding(client=client)], disable_cache=True
        )

        def through() -> None:
            nodes: list[BaseNode] = [TextNode(text=fact) for fact in FACTS]
            assert len(pipeline.run(nodes=nodes)) == len(FACTS)

        works: Works = {CORE: lambda: client.embed(FACTS), "pipeline": through}
        ratios = []
        for at in range(rounds + 1):
            names = sorted(works, reverse=at % 2 == 0)
            taken = {name: wall(works[name]) for name in names}
            ratios.append(taken["pipeline"] / taken[CORE])
        return statistics.median(ratios[1:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    began = time.perf_counter()
    result = measure_all(rounds)
    imports: Works = {
        name: functools.partial(import_seconds, module) for name, module in MODULES.items()
    }
    load = medians(imports, rounds, lambda work: work())
    call, stream, embed = result["call"], result["stream"], result["embed"]
    table = Table("", "import", "chat", "over core", "streamed chunk", "2,048 embeddings")
    for name in MODULES:
        per_chunk = stream[name] / STREAMS / CHUNKS * 1e6
        table.add_row(
            name,
            f"{load[name] / load[FLOOR]:.2f}",
            f"{call[name] / CALLS * 1000:.2f} ms",
            "" if name == FLOOR else f"{(call[name] - call[CORE]) / CALLS * 1000:.2f} ms",
            f"{per_chunk:.0f} µs",
            f"{embed[name] / embed[CORE]:.2f} × core" if name in embed else "",
        )
    pipe = time_pipeline(rounds)
    console = Console(width=110)
    console.print(table)
    console.print("import: ratio to llama_index.core; embeddings: 1,536 numbers, ratio to core")
    console.print(f"IngestionPipeline: {pipe:.2f} × core's embed of 200 paragraphs, real model")
    console.print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
