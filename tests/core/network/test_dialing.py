"""Dialing: names, addresses that are silent or refuse, and connects that are cancelled."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from azinfer.core import APIConnectionError, APITimeoutError, AsyncInferenceClient, Timeout
from azinfer.core.network import dialing
from certificates import Authority
from client_driver import KEY, USER, ClientDriver, open_driver
from raw_server import RawServer, chat, reply

Resolve = Callable[..., None]
V4 = (socket.AF_INET, socket.SOCK_STREAM, 6, "")


@contextmanager
def silent_addresses(count: int) -> Iterator[list[Any]]:
    """Addresses that answer nothing, since the queues of their sockets are full."""
    results = []
    with ExitStack() as stack:
        for _ in range(count):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
            for _ in range(3):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(listener.getsockname())
            results.append((*V4, listener.getsockname()))
        yield results


@contextmanager
def closed_port_address() -> Iterator[Any]:
    """An address that refuses connections, since nothing listens there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield (*V4, taken.getsockname())


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """Sets the addresses of every host."""

    def resolve(*addresses: Any) -> None:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **named: list(addresses))

    return resolve


def driver_for(kind: str, **timeout: float) -> Any:
    url = "https://many.invalid/models"
    return open_driver(kind, url, KEY, "m", timeout=Timeout(**timeout), max_retries=0)


def plain_driver(kind: str, server: RawServer, **options: Any) -> Any:
    server.will(reply(chat()))
    url = "http://many.invalid/models"
    return open_driver(kind, url, KEY, "m", allow_http=True, max_retries=0, **options)


@pytest.mark.parametrize("last", ["silent", "refusing"])
def test_many_silent_addresses_share_one_connect_timeout(
    kind: str, resolve: Resolve, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    monkeypatch.setattr(dialing, "_NEXT_ADDRESS", 0.05)
    with (
        silent_addresses(3) as silent,
        closed_port_address() as refusing,
        driver_for(kind, connect=0.4) as driver,
    ):
        resolve(*silent, *[refusing] * (last == "refusing"))
        began = time.monotonic()
        with pytest.raises(APITimeoutError, match=r"established within 0\.4 seconds") as caught:
            driver.complete()
        assert time.monotonic() - began < 10
        assert caught.value.unsent


def test_the_first_address_that_answers_is_used(
    kind: str, authority: Authority, serve_tls: Callable[[str], RawServer], resolve: Resolve
) -> None:
    server = serve_tls("many.invalid")
    named: dict[str, Any] = {"environ": {"SSL_CERT_FILE": str(authority.path)}}
    # If each address had its share of the time, this test would take 80 seconds.
    named |= {"surface": "models", "timeout": Timeout(connect=120)}
    url, began = "https://many.invalid", time.monotonic()
    with silent_addresses(2) as silent, open_driver(kind, url, KEY, "m", **named) as driver:
        resolve(*silent, (*V4, ("127.0.0.1", server.port)))
        assert driver.complete().text == "hello"
    assert time.monotonic() - began < 20


def test_after_an_address_that_refuses_the_next_is_tried(
    kind: str, server: RawServer, resolve: Resolve
) -> None:
    with closed_port_address() as refusing, plain_driver(kind, server) as driver:
        resolve(refusing, refusing, (*V4, ("127.0.0.1", server.port)))
        assert driver.complete().text == "hello"


def test_a_machine_without_ipv6_uses_ipv4(kind: str, server: RawServer, resolve: Resolve) -> None:
    no_such_family = (9999, *V4[1:], ("::1", server.port, 0, 0))
    with plain_driver(kind, server) as driver:
        resolve(no_such_family, (*V4, ("127.0.0.1", server.port)))
        assert driver.complete().text == "hello"


@pytest.mark.parametrize("why", ["refused", "family", "none"])
def test_a_host_of_which_no_address_accepts_is_an_error(
    kind: str, server: RawServer, resolve: Resolve, why: str
) -> None:
    with closed_port_address() as refusing, plain_driver(kind, server) as driver:
        broken = (9999, *V4[1:], ("::1", 1, 0, 0))
        resolve(*{"refused": [broken, refusing], "family": [broken], "none": []}[why])
        with pytest.raises(APIConnectionError, match="check the endpoint and the network") as error:
            driver.complete()
        assert error.value.unsent
        assert not isinstance(error.value, APITimeoutError)


def test_the_socket_that_loses_is_closed(
    kind: str, server: RawServer, resolve: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialing, "_NEXT_ADDRESS", 0)
    with silent_addresses(1) as silent, plain_driver(kind, server) as driver:
        start_loop(driver)
        resolve(*silent, *[(*V4, ("127.0.0.1", server.port))] * 2)
        before = sockets_of_this_process()
        assert driver.complete().text == "hello"
        # The client's and the server's.
        assert server.wait_until(lambda: sockets_of_this_process() == before + 2)


def test_families_take_turns() -> None:
    def infos(*families: Any) -> list[Any]:
        return [(family, 1, 6, "", at) for at, family in enumerate(families)]

    six, four = socket.AF_INET6, socket.AF_INET
    turns = dialing.in_turns(infos(six, six, six, four, four))
    assert [each[-1] for each in turns] == [0, 3, 1, 4, 2]
    assert [each[-1] for each in dialing.in_turns(infos(four, six, six))] == [0, 1, 2]
    assert dialing.in_turns([]) == []


def test_a_resolver_that_hangs_is_a_timeout(
    kind: str, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, calls, getaddrinfo = threading.Event(), [], socket.getaddrinfo
    address = (*V4, ("127.0.0.1", server.port))

    def hanging(*args: Any, flags: int = 0, **named: Any) -> Any:
        if args[0] != "many.invalid":
            return getaddrinfo(*args, **{**named, "flags": flags})
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "a name")
        calls.append(args)
        answered.wait(30)
        return [address]

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    with plain_driver(kind, server, timeout=Timeout(connect=0.2)) as driver:
        try:
            for _ in range(3):
                with pytest.raises(APITimeoutError, match=r"within 0\.2 seconds") as caught:
                    driver.complete()
                assert caught.value.unsent
            # In sync code the calls share one thread; in async code the loop's threads are used.
            assert len(calls) == (1 if kind == "sync" else 3)
        finally:
            answered.set()
        assert driver.complete(timeout=30).text == "hello"


@pytest.mark.parametrize("threads", ["left", "none left"])
def test_an_unknown_name_is_an_error(
    kind: str, server: RawServer, monkeypatch: pytest.MonkeyPatch, threads: str
) -> None:
    def unknown(*args: Any, **named: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with plain_driver(kind, server) as driver:
        start_loop(driver)
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        if threads == "none left":
            monkeypatch.setattr(dialing._LookUp, "start", none_left)
        with pytest.raises(APIConnectionError, match="Name or service not known") as caught:
            driver.complete()
        assert caught.value.unsent


def start_loop(driver: ClientDriver) -> None:
    """Create the event loop of async code, which opens sockets itself."""
    if driver.kind == "async":
        driver.run(asyncio.sleep(0))


def sockets_of_this_process() -> int:
    """Return the number of open sockets, or 0 if the system does not report it."""
    if not os.path.isdir("/proc/self/fd"):
        return 0
    links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    return sum(os.readlink(link).startswith("socket:") for link in links if os.path.islink(link))


@pytest.mark.parametrize("twice", [False, True])
def test_cancelled_connects_leave_no_socket(resolve: Resolve, twice: bool) -> None:
    async def cancel_all() -> tuple[int, int]:
        url = "http://many.invalid/models"
        client = AsyncInferenceClient(url, KEY, "m", allow_http=True, max_retries=0)
        before = sockets_of_this_process()
        calls = [asyncio.create_task(client.complete(USER)) for _ in range(60)]
        for steps in range(20):
            await asyncio.sleep(0 if steps % 3 else 0.001)
            for call in calls[steps::20]:
                call.cancel()
        if twice:
            await asyncio.sleep(0)
            for call in calls:
                call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert all(call.cancelled() for call in calls)
        after = sockets_of_this_process()
        await client.aclose()
        return before, after

    gc.collect()
    gc.disable()
    try:
        with silent_addresses(2) as silent:
            resolve(*silent)
            before, after = asyncio.run(cancel_all())
    finally:
        gc.enable()
    assert after == before


def test_a_connect_that_is_cancelled_while_it_ends_leaves_no_socket(
    server: RawServer, resolve: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialing, "_NEXT_ADDRESS", 0)

    async def cancel_late() -> None:
        with silent_addresses(1) as silent:
            resolve(*silent, (*V4, ("127.0.0.1", server.port)))
            # The task is cancelled in the gather after the race, when it has a winner already.
            task = asyncio.create_task(dialing.dial_async("many.invalid", 80))
            gather = asyncio.gather

            def cancelling(*tasks: Any, **named: Any) -> Any:
                task.cancel()
                return gather(*tasks, **named)

            monkeypatch.setattr(asyncio, "gather", cancelling)
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(cancel_late())
    assert server.wait_until(lambda: server.connections > 0 and server.open_connections == 0)


def test_an_error_that_is_not_of_a_socket_passes_through(
    kind: str, server: RawServer, resolve: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    class BrokenSocket(socket.socket):
        def setblocking(self, flag: bool) -> None:
            raise MemoryError("no memory")

    with plain_driver(kind, server) as driver:
        start_loop(driver)
        resolve((*V4, ("127.0.0.1", server.port)))
        monkeypatch.setattr(socket, "socket", BrokenSocket)
        with pytest.raises(MemoryError, match="no memory"):
            driver.complete()
        monkeypatch.undo()
    assert not server.received
