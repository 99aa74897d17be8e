"""Decoding the body of a response, and the limits of its size."""

from __future__ import annotations

import gzip
import zlib

import pytest

from azinfer.core import APIConnectionError, InvalidResponseError
from azinfer.core.network import body
from azinfer.core.network.body import BodyDecoder
from azinfer.core.network.request import Request, SharedHeaders

ID = "0123456789abcdef01-0001-000000000001"
REQUEST = Request("GET", "https://h/", SharedHeaders(()), b"", ID)
TEXT = b'{"choices": []}' * 100


def decoder(coding: str = "", status: int = 200, echo: str | None = None) -> BodyDecoder:
    headers = {"content-encoding": coding} if coding else {}
    if echo is not None:
        headers["x-ms-client-request-id"] = echo
    return BodyDecoder(REQUEST, status, headers)


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        ("", TEXT),
        ("identity", TEXT),
        (" GZIP ", gzip.compress(TEXT, mtime=0)),
        ("x-gzip", gzip.compress(TEXT, mtime=0)),
        ("deflate", zlib.compress(TEXT)),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_body_is_decoded_however_it_is_cut(coding: str, data: bytes, size: int) -> None:
    decode = decoder(coding)
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    assert b"".join(piece for part in parts for piece in decode.decode([part])) == TEXT
    decode.finish()


def test_an_unknown_encoding_is_refused() -> None:
    with pytest.raises(InvalidResponseError, match="content encoding 'br'"):
        decoder("br")


@pytest.mark.parametrize("echo", ["", ID, "another-client's-id", None])
def test_a_response_without_an_id_of_this_process_is_accepted(echo: str | None) -> None:
    assert list(decoder(echo=echo).decode([b"a"])) == [b"a"]


def test_the_response_to_another_request_of_this_process_is_refused() -> None:
    with pytest.raises(APIConnectionError, match="the response to another request"):
        decoder(echo=ID[:-1] + "2")


def test_a_compressed_body_that_is_cut_off_is_an_error() -> None:
    decode = decoder("gzip")
    list(decode.decode([gzip.compress(TEXT, mtime=0)[:-1]]))
    with pytest.raises(APIConnectionError, match="cut off"):
        decode.finish()


def test_a_damaged_body_is_an_error_except_in_an_error_response() -> None:
    with pytest.raises(InvalidResponseError, match="is damaged"):
        list(decoder("gzip").decode([b"no gzip"]))
    failed = decoder("gzip", 500)
    assert list(failed.decode([b"no gzip"])) == []
    failed.finish()


@pytest.mark.parametrize("coding", ["", "gzip"])
def test_a_body_above_the_limit_is_refused(coding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "_LARGEST_BODY", 1000)
    data = bytes(range(256)) * 4
    decode = decoder(coding)
    with pytest.raises(InvalidResponseError, match=r"larger than \d+ bytes"):
        list(decode.decode([gzip.compress(data, mtime=0) if coding else data]))


def test_a_compression_bomb_is_refused_before_it_is_decoded_whole() -> None:
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    pieces: list[bytes] = []
    with pytest.raises(InvalidResponseError, match="larger than"):
        pieces.extend(decoder("gzip").decode([bomb]))
    assert sum(map(len, pieces)) <= 16 * 1024 * 1024
