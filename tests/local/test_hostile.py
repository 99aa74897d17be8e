"""Hostile input is refused or survived, and the next request is served."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

PATH = "/openai/v1/chat/completions"
HEAD = (
    f"POST {PATH} HTTP/1.1\r\nhost: localhost\r\napi-key: k\r\ncontent-type: application/json\r\n"
)
USER = [{"role": "user", "content": "hi"}]
SERVER = """
import sys
from azinfer.local import LocalDeployment, LocalEndpoint
with LocalEndpoint([LocalDeployment("chat")], key="k") as endpoint:
    print(endpoint.url, flush=True)
    sys.stdin.read()
"""


class Victim:
    """A server in a process of its own, whose memory can be looked at."""

    def __init__(self, url: str, pid: int) -> None:
        self.url, self.pid = url, pid
        self.address = ("127.0.0.1", int(url.rpartition(":")[2]))

    def memory(self) -> int:
        """The most memory that it ever had, in MB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) // 1024

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=20)

    def says(self, *parts: bytes) -> bytes:
        """All that it answers to some bytes; a connection that it closes early is an answer."""
        with self.connect() as sock:
            with contextlib.suppress(OSError):
                for part in parts:
                    sock.sendall(part)
            return self.rest_of(sock)

    def rest_of(self, sock: socket.socket) -> bytes:
        result = b""
        with contextlib.suppress(OSError):
            while data := sock.recv(65536):
                result += data
                if re.search(rb"\r\ncontent-length: (\d+)\r\n", result):
                    head, _, body = result.partition(b"\r\n\r\n")
                    length = re.findall(rb"content-length: (\d+)", head)
                    if length and len(body) >= int(length[0]):
                        break
        return result

    def still_serves(self) -> bool:
        body = {"model": "chat", "messages": USER}
        answer = httpx.post(self.url + PATH, json=body, headers={"api-key": "k"}, timeout=20)
        return answer.status_code == 200


@pytest.fixture(scope="module")
def shared_victim() -> Iterator[Victim]:
    """The server."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    ) as process:
        assert process.stdout is not None
        yield Victim(process.stdout.readline().strip(), process.pid)
        _, result = process.communicate("")
    assert result == ""


@pytest.fixture
def victim(shared_victim: Victim) -> Iterator[Victim]:
    """The server, which must serve after every test too."""
    yield shared_victim
    assert shared_victim.still_serves()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def post_request(body: bytes, *headers: str) -> bytes:
    result = "".join(f"{header}\r\n" for header in (*headers, f"content-length: {len(body)}"))
    return f"{HEAD}{result}\r\n".encode() + body


def test_a_body_of_100_mb_is_refused_in_bounded_memory(victim: Victim) -> None:
    size = 100 * 1024 * 1024
    head = f"{HEAD}content-length: {size}\r\n\r\n".encode()
    before = victim.memory()
    assert status(victim.says(head, *[b" " * (1 << 20)] * 100)) == 413
    chunked = f"{HEAD}transfer-encoding: chunked\r\n\r\n".encode()
    part = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
    assert status(victim.says(chunked, *[part] * 100)) == 413
    assert victim.memory() - before < 150


def test_a_million_headers_are_refused_in_bounded_memory(victim: Victim) -> None:
    before = victim.memory()
    lines = b"".join(b"x-%d: y\r\n" % at for at in range(10_000))
    answer = victim.says(HEAD.encode(), *[lines] * 100, b"\r\n")
    assert not answer or status(answer) in (400, 431)
    assert victim.memory() - before < 50


@pytest.mark.parametrize(
    "head",
    [
        b"x-long: " + b"y" * 1_000_000,
        b"y" * 1_000_000,
    ],
)
def test_a_header_that_is_too_long_is_refused(victim: Victim, head: bytes) -> None:
    answer = victim.says(HEAD.encode(), head, b"\r\n\r\n")
    assert not answer or status(answer) in (400, 431)


def test_an_address_that_is_too_long_is_refused(victim: Victim) -> None:
    answer = victim.says(b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert not answer or status(answer) in (400, 404, 414, 431)


@pytest.mark.parametrize(
    "data",
    [
        b"\x00" * 1000,
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST / HTTP/1.1\r\ncontent-length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n",
        b"GET /%zz%00 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ],
)
def test_data_that_is_not_http_is_refused(victim: Victim, data: bytes) -> None:
    with victim.connect() as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        answer = victim.rest_of(sock)
    assert not answer or status(answer) >= 400


def test_a_slow_client_does_not_block_others(victim: Victim) -> None:
    body = json.dumps({"model": "chat", "messages": USER}).encode()
    request = post_request(body)
    slow = [victim.connect() for _ in range(100)]
    for at, sock in enumerate(slow):
        sock.sendall(request[: 1 + at % (len(request) - 1)])
    assert victim.still_serves()
    for at, sock in enumerate(slow):
        sock.sendall(request[1 + at % (len(request) - 1) :])
        assert status(victim.rest_of(sock)) == 200
        sock.close()


def test_a_client_that_does_not_read_costs_no_memory(victim: Victim) -> None:
    text = "word " * 200_000
    body = {"model": "chat", "messages": [{"role": "user", "content": text}], "stream": True}
    request = post_request(json.dumps({**body, "max_tokens": 1_000_000}).encode())
    before = victim.memory()
    with victim.connect() as sock:
        sock.sendall(request)
        sock.recv(100)
        for _ in range(5):
            assert victim.still_serves()
        assert victim.memory() - before < 150


DEEP = 100_000
BODIES: list[bytes] = [
    b"[" * DEEP + b"]" * DEEP,
    b'{"messages":' * DEEP,
    b'{"model": "chat", "messages": [{"role": "user", "content": ' + b"[" * DEEP + b"]" * DEEP,
    b'{"model": "chat", "temperature": ' + b"9" * 5000 + b"}",
    b'{"model": "chat", "messages": NaN}',
    b'{"model": "chat", "messages": [{"role": "user", "content": "a"}], "max_tokens": 1e400}',
    b'{"a": 1, ' * 1000,
    b"\xff\xfe{}",
    b'"\\ud800"',
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_an_invalid_body_is_refused(victim: Victim, body: bytes) -> None:
    assert status(victim.says(post_request(body))) == 400


def nest(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


ODD: list[tuple[dict[str, Any], int]] = [
    ({"messages": [{"role": "user", "content": "\ud800 half"}]}, 200),
    ({"messages": [{"role": "user", "content": "\x00\x07\u202e"}]}, 200),
    ({"messages": USER, "stop": ["a"] * 10_000}, 400),
    ({"messages": USER, "model": "\ud800"}, 404),
    ({"messages": USER, "model": "x" * 1_000_000}, 404),
    ({"messages": USER * 50_000}, 200),
    (
        {"messages": USER, "response_format": {"type": "json_schema", "json_schema": nest(90)}},
        400,
    ),
    (
        {
            "messages": USER,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "a", "schema": nest(200)},
            },
        },
        400,
    ),
    (
        {
            "messages": USER,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "a", "schema": {"pattern": "(a+)+$", "type": "string"}},
            },
        },
        200,
    ),
]


@pytest.mark.parametrize(("more", "expected"), ODD, ids=range(len(ODD)))
def test_an_odd_request_is_answered(victim: Victim, more: dict[str, Any], expected: int) -> None:
    began = time.monotonic()
    answer = victim.says(post_request(json.dumps({"model": "chat", **more}).encode()))
    assert status(answer) == expected
    assert time.monotonic() - began < 20


def test_pipelined_requests_are_answered_in_order(victim: Victim) -> None:
    bodies = [
        {"model": "chat", "messages": [{"role": "user", "content": f"n{at}."}]} for at in range(50)
    ]
    with victim.connect() as sock:
        sock.sendall(b"".join(post_request(json.dumps(body).encode()) for body in bodies))
        result = b""
        while result.count(b"synthetic answer to: n") < 50:
            result += sock.recv(65536)
    assert re.findall(rb"to: n(\d+)\.", result) == [b"%d" % at for at in range(50)]


def test_clients_that_vanish_leave_nothing_behind(victim: Victim) -> None:
    body = {"model": "chat", "messages": [{"role": "user", "content": "word " * 5000}]}
    request = post_request(json.dumps({**body, "stream": True, "max_tokens": 100_000}).encode())
    for _ in range(50):
        with victim.connect() as sock:
            sock.sendall(request)
            sock.recv(10)
            sock.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
            )
    assert victim.still_serves()
    fds = len(os.listdir(f"/proc/{victim.pid}/fd"))
    assert fds < 40
