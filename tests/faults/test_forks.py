"""Forks: a child shares no lock, no connection and no stream with its parent."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import Any

import pytest

from azinfer.core import StreamInterruptedError
from azinfer.core.network import pool
from client_driver import StreamedCompletion, open_driver
from raw_server import Peer, RawServer, chat, chunked_answer, events, part, reply, stream

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


FORKING = """
import os, threading
from azinfer.core.clock import SYSTEM
from azinfer.core.credentials import Tokens
from azinfer.core.surfaces import MODELS

class Token:
    token, expires_on = "a-token", 2.0 ** 40

class Credential:
    def __init__(self):
        self.parent, self.asked, self.go = os.getpid(), threading.Event(), threading.Event()
    def get_token(self, *scopes):
        if os.getpid() == self.parent:
            self.asked.set()
            self.go.wait(30)
        return Token()

credential = Credential()
tokens = Tokens(credential, SYSTEM)
thread = threading.Thread(target=tokens.secret, args=(MODELS, None, None))
thread.start()
assert credential.asked.wait(30)
if (child := os.fork()) == 0:
    assert tokens.secret(MODELS, None, None).value == "a-token"
    os._exit(7)
status = os.waitpid(child, 0)[1]
credential.go.set()
thread.join()
print(os.waitstatus_to_exitcode(status))
"""


def test_a_child_forked_during_a_refresh_gets_its_own_token() -> None:
    command = [sys.executable, "-c", FORKING]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.stdout == "7\n", done.stderr


RENEWING = """
import os
from azinfer.core.clock import SYSTEM
from azinfer.core.retries import RetryBudget
from azinfer.core.routes.traffic import Traffic
budget, traffic = RetryBudget(), Traffic(SYSTEM)
with budget._lock, traffic._lock:  # as threads of the parent may have them
    if (child := os.fork()) == 0:
        budget.give_back()
        assert budget.take(14)
        traffic.may_hedge()
        os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

READING = """
import asyncio, os, sys
from azinfer.core import AsyncInferenceClient, InferenceClient, StreamInterruptedError
url, kind, through = sys.argv[1:]
user = [{"role": "user", "content": "hi"}]
options = {}
if through == "httpx":
    import httpx
    options["http_client"] = httpx.Client() if kind == "sync" else httpx.AsyncClient()

def show(name, text):
    os.write(1, f"{name}: {text}\\n".encode())

def fork():
    # The child first: it would take the next bytes away from its parent.
    if (child := os.fork()) == 0:
        return "child"
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    return "parent"

def read():
    chunks = InferenceClient(url, "k", "m", **options).stream(user)
    text, name = next(chunks).text, fork()
    try:
        for chunk in chunks:
            text += chunk.text
    except StreamInterruptedError as error:
        text += f" {error.message.partition(';')[0]}"
    finally:
        chunks.close()
    show(name, text)
    return name

async def read_async():
    async with AsyncInferenceClient(url, "k", "m", **options).stream(user) as chunks:
        text, name = (await anext(chunks)).text, fork()
        if name == "child":  # whose loop is its parent's: only what needs no waiting can be done
            try:
                chunks.__anext__().send(None)
            except StreamInterruptedError as error:
                show(name, text + f" {error.message.partition(';')[0]}")
            os._exit(7)
        async for chunk in chunks:
            text += chunk.text
    show(name, text)

if kind == "sync":
    if read() == "child":
        os._exit(7)
else:
    asyncio.run(read_async())
"""


def test_locks_of_budgets_and_routes_are_new_in_a_child() -> None:
    command = [sys.executable, "-c", RENEWING]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.stdout == "7\n", done.stderr


@pytest.mark.parametrize("through", ["sockets", "httpx"])
def test_a_child_that_reads_its_parents_stream_gets_an_error(
    kind: str, server: RawServer, through: str
) -> None:
    ended = threading.Event()

    def behave(peer: Peer) -> None:
        start, rest = events(part("a"), done=False), events(part("b"), part("c", "stop"))
        head, _, last = chunked_answer(start).rpartition(b"0\r\n\r\n")
        peer.send(head + last)
        ended.wait(1)  # until the child has asked for more
        peer.send(f"{len(rest):x}\r\n".encode() + rest + b"\r\n0\r\n\r\n")

    server.will(behave)
    command = [sys.executable, "-c", READING, f"{server.url}/models", kind, through]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.stdout.count("\n") == 2, done.stderr
    child, parent = done.stdout.splitlines()
    assert child == "child: a the response belongs to the process that this one is a fork of"
    assert parent == "parent: abc"


def test_an_open_response_belongs_to_one_process(
    kind: str, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.will(stream(events(part("a"), done=False), "keep"))
    with open_driver(kind, f"{server.url}/models", "k", "m") as driver:
        streamed = StreamedCompletion([])

        def fork(chunk: Any) -> None:
            monkeypatch.setattr(pool, "generation", pool.generation + 1)

        with pytest.raises(StreamInterruptedError, match="that this one is a fork of") as caught:
            driver.read(fork, into=streamed)
        assert caught.value.partial is not None
        assert caught.value.partial.text == "a"
        monkeypatch.undo()
        if kind == "async":  # only the parent may close it
            driver.run(streamed.stream._stream.response.connection.close())


SHARED_LOOP = """
import asyncio, os, sys
from azinfer.core import AsyncInferenceClient, UserMessage

loop = asyncio.new_event_loop()
client = AsyncInferenceClient(sys.argv[1], "k", "m")

async def ask():
    await client.complete([UserMessage("hi")])

loop.run_until_complete(ask())
if (child := os.fork()) == 0:
    loop.run_until_complete(ask())
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
loop.run_until_complete(ask())
"""


def test_a_child_that_runs_its_parents_loop_opens_a_connection_of_its_own(
    server: RawServer,
) -> None:
    server.will(*[reply(chat())] * 3)
    command = [sys.executable, "-c", SHARED_LOOP, f"{server.url}/models"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.stdout == "7\n", done.stderr
    assert server.connections == 2
