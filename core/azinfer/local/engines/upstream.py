"""The upstream engine: any server that speaks OpenAI's protocol, as a deployment of this one.

Ollama, vLLM, another azinfer endpoint or a real resource: requests go there as they came, and
answers come back chunk by chunk, with the server's own calls of tools, usage and errors.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx

from azinfer.core.errors import ConfigurationError
from azinfer.local.engines import upstream_replies
from azinfer.local.engines.base import EngineCapabilities, EngineError, Piece, Prompt
from azinfer.local.wire.body import Json
from azinfer.local.wire.json import read_json

Credential = str | Callable[[], str]

# What the endpoint does itself: several choices, and telling what a stream cost.
_OURS = frozenset(["n", "stream_options"])
_KINDS = ((b"\x89PNG", "png"), (b"\xff\xd8", "jpeg"), (b"GIF8", "gif"), (b"RIFF", "webp"))


class UpstreamEngine:
    """What a server elsewhere answers.

    Choices and usage are passed on whole. What an answer tells besides them (its id, the model's
    own name, a fingerprint) is this endpoint's; `n` choices are asked for one by one.

    Args:
        url: Where its operations begin, for example `http://127.0.0.1:11434/v1` of Ollama or
            `https://contoso.openai.azure.com/openai/v1`; a query (`?api-version=…`) is kept.
        credential: Its key, or a function that gives a token before each request.
        model: What it calls the model; left out, what the client called the deployment.
        timeout: Seconds of silence after which it counts as gone.
        transport: What carries requests there, for example of a `Cassette`.

    Raises:
        ConfigurationError: The URL is none, or has no path, or a credential in it.
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
        self._address = _checked(url)
        self._credential, self._model = credential, model
        self._timeout, self._transport = timeout, transport
        self._client: httpx.AsyncClient | None = None
        self._tells_usage = True
        self.url = f"{self._address.copy_with(query=None)}"

    def __repr__(self) -> str:
        return f"UpstreamEngine({self.url!r}, model={self._model!r})"

    async def chat(self, prompt: Prompt) -> AsyncIterator[Piece]:
        """Ask, and pass on what comes as it comes."""
        body = self._body(_asked(prompt))
        if not prompt.stream:
            answer = await self._ask("chat/completions", body)
            yield upstream_replies.read(upstream_replies.whole, answer, self.url)
            return
        async with self._streamed(body) as response:
            ended = False
            async for chunk in upstream_replies.chunks(response, self.url):
                for piece in upstream_replies.read(upstream_replies.pieces, chunk, self.url):
                    ended = ended or piece.finish_reason is not None
                    yield piece
        if not ended:
            raise self._broken("it ended without a finish reason")

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """One vector a text, and the tokens of all."""
        return await self.embed_request({"input": list(texts)})

    async def embed_request(self, request: Mapping[str, Any]) -> tuple[list[list[float]], int]:
        """Vectors for a whole request, with its dimensions and all."""
        return await self._embedded("embeddings", {**request, "encoding_format": "float"})

    async def embed_images(self, inputs: Sequence[tuple[bytes, str | None]]) -> list[list[float]]:
        """One vector an image."""
        told = [_image(data, text) for data, text in inputs]
        vectors, _ = await self._embedded("images/embeddings", {"input": told})
        return vectors

    async def aclose(self) -> None:
        """Close its connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _embedded(
        self, operation: str, body: Mapping[str, Any]
    ) -> tuple[list[list[float]], int]:
        answer = await self._ask(operation, self._body(body))
        vectors, tokens = upstream_replies.read(upstream_replies.vectors, answer, self.url)
        wanted = len(body["input"]) if isinstance(body["input"], list) else 1
        if len(vectors) != wanted or not all(vectors):
            raise self._broken(f"it gave {sum(map(bool, vectors))} vectors and not {wanted}")
        return vectors, tokens

    def _body(self, request: Mapping[str, Any]) -> Json:
        return {**request, "model": self._model} if self._model else dict(request)

    async def _ask(self, operation: str, body: Json) -> Any:
        """The JSON of a whole answer."""
        async with self._sent(operation, body) as response:
            try:
                answer = read_json(await response.aread())
            except (ValueError, RecursionError) as error:
                raise self._broken(f"its answer is no JSON ({error})") from None
            if not isinstance(answer, dict):
                raise self._broken("its answer is no object")
            return answer

    @asynccontextmanager
    async def _streamed(self, body: Json) -> AsyncGenerator[httpx.Response]:
        """A stream that tells its usage where the server can."""
        if self._tells_usage:
            try:
                asked = {**body, "stream_options": {"include_usage": True}}
                async with self._sent("chat/completions", asked) as response:
                    yield response
                return
            except EngineError as error:
                if error.status not in (400, 422) or "stream_options" not in str(error):
                    raise
                self._tells_usage = False
        async with self._sent("chat/completions", body) as response:
            yield response

    @asynccontextmanager
    async def _sent(self, operation: str, body: Json) -> AsyncGenerator[httpx.Response]:
        """An answer whose status is good; what fails is told in the endpoint's words."""
        path = f"{self._address.path.rstrip('/')}/{operation}"
        request = self._opened().build_request(
            "POST",
            self._address.copy_with(path=path),
            content=json.dumps(body).encode(),
            headers=self._headers(),
        )
        try:
            response = await self._opened().send(request, stream=True)
        except httpx.TimeoutException as error:
            raise EngineError(
                f"the upstream {self.url} did not answer in time ({type(error).__name__})",
                "upstream_timeout",
                status=504,
            ) from None
        except httpx.HTTPError as error:
            raise EngineError(
                f"the upstream {self.url} cannot be reached: {error}",
                "upstream_unreachable",
                status=502,
            ) from None
        try:
            if response.status_code >= 400:
                raise upstream_replies.failure(response, await response.aread(), self.url)
            yield response
        except httpx.HTTPError as error:
            raise self._broken(str(error) or type(error).__name__) from None
        finally:
            await response.aclose()

    def _opened(self) -> httpx.AsyncClient:
        # It belongs to the event loop that serves, so it is opened by the first request.
        if self._client is None:
            self._client = httpx.AsyncClient(
                transport=self._transport,
                timeout=httpx.Timeout(self._timeout, connect=10.0),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
            )
        return self._client

    def _headers(self) -> dict[str, str]:
        # Compressed chunks would come late.
        headers = {"accept-encoding": "identity", "content-type": "application/json"}
        credential = self._credential() if callable(self._credential) else self._credential
        if credential:
            headers |= {"authorization": f"Bearer {credential}", "api-key": credential}
        return headers

    def _broken(self, reason: str) -> EngineError:
        return EngineError(
            f"the upstream {self.url} broke off: {reason}", "upstream_interrupted", status=502
        )


def _checked(url: str) -> httpx.URL:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"{url!r} is no http or https address of an upstream")
    if parts.username or parts.password:
        raise ConfigurationError("give the upstream's credential apart, not in its URL")
    if parts.path in ("", "/"):
        base = url.rstrip("/")
        raise ConfigurationError(
            f"{url!r} has no path: say where the upstream's operations begin, for example "
            f"{base}/v1 of Ollama or vLLM, {base}/openai/v1 of Azure or azinfer"
        )
    return httpx.URL(url)


def _asked(prompt: Prompt) -> Json:
    """The body that asks for one choice."""
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


def models(url: str, credential: Credential | None = None) -> list[str]:
    """The models that a server lists.

    Raises:
        ConfigurationError: It does not; the text says how to do without.
    """
    engine = UpstreamEngine(url, credential)
    address = engine._address.copy_with(path=f"{engine._address.path.rstrip('/')}/models")
    try:
        answer = httpx.get(address, headers=engine._headers(), timeout=10)
        return [str(each["id"]) for each in answer.raise_for_status().json()["data"]]
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ConfigurationError(
            f"{engine.url} does not list its models ({reason}); name the one that is meant, as "
            "NAME=URL"
        ) from None
