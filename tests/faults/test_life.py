"""Many calls at once, cancelled calls, dropped clients: nothing crossed, nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from azinfer.core import AsyncInferenceClient, Clock, InferenceClient, InferenceError
from client_driver import KEY, USER, ClientDriver, TestClock, open_driver
from raw_server import (
    Peer,
    RawServer,
    answer,
    chat,
    chunked_answer,
    events,
    failure,
    part,
    raw,
    reply,
)

Ask = Callable[..., ClientDriver]
BEGUN = raw(chunked_answer(events(part("a"), done=False))[:-5], "stall")
DESCRIPTORS = "/proc/self/fd"


def text_of(request: Any) -> str:
    text: str = request.json["messages"][0]["content"]
    return text


def user(text: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": str(text)}]


class Impatient(Clock):
    """A clock whose waits are a hundred times shorter."""

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds / 100)

    async def asleep(self, seconds: float) -> None:
        await super().asleep(seconds / 100)


def test_a_hundred_concurrent_calls_succeed_although_thirty_fail_once(
    kind: str, server: RawServer
) -> None:
    tried: Counter[str] = Counter()

    def choose(request: Any) -> Any:
        text = text_of(request)
        tried[text] += 1
        if int(text) % 10 < 3 and tried[text] == 1:
            return reply(failure("x"), 503) if int(text) % 2 else lambda peer: peer.reset()
        return reply(chat(text))

    server.choose = choose
    with open_driver(kind, f"{server.url}/models", KEY, "m", clock=Impatient()) as driver:
        if kind == "sync":
            results: dict[int, str] = {}

            def work(at: int) -> None:
                results[at] = driver.client.complete(user(at)).text

            threads = [threading.Thread(target=work, args=(at,)) for at in range(100)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            answers = [results.get(at) for at in range(100)]
        else:

            async def all_of_them() -> list[Any]:
                work = (driver.client.complete(user(at)) for at in range(100))
                return [answer.text for answer in await asyncio.gather(*work)]

            answers = driver.run(all_of_them())
    assert answers == [str(at) for at in range(100)]
    assert max(tried.values()) <= 3


def test_a_thousand_abandoned_streams_leave_nothing_open(kind: str, server: RawServer) -> None:
    server.will(BEGUN)
    with open_driver(kind, f"{server.url}/models", KEY, "m") as driver:
        if kind == "sync":
            for _ in range(1000):
                driver.read(lambda chunk: True)
        else:

            async def one() -> None:
                async with driver.client.stream(USER) as chunks:
                    async for _ in chunks:
                        raise asyncio.CancelledError

            async def all_of_them() -> None:
                for _ in range(20):
                    await asyncio.gather(*(one() for _ in range(50)), return_exceptions=True)

            driver.run(all_of_them())
        assert server.wait_until(lambda: server.open_connections == 0)
        assert len(server.received) == 1000
        server.will(reply(chat()))
        assert driver.complete().text == "hello"


def test_twenty_cancelled_calls_leave_nothing_open(server: RawServer) -> None:
    server.choose = lambda request: (
        Peer.wait_until_client_leaves
        if text_of(request) == "wait"
        else reply(chat(text_of(request)))
    )
    with open_driver("async", f"{server.url}/models", KEY, "m") as driver:

        async def cancel_calls() -> None:
            await asyncio.gather(*(driver.client.complete(user(at)) for at in range(20)))
            work = [asyncio.create_task(driver.client.complete(user("wait"))) for _ in range(20)]
            while len(server.received) < 40:
                await asyncio.sleep(0)
            for task in work:
                task.cancel()
            done = await asyncio.gather(*work, return_exceptions=True)
            assert all(isinstance(each, asyncio.CancelledError) for each in done)
            later = await asyncio.gather(*(driver.client.complete(user(at)) for at in range(20)))
            assert [answer.text for answer in later] == [str(at) for at in range(20)]

        driver.run(cancel_calls())
    assert server.wait_until(lambda: server.open_connections == 0)


def test_a_cancelled_embedding_ends_all_its_requests(server: RawServer) -> None:
    server.will(Peer.wait_until_client_leaves)
    with open_driver("async", f"{server.url}/models", KEY, "m") as driver:

        async def cancel_calls() -> None:
            work = asyncio.create_task(driver.client.embed(["a"] * 96 * 8))
            while len(server.received) < 8:
                await asyncio.sleep(0)
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work

        driver.run(cancel_calls())
        assert server.wait_until(lambda: server.open_connections == 0)


DROPPED = """
import asyncio, gc, sys
from azinfer.core import AsyncInferenceClient, InferenceClient
user = [{"role": "user", "content": "hi"}]
clients = [InferenceClient(sys.argv[1], "k", "m") for _ in range(5)]
for client in clients:
    client.complete(user)
stream = clients[0].stream(user)
next(stream)
del stream, clients, client
gc.collect()
async def main():
    asyncio.get_running_loop().slow_callback_duration = 60
    clients = [AsyncInferenceClient(sys.argv[1], "k", "m") for _ in range(5)]
    for client in clients:
        await client.complete(user)
    async with clients[0].stream(user) as chunks:
        async for chunk in chunks:
            break
asyncio.run(main())
gc.collect()
"""


DROPPED_AT_ONCE = """
import asyncio, gc, sys
from azinfer.core import AsyncInferenceClient
url, at_once, left = sys.argv[1:]
user = [{"role": "user", "content": "hi"}]
kept = []
async def main():
    asyncio.get_running_loop().slow_callback_duration = 60
    client = AsyncInferenceClient(url, "k", "m")
    if left == "client":
        kept.append(client)
    await asyncio.gather(*(client.complete(user) for _ in range(int(at_once))))
    if left == "loop":
        async for chunk in client.stream(user):
            break
    if left == "streams":
        kept.extend(client.stream(user) for _ in range(3))
        await asyncio.gather(*map(anext, kept))
    if left == "task":
        kept.append(asyncio.create_task(client.complete([{"role": "user", "content": "wait"}])))
        await asyncio.sleep(0.01)
asyncio.run(main())
gc.collect()
"""


def run_script(server: RawServer, script: str, *args: str) -> tuple[int, str, str]:
    """Return the output of a program that calls the server and closes nothing."""
    whole = raw(chunked_answer(events(part("a"), part("b", "stop"))), "keep")

    def choose(request: Any) -> Any:
        if text_of(request) == "wait":
            return Peer.wait_until_client_leaves
        return whole if request.json.get("stream") else reply(chat())

    server.choose = choose
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", script, f"{server.url}/models"]
    done = subprocess.run([*command, *args], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def test_dropped_clients_emit_no_warnings(server: RawServer) -> None:
    assert run_script(server, DROPPED) == (0, "", "")
    assert server.wait_until(lambda: server.open_connections == 0)


@pytest.mark.parametrize("left", ["nothing", "client", "loop", "streams", "task"])
def test_a_client_dropped_after_concurrent_calls_emits_no_warnings(
    server: RawServer, left: str
) -> None:
    assert run_script(server, DROPPED_AT_ONCE, "20", left) == (0, "", "")
    assert server.wait_until(lambda: server.open_connections == 0)


def test_a_call_in_flight_when_the_client_is_closed_ends(server: RawServer) -> None:
    begun, event = threading.Event(), threading.Event()

    def slow(peer: Peer) -> None:
        begun.set()
        event.wait(10)
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    server.will(slow)
    client = InferenceClient(f"{server.url}/models", KEY, "m", max_retries=0)
    errors: list[Exception] = []

    def work() -> None:
        try:
            client.complete(USER)
        except InferenceError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(10)
    client.close()
    event.set()
    thread.join(10)
    assert not thread.is_alive()
    assert len(errors) == 1


@pytest.mark.skipif(not os.path.isdir(DESCRIPTORS), reason="this system has no /proc")
def test_failing_calls_leak_no_file_descriptors(ask: Ask, server: RawServer) -> None:
    server.will(lambda peer: peer.reset())
    driver = ask(max_retries=0)

    def fail() -> None:
        with pytest.raises(InferenceError):
            driver.complete()

    fail()
    assert server.wait_until(lambda: server.open_connections == 0)
    before = len(os.listdir(DESCRIPTORS))
    for _ in range(200):
        fail()
    assert server.wait_until(lambda: server.open_connections == 0)
    assert len(os.listdir(DESCRIPTORS)) <= before + 1


MEMORY = """
import asyncio, gc, pathlib, sys
from azinfer.core import AsyncInferenceClient, InferenceClient
user = [{"role": "user", "content": "hi"}]
def used():
    gc.collect()
    return int(pathlib.Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0])
kind, url = sys.argv[1:]
if kind == "sync":
    client = InferenceClient(url, "k", "m")
    def calls(count):
        for _ in range(count):
            client.complete(user)
    calls(500)
    before = used()
    calls(3000)
    print(used() - before)
else:
    async def main():
        client = AsyncInferenceClient(url, "k", "m")
        async def calls(count):
            for _ in range(count // 10):
                await asyncio.gather(*(client.complete(user) for _ in range(10)))
        await calls(500)
        before = used()
        await calls(3000)
        print(used() - before)
    asyncio.run(main())
"""


@pytest.mark.skipif(not os.path.isdir(DESCRIPTORS), reason="this system has no /proc")
def test_memory_does_not_grow(kind: str, server: RawServer) -> None:
    def choose(request: Any) -> Any:
        server.received.clear()
        return reply(chat())

    server.choose = choose
    command = [sys.executable, "-c", MEMORY, kind, f"{server.url}/models"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 3 * 1024  # less than 1 MB for a thousand calls


def test_unused_connections_are_closed(kind: str, server: RawServer) -> None:
    whole = raw(chunked_answer(events(part("a"), part("b", "stop"))), "keep")
    server.choose = lambda request: whole if request.json.get("stream") else reply(chat())
    clock = TestClock()
    with open_driver(kind, f"{server.url}/models", KEY, "m", clock=clock) as driver:
        if kind == "sync":
            for begun in [driver.client.stream(USER) for _ in range(5)]:
                list(begun)
        else:

            async def at_once() -> None:
                streams = [driver.client.stream(USER) for _ in range(5)]
                await asyncio.gather(*map(anext, streams))
                for begun in streams:
                    _ = [chunk async for chunk in begun]

            driver.run(at_once())
        assert server.open_connections == 5
        clock.now += 59
        driver.complete()
        assert server.open_connections == 5
        clock.now += 59
        for _ in range(5):
            driver.complete()
        assert server.wait_until(lambda: server.open_connections == 1)
        assert server.connections == 5


def test_hundreds_of_concurrent_calls_succeed(server: RawServer) -> None:
    server.choose = lambda request: reply(chat(text_of(request)))

    async def all_of_them() -> None:
        async with AsyncInferenceClient(f"{server.url}/models", KEY, "m") as client:
            work = [client.complete(user(at)) for at in range(512)]
            answers = await asyncio.gather(*work)
            assert [answer.text for answer in answers] == [str(at) for at in range(512)]

    asyncio.run(all_of_them())
    gc.collect()
    assert server.wait_until(lambda: server.open_connections == 0)


def test_a_stream_may_be_closed_while_another_task_reads_it(server: RawServer) -> None:
    server.will(BEGUN)
    with open_driver("async", f"{server.url}/models", KEY, "m") as driver:

        async def close_while_reading() -> None:
            chunks = driver.client.stream(USER)
            assert (await anext(chunks)).text == "a"
            reading = asyncio.ensure_future(anext(chunks))
            await asyncio.sleep(0)
            await chunks.aclose()
            with pytest.raises(InferenceError) as caught:
                await reading
            partial = caught.value.partial
            assert partial is not None
            assert partial.text == "a"
            await chunks.aclose()
            assert [chunk async for chunk in chunks] == []

        driver.run(close_while_reading())
        assert server.wait_until(lambda: server.open_connections == 0)


def test_a_loop_that_is_closed_without_its_hooks_is_forgotten(server: RawServer) -> None:
    # Nobody can close what such a loop still has open, so nothing is left open.
    server.will(raw(answer(chat(), headers={"connection": "close"})))
    client = AsyncInferenceClient(f"{server.url}/models", KEY, "m")
    loops = []
    for _ in range(3):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(client.complete(USER))
        loop.close()
        loops.append(weakref.ref(loop))
        del loop
    gc.collect()
    assert [loop() is None for loop in loops] == [True, True, False]
