"""Requests to an upstream: its address and credential, and what failures of the network mean.

They are sent by core's own connections, which take a fifth of the time of httpx. A transport of
the caller, such as that of a cassette, is one of httpx, which only then is imported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from azinfer.core.clock import SYSTEM
from azinfer.core.deadline import Deadline
from azinfer.core.errors import (
    APITimeoutError,
    ConfigurationError,
    InferenceError,
    InvalidResponseError,
)
from azinfer.core.network import AsyncTransport, Request, SharedHeaders, Transport
from azinfer.core.retries import Timeout
from azinfer.core.version import __version__
from azinfer.local.engines.base import EngineError
from azinfer.local.engines.upstream_body import (
    LARGEST_ERROR,
    UpstreamBody,
    invalid_upstream_response,
    redact,
    timed_out,
)
from azinfer.local.engines.upstream_replies import read_error
from azinfer.local.wire.json import read_json, write_json

if TYPE_CHECKING:
    import httpx

Credential = str | Callable[[], str]

_LARGEST_LIST = 16 * 1024 * 1024
_CONNECT_SECONDS = 10.0


async def _finish(response: UpstreamBody) -> None:
    try:
        await response.finish()
    finally:
        await response.aclose()


class UpstreamConnection:
    """Sends requests to an upstream.

    Args:
        url: The base URL of its operations; a query is kept.
        credential: The key, or a function that returns a token before each request.
        timeout: Seconds of silence after which the upstream counts as gone.
        transport: The transport of requests; None for core's own connections.

    Attributes:
        url: The URL without its query.

    Raises:
        ConfigurationError: The URL is not valid, has no path, or has a credential in it; or no
            header can have the credential.
    """

    def __init__(
        self,
        url: str,
        credential: Credential | None,
        timeout: float,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        parts = _split_url(url)
        self.url = parts._replace(query="", fragment="").geturl()
        self._query = f"?{parts.query}" if parts.query else ""
        self._credential, self._transport = credential, transport
        self._timeout = Timeout(connect=min(_CONNECT_SECONDS, timeout), read=timeout, total=timeout)
        self._network: AsyncTransport | None = None
        self._client: Any = None
        self._finishing: set[asyncio.Task[None]] = set()
        if isinstance(credential, str):
            self._read_credential()

    async def open(self, operation: str, body: Mapping[str, Any]) -> UpstreamBody:
        """Send a request, and return the body of its successful response; the caller closes it.

        Raises:
            EngineError: The upstream cannot be reached, is too slow, or answers with an error.
            ConfigurationError: No header can have the credential.
        """
        secret = self._read_credential()
        headers = [("content-type", "application/json"), *self._headers(secret)]
        body_bytes = write_json(body)
        request = Request("POST", self._target(operation), SharedHeaders(headers), body_bytes, "")
        try:
            response = await self._open_network().open(request, self._new_deadline())
        except APITimeoutError as error:
            raise timed_out(self.url, error.message) from None
        except InvalidResponseError as error:
            raise invalid_upstream_response(self.url, redact(error.message, secret)) from None
        except InferenceError as error:
            raise EngineError(
                f"the upstream {self.url} cannot be reached: {redact(error.message, secret)}",
                "upstream_unreachable",
                status=502,
            ) from None
        answer = UpstreamBody(response, self.url, secret)
        if 200 <= response.status <= 299:
            return answer
        try:
            content = await answer.read(LARGEST_ERROR)
        finally:
            await answer.aclose()
        raise read_error(response.status, response.headers, content, self.url, secret)

    def finish_later(self, response: UpstreamBody) -> None:
        """Read the rest of a response beside other work, so that its connection can be reused."""
        task = asyncio.get_running_loop().create_task(_finish(response))
        self._finishing.add(task)  # the loop has no strong reference
        task.add_done_callback(self._finishing.discard)

    async def aclose(self) -> None:
        """Close the connections that nothing else uses."""
        for task in self._finishing:
            task.cancel()
        await asyncio.gather(*self._finishing, return_exceptions=True)
        network, self._network = self._network, None
        client, self._client = self._client, None
        if network is not None:
            await network.close()
        if client is not None:
            await client.aclose()

    def list_models(self) -> list[str]:
        """Return the models that the upstream lists.

        Raises:
            ConfigurationError: It does not list them; the message says what to do.
        """
        try:
            answer = read_json(self._read_list())
            return [str(each["id"]) for each in answer["data"]]
        except (InferenceError, ValueError, KeyError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise ConfigurationError(
                f"{self.url} does not list its models ({reason}); name the model as NAME=URL"
            ) from None

    def _read_list(self) -> bytes:
        headers = SharedHeaders(self._headers(self._read_credential()))
        request = Request("GET", self._target("models"), headers, b"", "")
        network = Transport(None, None)
        try:
            response = network.open(request, self._new_deadline())
            body = bytearray()
            for part in response.parts:
                body += part
                if len(body) > _LARGEST_LIST:
                    raise ValueError(f"the list has more than {_LARGEST_LIST} bytes")
            if response.status != 200:
                raise ValueError(f"the status is {response.status}")
            return bytes(body)
        finally:
            network.close()

    def _target(self, operation: str) -> str:
        return f"{self.url.rstrip('/')}/{operation}{self._query}"

    def _new_deadline(self) -> Deadline:
        return Deadline(SYSTEM, SYSTEM.monotonic() + self._timeout.total, self._timeout)

    def _open_network(self) -> AsyncTransport:
        # Its connections belong to the event loop of the server, so the first request opens it.
        if self._network is None:
            if self._transport is not None:
                import httpx

                self._client = httpx.AsyncClient(transport=self._transport)
            self._network = AsyncTransport(self._client, None)
        return self._network

    def _headers(self, credential: str) -> list[tuple[str, str]]:
        # Compressed chunks would arrive late.
        headers = [
            ("accept", "*/*"),
            ("accept-encoding", "identity"),
            ("user-agent", f"azinfer/{__version__}"),
        ]
        if credential:
            headers += [("authorization", f"Bearer {credential}"), ("api-key", credential)]
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


def _split_url(url: str) -> Any:
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
    return parts
