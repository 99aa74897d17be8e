"""Large bodies of vectors: decoded in little memory, with the outcome of a body as a whole."""

from __future__ import annotations

import base64
import json
import tracemalloc
from array import array
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from azinfer.core import InferenceError
from azinfer.core.decoding import decode_json
from azinfer.core.embeddings import Embeddings
from azinfer.core.vector_bodies import decode_vectors
from client_driver import ClientDriver
from raw_server import RawServer, reply

COUNT, DIMENSIONS = 64, 1024
NUMBERS = [((at * 7919) % 20011 - 10005) / 10007 for at in range(DIMENSIONS)]


def vector_of(at: int, encoding: str) -> Any:
    if encoding == "int8":
        return [(at + number) % 100 - 50 for number in range(DIMENSIONS)]
    numbers = array("f", [at, *NUMBERS[1:]])
    return base64.b64encode(numbers).decode() if encoding == "base64" else list(numbers)


def body_of(encoding: str, count: int = COUNT, **fields: Any) -> dict[str, Any]:
    data = [
        {"object": "embedding", "index": at, "embedding": vector_of(at, encoding)}
        for at in range(count)
    ]
    usage = {"prompt_tokens": 9, "total_tokens": 9}
    return {"object": "list", "model": "e", "data": data, "usage": usage, **fields}


def in_parts(body: bytes, size: int) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


def outcome(read: Callable[[], Any], encoding: str, count: int = COUNT) -> Any:
    """The value, or what an error says, without the place of an error in JSON."""
    try:
        answer = Embeddings.from_wire(read(), {}, count, encoding)
    except InferenceError as error:
        return type(error), error.status, error.message.partition("(byte")[0]
    return answer, answer.raw


def check_like_a_whole(body: bytes, encoding: str, size: int = 65_536, count: int = COUNT) -> Any:
    parts = in_parts(body, size)
    whole = outcome(lambda: decode_json(body, {}), encoding, count)
    assert outcome(lambda: decode_vectors(parts, {}, encoding), encoding, count) == whole
    assert parts == []
    return whole


@pytest.mark.parametrize("encoding", ["base64", "float", "int8"])
@given(size=st.integers(1_000, 400_000), separators=st.sampled_from([(",", ":"), (", ", ":\n ")]))
@settings(max_examples=8, deadline=None)
@example(size=10**9, separators=(",", ":"))
@example(size=1_000, separators=(",", ":"))
def test_vectors_in_parts_of_any_size_are_read_like_a_whole(
    encoding: str, size: int, separators: tuple[str, str]
) -> None:
    body = json.dumps(body_of(encoding), separators=separators).encode()
    answer, _ = check_like_a_whole(body, encoding, size)
    raw = decode_vectors(in_parts(body, size), {}, encoding)
    vectors = [item["embedding"] for item in raw["data"]]
    at_start = body[:10_000].count(b'"embedding"')
    assert sum(isinstance(vector, array) for vector in vectors) >= COUNT - at_start - 1
    assert [vector[0] for vector in answer.vectors][:50] == [
        at - 50 if encoding == "int8" else at for at in range(50)
    ]


@pytest.mark.parametrize("encoding", ["base64", "float"])
def test_a_name_that_is_divided_between_two_pieces_is_found(encoding: str) -> None:
    body = json.dumps(body_of(encoding)).encode()
    name = body.index(b'"embedding": ', 2**18 + 20)
    first = decode_vectors([body], {}, encoding)
    expected = [type(item["embedding"]) for item in first["data"]]
    for at in range(name - 2, name + 18):
        raw = decode_vectors([body[:at], body[at:]], {}, encoding)
        assert [type(item["embedding"]) for item in raw["data"]] == expected
        assert raw == first


@pytest.mark.parametrize("encoding", ["base64", "float"])
@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw["data"].reverse(),
        lambda raw: raw.update(error={"message": "no", "code": "429"}),
        lambda raw: raw["data"][40].update(embedding="#3"),
        lambda raw: raw["data"][40].update(embedding="#9999"),
        lambda raw: raw["data"][40].update(embedding=None),
        lambda raw: raw["data"][40].update(embedding=[True]),
        lambda raw: raw["data"][40].update(embedding=[[1.0, 2.0], [3.0]]),
        lambda raw: raw["data"][40].update(embedding=["a]", 1.0]),
        lambda raw: raw["data"][40].update(embedding={"embedding": [1.0, 2.0]}),
        lambda raw: raw["data"][40].update(embedding="AAAAAA=="),
        lambda raw: raw["data"][40].update(embedding="x" * 3_000_000),
        lambda raw: raw["data"][40].update(embedding='"embedding": "AAAA"'),
        lambda raw: raw["data"][40].update(index=39),
        lambda raw: raw["data"].insert(40, "embedding"),
        lambda raw: raw["data"].pop(),
        lambda raw: raw["data"].clear(),
        lambda raw: raw.update(data={"embedding": [1.0]}),
        lambda raw: raw.update(usage={"embedding": [1.0, 2.0], "prompt_tokens": 3}),
        lambda raw: raw.update({'note"embedding': "AAAAAA=="}),
        lambda raw: raw.update({'note\\"embedding': 'a \\"embedding": "AAAA"'}),
        lambda raw: raw.update(note='\\\\" "embedding": [1.0], "embedding": "'),
    ],
)
def test_odd_bodies_are_read_like_a_whole(
    encoding: str, change: Callable[[dict[str, Any]], Any]
) -> None:
    raw = body_of(encoding)
    change(raw)
    check_like_a_whole(json.dumps(raw).encode(), encoding)


@pytest.mark.parametrize("encoding", ["base64", "float"])
@pytest.mark.parametrize(
    "change",
    [
        lambda body: body[:-1],
        lambda body: body[: len(body) // 2],
        lambda body: body.replace(b"/", b"\\/"),
        lambda body: b"\xef\xbb\xbf  " + body,
        lambda body: body.replace(b'"embedding": ', b'"embedding": "AAAAAA==", "embedding": '),
        lambda body: body.replace(b'"embedding": [', b'"embedding": [NaN, '),
        lambda body: body.replace(b'"model"', b' "embedding": [' * 40_000 + b'"model"'),
        lambda body: body + b'"embedding": "' + b"A" * 3_000_000,
        lambda body: b'"embedding": "' * 100_000,
        lambda body: b"[" * 100_000,
        lambda body: b"<html>" + b"\\" * 700_000,
    ],
)
def test_damaged_bodies_are_read_like_a_whole(
    encoding: str, change: Callable[[bytes], bytes]
) -> None:
    check_like_a_whole(change(json.dumps(body_of(encoding)).encode()), encoding)


@pytest.mark.parametrize("encoding", ["base64", "float"])
def test_a_body_and_its_vectors_are_not_in_memory_together(encoding: str) -> None:
    count = 256
    body = json.dumps(body_of(encoding, count)).encode()
    size = len(body)
    tracemalloc.start()
    try:
        parts = in_parts(body, 65_536)
        del body
        answer = Embeddings.from_wire(decode_vectors(parts, {}, encoding), {}, count, encoding)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(answer) == count
    assert peak < size + 2**20


@pytest.mark.parametrize("encoding", ["base64", "float"])
def test_a_client_reads_large_bodies(
    ask: Callable[..., ClientDriver], server: RawServer, encoding: str
) -> None:
    server.choose = lambda request: reply(body_of(encoding, len(request.json["input"])))
    answer = ask(model_id="text-embedding-3-small").embed(["a"] * COUNT, encoding_format=encoding)
    assert [vector[0] for vector in answer.vectors] == list(map(float, range(COUNT)))
