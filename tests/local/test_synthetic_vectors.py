"""Synthetic vectors: their numbers and both ways to write them, against a plain calculation."""

from __future__ import annotations

import base64
import hashlib
import math
import re
import struct

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azinfer.core import InferenceClient
from azinfer.local import LocalDeployment, LocalEndpoint
from azinfer.local.engines.synthetic_vectors import vector_of


def plain_vector(text: str, dimensions: int) -> list[float]:
    """Return the numbers of a vector, calculated one by one."""
    words = re.findall(r"\w+", text.lower())
    counts = {word: words.count(word) for word in words} or {"": 1}
    every = hashlib.shake_128(" ".join(words).encode(errors="replace"))
    codes = every.digest(dimensions)
    numbers = [(byte - 127.5) * 1e-4 for byte in codes]
    peaks: dict[int, float] = {}
    for word, count in counts.items():
        for seed in range(4):
            digest = hashlib.blake2b(f"{seed}{word}".encode(errors="replace"), digest_size=8)
            number = int.from_bytes(digest.digest(), "little")
            place = number % dimensions
            numbers[place] += count if number >> 63 else -count
            peaks[place] = numbers[place]
    # The small squares are whole numbers of one unit, whose sum is exact in any order.
    small = sum((2 * byte - 255) ** 2 for at, byte in enumerate(codes) if at not in peaks)
    squares = small * (1e-4 * 1e-4 / 4) + sum(each * each for each in peaks.values())
    length = math.sqrt(squares) or 1.0
    assert length == pytest.approx(math.hypot(*numbers), rel=1e-12)
    return [number / length for number in numbers]


WORDS = st.sampled_from(["Paris", "é", "日本", "a" * 100, "x", "\ud83d", "42", "-", " ", "a_b"])
TEXTS = st.lists(WORDS, max_size=30).map(" ".join) | st.text(max_size=60)


@settings(max_examples=200, deadline=None)
@given(text=TEXTS, dimensions=st.sampled_from([1, 2, 3, 8, 384, 1536]))
def test_vectors_and_what_is_written_of_them_are_the_plain_ones(text: str, dimensions: int) -> None:
    vector, plain = vector_of(text, dimensions), plain_vector(text, dimensions)
    assert vector.numbers() == plain
    assert (list(vector), vector[:2], vector[-1], len(vector)) == (
        plain,
        plain[:2],
        plain[-1],
        dimensions,
    )
    assert vector.write_floats() == msgspec.json.encode(plain)
    packed = base64.b64encode(struct.pack(f"<{dimensions}f", *plain))
    assert vector.write_base64() == b'"%b"' % packed


def test_long_texts_are_read_in_parts() -> None:
    text = "one two three " * 1500
    assert vector_of(text, 64) == plain_vector(text, 64)


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_vectors_of_the_endpoint_are_the_plain_ones(encoding: str) -> None:
    with LocalEndpoint([LocalDeployment("text-embedding-3-small")]) as endpoint:
        client = InferenceClient(endpoint.url, endpoint.key, "text-embedding-3-small")
        whole = client.embed(["one two", "three"], encoding_format=encoding)
        short = client.embed(["one two"], encoding_format=encoding, dimensions=8)
    plain = plain_vector("one two", 1536)
    length = math.sqrt(sum(number * number for number in plain[:8]))
    assert list(next(iter(whole))) == pytest.approx(plain, rel=1e-6)
    assert list(next(iter(short))) == pytest.approx([each / length for each in plain[:8]], rel=1e-6)
