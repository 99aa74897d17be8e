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
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, overload

import msgspec

_WORD = re.compile(r"\w+")
# Too little to change which vectors are similar, but enough that no vector is zero when it is cut
# to a few dimensions.
_FAINT = 1e-4
_NUMBERS = [(byte - 127.5) * _FAINT for byte in range(256)]
_UPPER = _NUMBERS[128:]  # the others are the same with a minus
_SQUARES = [number * number for number in _NUMBERS]
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
        look_up = self._look_up()
        length = self._length(look_up)
        numbers = list(look_up(_divide(length)))
        for place, number in self._peaks.items():
            numbers[place] = number / length
        return numbers

    def write_floats(self) -> bytes:
        """Return the JSON of its numbers."""
        look_up = self._look_up()
        length = self._length(look_up)
        texts = list(look_up(msgspec.json.encode(_divide(length))[1:-1].split(b",")))
        for place, number in self._peaks.items():
            texts[place] = msgspec.json.encode(number / length)
        return b"[%b]" % b",".join(texts)

    def write_base64(self) -> bytes:
        """Return the JSON of its numbers as little-endian floats in base64."""
        length = self._length(self._look_up())
        packed = struct.pack("<256f", *_divide(length))
        data = bytearray(4 * len(self._codes))
        for at in range(4):
            data[at::4] = self._codes.translate(packed[at::4])
        for place, number in self._peaks.items():
            struct.pack_into("<f", data, 4 * place, number / length)
        return b'"%b"' % base64.b64encode(data)

    def _look_up(self) -> Callable[[Sequence[Any]], Sequence[Any]]:
        """Return a function that returns the entry of a table for each dimension."""
        if len(self._codes) == 1:
            return lambda table: [table[self._codes[0]]]
        return operator.itemgetter(*self._codes)

    def _length(self, look_up: Callable[[Sequence[Any]], Sequence[Any]]) -> float:
        """Return the length before the division by it; the order of the sum is always the same."""
        squares = list(look_up(_SQUARES))
        for place, number in self._peaks.items():
            squares[place] = number * number
        return math.sqrt(sum(squares)) or 1.0


def _divide(length: float) -> list[float]:
    """Return the 256 numbers divided by a length."""
    upper = [number / length for number in _UPPER]
    return [-number for number in reversed(upper)] + upper


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
