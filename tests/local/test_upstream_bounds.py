"""Answers of an upstream are limited in size and time, and never show its key."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from azinfer.core import ConfigurationError
from azinfer.core.network import transport
from azinfer.local import LocalDeployment, LocalEndpoint, UpstreamEngine
from azinfer.local.engines import upstream_body
from raw_server import Peer, RawServer, chat, chunked_answer, events, part, raw, reply

SECRET = "sk-upstream/key+51c7"
CHAT = {"model": "chat", "messages": [{"role": "user", "content": "Hello"}]}
VECTORS = {"model": "chat", "input": "Hello"}
Serve = Callable[..., httpx.Client]


@pytest.fixture
def serve(server: RawServer) -> Iterator[Serve]:
    """Serves the raw server as `chat`, and gives a client of that: `serve(timeout=1.0)`."""
    with ExitStack() as stack:

        def make(**named: Any) -> httpx.Client:
            engine = UpstreamEngine(f"{server.url}/v1", SECRET, **named)
            endpoint = stack.enter_context(LocalEndpoint([LocalDeployment("chat", engine=engine)]))
            headers = {"api-key": endpoint.key}
            base = f"{endpoint.url}/openai/v1"
            return stack.enter_context(httpx.Client(base_url=base, headers=headers, timeout=60))

        yield make


def head(*headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", "content-type: application/json", *headers]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


def endless(*headers: str, part: bytes) -> Callable[[Peer], None]:
    """Return a behaviour that repeats a part of a body until the client leaves."""

    def behave(peer: Peer) -> None:
        peer.sock.sendall(head("connection: close", *headers))
        try:
            while True:
                peer.sock.sendall(part)
        except OSError:
            peer.open = False

    return behave


# Sizes


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request"])
def test_a_gzip_bomb_is_refused_in_bounded_memory(
    server: RawServer, serve: Serve, status: str
) -> None:
    bomb = gzip.compress(b'{"a": "' + b" " * (300 * 1024 * 1024))
    whole = head("content-encoding: gzip", f"content-length: {len(bomb)}", status=status) + bomb
    server.will(raw(whole))
    answer = serve().post("chat/completions", json=CHAT)
    assert answer.status_code == (502 if status == "200 OK" else 400)
    assert len(answer.content) < 100_000


def test_compressed_answers_are_read_all_the_same(server: RawServer, serve: Serve) -> None:
    body = gzip.compress(json.dumps(chat("Hi.")).encode())
    server.will(raw(head("content-encoding: gzip", f"content-length: {len(body)}") + body))
    answer = serve().post("chat/completions", json=CHAT)
    assert answer.json()["choices"][0]["message"]["content"] == "Hi."


@pytest.mark.parametrize(
    ("coding", "words"), [("br", "content encoding 'br'"), ("gzip", "is damaged")]
)
def test_answers_in_an_unknown_encoding_are_errors(
    server: RawServer, serve: Serve, coding: str, words: str
) -> None:
    server.will(raw(head(f"content-encoding: {coding}", "content-length: 4") + b"oops"))
    answer = serve().post("chat/completions", json=CHAT)
    assert (answer.status_code, words in answer.text) == (502, True)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (b" " * 65536, "more than 1000000 bytes"),
        (b"data: " + b"x" * 65536, "line of more than 200000 bytes"),
        (b'data: {"choices":[{"index":0,"delta":{"content":"abcdef"}}]}\n\n' * 99, "1000000 bytes"),
    ],
)
def test_an_endless_body_is_cut(
    server: RawServer, serve: Serve, monkeypatch: pytest.MonkeyPatch, part: bytes, words: str
) -> None:
    monkeypatch.setattr(upstream_body, "_LARGEST_BODY", 1_000_000)
    monkeypatch.setattr(upstream_body, "_LARGEST_LINE", 200_000)
    server.will(endless(part=part))
    is_event = part.startswith(b"data")
    answer = serve().post("chat/completions", json={**CHAT, "stream": is_event})
    assert words in answer.text
    if not is_event:
        server.will(endless(part=part))
        answer = serve().post("embeddings", json=VECTORS)
        assert (answer.status_code, words in answer.text) == (502, True)


def test_the_beginning_of_an_endless_error_is_enough(server: RawServer, serve: Serve) -> None:
    def behave(peer: Peer) -> None:
        peer.sock.sendall(head("connection: close", status="429 Too Many Requests"))
        try:
            while True:
                peer.sock.sendall(b"x" * 65536)
        except OSError:
            peer.open = False

    server.will(behave)
    assert serve().post("chat/completions", json=CHAT).status_code == 429


# Times


def test_comments_do_not_keep_a_stream_open(server: RawServer, serve: Serve) -> None:
    server.will(endless(part=b": ping\n\ndata:\n\n"))
    answer = serve(timeout=0.3).post("chat/completions", json={**CHAT, "stream": True})
    assert (answer.status_code, "sent no event for 0.3 s" in answer.text) == (504, True)


@pytest.mark.parametrize("begin", [head("connection: close"), b"HTTP/1.1 200 OK\r\n"])
def test_a_dribbled_answer_is_an_error_in_the_end(
    server: RawServer, serve: Serve, begin: bytes
) -> None:
    def dribble(peer: Peer) -> None:
        peer.sock.sendall(begin)
        # A byte at a time is never silence.
        peer.sock.settimeout(0.01)
        while True:
            try:
                if not peer.sock.recv(1):
                    break
            except TimeoutError:
                try:
                    peer.sock.sendall(b"x")
                except OSError:
                    break
            except OSError:
                break
        peer.open = False

    server.will(dribble)
    answer = serve(timeout=0.3).post("chat/completions", json=CHAT)
    assert (answer.status_code, "in time" in answer.text) == (504, True)


# What does not follow the protocol


@pytest.mark.parametrize("status", ["600 Odd", "999 Odd", "302 Found", "399 Odd", "199 Odd"])
def test_odd_statuses_are_a_bad_gateway(server: RawServer, serve: Serve, status: str) -> None:
    whole = head("content-length: 2", "location: /x", "connection: close", status=status) + b"{}"
    server.will(raw(whole))
    assert serve().post("chat/completions", json=CHAT).status_code == 502


@pytest.mark.parametrize("body", [{}, {"choices": []}, {"choices": None}, {"choices": [None]}])
def test_an_answer_without_choices_is_an_error(server: RawServer, serve: Serve, body: Any) -> None:
    server.will(reply(body))
    assert serve().post("chat/completions", json=CHAT).status_code == 502


@pytest.mark.parametrize("usage", [None, {"prompt_tokens": 1, "completion_tokens": 0}])
def test_a_stream_without_choices_is_an_error(server: RawServer, serve: Serve, usage: Any) -> None:
    server.will(raw(chunked_answer(events({"choices": [], "usage": usage}))))
    answer = serve().post("chat/completions", json={**CHAT, "stream": True})
    assert "it sent no choice" in answer.text


def test_a_stream_that_ends_with_done_is_whole_without_a_finish_reason(
    server: RawServer, serve: Serve
) -> None:
    for piece, reason in (
        (part("Hi."), "stop"),
        (part(tool_calls=[{"index": 0, "id": "1", "function": {"name": "f"}}]), "tool_calls"),
    ):
        server.will(raw(chunked_answer(events(piece))))
        answer = serve().post("chat/completions", json={**CHAT, "stream": True})
        assert '"error"' not in answer.text
        assert f'"finish_reason":"{reason}"' in answer.text
        server.will(raw(chunked_answer(events(piece, done=False))))
        answer = serve().post("chat/completions", json={**CHAT, "stream": True})
        assert '"upstream_interrupted"' in answer.text


def test_a_batch_survives_any_retry_after(server: RawServer, serve: Serve) -> None:
    limited = {"error": {"code": "429", "message": "slow down"}}
    for value in ("2.5", "0.001", "nan", "-1", "soon", "inf"):
        server.will(reply(limited, 429, {"retry-after-ms": value}))
    server.choose = lambda received: reply(chat("Hi."))
    http = serve()
    line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": CHAT}
    lines = "\n".join(json.dumps({**line, "custom_id": f"{at}"}) for at in range(6))
    file = http.post("files", data={"purpose": "batch"}, files={"file": lines.encode()}).json()
    batch = http.post(
        "batches",
        json={
            "input_file_id": file["id"],
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        },
    ).json()
    while batch["status"] not in ("completed", "failed"):
        batch = http.get(f"batches/{batch['id']}").json()
    assert batch["status"] == "completed"
    counts = batch["request_counts"]
    assert counts["total"] == 6
    assert counts["failed"] <= 4


# The credential

QUOTES = [
    SECRET,
    f"Incorrect API key provided: {SECRET}.",
    f"x{SECRET}y{SECRET}z",
]


@pytest.mark.parametrize("quote", QUOTES)
@pytest.mark.parametrize("status", [400, 401, 403, 429, 500])
def test_errors_of_an_upstream_never_show_its_key(
    server: RawServer,
    serve: Serve,
    caplog: pytest.LogCaptureFixture,
    quote: str,
    status: int,
) -> None:
    caplog.set_level(logging.DEBUG, "azinfer")
    http = serve()
    escaped = json.dumps({"error": {"message": quote, "code": quote, quote: [quote]}})
    # .NET writes + as an escape.
    escaped = escaped.replace("+", "\\u002b").replace("/", "\\/")
    for body in (escaped, quote, json.dumps([quote])):
        server.will(reply(body, status, {"retry-after": quote}))
        answer = http.post("chat/completions", json=CHAT)
        assert SECRET not in answer.text
        assert SECRET not in str(answer.headers)
        assert "[credential]" in answer.text
    assert SECRET not in http.get("../../_azinfer/requests").text
    assert SECRET not in caplog.text


def test_answers_of_an_upstream_never_show_its_key(server: RawServer, serve: Serve) -> None:
    http = serve()
    server.will(reply(chat(f"I am {SECRET}.", message={"note": SECRET})))
    answer = http.post("chat/completions", json=CHAT)
    assert answer.json()["choices"][0]["message"]["content"] == "I am [credential]."
    assert SECRET not in answer.text
    server.will(raw(chunked_answer(events(part(f"I am {SECRET}.", finish_reason="stop")))))
    answer = http.post("chat/completions", json={**CHAT, "stream": True})
    assert "I am [credential]." in answer.text
    assert SECRET not in answer.text
    server.will(reply({"data": [{"index": 0, "embedding": [SECRET]}]}))
    answer = http.post("embeddings", json=VECTORS)
    assert (answer.status_code, SECRET in answer.text) == (502, False)
    server.will(reply({"data": [], "usage": {"prompt_tokens": SECRET}}))
    answer = http.post("embeddings", json=VECTORS)
    assert (answer.status_code, SECRET in answer.text) == (502, False)


@pytest.mark.parametrize("key", ["key\n", " key", "clé", "k\x00"])
def test_a_key_that_no_header_can_have_is_refused_without_showing_it(
    server: RawServer, key: str
) -> None:
    with pytest.raises(ConfigurationError, match="must be ASCII text") as caught:
        UpstreamEngine(f"{server.url}/v1", key)
    assert "key" not in str(caught.value)
    engine = UpstreamEngine(f"{server.url}/v1", lambda: key)
    with LocalEndpoint([LocalDeployment("chat", engine=engine)]) as endpoint:
        answer = httpx.post(
            f"{endpoint.url}/openai/v1/chat/completions",
            json=CHAT,
            headers={"api-key": endpoint.key},
        )
    assert (answer.status_code, server.received) == (500, [])


# The end of a stream


def test_a_stream_ends_with_done_although_the_upstream_keeps_it_open(
    server: RawServer, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_LINGER", 1e6)  # seconds for the rest after [DONE]
    data = events(part("Hi.", finish="stop"))
    server.will(raw(chunked_answer(data, whole=False), then="stall"))
    answer = serve().post("chat/completions", json={**CHAT, "stream": True})
    assert answer.text.endswith("data: [DONE]\n\n")


def test_the_connection_of_a_stream_is_used_again(server: RawServer, serve: Serve) -> None:
    whole = raw(chunked_answer(events(part("Hi.", finish="stop"))), then="keep")
    server.will(whole, whole, whole)
    client = serve()
    for _ in range(3):
        assert client.post("chat/completions", json={**CHAT, "stream": True}).status_code == 200
    assert len({each.connection for each in server.received}) == 1
