"""Responses are written to the socket in as few pieces as possible, in order."""

from __future__ import annotations

import asyncio
import json

import pytest

from azinfer.core import InferenceClient, UserMessage
from azinfer.local import LocalDeployment, LocalEndpoint
from azinfer.local.server import uvicorn_setup
from azinfer.local.server.joined_writes import JoinedWrites

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


class Recorder(asyncio.Transport):
    """A transport that records what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.written.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


async def test_head_and_short_body_are_one_write() -> None:
    transport = Recorder()
    writes = JoinedWrites(transport, asyncio.get_running_loop())
    for _ in range(2):
        writes.write(HEAD)
        writes.write(b"{}")
    assert transport.written == [HEAD + b"{}"] * 2
    await asyncio.sleep(0)
    assert transport.written == [HEAD + b"{}"] * 2


async def test_head_that_nothing_follows_is_written_in_the_next_turn_of_the_loop() -> None:
    transport = Recorder()
    writes = JoinedWrites(transport, asyncio.get_running_loop())
    writes.write(HEAD)
    assert transport.written == []
    await asyncio.sleep(0)
    assert transport.written == [HEAD]
    writes.write(b"data: 1\n\n")
    assert transport.written == [HEAD, b"data: 1\n\n"]


async def test_long_body_follows_its_head_without_being_copied() -> None:
    transport = Recorder()
    writes = JoinedWrites(transport, asyncio.get_running_loop())
    body = b"x" * 100_000
    writes.write(HEAD)
    writes.write(body)
    assert transport.written == [HEAD, body]


async def test_head_is_written_before_the_connection_closes() -> None:
    transport = Recorder()
    writes = JoinedWrites(transport, asyncio.get_running_loop())
    writes.write(HEAD)
    writes.close()
    await asyncio.sleep(0)
    assert (transport.written, writes.is_closing()) == ([HEAD], True)


async def test_head_is_not_written_to_a_closed_connection() -> None:
    transport = Recorder()
    writes = JoinedWrites(transport, asyncio.get_running_loop())
    writes.write(HEAD)
    transport.close()
    await asyncio.sleep(0)
    assert transport.written == []


class Forwarder(Recorder):
    """A transport that records what is written to another one."""

    def __init__(self, transport: asyncio.Transport, written: list[bytes]) -> None:
        super().__init__()
        self.written, self._transport = written, transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        super().write(data)
        self._transport.write(data)


def test_endpoint_writes_a_small_response_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    monkeypatch.setattr(
        uvicorn_setup,
        "JoinedWrites",
        lambda transport, loop: JoinedWrites(Forwarder(transport, written), loop),
    )
    with LocalEndpoint([LocalDeployment("chat")]) as endpoint:
        InferenceClient(endpoint.url, endpoint.key, "chat").complete([UserMessage("Hi")])
    [response] = written
    head, _, body = response.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert json.loads(body)["object"] == "chat.completion"
