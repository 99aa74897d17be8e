"""Embeddings: splitting texts into requests, decoding vectors, and merging the responses."""

from __future__ import annotations

import binascii
import math
import struct
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import msgspec

from azinfer.core.arguments import is_iterable, refuse
from azinfer.core.completions import Json, Usage
from azinfer.core.decoding import decode_usage, invalid_response, usage_from_headers
from azinfer.core.errors import (
    BadRequestError,
    ConfigurationError,
    InferenceError,
    InvalidResponseError,
)
from azinfer.core.json_fields import as_index, as_text
from azinfer.core.model_profiles import Profile
from azinfer.core.routing import Routing


class _Numbers:
    """Says to pydantic that a vector is a list of numbers in JSON."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from azinfer.core.pydantic_schemas import schema_of_vectors

        return schema_of_vectors()


if TYPE_CHECKING:
    Vector: TypeAlias = array[float] | array[int]
else:  # an array takes no type of its items before Python 3.12
    Vector: TypeAlias = Annotated[array, _Numbers]

_INTEGERS = ("int8", "uint8", "binary", "ubinary")
_SIZE_REFUSED = ("too many", "too large", "too long", "at most", "maximum", "exceed", "limit")


@dataclass(frozen=True, slots=True)
class Embedding:
    """One vector and the index of its input."""

    index: int
    embedding: Vector


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Vectors in the order of the inputs.

    Attributes:
        vectors: One array for each input, shape `(n, dimensions)`: 32-bit floats
            (`array('f')`), or 8-bit integers (`'b'`, `'B'`) if requested. In the formats
            `binary` and `ubinary` each integer has 8 dimensions, most significant bit first.
        model: The name that the back end gives itself.
        usage: Token counts of all requests together.
        routing: Where the first request was sent.
        raw: The body of each response, without its vectors.
    """

    vectors: list[Vector]
    model: str | None = None
    usage: Usage | None = None
    routing: Routing | None = field(default=None, compare=False)
    raw: tuple[Json, ...] = field(default=(), repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.vectors)

    def __iter__(self) -> Iterator[Vector]:
        return iter(self.vectors)

    @property
    def data(self) -> list[Embedding]:
        """The vectors in the form of the wire: `data[i].embedding`."""
        return [Embedding(at, vector) for at, vector in enumerate(self.vectors)]

    @classmethod
    def from_wire(
        cls,
        raw: Any,
        headers: Mapping[str, str],
        count: int,
        encoding: str | None = None,
        routing: Routing | None = None,
    ) -> Embeddings:
        """Return the embeddings in the response to one request.

        Args:
            raw: The body as JSON.
            headers: The headers of the response, for token counts that the body lacks.
            count: The number of inputs that were sent.
            encoding: The `encoding_format` of the request.
            routing: Where the request was sent.

        Raises:
            InvalidResponseError: There is not exactly one vector for each input, or vectors
                differ in length, or have numbers that are not finite.
        """
        data = raw.get("data") if isinstance(raw, dict) else None
        if not isinstance(data, list):
            raise invalid_response("no list of embeddings", raw)
        vectors: list[Vector | None] = [None] * count
        for position, item in enumerate(data):
            if not isinstance(item, dict):
                raise invalid_response("an embedding that is not an object", item)
            index = as_index(item.get("index", position))
            if index is None or not 0 <= index < count or vectors[index] is not None:
                raise invalid_response(
                    f"index {str(item.get('index'))[:50]}, which is repeated or "
                    f"not from 0 to {count - 1}",
                    "",
                )
            vectors[index] = decode_vector(item.pop("embedding", None), encoding)
        whole = [vector for vector in vectors if vector is not None]
        if len(whole) != count:
            raise invalid_response(f"{len(whole)} vectors for {count} inputs", "")
        _check_lengths(whole)
        counts = raw.get("usage")
        usage = decode_usage(counts) if isinstance(counts, dict) else usage_from_headers(headers)
        return cls(whole, as_text(raw.get("model")) or None, usage, routing, (raw,))


# As bytes, base64 is decoded more than twice as fast as by binascii.
_FLOATS = msgspec.json.Decoder(list[float] | bytes)


def check_texts(texts: str | Sequence[str]) -> list[str]:
    """Return the texts to embed as a list.

    Raises:
        ConfigurationError: One of them is not text.
    """
    if isinstance(texts, bytes | Mapping) or not is_iterable(texts):
        refuse("input", texts, "a text or a list of texts")
    listed = [texts] if isinstance(texts, str) else list(texts)
    for position, text in enumerate(listed):
        if not isinstance(text, str):
            raise ConfigurationError(
                f"input[{position}] has the type {type(text).__name__}; pass texts, not token ids"
            )
    return listed


def without_empty_texts(texts: Sequence[str]) -> Sequence[str]:
    """Return texts to embed for a framework, with a space in place of each empty one.

    Services refuse the whole request for one empty text, and documents that a framework splits may
    be empty. A space has as little meaning.

    Args:
        texts: A list of texts; anything else is returned as it is, for `embed` to refuse.

    Example:
        >>> without_empty_texts(["one", "", "two"])
        ['one', ' ', 'two']
    """
    if not isinstance(texts, list | tuple):
        return texts
    return [" " if isinstance(text, str) and not text else text for text in texts]


def check_kind(kind: str | None) -> None:
    """Raise if this does not say what vectors are for.

    Raises:
        ConfigurationError: It is neither `"query"` nor `"document"`, nor left out.
    """
    if kind not in (None, "query", "document"):
        raise ConfigurationError(f"kind must be 'query' or 'document', not {kind!r}")


def batches(texts: list[str], profile: Profile) -> list[list[str]]:
    """Return texts in batches that the model accepts, by count and estimated tokens."""
    split: list[list[str]] = []
    tokens = 0
    for text in texts:
        # No tokenizer needs more than about one token for three bytes of UTF-8.
        size = len(text.encode(errors="replace")) // 3 + 1
        full = not split or len(split[-1]) >= profile.batch_size
        if full or tokens + size > profile.batch_tokens:
            split.append([])
            tokens = 0
        split[-1].append(text)
        tokens += size
    return split


def is_size_error(error: InferenceError) -> bool:
    """Return True if a request was refused for its size, so that half of it may succeed."""
    if not isinstance(error, BadRequestError) or error.status not in (400, 413, 422):
        return False
    return error.status == 413 or any(word in error.message.lower() for word in _SIZE_REFUSED)


def merge_embeddings(answers: Sequence[Embeddings]) -> Embeddings:
    """Return the embeddings of several requests as one, in order.

    Raises:
        InvalidResponseError: The vectors differ in length.
    """
    if len(answers) == 1:
        return answers[0]
    vectors = list(chain.from_iterable(answer.vectors for answer in answers))
    _check_lengths(vectors)
    usages = [answer.usage for answer in answers if answer.usage]
    return Embeddings(
        vectors,
        answers[0].model if answers else None,
        sum(usages[1:], usages[0]) if usages else None,
        answers[0].routing if answers else None,
        tuple(chain.from_iterable(answer.raw for answer in answers)),
    )


def decode_vector(value: Any, encoding: str | None) -> Vector:
    """Return a vector; some models send floats whatever encoding was requested.

    Args:
        value: The field of the response: a list, base64, undecoded JSON, or a vector already.
        encoding: The `encoding_format` of the request.

    Raises:
        InvalidResponseError: It is not a vector.
    """
    if isinstance(value, array):
        return value
    try:
        value = _decode_text(value, encoding)
        if isinstance(value, bytes):
            return _finite(_floats(value))
        if not _NUMBERS.issuperset(map(type, value)):
            raise ValueError("it has values that are not numbers")
        if encoding in ("int8", "binary") and not _has_floats(value):
            return array("b", value)
        if encoding in ("uint8", "ubinary") and not _has_floats(value):
            return array("B", value)
        # Twice as fast as array("f", value).
        return _finite(array("f", struct.pack(f"{len(value)}f", *value)))
    except (TypeError, ValueError, OverflowError, struct.error) as error:
        raise InvalidResponseError(f"an embedding is not a valid vector: {error}") from None


def _decode_text(value: Any, encoding: str | None) -> Any:
    """Return JSON and base64 as what they contain, and anything else as it is."""
    if isinstance(value, msgspec.Raw):
        value = (msgspec.json if encoding in _INTEGERS else _FLOATS).decode(value)
    return binascii.a2b_base64(value, strict_mode=True) if isinstance(value, str) else value


def _floats(data: bytes) -> array[float]:
    floats = array("f", data)
    if sys.byteorder == "big":  # pragma: no cover
        floats.byteswap()
    return floats


_NUMBERS = frozenset({int, float})


def _has_floats(value: Any) -> bool:
    return any(isinstance(number, float) for number in value)


def _finite(floats: array[float]) -> array[float]:
    if not floats:
        raise ValueError("it is empty")
    # The exponent of NaN and infinity is all ones; a look at one byte of each number is 20 times
    # as fast as math.isfinite for all.
    high = floats.tobytes()[3::4] if sys.byteorder == "little" else floats.tobytes()[::4]
    if (b"\x7f" in high or b"\xff" in high) and not all(map(math.isfinite, floats)):
        raise ValueError("it has numbers that are not finite")
    return floats


def _check_lengths(vectors: Sequence[Vector]) -> None:
    if len({len(vector) for vector in vectors}) > 1:
        raise InvalidResponseError("the vectors differ in length")
