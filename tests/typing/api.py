"""The public API as type checkers see it: mypy and pyright read this file, nothing runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, assert_type

from azinfer.core import (
    AsyncChatStream,
    AsyncInferenceClient,
    ChatCompletion,
    ChatCompletionChunk,
    ChatMessage,
    ChatOptions,
    ChatStream,
    Deployments,
    Embeddings,
    InferenceClient,
    InferenceError,
    JsonSchema,
    Tool,
    Usage,
    UserMessage,
)
from azinfer.core.bulk import AsyncBulkResults, BulkProgress, BulkResult, BulkResults
from azinfer.core.embeddings import Vector
from azinfer.local import LocalDeployment, LocalEndpoint
from azinfer.migrate import Migration, migrate_source

CITY: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}}


def use_the_sync_client(client: InferenceClient) -> None:
    """Calls, streams and vectors of sync code."""
    messages: list[ChatMessage] = [UserMessage("Hello"), {"role": "user", "content": "Hello"}]
    answer = client.complete(messages, model="chat", temperature=0, tools=[Tool("f")], n=1)
    assert_type(answer, ChatCompletion)
    assert_type(answer.text, str)
    assert_type(answer.usage, Usage | None)
    assert_type(client.complete(messages, response_format=JsonSchema("city", CITY)), ChatCompletion)
    assert_type(client.complete(messages, wire="responses", timeout=5), ChatCompletion)
    # An option that azinfer does not name is sent as it is.
    assert_type(client.complete(messages, safe_prompt=True), ChatCompletion)
    options: ChatOptions = {"temperature": 0.2, "max_tokens": 10}
    assert_type(client.complete(messages, model="chat", **options), ChatCompletion)
    with client.stream(messages, top_p=0.5) as chunks:
        assert_type(chunks, ChatStream)
        for chunk in chunks:
            assert_type(chunk, ChatCompletionChunk)
    assert_type(client.embed(["a"], dimensions=256, kind="query"), Embeddings)
    assert_type(client.embed(input="a", output_dimension=256), Embeddings)
    # Options of a file or of another program are checked by the client, when it is called.
    untyped: dict[str, Any] = {"temperature": 0.2}
    assert_type(client.complete(messages=messages, **untyped), ChatCompletion)
    assert_type(InferenceClient.complete(client, messages, seed=1), ChatCompletion)
    assert_type(client.deployments(), Deployments)
    assert_type(client.with_options(timeout=5), InferenceClient)


async def use_the_async_client(client: AsyncInferenceClient) -> None:
    """The same, awaited."""
    messages = [UserMessage("Hello")]
    assert_type(await client.complete(messages, max_tokens=5, unknown=1), ChatCompletion)
    async with client.stream(messages, seed=1) as chunks:
        assert_type(chunks, AsyncChatStream)
        async for chunk in chunks:
            assert_type(chunk, ChatCompletionChunk)
    assert_type(await client.embed("a", model="embed"), Embeddings)


def use_bulk_work(client: InferenceClient, texts: Iterator[str]) -> None:
    """Many texts and many conversations of sync code."""
    vectors = client.embed_many(texts, model="embed", dimensions=256, checkpoint=Path("a.sqlite"))
    assert_type(vectors, BulkResults[str, Vector])
    for result in vectors:
        assert_type(result, BulkResult[str, Vector])
        assert_type(result.error, InferenceError | None)
    assert_type(client.embed_many(texts=["a"], output_dimension=1), BulkResults[str, Vector])
    requests = ([UserMessage(text)] for text in texts)
    answers = client.complete_many(
        requests, temperature=0, ordered=False, patience=60, on_progress=show, safe_prompt=True
    )
    assert_type(answers, BulkResults[Any, ChatCompletion])
    own = {"messages": [{"role": "user", "content": "Hello"}], "seed": 1}
    assert_type(client.complete_many(requests=[own]), BulkResults[Any, ChatCompletion])


async def use_async_bulk_work(client: AsyncInferenceClient, texts: AsyncIterator[str]) -> None:
    """The same of async code, which also takes async iterables."""
    vectors = client.embed_many(texts, batch_size=16, patience=60.0)
    assert_type(vectors, AsyncBulkResults[str, Vector])
    async for result in vectors:
        assert_type(result, BulkResult[str, Vector])
    assert_type(client.embed_many(["a"]), AsyncBulkResults[str, Vector])
    requests = ([UserMessage(text)] async for text in texts)
    answers = client.complete_many(requests, max_tokens=5)
    assert_type(answers, AsyncBulkResults[Any, ChatCompletion])


def show(progress: BulkProgress) -> None:
    """Receive the progress of bulk work."""


class CountingClient(InferenceClient):
    """A client of a program, which overrides an operation and passes all options on."""

    calls = 0

    def complete(self, messages: Sequence[ChatMessage], **options: Any) -> ChatCompletion:
        """Count the call."""
        self.calls += 1
        return super().complete(messages, **options)


def refuse_wrong_types(client: InferenceClient) -> None:
    """Errors for both checkers: each ignored line must be one."""
    messages = [UserMessage("Hello")]
    client.complete("Hello")  # type: ignore[arg-type]
    client.complete(messages, model=3)  # type: ignore[arg-type]
    client.complete(messages, temperature="hot")  # type: ignore[arg-type]
    client.complete(messages, max_tokens=1.5, unknown=1)  # type: ignore[arg-type]
    client.complete(messages, tools="search")  # type: ignore[arg-type]
    client.complete(messages, response_format=3)  # type: ignore[arg-type]
    client.complete(messages, wire="text")  # type: ignore[arg-type]
    client.stream(messages, seed="1")  # type: ignore[arg-type]
    client.embed(3)  # type: ignore[arg-type]
    client.embed("a", dimensions="256")  # type: ignore[arg-type]
    client.embed("a", kind="image")  # type: ignore[arg-type]


def refuse_wrong_types_of_bulk_work(client: InferenceClient, texts: AsyncIterator[str]) -> None:
    """The options of requests and those of the work."""
    requests = [[UserMessage("Hello")]]
    client.embed_many(3)  # type: ignore[arg-type]
    client.embed_many(texts)  # type: ignore[arg-type]
    client.embed_many(["a"], dimensions="256")  # type: ignore[arg-type]
    client.embed_many(["a"], kind="image")  # type: ignore[arg-type]
    client.embed_many(["a"], batch_size="16")  # type: ignore[arg-type]
    client.embed_many(["a"], on_progress=3)  # type: ignore[arg-type]
    client.complete_many(["Hello"], checkpoint=3)  # type: ignore[list-item, arg-type]
    client.complete_many(requests, temperature="hot")  # type: ignore[arg-type]
    client.complete_many(requests, patience="long")  # type: ignore[arg-type]
    client.complete_many(requests, concurrency=1.5)  # type: ignore[arg-type]


async def refuse_wrong_types_of_async_code(client: AsyncInferenceClient) -> None:
    """The same, awaited."""
    messages = [UserMessage("Hello")]
    await client.complete(messages, temperature="hot")  # type: ignore[arg-type]
    client.stream(messages, stop=3)  # type: ignore[arg-type]
    await client.embed("a", dimensions="256")  # type: ignore[arg-type]
    client.embed_many(["a"], dimensions="256")  # type: ignore[arg-type]
    client.complete_many([messages], seed="1", total="1")  # type: ignore[arg-type]


def use_the_rest(error: InferenceError) -> None:
    """The local endpoint, errors and migrations."""
    with LocalEndpoint([LocalDeployment("chat")]) as endpoint:
        assert_type(endpoint.url, str)
    assert_type(error.status, int | None)
    assert_type(migrate_source(""), Migration)
