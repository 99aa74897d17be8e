"""Bodies with many vectors: each is decoded as soon as the part that it is in is freed.

A body and its vectors are never in memory together, nor is the body there twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from azinfer.core.decoding import decode_json
from azinfer.core.embeddings import Vector, decode_vector
from azinfer.core.errors import InvalidResponseError
from azinfer.core.json_fields import as_object, as_objects

_SMALL = 64 * 1024  # bytes of a body that is decoded as a whole
_SHOWN = 10_000  # bytes that errors show, which stay as they are
_PIECE = 256 * 1024  # bytes that are searched at once
_LONGEST = 1024 * 1024  # bytes of a vector; 3,072 floats are about 60,000
_TAIL = 64  # bytes in which a name may begin whose value is in the next piece
# A quote without a backslash in front of it is never inside a text, so this is a field's name.
_START = re.compile(rb'(?<!\\)"embedding"\s*:\s*(["\[])')
_ENDS = {b'"': b'"', b"[": b"]"}


def decode_vectors(parts: list[bytes], headers: Mapping[str, str], encoding: str | None) -> Any:
    """Return the JSON of a response to an embedding request, with vectors in place of their JSON.

    Fields that are not valid vectors, and those of small bodies, stay JSON.

    Args:
        parts: The body; the list is empty afterwards.
        headers: The headers of the response, for an error in the body.
        encoding: The `encoding_format` of the request.

    Raises:
        APIStatusError: The body is an error, although the status was 200.
        InvalidResponseError: The body is not JSON; the message shows how it begins.
    """
    if sum(map(len, parts)) < _SMALL:
        body = b"".join(parts)
        parts.clear()
        return decode_json(body, headers)
    found = _Finder(encoding)
    for piece in _pieces(parts):
        found.search(piece)
    return found.decode(headers)


def _pieces(parts: list[bytes]) -> Iterator[bytes]:
    """Yield a body in pieces of some size, and remove them from its parts."""
    parts.reverse()
    while parts:
        taken, size = [], 0
        while parts and size < _PIECE:
            taken.append(parts.pop())
            size += len(taken[-1])
        yield b"".join(taken)


class _Finder:
    """Takes the vectors out of a body; what is left of it has their numbers instead."""

    def __init__(self, encoding: str | None) -> None:
        self._encoding = encoding
        self._vectors: list[Vector] = []
        self._left: list[bytes] = []
        self._places: list[int] = []  # of the vectors, in what is left
        self._rest = b""  # what was not searched yet, after one byte that was

    def search(self, piece: bytes) -> None:
        """Take out the vectors of the next piece."""
        if not self._left:
            self._left.append(piece[:_SHOWN])
            piece = piece[_SHOWN:]
        data, done, at = self._rest + piece, 0, 1
        while match := _START.search(data, at):
            start = match.end() - 1
            end = data.find(_ENDS[match[1]], match.end())
            if end < 0:
                break
            at = end + 1
            vector = self._decode_value(data[start:at])
            if vector is not None:
                self._put(data[done:start], vector)
                done = at
        rest = max(at, len(data) - _TAIL)
        if match and len(data) - match.start() < _LONGEST:
            rest = match.start()
        self._left.append(data[done : rest - 1])
        self._rest = data[max(done, rest - 1) :]

    def _decode_value(self, text: bytes) -> Vector | None:
        try:
            return decode_vector(msgspec.Raw(text), self._encoding)
        except InvalidResponseError:
            return None

    def _put(self, before: bytes, vector: Vector) -> None:
        self._places.append(len(self._left) + 1)
        self._left += (before, b'"#%d"' % len(self._vectors))
        self._vectors.append(vector)

    def decode(self, headers: Mapping[str, str]) -> Any:
        """Return the JSON of the body, with the vectors in it."""
        self._left.append(self._rest)
        raw = decode_json(b"".join(self._left), headers)
        if self._insert_into(raw):
            return raw
        for place, vector in zip(self._places, self._vectors, strict=True):
            self._left[place] = msgspec.json.encode(list(vector))
        return decode_json(b"".join(self._left), headers)

    def _insert_into(self, raw: Any) -> bool:
        """Put the vectors into their items; return False if some belong elsewhere."""
        numbers = {f"#{number}": number for number in range(len(self._vectors))}
        for item in as_objects(as_object(raw).get("data")):
            value = item.get("embedding")
            if isinstance(value, str) and (number := numbers.pop(value, None)) is not None:
                item["embedding"] = self._vectors[number]
        return not numbers
