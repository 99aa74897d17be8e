"""Upstream: any server that speaks OpenAI's protocol, as a deployment of this endpoint.

Ollama, vLLM, another azinfer endpoint or a real resource: requests are forwarded unchanged, and
responses return chunk by chunk, with the server's own tool calls, usage and errors.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING, Any

from azinfer.local.engines.base import EngineCapabilities, EngineError, Piece, Prompt
from azinfer.local.engines.upstream_body import UpstreamBody, interrupted
from azinfer.local.engines.upstream_connection import Credential, UpstreamConnection
from azinfer.local.engines.upstream_replies import (
    read_chunk,
    read_completion,
    read_event,
    read_object,
    read_reply,
)
from azinfer.local.engines.upstream_vectors import WrittenVector, read_vectors
from azinfer.local.wire.body import Json
from azinfer.local.worker_threads import run_in_worker

if TYPE_CHECKING:
    import httpx

# Fields that the endpoint handles itself: several choices, and the usage of a stream.
_OURS = frozenset(["n", "stream_options"])
_CHAT, _DONE = "chat/completions", b"[DONE]"
_LIST_SECONDS = 10.0
# Longer answers are read outside the event loop.
_SHORT_ANSWER = 128 * 1024
_KINDS = ((b"\x89PNG", "png"), (b"\xff\xd8", "jpeg"), (b"GIF8", "gif"), (b"RIFF", "webp"))


class UpstreamEngine:
    """Answers with another server.

    Choices and usage are passed on unchanged. The other fields of a response (its id, the model's
    own name, a fingerprint) are this endpoint's; `n` choices are requested one by one.

    Args:
        url: The base URL of its operations, for example `http://127.0.0.1:11434/v1` of Ollama or
            `https://contoso.openai.azure.com/openai/v1`; a query (`?api-version=…`) is kept.
        credential: The key, or a function that returns a token before each request.
        model: The server's name of the model; by default the deployment's name.
        timeout: Seconds of silence after which the server counts as gone.
        transport: The transport of requests, for example of a `Cassette`.

    Raises:
        ConfigurationError: The URL is not valid, has no path, or has a credential in it.

    Example:
        >>> from azinfer.core import InferenceClient
        >>> from azinfer.local import LocalDeployment, LocalEndpoint
        >>> with LocalEndpoint([LocalDeployment("chat")]) as other:
        ...     engine = UpstreamEngine(f"{other.url}/openai/v1", other.key)
        ...     with LocalEndpoint([LocalDeployment("chat", engine=engine)]) as endpoint:
        ...         client = InferenceClient(endpoint.url, endpoint.key, model="chat")
        ...         client.complete([{"role": "user", "content": "Hello"}]).text
        'This is a synthetic answer to: Hello'
    """

    capabilities = EngineCapabilities(
        chat=True,
        embeddings=True,
        images=True,
        passes_requests_through=True,
        embeds_requests=True,
    )

    def __init__(
        self,
        url: str,
        credential: Credential | None = None,
        model: str | None = None,
        *,
        timeout: float = 300.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._connection = UpstreamConnection(url, credential, timeout, transport)
        self.url = self._connection.url
        self._model = model
        # What the upstream was not yet seen to refuse.
        self._reports_usage = self._writes_base64 = True

    def __repr__(self) -> str:
        return f"UpstreamEngine({self.url!r}, model={self._model!r})"

    async def chat(self, prompt: Prompt) -> AsyncIterator[Piece]:
        """Forward a chat, and yield the pieces of its answer as they arrive."""
        body = self._body(_chat_body(prompt))
        if not prompt.stream:
            async with aclosing(await self._connection.open(_CHAT, body)) as response:
                answer = read_object(await response.read(), self.url, response.secret)
            yield read_reply(read_completion, answer, self.url, response.secret)
            return
        async with AsyncExitStack() as left:
            response = await self._open_stream(body)
            left.push_async_callback(response.aclose)
            async with aclosing(self._pieces(response)) as pieces:
                async for piece in pieces:
                    yield piece
            left.pop_all()
        # The answer is whole; its reader does not wait until the upstream ends it, too.
        self._connection.finish_later(response)

    async def _pieces(self, response: UpstreamBody) -> AsyncGenerator[Piece]:
        """Yield the pieces of a stream, with a finish reason if it ends as it should."""
        ended = complete = calls = choices = False
        async with aclosing(response.events()) as events:
            async for event in events:
                if complete := event == _DONE:
                    break
                chunk = read_event(event, self.url, response.secret)
                for piece in read_reply(read_chunk, chunk, self.url, response.secret):
                    ended = ended or piece.finish_reason is not None
                    calls = calls or bool(piece.calls)
                    choices = choices or piece.usage is None
                    yield piece
        if not choices:
            raise interrupted(self.url, "it sent no choice")
        if not ended:
            # Some servers, such as Ollama, end with [DONE] alone.
            if not complete:
                raise interrupted(self.url, "it ended without a finish reason")
            yield Piece("", 0, "tool_calls" if calls else "stop")

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """Return a vector for each text, and the tokens of all."""
        vectors, tokens = await self._request_vectors("embeddings", {"input": list(texts)})
        return [vector.numbers() for vector in vectors], tokens

    async def embed_request(
        self, request: Mapping[str, Any]
    ) -> tuple[Sequence[Sequence[float]], int]:
        """Return the vectors of a whole request, with all of its fields."""
        if request.get("encoding_format") == "base64" and self._writes_base64:
            try:
                return await self._request_vectors("embeddings", request, "base64")
            except EngineError as error:
                words = str(error).lower()
                named = "encoding_format" in words or "base64" in words
                if error.status not in (400, 422) or not named:
                    raise
                self._writes_base64 = False
        return await self._request_vectors("embeddings", request)

    async def embed_images(self, inputs: Sequence[tuple[bytes, str | None]]) -> list[list[float]]:
        """Return a vector for each image."""
        images = [_image(data, text) for data, text in inputs]
        vectors, _ = await self._request_vectors("images/embeddings", {"input": images}, None)
        return [vector.numbers() for vector in vectors]

    async def aclose(self) -> None:
        """Close its connections."""
        await self._connection.aclose()

    async def _request_vectors(
        self, operation: str, body: Mapping[str, Any], encoding: str | None = "float"
    ) -> tuple[list[WrittenVector], int]:
        """Return the vectors of a request; without an encoding, the upstream chooses it."""
        if encoding is not None:
            body = {**body, "encoding_format": encoding}
        async with aclosing(await self._connection.open(operation, self._body(body))) as response:
            content = await response.read()
        values = (content, self.url, response.secret, encoding or "float")
        if len(content) <= _SHORT_ANSWER:
            vectors, tokens = read_vectors(*values)
        else:
            vectors, tokens = await run_in_worker(read_vectors, *values)
        wanted = len(body["input"]) if isinstance(body["input"], list) else 1
        if len(vectors) != wanted or not all(vectors):
            raise interrupted(
                self.url, f"it sent {sum(map(bool, vectors))} vectors and not {wanted}"
            )
        return vectors, tokens

    def _body(self, request: Mapping[str, Any]) -> Json:
        return {**request, "model": self._model} if self._model else dict(request)

    async def _open_stream(self, body: Json) -> UpstreamBody:
        """Open a stream that reports its usage if the server can."""
        if self._reports_usage:
            try:
                with_usage = {**body, "stream_options": {"include_usage": True}}
                return await self._connection.open(_CHAT, with_usage)
            except EngineError as error:
                if error.status not in (400, 422) or "stream_options" not in str(error):
                    raise
                self._reports_usage = False
        return await self._connection.open(_CHAT, body)


def _chat_body(prompt: Prompt) -> Json:
    """Return the body of a request for one choice."""
    if prompt.request:
        body = {name: value for name, value in prompt.request.items() if name not in _OURS}
    else:
        body = {
            "messages": list(prompt.messages),
            "max_tokens": prompt.max_tokens,
            "temperature": prompt.temperature,
            "top_p": prompt.top_p,
        }
        if prompt.stop:
            body["stop"] = list(prompt.stop)
    if prompt.seed is not None:
        body["seed"] = prompt.seed
    return {**body, "stream": prompt.stream}


def _image(data: bytes, text: str | None) -> Json:
    kind = next((name for begins, name in _KINDS if data.startswith(begins)), "png")
    url = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return {"image": url} if text is None else {"image": url, "text": text}


def list_models(url: str, credential: Credential | None = None) -> list[str]:
    """Return the models that a server lists.

    Raises:
        ConfigurationError: The server does not list them; the message says what to do.
    """
    return UpstreamConnection(url, credential, _LIST_SECONDS).list_models()
