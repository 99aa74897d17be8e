"""Signals, forks, credentials that hang, and batches of which one fails."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from azinfer.core import APITimeoutError, AsyncInferenceClient, BadRequestError, Clock, Timeout
from client_driver import USER, ClientDriver
from raw_server import (
    Behaviour,
    Peer,
    RawServer,
    events,
    failure,
    part,
    reply,
    stream,
    vectors,
)

Ask = Callable[..., ClientDriver]


class SoftTimeLimitError(Exception):
    """What a task queue raises in a signal handler."""


@pytest.mark.parametrize(
    "raised", [SoftTimeLimitError, MemoryError, RecursionError, KeyboardInterrupt]
)
@pytest.mark.parametrize("operation", ["complete", "stream", "stream, later"])
def test_what_a_signal_handler_raises_passes_through(
    ask: Ask, server: RawServer, operation: str, raised: type[BaseException]
) -> None:
    def handler(*_: Any) -> None:
        raise raised("from a handler")

    def silent(peer: Peer) -> None:
        if operation == "stream, later":
            stream(events(part("a"), done=False), "keep")(peer)
        os.kill(os.getpid(), signal.SIGUSR1)
        peer.until_left()

    server.will(silent)
    driver = ask(clock=Clock(), timeout=Timeout(total=20))
    if driver.kind == "async":
        pytest.skip("asyncio runs handlers outside of tasks")
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(raised, match="from a handler"):
            getattr(driver, operation.partition(",")[0])()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(server.received) == 1
    assert server.wait_until(lambda: server.open_connections == 0)


@pytest.mark.parametrize("kind_of", ["function", "credential"])
def test_an_async_credential_that_hangs_is_a_time_out(server: RawServer, kind_of: str) -> None:
    async def forever(*_: Any) -> str:
        await asyncio.Event().wait()
        return ""

    class Credential:
        get_token = staticmethod(forever)

    async def calling() -> None:
        credential: Any = forever if kind_of == "function" else Credential()
        timeout = Timeout(total=0.2)
        client = AsyncInferenceClient(f"{server.url}/models", credential, "m", timeout=timeout)
        with pytest.raises(APITimeoutError, match=r"no token within 0\.2 seconds"):
            await client.complete(USER)

    asyncio.run(asyncio.wait_for(calling(), 20))
    assert not server.received


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


def test_the_first_error_of_a_batch_ends_all(ask: Ask, server: RawServer) -> None:
    released = threading.Event()

    def choose(request: Any) -> Behaviour:
        if "bad" in request.json["input"]:
            return reply(failure("invalid_prompt"), 400)

        def waiting(peer: Peer) -> None:
            released.wait(30)
            reply(vectors([1.0]))(peer)

        return waiting

    server.choose = choose
    driver = ask("/models", model="cohere-embed-v3-english", clock=Clock())
    texts = ["x" * 100] * 300 + ["bad"]
    try:
        with pytest.raises(BadRequestError):
            driver.embed(texts)
        assert not released.is_set()
    finally:
        released.set()
