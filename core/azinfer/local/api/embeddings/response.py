"""Responses of embeddings: the vectors of engines in the wire form.

Source: "Get embeddings" of the model inference REST API.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.responses import Response

from azinfer.local.engines.synthetic_vectors import SyntheticVector
from azinfer.local.engines.upstream_vectors import WrittenVector
from azinfer.local.worker_threads import run_in_worker

# The most numbers that are written in the event loop.
LONGEST_IN_LOOP = 8_192


async def embeddings_response(
    vectors: Sequence[Sequence[float]],
    *,
    model: str,
    tokens: int,
    dimensions: int | None,
    encoding: str,
    response_id: str,
) -> Response:
    """Return the response to an embeddings request; a long one is written outside the event loop.

    Args:
        vectors: The vectors of the engine, shape `(n, its dimensions)`.
        model: The name of the model.
        tokens: The number of tokens that were read.
        dimensions: The length that vectors are cut to before they are made unit vectors again.
        encoding: `"float"`, `"base64"`, or one that makes the vectors smaller.
        response_id: The id of the response.
    """
    counts = {"prompt_tokens": tokens, "total_tokens": tokens}
    fields = {"id": response_id, "object": "list", "model": model, "usage": counts}
    head = json.dumps(fields, separators=(",", ":")).encode()[:-1] + b',"data":['
    if sum(map(len, vectors)) <= LONGEST_IN_LOOP:
        body = _write_body(head, vectors, dimensions, encoding)
    else:
        body = await run_in_worker(_write_body, head, vectors, dimensions, encoding)
    return _WrittenResponse(body, media_type="application/json")


class _WrittenResponse(Response):
    """A response with a body that is sent without being copied."""

    def render(self, content: Any) -> Any:
        """Return the body."""
        return content


def _write_body(
    head: bytes, vectors: Sequence[Sequence[float]], dimensions: int | None, encoding: str
) -> bytearray:
    """Return a body with the entries of vectors, one at a time, so that other threads can run."""
    # It grows: all parts in a list, and then joined, would take the memory of two bodies.
    body = bytearray(head)
    for at, each in enumerate(vectors):
        comma = b"," if at else b""
        body += b'%b{"object":"embedding","index":%d,"embedding":' % (comma, at)
        body += _write_vector(each, dimensions, encoding)
        body += b"}"
    body += b"]}"
    return body


def _write_vector(
    vector: Sequence[float], dimensions: int | None, encoding: str
) -> bytes | msgspec.Raw:
    """Return a vector as JSON; one that was written already, with what is wanted, as it is."""
    whole = dimensions is None or dimensions >= len(vector)
    if whole and isinstance(vector, SyntheticVector):
        if encoding == "float":
            return vector.write_floats()
        if encoding == "base64":
            return vector.write_base64()
    if isinstance(vector, WrittenVector):
        if vector.encoding == encoding and whole:
            return vector.text
        vector = vector.numbers()
    return msgspec.json.encode(encode(shorten(vector, dimensions), encoding))


def shorten(vector: Sequence[float], dimensions: int | None) -> Sequence[float]:
    """Return a vector cut to some dimensions, as a unit vector again."""
    if dimensions is None or dimensions >= len(vector):
        return vector
    kept = vector[:dimensions]
    length = math.sqrt(sum(number * number for number in kept)) or 1.0
    return [number / length for number in kept]


def encode(vector: Sequence[float], encoding: str) -> Any:
    """Return a vector in the encoding of a response."""
    if encoding == "base64":
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    if encoding in ("int8", "uint8"):
        shift = 0 if encoding == "int8" else 128
        return [round(max(-1.0, min(1.0, number)) * 127) + shift for number in vector]
    if encoding in ("binary", "ubinary"):
        # Each byte has the signs of eight dimensions, the first in the most significant bit;
        # signed bytes are 128 less. Cohere's models do so ("int8 & binary embeddings").
        eights = [vector[at : at + 8] for at in range(0, len(vector), 8)]
        bits = ["".join("1" if number > 0 else "0" for number in each) for each in eights]
        shift = 128 if encoding == "binary" else 0
        return [int(each.ljust(8, "0"), 2) - shift for each in bits]
    return list(vector)
