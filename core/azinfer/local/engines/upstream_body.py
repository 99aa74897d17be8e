"""Bodies of an upstream's responses: limited in size and time, without its key.

An upstream may be any server, so nothing that it sends is trusted: a few kilobytes of gzip can
become gigabytes, a body or a line may never end, and comments may keep a stream open for ever.
The transport decompresses, and refuses compression bombs.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from azinfer.core.errors import APITimeoutError, InferenceError, InvalidResponseError
from azinfer.core.network import OpenResponse
from azinfer.local.engines.base import EngineError

# 2,048 vectors of 3,072 floats in JSON are 80 to 125 MB; an event of a stream is some kilobytes.
_LARGEST_BODY, _LARGEST_LINE, LARGEST_ERROR = 128 * 1024 * 1024, 8 * 1024 * 1024, 64 * 1024
_REDACTED = "[credential]"
# What may hide a text in JSON: escapes, and the zeros of UTF-16 and UTF-32.
_DISGUISES = (b"\\u", b"\\/", b"\0")


class UpstreamBody:
    """The body of one response.

    Args:
        response: The response, whose body was not read yet.
        url: The upstream's URL, for errors.
        secret: The credential of the request, which the upstream may quote.
    """

    def __init__(self, response: OpenResponse, url: str, secret: str) -> None:
        self._response, self._url = response, url
        self._timeout = response.deadline.timeout.total
        self.secret = secret

    async def read(self, limit: int | None = None) -> bytearray:
        """Return the whole body; it grows in its place, as long ones would be copied slowly.

        Args:
            limit: The number of bytes after which the rest is left out; None for all of them.

        Raises:
            EngineError: The body is too large, damaged, or takes too long.
        """
        body = bytearray()
        self._start_time()
        try:
            async for part in self._response.parts:
                body += part
                if limit is not None and len(body) >= limit:
                    return body[:limit]
                if len(body) > _LARGEST_BODY:
                    raise self._too_large()
        except InferenceError as error:
            raise self._failed(error, f"its response took over {self._timeout:g} s") from None
        return body

    async def events(self) -> AsyncGenerator[bytes]:
        """Yield the data of each server-sent event as soon as its line is complete.

        Comments and empty events do not count as progress.

        Raises:
            EngineError: The body or a line is too large, damaged, or the next event takes too
                long.
        """
        rest = bytearray()
        size = 0
        self._start_time()
        try:
            async for part in self._response.parts:
                size += len(part)
                if size > _LARGEST_BODY:
                    raise self._too_large()
                *lines, last = part.split(b"\n")
                for line in lines:
                    if rest:
                        line = bytes(rest + line)
                        rest.clear()
                    if line and (value := _data(line)):
                        yield value
                        self._start_time()
                rest += last
                if len(rest) > _LARGEST_LINE:
                    reason = f"it sent a line of more than {_LARGEST_LINE} bytes"
                    raise invalid_upstream_response(self._url, reason)
        except InferenceError as error:
            raise self._failed(error, f"it sent no event for {self._timeout:g} s") from None

    async def finish(self) -> None:
        """Read what comes after the last event, so that the connection can be used again."""
        await self._response.afinish()

    async def aclose(self) -> None:
        """Close the response, however much of it was read."""
        await self._response.aclose()

    def _start_time(self) -> None:
        """Start the time of the body, or of the next event."""
        deadline = self._response.deadline
        deadline.at = deadline.clock.monotonic() + self._timeout

    def _too_large(self) -> EngineError:
        reason = f"its response has more than {_LARGEST_BODY} bytes"
        return invalid_upstream_response(self._url, reason)

    def _failed(self, error: InferenceError, late: str) -> EngineError:
        """Return the error for a failure of the network."""
        if isinstance(error, APITimeoutError):
            return timed_out(self._url, late)
        reason = redact(error.message, self.secret)
        if isinstance(error, InvalidResponseError):
            return invalid_upstream_response(self._url, reason)
        return interrupted(self._url, reason)


def interrupted(url: str, reason: str) -> EngineError:
    """Return the error of an upstream whose answer is not whole."""
    message = f"the upstream {url} broke off: {reason}"
    return EngineError(message, "upstream_interrupted", status=502)


def invalid_upstream_response(url: str, reason: str) -> EngineError:
    """Return the error of an upstream that violates the protocol."""
    message = f"the upstream {url} sent a response that cannot be read: {reason}"
    return EngineError(message, "upstream_malformed", status=502)


def timed_out(url: str, reason: str) -> EngineError:
    """Return the error of an upstream that takes too long."""
    message = f"the upstream {url} did not answer in time: {reason}"
    return EngineError(message, "upstream_timeout", status=504)


def may_quote(content: bytes | bytearray, secret: str) -> bool:
    """Return whether JSON may have a secret in a text, in whatever way it is written.

    Args:
        content: The JSON.
        secret: The credential; empty without one.
    """
    if not secret:
        return False
    return (
        secret.encode() in content
        or any(each in content for each in _DISGUISES)
        or '"' in secret
        or "\\" in secret
    )


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
