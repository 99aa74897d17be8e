"""Upstream: any server that speaks OpenAI's protocol, as a deployment of this endpoint.

Ollama, vLLM, another azinfer endpoint or a real resource: requests are forwarded unchanged, and
responses return chunk by chunk, with the server's own tool calls, usage and errors.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx

from azinfer.core.errors import ConfigurationError
from azinfer.local.engines.base import EngineCapabilities, EngineError, Piece, Prompt
from azinfer.local.engines.upstream_body import (
    LARGEST_ERROR,
    UpstreamBody,
    redact,
    timed_out,
)
from azinfer.local.engines.upstream_replies import (
    Read,
    read_chunk,
    read_completion,
    read_error,
    read_event,
    read_reply,
    read_vectors,
)
from azinfer.local.wire.body import Json
from azinfer.local.wire.json import read_json

Credential = str | Callable[[], str]

# Fields that the endpoint handles itself: several choices, and the usage of a stream.
_OURS = frozenset(["n", "stream_options"])
_DONE = b"[DONE]"
_LARGEST_LIST = 16 * 1024 * 1024
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
        self._address = _check_url(url)
        self.url = f"{self._address.copy_with(query=None)}"
        self._credential, self._model = credential, model
        self._timeout, self._transport = timeout, transport
        self._client: httpx.AsyncClient | None = None
        if isinstance(credential, str):
            self._read_credential()
        self._reports_usage = True

    def __repr__(self) -> str:
        return f"UpstreamEngine({self.url!r}, model={self._model!r})"

    async def chat(self, prompt: Prompt) -> AsyncIterator[Piece]:
        """Forward a chat, and yield the pieces of its answer as they arrive."""
        body = self._body(_chat_body(prompt))
        if not prompt.stream:
            yield await self._ask(read_completion, "chat/completions", body)
            return
        ended = complete = calls = choices = False
        async with self._open_stream(body) as response, aclosing(response.events()) as events:
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
            raise self._interrupted_error("it sent no choice")
        if not ended:
            # Some servers, such as Ollama, end with [DONE] alone.
            if not complete:
                raise self._interrupted_error("it ended without a finish reason")
            yield Piece("", 0, "tool_calls" if calls else "stop")

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """Return a vector for each text, and the tokens of all."""
        return await self.embed_request({"input": list(texts)})

    async def embed_request(self, request: Mapping[str, Any]) -> tuple[list[list[float]], int]:
        """Return the vectors of a whole request, with all of its fields."""
        return await self._request_vectors("embeddings", {**request, "encoding_format": "float"})

    async def embed_images(self, inputs: Sequence[tuple[bytes, str | None]]) -> list[list[float]]:
        """Return a vector for each image."""
        images = [_image(data, text) for data, text in inputs]
        vectors, _ = await self._request_vectors("images/embeddings", {"input": images})
        return vectors

    async def aclose(self) -> None:
        """Close its connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _request_vectors(
        self, operation: str, body: Mapping[str, Any]
    ) -> tuple[list[list[float]], int]:
        vectors, tokens = await self._ask(read_vectors, operation, self._body(body))
        wanted = len(body["input"]) if isinstance(body["input"], list) else 1
        if len(vectors) != wanted or not all(vectors):
            raise self._interrupted_error(
                f"it sent {sum(map(bool, vectors))} vectors and not {wanted}"
            )
        return vectors, tokens

    def _body(self, request: Mapping[str, Any]) -> Json:
        return {**request, "model": self._model} if self._model else dict(request)

    async def _ask(self, reader: Callable[[Json], Read], operation: str, body: Json) -> Read:
        """Return the value that a reader creates from the JSON of a complete answer."""
        async with self._send(operation, body) as response:
            content, secret = await response.read(), response.secret
        try:
            answer = read_json(content)
        except (ValueError, RecursionError) as error:
            raise self._interrupted_error(f"its response is not valid JSON ({error})") from None
        if not isinstance(answer, dict):
            raise self._interrupted_error("its response is not a JSON object")
        # Vectors are long, and no text from them reaches a client.
        vectors = answer.pop("data", None)
        answer = redact(answer, secret)
        if vectors is not None:
            answer["data"] = vectors
        return read_reply(reader, answer, self.url, secret)

    @asynccontextmanager
    async def _open_stream(self, body: Json) -> AsyncGenerator[UpstreamBody]:
        """Open a stream that reports its usage if the server can."""
        if self._reports_usage:
            try:
                with_usage = {**body, "stream_options": {"include_usage": True}}
                async with self._send("chat/completions", with_usage) as response:
                    yield response
                return
            except EngineError as error:
                if error.status not in (400, 422) or "stream_options" not in str(error):
                    raise
                self._reports_usage = False
        async with self._send("chat/completions", body) as response:
            yield response

    @asynccontextmanager
    async def _send(self, operation: str, body: Json) -> AsyncGenerator[UpstreamBody]:
        """Open a successful response; failures become errors of the endpoint."""
        path = f"{self._address.path.rstrip('/')}/{operation}"
        headers = self._headers()
        secret = headers.get("api-key", "")
        request = self._get_client().build_request(
            "POST",
            self._address.copy_with(path=path),
            content=json.dumps(body).encode(),
            headers=headers,
        )
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._get_client().send(request, stream=True)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise timed_out(self.url, type(error).__name__) from None
        except httpx.HTTPError as error:
            raise EngineError(
                f"the upstream {self.url} cannot be reached: {redact(str(error), secret)}",
                "upstream_unreachable",
                status=502,
            ) from None
        try:
            upstream_body = UpstreamBody(response, self.url, self._timeout, secret)
            if not response.is_success:
                content = await upstream_body.read(LARGEST_ERROR)
                raise read_error(response, content, self.url, secret)
            yield upstream_body
        except httpx.HTTPError as error:
            reason = redact(str(error), secret) or type(error).__name__
            raise self._interrupted_error(reason) from None
        finally:
            await response.aclose()

    def _get_client(self) -> httpx.AsyncClient:
        # It belongs to the event loop of the server, so the first request opens it.
        if self._client is None:
            self._client = httpx.AsyncClient(
                transport=self._transport,
                timeout=httpx.Timeout(self._timeout, connect=10.0),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
            )
        return self._client

    def _headers(self) -> dict[str, str]:
        # Compressed chunks would arrive late.
        headers = {"accept-encoding": "identity", "content-type": "application/json"}
        credential = self._read_credential()
        if credential:
            headers |= {"authorization": f"Bearer {credential}", "api-key": credential}
        return headers

    def _read_credential(self) -> str:
        """Return the credential to send, or an empty text.

        Raises:
            ConfigurationError: No header can have it; the message does not show it.
        """
        value = self._credential() if callable(self._credential) else self._credential
        if value and not (value.isascii() and value.isprintable() and value == value.strip()):
            raise ConfigurationError(
                f"the credential of the upstream {self.url} must be ASCII text without spaces "
                "around it"
            )
        return value or ""

    def _interrupted_error(self, reason: str) -> EngineError:
        return EngineError(
            f"the upstream {self.url} broke off: {reason}", "upstream_interrupted", status=502
        )


def _check_url(url: str) -> httpx.URL:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"{url!r} is not a valid http or https URL of an upstream")
    if parts.username or parts.password:
        raise ConfigurationError("pass the upstream's credential separately, not in its URL")
    if parts.path in ("", "/"):
        base = url.rstrip("/")
        raise ConfigurationError(
            f"{url!r} has no path; add the path of the upstream's operations, for example "
            f"{base}/v1 of Ollama or vLLM, {base}/openai/v1 of Azure or azinfer"
        )
    return httpx.URL(url)


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
    engine = UpstreamEngine(url, credential)
    address = engine._address.copy_with(path=f"{engine._address.path.rstrip('/')}/models")
    try:
        answer = read_json(_read_list(address, engine._headers()))
        return [str(each["id"]) for each in answer["data"]]
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ConfigurationError(
            f"{engine.url} does not list its models ({reason}); name the model as NAME=URL"
        ) from None


def _read_list(address: httpx.URL, headers: Mapping[str, str]) -> bytes:
    body = bytearray()
    with httpx.stream("GET", address, headers=headers, timeout=10) as response:
        response.raise_for_status()
        for part in response.iter_raw():
            body += part
            if len(body) > _LARGEST_LIST:
                raise ValueError(f"the list has more than {_LARGEST_LIST} bytes")
    return bytes(body)
