"""Vectors of an upstream: checked, and passed on as they were written."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from azinfer.local import LocalDeployment, LocalEndpoint, UpstreamEngine
from azinfer.local.engines.base import EngineError
from azinfer.local.engines.upstream_vectors import WrittenVector, read_vectors
from raw_server import RawServer, raw, reply

SECRET = "upstreamKeyWithLettersOnly51"
Serve = Callable[..., httpx.Client]


@pytest.fixture
def serve(server: RawServer) -> Iterator[Serve]:
    """Serves the raw server as `chat`, and gives a client of that: `serve(path="/models")`."""
    with ExitStack() as stack:

        def make(path: str = "/openai/v1") -> httpx.Client:
            engine = UpstreamEngine(f"{server.url}/v1", SECRET)
            endpoint = stack.enter_context(LocalEndpoint([LocalDeployment("chat", engine=engine)]))
            headers = {"api-key": endpoint.key}
            base = f"{endpoint.url}{path}"
            return stack.enter_context(httpx.Client(base_url=base, headers=headers, timeout=60))

        yield make


def embed(http: httpx.Client, encoding: str, **more: Any) -> httpx.Response:
    body = {"model": "chat", "input": "Hello", "encoding_format": encoding, **more}
    return http.post("embeddings", json=body)


def written(*vectors: str, usage: str = '{"prompt_tokens": 3}') -> Any:
    """Return the behaviour of an upstream that answers with vectors in JSON."""
    data = ", ".join(
        f'{{"index": {at}, "embedding": {vector}}}' for at, vector in enumerate(vectors)
    )
    body = f'{{"data": [{data}], "usage": {usage}}}'.encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return raw(f"{head}\r\n\r\n".encode() + body, "keep")


def packed(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


@pytest.mark.parametrize(
    ("encoding", "vector"), [("float", "[0.10, -1E-2,3]"), ("base64", f'"{packed(0.5, -2, 7)}"')]
)
def test_vectors_are_passed_on_as_they_were_written(
    server: RawServer, serve: Serve, encoding: str, vector: str
) -> None:
    server.will(written(vector))
    answer = embed(serve(), encoding)
    assert f'"embedding":{vector}}}' in answer.text
    assert answer.json()["usage"]["prompt_tokens"] == 3
    assert server.received[0].json["encoding_format"] == encoding


def test_vectors_are_put_in_order(server: RawServer, serve: Serve) -> None:
    body = {"data": [{"index": at, "embedding": [float(at)]} for at in (2, 0, 1)]}
    server.will(reply(body))
    answer = embed(serve(), "float", input=["a", "b", "c"])
    assert [each["embedding"] for each in answer.json()["data"]] == [[0], [1], [2]]


def test_vectors_in_the_other_encoding_are_converted(server: RawServer, serve: Serve) -> None:
    http = serve()
    server.will(written(f'"{packed(0.5, -2)}"'))
    assert embed(http, "float").json()["data"][0]["embedding"] == [0.5, -2]
    server.will(written("[0.5, -2]"))
    assert embed(http, "base64").json()["data"][0]["embedding"] == packed(0.5, -2)
    server.will(written("[1, -1]"))
    assert embed(serve("/models"), "int8").json()["data"][0]["embedding"] == [127, -127]


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_longer_vectors_than_requested_are_cut(
    server: RawServer, serve: Serve, encoding: str
) -> None:
    numbers = packed(3, 4, 5)
    server.will(written("[3, 4, 5]" if encoding == "float" else f'"{numbers}"'))
    value = embed(serve(), encoding, dimensions=2).json()["data"][0]["embedding"]
    assert value == ([0.6, 0.8] if encoding == "float" else packed(0.6, 0.8))


def test_an_upstream_that_refuses_base64_is_asked_for_numbers(
    server: RawServer, serve: Serve
) -> None:
    def choose(received: Any) -> Any:
        if received.json["encoding_format"] == "base64":
            return reply({"detail": "encoding_format must be float"}, 422)
        return written("[0.5, 2]")

    server.choose = choose
    http = serve()
    for _ in range(2):
        assert embed(http, "base64").json()["data"][0]["embedding"] == packed(0.5, 2)
    formats = [each.json["encoding_format"] for each in server.received]
    assert formats == ["base64", "float", "float"]


def test_another_refusal_of_base64_is_passed_on(server: RawServer, serve: Serve) -> None:
    server.will(reply({"error": {"message": "too long"}}, 400))
    answer = embed(serve(), "base64")
    assert (answer.status_code, len(server.received)) == (400, 1)


@pytest.mark.parametrize("encoding", ["float", "base64"])
@pytest.mark.parametrize(
    "vector",
    [
        *("[1e999]", "[1" + "0" * 400 + "]", "[true]", '["x"]', "[[1]]", "[null]", "{}", "1"),
        *('"x"', '"AAAA"', '"AAA="', '"AA=AAA=="', '"A!AAAA=="', '"\\u0041AAAA=="', '"AAAAA==="'),
        *('"\\/AAAA=="', '"\\u0021AAAAA=="', '"\\ud800AAAAA=="', '"\\u00c4AAAAA=="'),
    ],
)
def test_what_is_not_a_vector_is_an_error(
    server: RawServer, serve: Serve, vector: str, encoding: str
) -> None:
    server.will(written(vector))
    assert embed(serve(), encoding).status_code == 502


@pytest.mark.parametrize("encoding", ["float", "base64"])
@pytest.mark.parametrize("length", range(1, 8))
@pytest.mark.parametrize("bits", [0x7F800000, 0xFF800000, 0x7FC00000, 0xFFFFFFFF, 0x7F800001])
def test_base64_has_finite_numbers(bits: int, length: int, encoding: str) -> None:
    plain = struct.pack(f"<{length}f", *([-1.5, 3e38, -2.5e-38, 0.75] * 2)[:length])
    content = b'{"data": [{"index": 0, "embedding": "%s"}]}'
    body = content % base64.b64encode(plain)
    (vector,), _ = read_vectors(body, "https://example.com", SECRET, encoding)
    assert struct.pack(f"<{length}f", *vector) == plain
    for at in range(length):
        broken = plain[: 4 * at] + struct.pack("<I", bits) + plain[4 * at + 4 :]
        body = content % base64.b64encode(broken)
        with pytest.raises(EngineError, match="not finite"):
            read_vectors(body, "https://example.com", SECRET, encoding)


def test_base64_with_escapes_is_the_text_that_json_says(server: RawServer, serve: Serve) -> None:
    vector = packed(-0.5 - 1 / 7, 63.9999, 2e-42)
    assert "/" in vector
    http = serve()
    for text in (vector.replace("/", "\\/"), f"\\u{ord(vector[0]):04x}{vector[1:]}"):
        server.will(written(f'"{text}"'))
        assert embed(http, "base64").json()["data"][0]["embedding"] == vector
        server.will(written(f'"{text}"'))
        assert packed(*embed(http, "float").json()["data"][0]["embedding"]) == vector


def test_vectors_and_usage_never_show_the_key(server: RawServer, serve: Serve) -> None:
    http = serve()
    server.will(written(f'"{SECRET}AAAA"'))
    answer = embed(http, "base64")
    assert (answer.status_code, "quotes the credential" in answer.text) == (502, True)
    server.will(written(f'"\\u{ord(SECRET[0]):04x}{SECRET[1:]}AAAA"'))
    answer = embed(http, "base64")
    assert (answer.status_code, "quotes the credential" in answer.text) == (502, True)
    server.will(written("[1]", usage=f'{{"prompt_tokens": "{SECRET}"}}'))
    answer = embed(http, "float")
    assert (answer.status_code, "[credential]" in answer.text) == (502, True)
    assert SECRET not in answer.text


@pytest.mark.parametrize("coding", ["utf-16", "utf-32", "utf-8-sig"])
def test_answers_in_other_encodings_never_show_the_key(
    server: RawServer, serve: Serve, coding: str
) -> None:
    message = {"role": "assistant", "content": f"I am {SECRET}."}
    body = json.dumps({"choices": [{"message": message}]}).encode(coding)
    server.will(raw(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body))
    request = {"model": "chat", "messages": [{"role": "user", "content": "Hello"}]}
    answer = serve().post("chat/completions", json=request)
    assert answer.json()["choices"][0]["message"]["content"] == "I am [credential]."


def test_long_answers_are_whole(server: RawServer, serve: Serve) -> None:
    vector = json.dumps([at / 7 for at in range(1536)])
    server.will(written(*[vector] * 64))
    answer = embed(serve(), "float", input=["a"] * 64)
    assert answer.text.count(f'"embedding":{vector}}}') == 64


@pytest.mark.parametrize(
    ("text", "encoding"), [("[1,2.5,3]", "float"), (f'"{packed(1, 2.5, 3)}"', "base64")]
)
def test_a_written_vector_is_a_sequence_of_numbers(text: str, encoding: str) -> None:
    vector = WrittenVector(text.encode(), 3, encoding)
    assert (len(vector), list(vector), vector[1], vector[-2:]) == (3, [1, 2.5, 3], 2.5, [2.5, 3])
