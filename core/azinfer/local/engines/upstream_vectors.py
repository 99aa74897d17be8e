"""Vectors of an upstream: checked, and passed on as they were written.

A vector is some kilobytes of JSON that clients want as it is. Its numbers are read once to check
them, but neither kept nor written again.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Callable, Sequence
from typing import Any, overload

import msgspec

from azinfer.local.engines.upstream_body import redact
from azinfer.local.engines.upstream_replies import count, read_object, read_reply
from azinfer.local.wire.body import Json

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
# A shorter credential may be in the base64 of a vector by chance.
_SHORTEST_QUOTE = 16


class WrittenVector(Sequence[float]):
    """A vector as JSON, whose numbers are read only if somebody wants them.

    Args:
        text: The JSON: a list of numbers, or a text in base64; it may be a part of a larger one.
        length: How many numbers it has.
        encoding: `"float"` or `"base64"`.
    """

    __slots__ = ("_length", "encoding", "text")

    def __init__(self, text: bytes | msgspec.Raw, length: int, encoding: str) -> None:
        self.text, self._length, self.encoding = text, length, encoding

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> float: ...

    @overload
    def __getitem__(self, index: slice) -> list[float]: ...

    def __getitem__(self, index: int | slice) -> float | list[float]:
        return self.numbers()[index]

    def numbers(self) -> list[float]:
        """Return its numbers."""
        if self.encoding == "float":
            return _numbers(self.text)
        return list(struct.unpack(f"<{self._length}f", base64.b64decode(bytes(self.text)[1:-1])))


class _Entry(msgspec.Struct):
    index: int
    embedding: msgspec.Raw


class _Reply(msgspec.Struct):
    data: list[_Entry]
    usage: Any = None


def read_vectors(
    content: bytes | bytearray, url: str, secret: str, encoding: str
) -> tuple[list[WrittenVector], int]:
    """Return the vectors of an answer in their order, and the tokens that were read.

    Args:
        content: The body of the answer.
        url: The upstream's URL, for errors.
        secret: The upstream's credential, which is left out.
        encoding: The encoding that is wanted, `"float"` or `"base64"`; vectors in base64 are
            decoded for `"float"`.

    Raises:
        EngineError: The answer does not follow the protocol.
    """
    longest = secret.encode() if len(secret) >= _SHORTEST_QUOTE else b""
    quoted = longest if longest and (longest in content or b"\\" in content) else None

    def read(reply: _Reply) -> tuple[list[WrittenVector], int]:
        entries = sorted(reply.data, key=lambda entry: entry.index)
        vectors = [_vector(each.embedding, encoding, quoted) for each in entries]
        return vectors, count(reply.usage or {}, "prompt_tokens")

    try:
        reply = _read_reply(content)
        reply.usage = redact(reply.usage, secret)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # What msgspec does not read, or not as vectors: read it like any other answer.
        answer = read_object(content, url, secret)
        reply = read_reply(_reply_of, answer, url, secret)
    return read_reply(read, reply, url, secret)


def _reply_of(answer: Json) -> _Reply:
    entries = [
        _Entry(int(each["index"]), msgspec.Raw(_write(each["embedding"])))
        for each in answer["data"]
    ]
    return _Reply(entries, answer.get("usage"))


def _write(vector: Any) -> bytes:
    is_text = isinstance(vector, str)
    return msgspec.json.encode(vector if is_text else [float(number) for number in vector])


def _vector(raw: msgspec.Raw, encoding: str, secret: bytes | None) -> WrittenVector:
    """Return a vector after checking it.

    Raises:
        ValueError: It is not a vector of finite numbers, or quotes the credential.
    """
    text = bytes(raw)
    if not text.startswith(b'"'):
        try:
            return WrittenVector(raw, len(_numbers(text)), "float")
        except msgspec.DecodeError as error:
            raise ValueError(str(error)) from None
    if b"\\" in text:
        # Some servers write each slash as `\/`, which is the same text in JSON.
        raw = msgspec.Raw(text := msgspec.json.encode(_letters(text)))
    if secret is not None and secret in text:
        raise ValueError("a vector quotes the credential")
    return _packed_vector(raw, text, encoding)


def _packed_vector(raw: msgspec.Raw, text: bytes, encoding: str) -> WrittenVector:
    padding = text.count(b"=", -3)
    digits = text[1 : -1 - padding]
    size = (len(digits) + padding) // 4 * 3 - padding
    is_whole = (len(digits) + padding) % 4 == size % 4 == 0
    if not is_whole or digits.translate(None, _BASE64):
        raise ValueError("a vector is not a list of numbers in base64")
    vector = WrittenVector(raw, size // 4, "base64")
    if encoding == "base64" and not _may_be_infinite(digits):
        return vector
    numbers = vector.numbers()
    if not all(map(math.isfinite, numbers)):
        raise ValueError("a vector has numbers that are not finite")
    if encoding == "base64":
        return vector
    return WrittenVector(msgspec.json.encode(numbers), len(numbers), "float")


def _may_be_infinite(digits: bytes) -> bool:
    """Return whether floats in base64 may have one that is infinite or not a number.

    The exponent of such a float is eight ones (IEEE 754). 16 digits are three floats, each with
    its lowest byte first: five, three and seven of the highest bits of their exponents are in
    digits 4, 9, and 14 with 15. Few vectors have these, and to decode all takes five times as long.
    """
    return (
        (b"f" in (first := digits[4::16]) or b"/" in first)
        or _has(digits[9::16], _EXPONENT_3)
        or (_has(digits[14::16], _EXPONENT_1) and b"/" in digits[15::16])
    )


def _has(digits: bytes, wanted: bytes) -> bool:
    return len(digits.translate(None, wanted)) < len(digits)


# The digits whose lowest three bits, or whose lowest bit, are ones.
_EXPONENT_3, _EXPONENT_1 = _BASE64[7::8], _BASE64[1::2]
_numbers: Callable[[bytes | msgspec.Raw], list[float]] = msgspec.json.Decoder(list[float]).decode
_letters: Callable[[bytes], str] = msgspec.json.Decoder(str).decode
_read_reply: Callable[[bytes | bytearray], _Reply] = msgspec.json.Decoder(_Reply).decode
