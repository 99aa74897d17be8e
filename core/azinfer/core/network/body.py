"""The body of a response: decompressed, and bounded in size."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from azinfer.core.errors import (
    APIConnectionError,
    InvalidResponseError,
)
from azinfer.core.network.request import Request

# 2,048 vectors of 3,072 floats in JSON are 80 to 125 MB. Nothing that a service sends is
# packed more than 50 to 1; what is packed to fill a memory is, up to 1,030 to 1.
_LARGEST_BODY = 128 * 1024 * 1024

_SUSPICIOUS_BODY, _LARGEST_RATIO = 16 * 1024 * 1024, 100

_STEP = 1024 * 1024


class BodyDecoder:
    """What must hold of a body while it arrives: decoded, bounded, and ours."""

    def __init__(self, request: Request, status: int, headers: Mapping[str, str]) -> None:
        self._size = self._received = 0
        self._status = status
        coding = headers.get("content-encoding", "identity").strip().lower()
        self._inflate = None
        if coding in ("gzip", "x-gzip", "deflate"):
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
        elif coding != "identity" and coding:
            raise InvalidResponseError(f"the answer comes in {coding!r}, which was not asked for")
        echoed = headers.get("x-ms-client-request-id", request.request_id)
        if echoed != request.request_id and echoed[:_ID_START] == request.request_id[:_ID_START]:
            raise APIConnectionError("the answer to another request came on this connection")

    def decoded(self, part: bytes) -> Iterable[bytes]:
        """What a further part of the body says."""
        self._received += len(part)
        if self._inflate is not None:
            return self._inflated(part, self._inflate)
        if self._received > _LARGEST_BODY:
            raise self._too_long()
        return (part,)

    def finish(self) -> None:
        """Look whether the body is whole."""
        if self._inflate is not None and not self._inflate.eof and self._status < 400:
            raise APIConnectionError("the compressed answer was cut off")

    def _inflated(self, part: bytes, inflate: Any) -> Iterator[bytes]:
        while part:
            try:
                inflated = inflate.decompress(part, _STEP)
            except zlib.error as error:
                if self._status >= 400:
                    return
                raise InvalidResponseError(f"the compressed answer is damaged: {error}") from None
            self._size += len(inflated)
            packed = self._size > _SUSPICIOUS_BODY and self._size > _LARGEST_RATIO * self._received
            if packed or self._size > _LARGEST_BODY:
                raise self._too_long()
            yield inflated
            part = inflate.unconsumed_tail

    def _too_long(self) -> InvalidResponseError:
        size = max(self._size, self._received)
        return InvalidResponseError(f"the answer is longer than {size - 1} bytes")


# The start of a request id is the same for all requests of this process, so that an answer
# to another one is known as such.
_ID_START = 18
