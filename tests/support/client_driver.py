"""Drive the sync and the async client in the same way, so that each test covers both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from azinfer.core import (
    AsyncInferenceClient,
    ChatCompletion,
    ChatCompletionChunk,
    Clock,
    Deployments,
    Embeddings,
    InferenceClient,
    ModelInfo,
)

KEY = "test-key-6ad8"
# The path by which each of the main surfaces is reached.
SURFACES = {"models": "/models", "v1": "/openai/v1", "deployments": "/openai"}
# The paths that name the other wires of a conversation.
WIRES = {"responses": "/openai/v1/responses", "messages": "/anthropic"}
# Paths that an endpoint URL may have, and the path below which gpt-4.1 is then called.
SHAPES = {
    "": SURFACES["v1"],
    "/models": SURFACES["models"],
    "/models/chat/completions?api-version=2024-05-01-preview": SURFACES["models"],
    "/openai": "/openai/deployments/gpt-4.1",
    "/openai/deployments/gpt-4.1": "/openai/deployments/gpt-4.1",
    "/openai/deployments/gpt-4.1/chat/completions?api-version=2024-10-21": (
        "/openai/deployments/gpt-4.1"
    ),
    "/openai/v1/": SURFACES["v1"],
    "/openai/v1/chat/completions": SURFACES["v1"],
    "/api/projects/p1": SURFACES["v1"],
    "/api/projects/p1/openai/v1": SURFACES["v1"],
}
# Options of an adapter that conflict with a ready client, which has its own.
CLIENT_OPTIONS: dict[str, Any] = {
    "endpoint": "https://contoso.openai.azure.com",
    "credential": KEY,
    "timeout": 5,
    "max_retries": 0,
    "headers": {"x-a": "1"},
    "surface": "models",
    "api_version": "2099-01-01",
}
USER: list[Mapping[str, Any]] = [{"role": "user", "content": "hi"}]


@dataclass
class TestClock(Clock):
    """A clock that only a wait moves."""

    __test__ = False
    now: float = 1_800_000_000.0
    chance: float = 0.5
    waits: list[float] = field(default_factory=list)

    def time(self) -> float:
        """Return the seconds since 1970."""
        return self.now

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return self.now

    def random(self) -> float:
        """Return the same number each time."""
        return self.chance

    def sleep(self, seconds: float) -> None:
        """Move the clock, and return at once."""
        if seconds:
            self.waits.append(seconds)
        self.now += seconds

    async def asleep(self, seconds: float) -> None:
        """Move the clock, and return at once."""
        self.sleep(seconds)


class ClientDriver:
    """Calls a sync or an async client, and returns the result."""

    def __init__(self, kind: str, *args: Any, **named: Any) -> None:
        self.kind = kind
        self.client: Any
        self._runner = asyncio.Runner()
        if kind == "sync":
            self.client = InferenceClient(*args, **named)
        else:
            self.client = AsyncInferenceClient(*args, **named)

    def run(self, work: Any) -> Any:
        """Return a value, or the result of a coroutine."""
        return self._runner.run(work) if asyncio.iscoroutine(work) else work

    def complete(self, messages: Any = USER, **named: Any) -> ChatCompletion:
        """Return a chat completion."""
        answer: ChatCompletion = self.run(self.client.complete(messages, **named))
        return answer

    def stream(self, messages: Any = USER, **named: Any) -> StreamedCompletion:
        """Read a whole stream."""
        streamed = StreamedCompletion([])
        self.read(streamed.chunks.append, messages, streamed, **named)
        return streamed

    def read(
        self,
        take: Callable[[ChatCompletionChunk], Any],
        messages: Any = USER,
        into: StreamedCompletion | None = None,
        **named: Any,
    ) -> None:
        """Pass each chunk of a stream to a function, until one returns True."""
        into = into or StreamedCompletion([])
        if self.kind == "sync":
            with self.client.stream(messages, **named) as chunks:
                into.stream = chunks
                for chunk in chunks:
                    if take(chunk) is True:
                        break
            return

        async def read_async() -> None:
            async with self.client.stream(messages, **named) as chunks:
                into.stream = chunks
                async for chunk in chunks:
                    if take(chunk) is True:
                        break

        self._runner.run(read_async())

    def embed(self, texts: Any, **named: Any) -> Embeddings:
        """Return the vectors of texts."""
        answer: Embeddings = self.run(self.client.embed(texts, **named))
        return answer

    def embed_images(self, images: Any, **named: Any) -> Embeddings:
        """Return the vectors of images."""
        answer: Embeddings = self.run(self.client.embed_images(images, **named))
        return answer

    def info(self, **named: Any) -> ModelInfo:
        """Return the model that answers."""
        answer: ModelInfo = self.run(self.client.info(**named))
        return answer

    def deployments(self, *args: Any, **named: Any) -> Deployments:
        """Return the deployments."""
        answer: Deployments = self.run(self.client.deployments(*args, **named))
        return answer

    def close(self) -> None:
        """Close the client and the loop."""
        if self.kind == "sync":
            self.client.close()
        else:
            self.run(self.client.aclose())
        self._runner.close()


@dataclass
class StreamedCompletion:
    """A stream that was read."""

    chunks: list[ChatCompletionChunk]
    stream: Any = None

    @property
    def text(self) -> str:
        """Return the text of all chunks."""
        return "".join(chunk.text for chunk in self.chunks)

    @property
    def reasoning(self) -> str:
        """Return the reasoning of all chunks."""
        return "".join(chunk.reasoning or "" for chunk in self.chunks)

    @property
    def completion(self) -> ChatCompletion:
        """Return what the stream adds up to."""
        whole: ChatCompletion = self.stream.completion
        return whole


@contextmanager
def open_driver(kind: str, *args: Any, **named: Any) -> Iterator[ClientDriver]:
    """Open a driver, and close it at the end."""
    driver = ClientDriver(kind, *args, **named)
    try:
        yield driver
    finally:
        driver.close()
