"""One way to ask the sync and the async client, so that each test holds for both."""

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
# What may stand behind the host of an endpoint, and below which path gpt-4.1 is asked then.
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
# What an adapter may be given only where it is given no ready client, which has that itself.
OF_CLIENT: dict[str, Any] = {
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
    """A clock that stands still until somebody waits."""

    __test__ = False
    now: float = 1_800_000_000.0
    chance: float = 0.5
    waits: list[float] = field(default_factory=list)

    def time(self) -> float:
        """Seconds since 1970."""
        return self.now

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self.now

    def random(self) -> float:
        """Always the same."""
        return self.chance

    def sleep(self, seconds: float) -> None:
        """Go on at once."""
        if seconds:
            self.waits.append(seconds)
        self.now += seconds

    async def asleep(self, seconds: float) -> None:
        """Go on at once."""
        self.sleep(seconds)


class Asker:
    """Asks a client and gives what came, whether it is sync or async."""

    def __init__(self, kind: str, *args: Any, **named: Any) -> None:
        self.kind = kind
        self.client: Any
        self._runner = asyncio.Runner()
        if kind == "sync":
            self.client = InferenceClient(*args, **named)
        else:
            self.client = AsyncInferenceClient(*args, **named)

    def run(self, work: Any) -> Any:
        """The value of a call: of a coroutine, once it ran."""
        return self._runner.run(work) if asyncio.iscoroutine(work) else work

    def complete(self, messages: Any = USER, **named: Any) -> ChatCompletion:
        """A chat completion."""
        answer: ChatCompletion = self.run(self.client.complete(messages, **named))
        return answer

    def stream(self, messages: Any = USER, **named: Any) -> Streamed:
        """All of a stream."""
        streamed = Streamed([])
        self.read(streamed.chunks.append, messages, streamed, **named)
        return streamed

    def read(
        self,
        take: Callable[[ChatCompletionChunk], Any],
        messages: Any = USER,
        into: Streamed | None = None,
        **named: Any,
    ) -> None:
        """Give each chunk of a stream to a function, until one returns True."""
        into = into or Streamed([])
        if self.kind == "sync":
            with self.client.stream(messages, **named) as chunks:
                into.stream = chunks
                for chunk in chunks:
                    if take(chunk) is True:
                        break
            return

        async def reading() -> None:
            async with self.client.stream(messages, **named) as chunks:
                into.stream = chunks
                async for chunk in chunks:
                    if take(chunk) is True:
                        break

        self._runner.run(reading())

    def embed(self, texts: Any, **named: Any) -> Embeddings:
        """Vectors of texts."""
        answer: Embeddings = self.run(self.client.embed(texts, **named))
        return answer

    def embed_images(self, images: Any, **named: Any) -> Embeddings:
        """Vectors of images."""
        answer: Embeddings = self.run(self.client.embed_images(images, **named))
        return answer

    def info(self, **named: Any) -> ModelInfo:
        """The model that answers."""
        answer: ModelInfo = self.run(self.client.info(**named))
        return answer

    def deployments(self, *args: Any, **named: Any) -> Deployments:
        """What there is."""
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
class Streamed:
    """A stream that was read."""

    chunks: list[ChatCompletionChunk]
    stream: Any = None

    @property
    def text(self) -> str:
        """The text of all chunks."""
        return "".join(chunk.text for chunk in self.chunks)

    @property
    def reasoning(self) -> str:
        """The reasoning of all chunks."""
        return "".join(chunk.reasoning or "" for chunk in self.chunks)

    @property
    def completion(self) -> ChatCompletion:
        """What the stream adds up to."""
        whole: ChatCompletion = self.stream.completion
        return whole


@contextmanager
def asking(kind: str, *args: Any, **named: Any) -> Iterator[Asker]:
    """An Asker that is closed at the end."""
    asker = Asker(kind, *args, **named)
    try:
        yield asker
    finally:
        asker.close()
