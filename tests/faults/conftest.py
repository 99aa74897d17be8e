"""Authorities, servers that speak TLS, and an environment in which proxies count."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from certificates import Authority
from raw_server import RawServer, chat, reply


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
