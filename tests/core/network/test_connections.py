"""Connections: which one serves a request, and how they behave on a slow network."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import httpx
import pytest

from azinfer.core import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AsyncInferenceClient,
    StreamInterruptedError,
    Timeout,
)
from certificates import Authority
from client_driver import KEY, USER, ClientDriver, TestClock, open_driver
from raw_server import (
    Behaviour,
    Peer,
    RawServer,
    ReceivedRequest,
    answer,
    chat,
    chat_reply,
    chunked_answer,
    failure,
    part,
    raw,
    reply,
)
from raw_server import events as events_of

Ask = Callable[..., ClientDriver]
LARGE: list[Any] = [{"role": "user", "content": "x" * 12_000_000}]
WHOLE = answer(chat())


@contextmanager
def listen(serve: Callable[[socket.socket], None] | None) -> Iterator[str]:
    """The URL of a server that does with its one connection what it likes, or nothing at all."""
    ended = threading.Event()

    def accept() -> None:
        accepted, _ = listener.accept()
        with accepted:
            assert serve is not None
            serve(accepted)
            ended.wait(10)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        thread = threading.Thread(target=accept, daemon=True)
        if serve is not None:
            thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            if serve is not None:
                thread.join(10)


def once(kind: str, url: str, **named: Any) -> AbstractContextManager[ClientDriver]:
    """A client that sends each request once."""
    return open_driver(kind, url, KEY, "m", max_retries=0, **named)


def test_a_service_that_does_not_read_the_request_times_out(kind: str) -> None:
    with (
        listen(lambda accepted: None) as host,
        once(kind, f"http://{host}/models", timeout=Timeout(read=0.3)) as driver,
        pytest.raises(APITimeoutError, match=r"could not be sent within 0\.3 seconds"),
    ):
        driver.complete(LARGE)


def test_a_slow_upload_succeeds_while_it_makes_progress(kind: str) -> None:
    began = time.monotonic()

    def slowly(accepted: socket.socket) -> None:
        for _ in range(12):
            accepted.recv(1_000_000, socket.MSG_WAITALL)
            threading.Event().wait(0.12)
        accepted.recv(1_000_000)
        accepted.sendall(WHOLE)

    with (
        listen(slowly) as host,
        once(kind, f"http://{host}/models", timeout=Timeout(read=0.8)) as driver,
    ):
        assert driver.complete(LARGE).text == "hello"
    assert time.monotonic() - began > 0.8


class Small(socket.socket):
    """A socket with a small buffer, so that each of its steps is a short one."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)


def test_a_slow_upload_over_tls_succeeds(
    kind: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "socket", Small)

    def slowly(plain: socket.socket) -> None:
        with authority.server_context("127.0.0.1").wrap_socket(plain, server_side=True) as accepted:
            size = 0
            while size < 12_000_000:
                size += len(accepted.recv(65_536))
                if size < 7_000_000:  # what is left then fits into the system's buffers
                    threading.Event().wait(0.003)
            accepted.sendall(WHOLE)
            accepted.recv(100)

    began, environ = time.monotonic(), {"SSL_CERT_FILE": str(authority.path)}
    with (
        listen(slowly) as host,
        once(kind, f"https://{host}/models", timeout=Timeout(read=0.8), environ=environ) as driver,
    ):
        assert driver.complete(LARGE).text == "hello"
    assert time.monotonic() - began > 0.8


@pytest.mark.parametrize("over_tls", [False, True])
def test_a_connection_with_half_a_request_is_not_reused(
    over_tls: bool, kind: str, authority: Authority
) -> None:
    # It would take the rest of the first request for the beginning of the next.
    refused, left = threading.Event(), threading.Event()

    def refuse(accepted: socket.socket) -> None:
        if over_tls:
            context = authority.server_context("127.0.0.1")
            accepted = context.wrap_socket(accepted, server_side=True)
        with accepted, suppress(ConnectionError, ssl.SSLError):
            accepted.recv(1000)
            accepted.sendall(answer(failure("too_large"), 413))
            refused.wait(10)
            accepted.settimeout(10)
            while accepted.recv(1_000_000):
                pass
        left.set()

    environ = {"SSL_CERT_FILE": str(authority.path)}
    with (
        listen(refuse) as host,
        once(kind, f"http{'s' * over_tls}://{host}/models", environ=environ) as driver,
    ):
        with pytest.raises(APIStatusError) as caught:
            driver.complete(LARGE)
        assert caught.value.status == 413
        refused.set()
        assert left.wait(5)


def test_an_early_refusal_of_an_upload_is_read(kind: str) -> None:
    left = threading.Event()

    def refuse(accepted: socket.socket) -> None:
        accepted.recv(1000)
        accepted.sendall(answer(failure("too_large"), 413))
        left.wait(10)

    with listen(refuse) as host, once(kind, f"http://{host}/openai/v1") as driver:
        with pytest.raises(APIStatusError) as caught:
            driver.run(driver.client.files.upload(b"x" * 30_000_000, filename="big.jsonl"))
        left.set()
    assert caught.value.status == 413


def test_a_timeout_of_a_month_is_accepted(kind: str, server: RawServer) -> None:
    server.will(reply(chat()))
    with open_driver(kind, f"{server.url}/models", KEY, "m", timeout=3e6) as driver:
        assert driver.complete().text == "hello"


def test_an_early_refusal_of_a_request_is_read(kind: str) -> None:
    def refuse(accepted: socket.socket) -> None:
        accepted.recv(1000)
        accepted.sendall(answer(failure("too_large"), 413, {"connection": "close"}))
        accepted.close()

    with (
        listen(refuse) as host,
        once(kind, f"http://{host}/models") as driver,
        pytest.raises(APIStatusError) as caught,
    ):
        driver.complete(LARGE)
    assert caught.value.status == 413


def test_a_service_that_is_silent_before_tls_times_out(kind: str) -> None:
    with listen(None) as host:
        timeout = Timeout(connect=0.2)
        with (
            open_driver(
                kind, f"https://{host}/models", KEY, "m", timeout=timeout, max_retries=0
            ) as one,
            pytest.raises(APITimeoutError, match=r"established within 0\.2 seconds"),
        ):
            one.complete()


def test_an_endless_stream_ends_at_its_deadline(kind: str) -> None:
    def drip(accepted: socket.socket) -> None:
        accepted.recv(100_000)
        accepted.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        for _ in range(60):
            accepted.sendall(events_of(part("x"), done=False))
            if select.select([accepted], [], [], 0.05)[0]:
                return  # the client left

    with (
        listen(drip) as host,
        once(kind, f"http://{host}/models", timeout=Timeout(total=0.5)) as driver,
        pytest.raises(APITimeoutError, match=r"no complete response came within 0\.5") as caught,
    ):
        driver.stream()
    assert caught.value.partial is not None
    assert set(caught.value.partial.text) == {"x"}


def test_an_endless_stream_through_httpx_ends_at_its_deadline(server: RawServer) -> None:
    def late(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        threading.Event().wait(0.8)
        peer.send(events_of(part("x"), done=False))
        peer.wait_until_client_leaves()

    server.will(late)
    http, timeout = httpx.AsyncClient(), Timeout(total=1)
    with once("async", f"{server.url}/models", http_client=http, timeout=timeout) as driver:
        began = time.monotonic()
        with pytest.raises(APITimeoutError, match="no complete response came within 1 seconds"):
            driver.stream()
        # httpx itself begins to wait anew with each part.
        assert time.monotonic() - began < 1.6
        driver.run(http.aclose())


LOOP_CLOSED = """
import asyncio, sys
from azinfer.core import AsyncInferenceClient
client = AsyncInferenceClient(sys.argv[1], "k", "m")
user = [{"role": "user", "content": "hi"}]
async def begun():
    stream = client.stream(user)
    print((await anext(stream)).text)
    return stream
loop = asyncio.new_event_loop()
stream = loop.run_until_complete(begun())
loop.close()
asyncio.run(stream.aclose())
print(asyncio.run(client.complete(user)).text)
"""


def test_a_stream_can_be_closed_when_its_loop_is_closed(server: RawServer) -> None:
    begun = raw(chunked_answer(events_of(part("begun"), done=False), whole=False), "stall")
    server.will(begun, reply(chat()))
    command = [sys.executable, "-c", LOOP_CLOSED, f"{server.url}/models"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.split() == ["begun", "hello"], done.stderr


def read_slowly(driver: ClientDriver) -> None:
    """Read a stream slower than it comes; in a task, letting others in between."""

    async def read_stream() -> None:
        async with driver.client.stream(USER) as chunks:
            async for _ in chunks:
                await asyncio.sleep(0.005)

    if driver.kind == "sync":
        driver.read(lambda chunk: threading.Event().wait(0.005))
    else:
        driver.run(read_stream())


@pytest.mark.parametrize("through", ["sockets", "httpx"])
def test_a_stream_faster_than_its_reader_ends_at_its_deadline(kind: str, through: str) -> None:
    http = {"sync": httpx.Client, "async": httpx.AsyncClient}[kind]()
    named: dict[str, Any] = {"http_client": http} if through == "httpx" else {}

    def pour(accepted: socket.socket) -> None:
        accepted.recv(100_000)
        accepted.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        with suppress(OSError):
            while True:
                accepted.sendall(events_of(part("x"), done=False) * 100)

    with (
        listen(pour) as host,
        once(kind, f"http://{host}/models", timeout=Timeout(total=0.5), **named) as driver,
    ):
        began = time.monotonic()
        with pytest.raises(APITimeoutError, match=r"no complete response came within 0\.5 seconds"):
            read_slowly(driver)
        assert time.monotonic() - began < 4  # all that is read at once would take longer
        if isinstance(http, httpx.Client):
            http.close()
        else:
            driver.run(http.aclose())


class Flood:
    """Sends a stream as fast as it is taken, and reports when it was not taken for a while."""

    events = 600
    event = events_of(part("x" * 100_000), done=False)

    def __init__(self) -> None:
        self.blocked = threading.Event()

    def __call__(self, accepted: socket.socket) -> None:
        accepted.recv(100_000)
        accepted.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        accepted.settimeout(0.5)
        left = memoryview(self.event * self.events + events_of(part("", "stop")))
        while left:
            try:
                left = left[accepted.send(left) :]
            except TimeoutError:
                self.blocked.set()
                accepted.settimeout(10)
        accepted.shutdown(socket.SHUT_RDWR)


def test_an_unread_stream_is_not_buffered_without_limit(kind: str) -> None:
    flood = Flood()
    with listen(flood) as host, once(kind, f"http://{host}/models") as driver:
        if kind == "sync":
            with driver.client.stream(USER) as chunks:
                assert flood.blocked.wait(10)
                read = sum(len(chunk.text) for chunk in chunks)
        else:

            async def later() -> int:
                async with asyncio.timeout(30), driver.client.stream(USER) as chunks:
                    assert await asyncio.to_thread(flood.blocked.wait, 10)
                    return sum([len(chunk.text) async for chunk in chunks])

            read = driver.run(later())
    assert read == flood.events * 100_000


@pytest.mark.parametrize("left", [False, True])
def test_a_connection_with_paused_reading_is_not_reused(
    secure: RawServer, authority: Authority, left: bool
) -> None:
    # What came meanwhile may wait inside TLS, and be taken for the next answer.
    sent, signal, strayed = (threading.Event() for _ in range(3))
    padding = b": " + b"x" * (1024 * 1024 + 90_000) + b"\n\n"
    body = events_of(part("a"), done=False) + padding + events_of(part("", "stop"))

    def whole(peer: Peer) -> None:
        peer.send(chunked_answer(body))
        sent.set()
        signal.wait(10)
        peer.send(answer(chat("another's")))
        strayed.set()

    secure.will(whole, reply(chat("right")))
    environ = {"SSL_CERT_FILE": str(authority.path)}

    async def read(driver: ClientDriver) -> str:
        async with driver.client.stream(USER) as chunks:
            # The loop needs a while to read as much as it will.
            assert await asyncio.to_thread(sent.wait, 10)
            await asyncio.to_thread(signal.wait, 0.4)
            signal.set()
            assert await asyncio.to_thread(strayed.wait, 10)
            await asyncio.to_thread(threading.Event().wait, 0.3)
            if not left:
                assert "".join([chunk.text async for chunk in chunks]) == "a"
        text: str = (await driver.client.complete(USER)).text
        return text

    with once("async", f"{secure.url}/models", environ=environ, timeout=20) as driver:
        assert driver.run(read(driver)) == "right"
    assert secure.connections == 2


def test_closing_a_client_while_it_connects_leaves_no_connection(
    kind: str, authority: Authority
) -> None:
    begun, signal, closed = (threading.Event() for _ in range(3))

    def late(plain: socket.socket) -> None:
        begun.set()
        signal.wait(10)
        with (
            suppress(OSError),
            authority.server_context("127.0.0.1").wrap_socket(plain, server_side=True) as accepted,
        ):
            if accepted.recv(10_000):
                accepted.sendall(WHOLE)
                accepted.settimeout(10)
                accepted.recv(10)
        closed.set()

    environ = {"SSL_CERT_FILE": str(authority.path)}
    with (
        listen(late) as host,
        once(kind, f"https://{host}/models", environ=environ) as driver,
        suppress(APIConnectionError),
    ):
        if kind == "sync":
            with in_thread(driver.complete):
                assert begun.wait(10)
                driver.client.close()
                signal.set()
        else:

            async def both() -> None:
                call = asyncio.create_task(driver.client.complete(USER))
                assert await asyncio.to_thread(begun.wait, 10)
                await driver.client.aclose()
                signal.set()
                await call
                assert await asyncio.to_thread(closed.wait, 5)

            driver.run(both())
        assert closed.wait(5)


@contextmanager
def in_thread(work: Callable[[], Any]) -> Iterator[list[BaseException]]:
    """Do some work beside, and wait for its end; gives the error that it ended with."""
    errors: list[BaseException] = []

    def do_work() -> None:
        try:
            work()
        except APIConnectionError as error:
            errors.append(error)

    thread = threading.Thread(target=do_work, daemon=True)
    thread.start()
    yield errors
    thread.join(5)
    assert not thread.is_alive()


def test_closing_a_client_wakes_a_waiting_call(server: RawServer) -> None:
    server.will(Peer.wait_until_client_leaves)
    driver = ClientDriver("sync", f"{server.url}/models", KEY, "m", max_retries=0)
    with in_thread(driver.complete) as errors:
        assert server.wait_until(lambda: len(server.received) == 1)
        threading.Event().wait(0.2)  # until it waits for the answer
        driver.client.close()
    assert "closed meanwhile" in str(errors[0])
    assert server.wait_until(lambda: server.open_connections == 0)
    driver.close()


FORKED = """
import os, sys
from azinfer.core import InferenceClient
client = InferenceClient(sys.argv[1], "k", "m")
user = [{"role": "user", "content": "hi"}]
chunks = client.stream(user)
print(next(chunks).text, flush=True)
if os.fork() == 0:
    client.close()
    sys.exit()
os.wait()
client.complete(user)
print(next(chunks).text)
chunks.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_the_exit_of_a_forked_child_keeps_the_parents_streams_open(server: RawServer) -> None:
    gone = threading.Event()

    def halves(peer: Peer) -> None:
        head, _, body = chunked_answer(events_of(part("a"), done=False), whole=False).partition(
            b"{"
        )
        peer.send(head + b"{" + body)
        gone.wait(10)
        body = events_of(part("b", "stop"))
        peer.send(b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")

    def behave(request: ReceivedRequest) -> Behaviour:
        if request.json.get("stream"):
            return halves
        gone.set()
        return reply(chat())

    server.choose = behave
    command = [sys.executable, "-W", "error", "-c", FORKED, f"{server.url}/models"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.split() == ["a", "b"], done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not for Windows")
def test_uvloop_works(server: RawServer) -> None:
    import uvloop

    server.choose = lambda request: chat_reply(bool(request.json.get("stream")))

    async def run_calls() -> list[str]:
        async with AsyncInferenceClient(f"{server.url}/models", KEY, "m") as client:
            streamed = [chunk.text async for chunk in client.stream(USER)]
            return [*streamed, (await client.complete(USER)).text]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert "".join(runner.run(run_calls())) == "hellohello"


def test_closing_a_finished_stream_keeps_its_connection_for_the_next_call(
    kind: str, server: RawServer
) -> None:
    whole = raw(chunked_answer(events_of(part("a"), part("b", "stop"))), "keep")
    event = threading.Event()

    def late(peer: Peer) -> None:
        event.wait(10)
        peer.send(WHOLE)

    server.will(whole, late)
    with open_driver(kind, f"{server.url}/models", KEY, "m") as driver:
        if kind == "sync":
            ended = driver.client.stream(USER)
            assert "".join(chunk.text for chunk in ended) == "ab"
            results: list[str] = []
            thread = threading.Thread(
                target=lambda: results.append(driver.client.complete(USER).text), daemon=True
            )
            thread.start()
            assert server.wait_until(lambda: len(server.received) == 2)
            ended.close()
            event.set()
            thread.join(10)
            assert results == ["hello"]
        else:

            async def both() -> str:
                ended = driver.client.stream(USER)
                assert "".join([chunk.text async for chunk in ended]) == "ab"
                later = asyncio.create_task(driver.client.complete(USER))
                while len(server.received) < 2:
                    await asyncio.sleep(0)
                await ended.aclose()
                event.set()
                text: str = (await later).text
                return text

            assert driver.run(both()) == "hello"
    assert server.connections == 1


def test_a_stream_whose_client_is_closed_is_interrupted(kind: str, server: RawServer) -> None:
    begun = chunked_answer(events_of(part("begun"), done=False), whole=False)
    server.will(raw(begun, "stall"))
    driver = ClientDriver(kind, f"{server.url}/models", KEY, "m")

    def closed(chunk: Any) -> None:
        driver.client.close()

    async def aclose_client() -> None:
        async for _ in driver.client.stream(USER):
            await driver.client.aclose()

    with pytest.raises(StreamInterruptedError, match="closed meanwhile") as caught:
        driver.read(closed) if kind == "sync" else driver.run(aclose_client())
    assert caught.value.partial is not None
    assert caught.value.partial.text == "begun"
    assert server.wait_until(lambda: server.open_connections == 0)
    driver.close()


class Tunnels:
    """A proxy that opens a tunnel to the same server, whatever is asked for."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.requests: list[bytes] = []

    def __call__(self, accepted: socket.socket) -> None:
        self.requests.append(accepted.recv(10_000).partition(b"\r\n")[0])
        accepted.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection(("127.0.0.1", self._port)) as server:
            ends = {accepted: server, server: accepted}
            while True:
                for ready in select.select(list(ends), [], [], 10)[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    ends[ready].sendall(data)


@pytest.mark.usefixtures("proxies_count")
def test_https_goes_through_the_tunnel_of_a_proxy(
    kind: str,
    authority: Authority,
    serve_tls: Callable[[str], RawServer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = serve_tls("no-such-host.invalid")
    tunnels = Tunnels(server.port)
    endpoint, environ = "https://no-such-host.invalid", {"SSL_CERT_FILE": str(authority.path)}
    with listen(tunnels) as host:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{host}")
        with once(kind, f"{endpoint}/models", environ=environ, surface="models") as driver:
            assert [driver.complete().text for _ in range(2)] == ["hello"] * 2
    assert tunnels.requests == [b"CONNECT no-such-host.invalid:443 HTTP/1.1"]
    assert [each.header("api-key") for each in server.received] == [KEY, KEY]


@pytest.mark.parametrize("then", ["bytes", "the end", "a reset"])
def test_a_connection_with_unexpected_bytes_is_not_reused(
    ask: Ask, server: RawServer, clock: TestClock, then: str
) -> None:
    event, sent = threading.Event(), threading.Event()

    def whole_and_more(peer: Peer) -> None:
        peer.send(WHOLE)
        event.wait(10)
        {"bytes": lambda: peer.send(b"\r\nHTTP"), "the end": peer.close, "a reset": peer.reset}[
            then
        ]()
        sent.set()

    server.will(whole_and_more, reply(chat("later")))
    driver = ask()
    assert driver.complete().text == "hello"
    event.set()
    assert sent.wait(10)
    driver.run(asyncio.sleep(0) if driver.kind == "async" else None)
    assert driver.complete().text == "later"
    assert (server.connections, clock.waits) == (2, [])


def test_a_connection_that_was_idle_for_long_is_not_reused(
    ask: Ask, server: RawServer, clock: TestClock
) -> None:
    # What stands between may have forgotten it without a word.
    server.will(reply(chat()))
    driver = ask()
    for seconds, connections in ((0, 1), (59, 1), (61, 2)):
        clock.now += seconds
        driver.complete()
        assert server.connections == connections


def test_a_tls_connection_is_reused(kind: str, secure: RawServer, authority: Authority) -> None:
    environ = {"SSL_CERT_FILE": str(authority.path)}
    with open_driver(kind, f"{secure.url}/models", KEY, "m", environ=environ) as driver:
        assert [driver.complete().text for _ in range(3)] == ["hello"] * 3
    assert secure.connections == 1


@pytest.mark.parametrize("http", [httpx.Client, httpx.AsyncClient])
def test_a_callers_httpx_client_never_gets_an_unrequested_response(
    server: RawServer, http: Any
) -> None:
    server.will(raw(WHOLE + answer(chat("unasked")), ""), reply(chat()))
    kind = "sync" if http is httpx.Client else "async"
    own_http_client = http()
    with open_driver(kind, f"{server.url}/models", KEY, "m", http_client=own_http_client) as driver:
        assert [driver.complete().text for _ in range(2)] == ["hello"] * 2
        driver.run(own_http_client.close() if kind == "sync" else own_http_client.aclose())
    assert server.connections == 2


def test_a_refused_connection_is_an_error_that_names_the_url(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        host = f"127.0.0.1:{closed.getsockname()[1]}"
    with (
        once(kind, f"http://{host}/models") as driver,
        pytest.raises(APIConnectionError, match="check the endpoint and the network"),
    ):
        driver.complete()
