"""What stands behind a deployment: an engine turns a checked request into text or vectors.

An engine is any object with the methods of one or more of the protocols below; it inherits from
nothing. Keys, routing, limits, filters, tools and the wire are the endpoint's. One that answers
in upper case, and embeds by counting vowels:

    from azinfer.local import LocalDeployment, LocalEndpoint, Piece
    from azinfer.local.engines.base import last_text

    class Loud:
        async def chat(self, prompt):
            words = last_text(prompt.messages).upper().split()
            for word in words[: prompt.max_tokens]:
                yield Piece(f"{word} ")
            yield Piece("", 0, "stop", prompt_tokens=len(words))

        async def embed(self, texts):
            counts = [[1.0 + text.count(vowel) for vowel in "aeiou"] for text in texts]
            lengths = [sum(number**2 for number in row) ** 0.5 for row in counts]
            vectors = [
                [number / length for number in row] for row, length in zip(counts, lengths)
            ]
            return vectors, sum(len(text.split()) for text in texts)

        async def aclose(self):
            pass

    endpoint = LocalEndpoint([LocalDeployment("loud", engine=Loud())])
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Prompt:
    """A chat request that the server has checked; what an engine needs of it and no more.

    Attributes:
        messages: The conversation in the wire form, oldest first.
        max_tokens: The most tokens to write.
        temperature: 0 is deterministic; up to 2.
        top_p: The share of probability that is sampled from, above 0 and at most 1.
        stop: Texts before which the answer ends; they are not part of it.
        seed: The same seed gives the same answer.
        json_schema: What the answer must conform to, as JSON text; None for free text.
        stream: Whether the answer is sent on while it is written.
        request: The whole body that the client sent, with tools and all, for engines that
            have `calls_tools`.
    """

    messages: Sequence[Mapping[str, Any]]
    max_tokens: int = 256
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    json_schema: Mapping[str, Any] | None = None
    stream: bool = True
    request: Mapping[str, Any] = field(default_factory=dict)


def last_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """The text of the newest message, whether its content is text or parts."""
    content = messages[-1].get("content") if messages else None
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, Mapping))
        return "\n".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an answer as it is written; the last piece carries the finish reason.

    Attributes:
        text: The text that this piece adds.
        tokens: How many tokens that text is.
        finish_reason: `"stop"` or `"length"` on the last piece, None before it.
        prompt_tokens: How many tokens the prompt was, on the last piece; else None.
        reasoning: What the model thinks before it answers.
        calls: Parts of tool calls in the wire form of a stream's deltas, from engines that
            have `calls_tools`.
        usage: What the answer cost as it is to be told, instead of the tokens counted here.
        more: Other fields of the wire's choice that are passed on, for example `logprobs`.
        message: Other fields of its message that are passed on, for example `refusal`.
    """

    text: str = ""
    tokens: int = 1
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    reasoning: str = ""
    calls: Sequence[Mapping[str, Any]] = ()
    usage: Mapping[str, Any] | None = None
    more: Mapping[str, Any] | None = None
    message: Mapping[str, Any] | None = None


class EngineError(Exception):
    """The engine refuses this request; the server answers with this text.

    Args:
        message: What is wrong, for the caller to read.
        code: The wire's error code, for example `"context_length_exceeded"`.
        status: The HTTP status of the answer.
        headers: Headers of the answer, for example `{"retry-after": "2"}`.
        more: Other fields of the wire's error, for example `param` or `innererror`.
    """

    def __init__(
        self,
        message: str,
        code: str = "BadRequest",
        *,
        status: int = 400,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.headers = dict(headers or {})
        self.more = dict(more or {})


class ChatEngine(Protocol):
    """Writes answers.

    An engine with the attribute `calls_tools = True` gets requests with tools as they are, in
    `prompt.request`, and answers with `Piece.calls`; of others the endpoint asks the arguments
    of a tool's call as JSON of a schema.
    """

    def chat(self, prompt: Prompt) -> AsyncIterator[Piece]:
        """Write the answer piece by piece; closing the iterator early stops the work."""
        ...

    async def aclose(self) -> None:
        """Give back memory and threads."""
        ...


class EmbeddingEngine(Protocol):
    """Turns texts into vectors.

    An engine that has a method `embed_request(request)` gets the whole body instead of its texts.
    """

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """One unit vector a text, shape `(len(texts), dimensions)`, and the tokens of all."""
        ...

    async def aclose(self) -> None:
        """Give back memory and threads."""
        ...


class ImageEngine(Protocol):
    """Turns images, each with or without a text, into vectors."""

    async def embed_images(self, inputs: Sequence[tuple[bytes, str | None]]) -> list[list[float]]:
        """One unit vector an input, shape `(len(inputs), dimensions)`, in order."""
        ...

    async def aclose(self) -> None:
        """Give back memory and threads."""
        ...


Sleep = Callable[[float], Awaitable[Any]]
