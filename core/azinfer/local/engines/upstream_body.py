"""Bodies of an upstream's responses: decompressed, limited in size and time, without its key.

An upstream may be any server, so nothing that it sends is trusted: a few kilobytes of gzip can
become gigabytes, a body or a line may never end, and comments may keep a stream open for ever.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import httpx

from azinfer.local.engines.base import EngineError

# 2,048 vectors of 3,072 floats in JSON are 80 to 125 MB; an event of a stream is some kilobytes.
_LARGEST_BODY, _LARGEST_LINE, LARGEST_ERROR = 128 * 1024 * 1024, 8 * 1024 * 1024, 64 * 1024
_STEP = 1024 * 1024
_REDACTED = "[credential]"


class UpstreamBody:
    """The body of one response.

    Args:
        response: The response, whose body was not read yet.
        url: The upstream's URL, for errors.
        timeout: Seconds for a whole body, and for each event of a stream.
        secret: The credential of the request, which the upstream may quote.
    """

    def __init__(self, response: httpx.Response, url: str, timeout: float, secret: str) -> None:
        self._response, self._url, self._timeout = response, url, timeout
        self.secret = secret
        self._inflate: Any = None
        coding = response.headers.get("content-encoding", "identity").strip().lower()
        if coding in ("gzip", "x-gzip", "deflate"):
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
        elif coding not in ("", "identity"):
            raise self._invalid_response(f"its response has the content encoding {coding!r}")

    async def read(self, limit: int | None = None) -> bytes:
        """Return the whole body.

        Args:
            limit: The number of bytes after which the rest is left out; None for all of them.

        Raises:
            EngineError: The body is too large, damaged, or takes too long.
        """
        body = bytearray()
        try:
            async with asyncio.timeout(self._timeout), aclosing(self._parts()) as parts:
                async for part in parts:
                    body += part
                    if limit is not None and len(body) >= limit:
                        return bytes(body[:limit])
        except TimeoutError:
            raise timed_out(self._url, f"its response took over {self._timeout:g} s") from None
        return bytes(body)

    async def events(self) -> AsyncGenerator[bytes]:
        """Yield the data of each server-sent event as soon as its line is complete.

        Comments and empty events do not count as progress.

        Raises:
            EngineError: The body or a line is too large, damaged, or the next event takes too
                long.
        """
        clock = asyncio.get_running_loop().time
        rest = bytearray()
        late = clock() + self._timeout
        async with aclosing(self._parts()) as parts:
            while True:
                try:
                    async with asyncio.timeout_at(late):
                        part = await anext(parts, None)
                except TimeoutError:
                    reason = f"it sent no event for {self._timeout:g} s"
                    raise timed_out(self._url, reason) from None
                if part is None:
                    return
                *lines, last = part.split(b"\n")
                for line in lines:
                    value = _data(bytes(rest + line))
                    rest.clear()
                    if value:
                        yield value
                        late = clock() + self._timeout
                rest += last
                if len(rest) > _LARGEST_LINE:
                    raise self._invalid_response(
                        f"it sent a line of more than {_LARGEST_LINE} bytes"
                    )

    async def _parts(self) -> AsyncGenerator[bytes]:
        """Yield the decompressed body in parts."""
        size = 0
        async for part in self._response.aiter_raw():
            while part:
                decoded, part = self._decode(part)
                size += len(decoded)
                if size > _LARGEST_BODY:
                    raise self._invalid_response(
                        f"its response has more than {_LARGEST_BODY} bytes"
                    )
                yield decoded

    def _decode(self, part: bytes) -> tuple[bytes, bytes]:
        """Return some decompressed bytes, and the compressed ones that are left."""
        if self._inflate is None:
            return part, b""
        try:
            return self._inflate.decompress(part, _STEP), self._inflate.unconsumed_tail
        except zlib.error as error:
            raise self._invalid_response(f"its compressed response is damaged ({error})") from None

    def _invalid_response(self, reason: str) -> EngineError:
        return invalid_upstream_response(self._url, reason)


def invalid_upstream_response(url: str, reason: str) -> EngineError:
    """Return the error of an upstream that violates the protocol."""
    message = f"the upstream {url} sent a response that cannot be read: {reason}"
    return EngineError(message, "upstream_malformed", status=502)


def timed_out(url: str, reason: str) -> EngineError:
    """Return the error of an upstream that takes too long."""
    message = f"the upstream {url} did not answer in time: {reason}"
    return EngineError(message, "upstream_timeout", status=504)


def redact(value: Any, secret: str) -> Any:
    """Return JSON without a secret in any of its texts and names.

    Args:
        value: The JSON.
        secret: The credential; empty without one.
    """
    if not secret:
        return value
    if isinstance(value, str):
        return value.replace(secret, _REDACTED)
    if isinstance(value, Mapping):
        return {redact(name, secret): redact(each, secret) for name, each in value.items()}
    if isinstance(value, list):
        return [redact(each, secret) for each in value]
    return value


def _data(line: bytes) -> bytes:
    """Return the data of a line of an event stream; empty for other lines."""
    name, _, value = line.strip().partition(b":")
    return value.strip() if name == b"data" else b""
