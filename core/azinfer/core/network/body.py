"""The body of a response: decompressed, and bounded in size."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from azinfer.core.errors import (
    APIConnectionError,
    InvalidResponseError,
)
from azinfer.core.network.request import Request

# 2,048 vectors of 3,072 floats in JSON are 80 to 125 MB. No service
# compresses more than 50 to 1; a compression bomb does, up to 1,030 to 1.
_LARGEST_BODY = 128 * 1024 * 1024

_SUSPICIOUS_BODY, _LARGEST_RATIO = 16 * 1024 * 1024, 100

_STEP = 1024 * 1024


class BodyDecoder:
    """Decodes the body of one response while it arrives, and checks its size and its id.

    Raises:
        InvalidResponseError: Its content encoding is unknown.
        APIConnectionError: It is the response to another request.
    """

    def __init__(self, request: Request, status: int, headers: Mapping[str, str]) -> None:
        self._size = self._received = 0
        self._parts: list[bytes] = []
        self._status = status
        coding = headers.get("content-encoding", "identity").strip().lower()
        self._inflate = None
        if coding in ("gzip", "x-gzip", "deflate"):
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
        elif coding != "identity" and coding:
            raise InvalidResponseError(
                f"the response has the content encoding {coding!r}; gzip and deflate were accepted"
            )
        echoed = headers.get("x-ms-client-request-id", request.request_id)
        if echoed != request.request_id and echoed[:_ID_START] == request.request_id[:_ID_START]:
            raise APIConnectionError("the connection returned the response to another request")

    def decode(self, parts: list[bytes]) -> Iterable[bytes]:
        """Return the decoded bytes of further parts of the body."""
        if self._inflate is not None:
            return chain.from_iterable(map(self._decompress, parts))
        self._received += sum(map(len, parts))
        if self._received > _LARGEST_BODY:
            raise self._too_large()
        return parts

    def add(self, parts: list[bytes]) -> bool:
        """Keep the decoded bytes of further parts of a whole body; False if there are none."""
        if parts:
            self._parts += self.decode(parts)
        return bool(parts)

    def whole(self) -> list[bytes]:
        """Return the body that was added, in parts.

        Raises:
            APIConnectionError: A compressed body was cut off.
        """
        self.finish()
        return self._parts

    def finish(self) -> None:
        """Check that the body is complete.

        Raises:
            APIConnectionError: A compressed body was cut off.
        """
        if self._inflate is not None and not self._inflate.eof and self._status < 400:
            raise APIConnectionError("the compressed response was cut off")

    def _decompress(self, part: bytes) -> Iterator[bytes]:
        self._received += len(part)
        inflate: Any = self._inflate
        while part:
            try:
                inflated = inflate.decompress(part, _STEP)
            except zlib.error as error:
                if self._status >= 400:
                    return
                raise InvalidResponseError(f"the compressed response is damaged: {error}") from None
            self._size += len(inflated)
            is_bomb = self._size > _SUSPICIOUS_BODY and self._size > _LARGEST_RATIO * self._received
            if is_bomb or self._size > _LARGEST_BODY:
                raise self._too_large()
            yield inflated
            part = inflate.unconsumed_tail

    def _too_large(self) -> InvalidResponseError:
        size = max(self._size, self._received)
        return InvalidResponseError(f"the response is larger than {size - 1} bytes")


# Characters of a request id that are the same for all requests of this process: with them, the
# response to another request of this process is recognised.
_ID_START = 18
