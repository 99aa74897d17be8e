"""The interface of engines: their protocols, their values, and `EngineCapabilities`.

An engine is any object with the methods of one or more of the protocols below; it needs no base
class. It knows no surface, key, limit or filter: these belong to the endpoint.
What it can do follows from its methods, or from an attribute `capabilities` (see
`EngineCapabilities`). This one answers in upper case, and embeds by counting vowels:

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

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Protocol, cast


@dataclass(frozen=True, slots=True)
class Prompt:
    """A chat request that the endpoint has checked, reduced to what an engine needs.

    Attributes:
        messages: The conversation in the wire form, oldest first.
        max_tokens: The most tokens to write.
        temperature: 0 is deterministic; up to 2.
        top_p: The share of probability to sample from, above 0 and at most 1.
        stop: Texts that end the answer; they are not part of it.
        seed: The same seed gives the same answer.
        json_schema: The JSON Schema of the answer, which is then JSON; None for free text.
        stream: Whether the answer is sent while it is written.
        logprobs: How many of the likeliest tokens to report at each token, 0 to 20, besides its
            own log probability; None for no log probabilities.
        request: The whole body that the client sent, for engines with
            `EngineCapabilities.passes_requests_through`.
        whole: Whether nobody reads the answer before its end, so that an engine may write it in
            one piece.
    """

    messages: Sequence[Mapping[str, Any]]
    max_tokens: int = 256
    _: KW_ONLY
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    json_schema: Mapping[str, Any] | None = None
    stream: bool = True
    logprobs: int | None = None
    request: Mapping[str, Any] = field(default_factory=dict)
    whole: bool = False


def last_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the text of the newest message, whether its content is a text or parts."""
    content = messages[-1].get("content") if messages else None
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, Mapping))
        return "\n".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an answer while it is written; the last piece has the finish reason.

    Attributes:
        text: The text that this piece adds.
        tokens: How many tokens that text is.
        finish_reason: `"stop"` or `"length"` on the last piece, None before it.
        prompt_tokens: How many tokens the prompt was, on the last piece; else None.
        reasoning: What the model thinks before it answers.
        calls: Parts of tool calls in the wire form of a stream's deltas, from engines with
            `EngineCapabilities.passes_requests_through`.
        usage: The usage to report, instead of the tokens counted here.
        more: Other fields of the wire's choice that are passed on, for example `logprobs`.
        stop: Which text of `Prompt.stop` ended the answer, where the engine knows it.
        cached_tokens: How many tokens of the prompt were in the engine's cache, on the last
            piece; None where it has no cache.
        message: Other fields of its message that are passed on, for example `refusal`.
        service_items: What tools of the service did, as items of the Responses API, in a piece of
            their own; the other wires leave them out.
    """

    text: str = ""
    tokens: int = 1
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    _: KW_ONLY
    reasoning: str = ""
    calls: Sequence[Mapping[str, Any]] = ()
    usage: Mapping[str, Any] | None = None
    more: Mapping[str, Any] | None = None
    message: Mapping[str, Any] | None = None
    service_items: Sequence[Mapping[str, Any]] = ()
    stop: str | None = None
    cached_tokens: int | None = None


class EngineError(Exception):
    """The engine refuses a request; the endpoint answers with this message.

    Args:
        message: What is wrong, and what the caller can do.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineCapabilities:
    """What an engine can do, and which requests it gets.

    Attributes:
        chat: It has `chat`, and answers chats, responses and legacy completions.
        embeddings: It has `embed`, and turns texts into vectors.
        images: It has `embed_images`, and turns images into vectors.
        passes_requests_through: It reads the whole request in `Prompt.request` and answers with
            its own tool calls (`Piece.calls`). Other engines are asked to write the arguments of
            a tool call as JSON of a schema.
        embeds_requests: It has `embed_request`, and gets whole embedding requests instead of
            texts.
        semantic_embeddings: Its vectors are near each other if texts mean similar things, so that
            the endpoint may choose tools by them.
        logprobs: It reports log probabilities (`Prompt.logprobs`) in `Piece.more`, in the form of
            a choice's `logprobs`.
        copies_arguments: Tool arguments may only contain words and numbers of the user's message,
            for models that are too small to write better ones.
    """

    chat: bool = False
    embeddings: bool = False
    images: bool = False
    passes_requests_through: bool = False
    embeds_requests: bool = False
    semantic_embeddings: bool = False
    logprobs: bool = False
    copies_arguments: bool = False


def capabilities_of(engine: object) -> EngineCapabilities:
    """Return the capabilities that an engine declares, or else those that its methods show.

    An engine without the attribute `capabilities` may still have `passes_requests_through`,
    `semantic_embeddings` and `copies_arguments` as attributes of their own.
    """
    declared = getattr(engine, "capabilities", None)
    if isinstance(declared, EngineCapabilities):
        return declared
    return EngineCapabilities(
        chat=hasattr(engine, "chat"),
        embeddings=hasattr(engine, "embed"),
        images=hasattr(engine, "embed_images"),
        passes_requests_through=bool(getattr(engine, "passes_requests_through", False)),
        embeds_requests=hasattr(engine, "embed_request"),
        semantic_embeddings=bool(getattr(engine, "semantic_embeddings", False)),
        copies_arguments=bool(getattr(engine, "copies_arguments", False)),
    )


class ChatEngine(Protocol):
    """Writes answers.

    Example:
        >>> from azinfer.core import InferenceClient
        >>> from azinfer.local import LocalDeployment, LocalEndpoint
        >>> class Upper:
        ...     async def chat(self, prompt):
        ...         yield Piece(last_text(prompt.messages).upper(), finish_reason="stop")
        ...
        ...     async def aclose(self):
        ...         pass
        >>> with LocalEndpoint([LocalDeployment("up", engine=Upper())]) as endpoint:
        ...     client = InferenceClient(endpoint.url, endpoint.key, model="up")
        ...     client.complete([{"role": "user", "content": "Hello"}]).text
        'HELLO'
    """

    def chat(self, prompt: Prompt) -> AsyncIterator[Piece]:
        """Write the answer piece by piece; closing the iterator early stops the work."""
        ...

    async def aclose(self) -> None:
        """Free memory and threads."""
        ...


def open_chat(engine: ChatEngine, prompt: Prompt) -> AsyncGenerator[Piece]:
    """Return the answer of a chat engine as the async generator that it is.

    The protocol says `AsyncIterator`, which is what engines annotate; closing an answer early
    needs the `aclose` of a generator.
    """
    return cast("AsyncGenerator[Piece]", engine.chat(prompt))


class EmbeddingEngine(Protocol):
    """Turns texts into vectors."""

    async def embed(self, texts: Sequence[str]) -> tuple[Sequence[Sequence[float]], int]:
        """Return a unit vector for each text, shape `(len(texts), dimensions)`, and all tokens."""
        ...

    async def aclose(self) -> None:
        """Free memory and threads."""
        ...


class RequestEmbeddingEngine(Protocol):
    """Turns whole embedding requests into vectors (`EngineCapabilities.embeds_requests`)."""

    async def embed_request(
        self, request: Mapping[str, Any]
    ) -> tuple[Sequence[Sequence[float]], int]:
        """Return a vector for each input of the request's body, and the tokens of all."""
        ...

    async def aclose(self) -> None:
        """Free memory and threads."""
        ...


class ImageEngine(Protocol):
    """Turns images, each with or without a text, into vectors."""

    async def embed_images(self, inputs: Sequence[tuple[bytes, str | None]]) -> list[list[float]]:
        """Return a unit vector for each input, shape `(len(inputs), dimensions)`, in order."""
        ...

    async def aclose(self) -> None:
        """Free memory and threads."""
        ...


Engine = ChatEngine | EmbeddingEngine | ImageEngine
Sleep = Callable[[float], Awaitable[Any]]
