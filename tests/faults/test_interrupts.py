"""Signals, callbacks, credentials that hang, and batches of which one fails."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from azinfer.core import APITimeoutError, AsyncInferenceClient, BadRequestError, Clock, Timeout
from azinfer.core.network.async_connection import AsyncConnection
from azinfer.core.network.connection import Connection
from certificates import Authority
from client_driver import USER, ClientDriver, open_driver
from raw_server import (
    Behaviour,
    Peer,
    RawServer,
    chat,
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
    "raised",
    [
        *(SoftTimeLimitError, MemoryError, RecursionError, KeyboardInterrupt),
        *(OSError, TimeoutError, ConnectionResetError),
    ],
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
        peer.wait_until_client_leaves()

    server.will(silent)
    driver = ask(clock=Clock(), timeout=Timeout(total=20))
    if driver.kind == "async":
        pytest.skip("asyncio runs handlers outside of tasks")
    with signal_handler(handler), pytest.raises(raised, match="from a handler"):
        getattr(driver, operation.partition(",")[0])()
    assert len(server.received) == 1
    assert server.wait_until(lambda: server.open_connections == 0)


def test_an_interrupt_ends_an_embedding_whose_requests_are_under_way(
    ask: Ask, server: RawServer
) -> None:
    def handler(*_: Any) -> None:
        raise KeyboardInterrupt("from a handler")

    both, released = threading.Barrier(2), threading.Event()

    def silent(peer: Peer) -> None:
        if both.wait(30) == 0:  # one of the two requests, when both are under way
            os.kill(os.getpid(), signal.SIGUSR1)
        released.wait(30)
        peer.wait_until_client_leaves()

    server.will(silent)
    driver = ask(clock=Clock(), timeout=Timeout(total=25), max_retries=0)
    if driver.kind == "async":
        pytest.skip("asyncio runs handlers outside of tasks")
    with signal_handler(handler), pytest.raises(KeyboardInterrupt, match="from a handler"):
        driver.client.embed(["x"] * 192, model="unknown")
    assert server.open_connections == 2  # it did not wait for them
    released.set()


@pytest.mark.parametrize("kind_of", ["function", "credential"])
def test_an_async_credential_that_hangs_is_a_time_out(server: RawServer, kind_of: str) -> None:
    async def forever(*_: Any) -> str:
        await asyncio.Event().wait()
        return ""

    class Credential:
        get_token = staticmethod(forever)

    async def call() -> None:
        credential: Any = forever if kind_of == "function" else Credential()
        timeout = Timeout(total=0.2)
        client = AsyncInferenceClient(f"{server.url}/models", credential, "m", timeout=timeout)
        with pytest.raises(APITimeoutError, match=r"no token within 0\.2 seconds"):
            await client.complete(USER)

    asyncio.run(asyncio.wait_for(call(), 20))
    assert not server.received


@pytest.mark.parametrize("operation", ["complete", "stream"])
@pytest.mark.parametrize("raised", [OSError, TimeoutError, BrokenPipeError])
def test_what_a_handler_raises_while_a_request_is_sent_passes_through(
    ask: Ask, server: RawServer, raised: type[Exception], operation: str
) -> None:
    def handler(*_: Any) -> None:
        raise raised("from a handler")

    sent = threading.Event()

    def deaf(peer: Peer) -> None:
        sent.wait(30)
        peer.wait_until_client_leaves()

    def interrupt() -> None:
        time.sleep(0.3)  # until the buffers of the sockets are full: the request waits in `send`
        os.kill(os.getpid(), signal.SIGUSR1)

    server.will(deaf)
    driver = ask(clock=Clock(), timeout=Timeout(total=20))
    if driver.kind == "async":
        pytest.skip("asyncio runs handlers outside of tasks")
    thread = threading.Thread(target=interrupt)
    with signal_handler(handler), url_of_silent_server() as url:
        driver.client.endpoint = type(driver.client.endpoint).parse(url)
        thread.start()
        with pytest.raises(raised, match="from a handler"):
            getattr(driver, operation)([{"role": "user", "content": "x" * 12_000_000}])
    thread.join()
    sent.set()


@contextmanager
def signal_handler(handler: Callable[..., None]) -> Iterator[None]:
    """Handle SIGUSR1 in the meantime."""
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


@contextmanager
def url_of_silent_server() -> Iterator[str]:
    """The URL of a server that reads nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/models"


class Timer:
    """A handler that is an object with a method."""

    def stop(self, signum: int, frame: Any) -> None:
        raise TimeoutError("from a handler")


def stop_with(error: type[Exception], signum: int, frame: Any) -> None:
    raise error("from a handler")


HANDLERS: dict[str, Callable[..., None]] = {
    "a method": Timer().stop,
    "a partial function": functools.partial(stop_with, ConnectionResetError),
    "a function that calls another": lambda signum, frame: stop_with(OSError, signum, None),
}


@pytest.mark.parametrize("form", HANDLERS)
def test_a_handler_of_any_form_is_recognised(ask: Ask, server: RawServer, form: str) -> None:
    def silent(peer: Peer) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        peer.wait_until_client_leaves()

    server.will(silent)
    driver = ask(clock=Clock(), timeout=Timeout(total=20))
    if driver.kind == "async":
        pytest.skip("asyncio runs handlers outside of tasks")
    with signal_handler(HANDLERS[form]), pytest.raises(OSError, match="from a handler"):
        driver.complete()
    assert len(server.received) == 1


def interrupt_call(*args: Any, **named: Any) -> Any:
    """Do what a system call does in whose middle a handler raises an error."""
    stop_with(TimeoutError, signal.SIGUSR1, sys._getframe())


@pytest.mark.parametrize("step", ["connect", "setblocking"])
def test_an_interrupted_connect_is_not_tried_again(
    ask: Ask, server: RawServer, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    class Interrupted(socket.socket):
        pass

    setattr(Interrupted, step, interrupt_call)
    driver = ask()
    if driver.kind == "async":
        driver.run(asyncio.sleep(0))
    monkeypatch.setattr(socket, "socket", Interrupted)
    with pytest.raises(TimeoutError, match="from a handler"):
        driver.complete()
    monkeypatch.undo()
    assert not server.received


def test_a_read_of_certificates_that_is_interrupted_passes_through(
    ask: Ask, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = ask(environ={"SSL_CERT_FILE": str(authority.path)}, surface="models")
    driver.client.endpoint = type(driver.client.endpoint).parse("https://a.invalid/models")
    monkeypatch.setattr(ssl, "create_default_context", interrupt_call)
    with pytest.raises(TimeoutError, match="from a handler"):
        driver.complete()


def test_an_interrupted_close_passes_through(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.will(stream(events(part("a"), done=False), "keep"))
    driver = ClientDriver("sync", f"{server.url}/models", "k", "m")
    chunks = driver.client.stream(USER)
    monkeypatch.setattr(socket.socket, "shutdown", interrupt_call, raising=False)
    with pytest.raises(TimeoutError, match="from a handler"):
        driver.client.close()
    monkeypatch.undo()
    chunks.close()
    driver.close()


def test_an_interrupted_write_of_async_code_passes_through(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def call() -> None:
        with url_of_silent_server() as url:
            async with AsyncInferenceClient(url, "k", "m", max_retries=2) as client:
                monkeypatch.setattr(AsyncConnection, "_next_event", interrupt_call)
                with pytest.raises(TimeoutError, match="from a handler"):
                    await client.complete([{"role": "user", "content": "x" * 12_000_000}])

    asyncio.run(call())


@pytest.mark.parametrize("step", ["release", "is_stale"])
def test_a_connection_whose_end_is_interrupted_is_closed(
    server: RawServer, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    server.will(reply(chat()))
    with open_driver("sync", f"{server.url}/models", "k", "m") as driver:
        driver.complete()
        original, calls = getattr(Connection, step), []

        def once(connection: Connection, now: float) -> Any:
            calls.append(now)
            return interrupt_call() if len(calls) == 1 else original(connection, now)

        monkeypatch.setattr(Connection, step, once)
        with pytest.raises(TimeoutError, match="from a handler"):
            driver.complete()
        assert server.wait_until(lambda: server.open_connections == 0)
        assert driver.complete().text == "hello"


def test_a_socket_that_is_gone_is_closed_without_an_error(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any) -> None:
        raise OSError("the socket is not connected")

    server.will(stream(events(part("a"), done=False), "keep"))
    driver = ClientDriver("sync", f"{server.url}/models", "k", "m")
    chunks = driver.client.stream(USER)
    monkeypatch.setattr(socket.socket, "shutdown", gone, raising=False)
    driver.client.close()
    monkeypatch.undo()
    chunks.close()
    driver.close()


@pytest.mark.parametrize("raised", [OSError, TimeoutError, SoftTimeLimitError])
def test_a_handler_that_raises_inside_a_token_function_passes_through(
    ask: Ask, server: RawServer, raised: type[Exception]
) -> None:
    def handler(*_: Any) -> None:
        raise raised("from a handler")

    def token() -> str:
        os.kill(os.getpid(), signal.SIGUSR1)
        return "a-token"

    driver = ask(credential=token)
    with signal_handler(handler), pytest.raises(raised, match="from a handler"):
        driver.complete()
    assert not server.received


@pytest.mark.parametrize("raised", [OSError, TimeoutError, BrokenPipeError, SoftTimeLimitError])
@pytest.mark.parametrize("through", ["sockets", "httpx"])
def test_what_a_progress_function_raises_passes_through(
    kind: str, server: RawServer, through: str, raised: type[Exception]
) -> None:
    def on_progress(sent: int, size: int) -> None:
        raise raised("from a callback")

    server.will(Peer.wait_until_client_leaves)
    http = None
    if through == "httpx":
        http = httpx.Client() if kind == "sync" else httpx.AsyncClient()
    with open_driver(kind, server.url, "k", http_client=http) as driver:
        upload = driver.client.files.upload
        with pytest.raises(raised, match="from a callback"):
            driver.run(upload(b"{}", filename="a.jsonl", on_progress=on_progress))
        if isinstance(http, httpx.Client):
            http.close()
        elif http is not None:
            driver.run(http.aclose())
    assert server.wait_until(lambda: server.connections == 1)


def test_the_first_error_of_a_batch_ends_all(ask: Ask, server: RawServer) -> None:
    released = threading.Event()

    def choose(request: Any) -> Behaviour:
        if "bad" in request.json["input"]:
            return reply(failure("invalid_prompt"), 400)

        def wait_for_release(peer: Peer) -> None:
            released.wait(30)
            reply(vectors([1.0]))(peer)

        return wait_for_release

    server.choose = choose
    driver = ask("/models", model="cohere-embed-v3-english", clock=Clock())
    texts = ["x" * 100] * 300 + ["bad"]
    try:
        with pytest.raises(BadRequestError):
            driver.embed(texts)
        assert not released.is_set()
    finally:
        released.set()
