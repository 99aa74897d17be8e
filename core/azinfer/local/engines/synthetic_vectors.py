"""Synthetic vectors: the more words two texts share, the nearer their vectors are.

Most numbers of such a vector are one of 256, for each byte of a hash. So it is kept as these bytes,
and written by looking up 256 texts of numbers instead of formatting each number.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import itertools
import math
import operator
import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar, overload

import msgspec

_T = TypeVar("_T")
_WORD = re.compile(r"\w+")
# Too little to change which vectors are similar, but enough that no vector is zero when it is cut
# to a few dimensions.
_FAINT = 1e-4
_NUMBERS = [(byte - 127.5) * _FAINT for byte in range(256)]
_UPPER = _NUMBERS[128:]  # the others are the same with a minus
# The square of such a number is (8 * whole + 1) * _UNIT; the two bytes of the whole numbers.
_UNIT = _FAINT * _FAINT / 4
_WHOLES = [((2 * byte - 255) ** 2 - 1) // 8 for byte in range(256)]
_LOW, _HIGH = bytes(each & 255 for each in _WHOLES), bytes(each >> 8 for each in _WHOLES)
# As many bytes as Adler-32 sums up below its modulus, 65,521.
_SUMMED = 256
# Words that are read at once, and the longest that are remembered.
_AT_ONCE, _LONGEST_WORD = 1000, 64


class SyntheticVector(Sequence[float]):
    """A unit vector of which most numbers are one of 256.

    Args:
        codes: Which number each dimension has, a byte each.
        peaks: The other numbers, by their dimensions.
    """

    __slots__ = ("_codes", "_peaks")

    def __init__(self, codes: bytes, peaks: Mapping[int, float]) -> None:
        self._codes, self._peaks = codes, peaks

    def __len__(self) -> int:
        return len(self._codes)

    @overload
    def __getitem__(self, index: int) -> float: ...

    @overload
    def __getitem__(self, index: slice) -> list[float]: ...

    def __getitem__(self, index: int | slice) -> float | list[float]:
        return self.numbers()[index]

    def __iter__(self) -> Iterator[float]:
        return iter(self.numbers())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self.numbers() == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self.numbers())

    def numbers(self) -> list[float]:
        """Return its numbers."""
        length = self._length()
        numbers = self._look_up(_divide(length))
        for place, number in self._peaks.items():
            numbers[place] = number / length
        return numbers

    def write_floats(self) -> bytes:
        """Return the JSON of its numbers."""
        length = self._length()
        upper = msgspec.json.encode(_divide_upper(length))[1:-1].decode("ascii").split(",")
        # Texts, because Python joins them in half the time of bytes.
        texts = self._look_up(["-" + text for text in reversed(upper)] + upper)
        for place, number in self._peaks.items():
            texts[place] = msgspec.json.encode(number / length).decode("ascii")
        return f"[{','.join(texts)}]".encode("ascii")

    def write_base64(self) -> bytes:
        """Return the JSON of its numbers as little-endian floats in base64."""
        length = self._length()
        packed = struct.pack("<256f", *_divide(length))
        data = bytearray(4 * len(self._codes))
        for at in range(4):
            data[at::4] = self._codes.translate(packed[at::4])
        for place, number in self._peaks.items():
            struct.pack_into("<f", data, 4 * place, number / length)
        return b'"%b"' % base64.b64encode(data)

    def _look_up(self, table: Sequence[_T]) -> list[_T]:
        """Return the entry of a table for each dimension."""
        if len(self._codes) == 1:
            return [table[self._codes[0]]]
        return list(operator.itemgetter(*self._codes)(table))

    def _length(self) -> float:
        """Return the length before the division by it; the order of the sum is always the same."""
        codes = bytes(self._codes[place] for place in self._peaks)
        faint = _sum_squares(self._codes) - _sum_squares(codes)
        total = faint * _UNIT + sum(number * number for number in self._peaks.values())
        return math.sqrt(total) or 1.0


def _sum_squares(codes: bytes) -> int:
    """Return the sum of the squares of numbers, in units, exactly."""
    low, high = codes.translate(_LOW), codes.translate(_HIGH)
    return 8 * (_sum(low) + 256 * _sum(high)) + len(codes)


def _sum(data: bytes) -> int:
    """Return the sum of bytes, in a quarter of the time of `sum`."""
    parts = (data[at : at + _SUMMED] for at in range(0, len(data), _SUMMED))
    return sum((zlib.adler32(part) & 0xFFFF) - 1 for part in parts)


def _divide(length: float) -> list[float]:
    """Return the 256 numbers divided by a length."""
    upper = _divide_upper(length)
    return [-number for number in reversed(upper)] + upper


def _divide_upper(length: float) -> list[float]:
    """Return the 128 of them that are above zero."""
    return [number / length for number in _UPPER]


def vector_of(text: str, dimensions: int) -> SyntheticVector:
    """Return the vector of the words of a text."""
    counts: dict[str, int] = {}
    every = hashlib.shake_128()
    words = (match[0] for match in _WORD.finditer(text.lower()))
    while some := list(itertools.islice(words, _AT_ONCE)):
        every.update(((" " if counts else "") + " ".join(some)).encode(errors="replace"))
        for word in some:
            counts[word] = counts.get(word, 0) + 1
    codes = every.digest(dimensions)
    peaks: dict[int, float] = {}
    for word, count in (counts or {"": 1}).items():
        for number in _hashes(word) if len(word) <= _LONGEST_WORD else _hash(word):
            place = number % dimensions
            old = peaks[place] if place in peaks else _NUMBERS[codes[place]]
            peaks[place] = old + (count if number >> 63 else -count)
    return SyntheticVector(codes, peaks)


@functools.lru_cache(maxsize=8192)
def _hashes(word: str) -> tuple[int, ...]:
    return _hash(word)


def _hash(word: str) -> tuple[int, ...]:
    """Return four numbers of 64 bits that depend on a word alone."""
    digests = (
        hashlib.blake2b(f"{seed}{word}".encode(errors="replace"), digest_size=8)
        for seed in range(4)
    )
    return tuple(int.from_bytes(each.digest(), "little") for each in digests)
