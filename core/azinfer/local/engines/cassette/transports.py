"""The transports of a cassette, through which an upstream engine sends its requests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx

from azinfer.local.engines.base import Sleep
from azinfer.local.engines.cassette.exchanges import Exchange, Parts

_KEPT = ("content-type", "content-encoding", "retry-after", "apim-request-id", "x-request-id")
_DONE = "data: [DONE]"
_KEPT_FAMILIES = ("x-ratelimit-", "x-ms-", "retry-after-")


class Recorder(httpx.AsyncBaseTransport):
    """Forwards requests, and records the responses."""

    def __init__(
        self,
        add: Callable[[Exchange, str], None],
        inner: httpx.AsyncBaseTransport,
        clock: Callable[[], float],
    ) -> None:
        self._add, self._inner, self._clock = add, inner, clock

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Forward a request."""
        start = self._clock()
        secret = request.headers.get("api-key") or ""
        body = json.loads(request.content or b"null")
        request_key = (_operation(request), body)
        try:
            response = await self._inner.handle_async_request(request)
        except httpx.TransportError as error:
            self._add(Exchange(*request_key, 0, failed=str(error)), secret)
            raise
        kept = {
            name: value
            for name, value in response.headers.items()
            if name in _KEPT or name.startswith(_KEPT_FAMILIES)
        }

        def finish(parts: Parts, failed: str | None) -> None:
            exchange = Exchange(*request_key, response.status_code, kept, parts, failed)
            self._add(exchange, secret)

        stream = _Recorded(response, lambda: self._clock() - start, finish)
        return httpx.Response(response.status_code, headers=response.headers, stream=stream)

    async def aclose(self) -> None:
        """Close the inner transport."""
        await self._inner.aclose()


class _Recorded(httpx.AsyncByteStream):
    """A body that is recorded while it is read; not recorded if the client leaves early."""

    def __init__(
        self,
        response: httpx.Response,
        seconds: Callable[[], float],
        finish: Callable[[Parts, str | None], None],
    ) -> None:
        self._response, self._seconds, self._finish = response, seconds, finish

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts: Parts = []
        tail, is_done = "", False
        try:
            async for part in self._response.aiter_raw():
                # Parts may end in the middle of a character; JSON keeps bytes that are not UTF-8.
                text = part.decode("utf-8", "surrogateescape")
                parts.append((round(self._seconds(), 6), text))
                tail = tail[-len(_DONE) :] + text
                if _DONE in tail and not is_done:  # readers of events stop here
                    is_done = True
                    self._finish(parts, None)
                yield part
        except httpx.TransportError as error:
            self._finish(parts, str(error))
            raise
        if not is_done:
            self._finish(parts, None)

    async def aclose(self) -> None:
        await self._response.aclose()


class Player(httpx.AsyncBaseTransport):
    """Answers requests from a cassette."""

    def __init__(self, find: Callable[[str, Any], Exchange], sleep: Sleep | None) -> None:
        self._find, self._sleep = find, sleep

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request."""
        exchange = self._find(_operation(request), json.loads(request.content or b"null"))
        if not exchange.status:
            raise httpx.ConnectError(exchange.failed or "the connection failed")
        stream = _Played(exchange, self._sleep)
        return httpx.Response(exchange.status, headers=exchange.headers, stream=stream)


class _Played(httpx.AsyncByteStream):
    """A recorded body, part by part."""

    def __init__(self, exchange: Exchange, sleep: Sleep | None) -> None:
        self._exchange, self._sleep = exchange, sleep

    async def __aiter__(self) -> AsyncIterator[bytes]:
        before = 0.0
        for seconds, text in self._exchange.parts:
            if self._sleep is not None and seconds > before:
                await self._sleep(seconds - before)
            before = seconds
            yield text.encode("utf-8", "surrogateescape")
        if self._exchange.failed is not None:
            raise httpx.RemoteProtocolError(self._exchange.failed)


def _operation(request: httpx.Request) -> str:
    path = request.url.path
    known = ("chat/completions", "images/embeddings", "embeddings")
    return next((each for each in known if path.endswith(f"/{each}")), path)
