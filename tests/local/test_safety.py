"""Without a key nobody can use the endpoint, and no web page reaches it."""

from __future__ import annotations

import logging
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from azinfer.core import ConfigurationError
from azinfer.local import LocalDeployment, LocalEndpoint
from azinfer.local.api import request_body
from azinfer.local.server import uvicorn_setup
from client_driver import TestClock

CHAT = "/openai/v1/chat/completions"
BODY = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
TOKEN = "/tenant/oauth2/v2.0/token"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    """An endpoint with one deployment that accepts one more host name."""
    deployments = [LocalDeployment("chat")]
    with LocalEndpoint(deployments, key="k", allowed_hosts=["azinfer.internal"]) as endpoint:
        yield endpoint


def exchange(endpoint: LocalEndpoint, *parts: bytes) -> bytes:
    """Return all that the endpoint answers to some bytes until it closes the connection."""
    address = urlsplit(endpoint.url)
    received = b""
    with socket.create_connection((address.hostname, address.port), timeout=30) as sock:
        for part in parts:
            sock.sendall(part)
        while data := sock.recv(65536):
            received += data
    return received


# The host


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:80",
        "127.0.0.1:1",
        "127.1.2.3",
        "[::1]:8765",
        "a.localhost",
        "localhost.",
        "azinfer.internal",
        "Azinfer.Internal:443",
    ],
)
def test_hosts_of_the_endpoint_are_served(endpoint: LocalEndpoint, host: str) -> None:
    answer = httpx.post(endpoint.url + CHAT, json=BODY, headers={"api-key": "k", "host": host})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "[::2]",
        "[::1",
        "localhost:80@evil.example",
        "localhost evil.example",
        "",
        "evil.example:8765",
    ],
)
@pytest.mark.parametrize("path", ["/", "/_azinfer/health", CHAT, "/tenant/oauth2/v2.0/token"])
def test_other_hosts_are_refused_even_with_the_key(
    endpoint: LocalEndpoint, host: str, path: str
) -> None:
    answer = httpx.get(endpoint.url + path, headers={"api-key": "k", "host": host})
    assert answer.status_code in (400, 421)
    assert "lists" not in answer.text


def test_the_refusal_of_a_host_says_what_to_do(endpoint: LocalEndpoint) -> None:
    answer = httpx.get(endpoint.url + "/info", headers={"host": "evil.example"})
    assert answer.json()["error"]["code"] == "MisdirectedRequest"
    assert "'evil.example'" in answer.json()["error"]["message"]
    assert "--allow-host" in answer.json()["error"]["message"]


@pytest.mark.parametrize("hosts", [b"", b"host: localhost\r\nhost: evil.example\r\n"])
def test_a_request_has_one_host(endpoint: LocalEndpoint, hosts: bytes) -> None:
    head = b"GET /info HTTP/1.1\r\n" + hosts + b"connection: close\r\n\r\n"
    assert exchange(endpoint, head).startswith(b"HTTP/1.1 400 ")


def test_http_1_0_needs_no_host(endpoint: LocalEndpoint) -> None:
    answer = exchange(endpoint, b"GET /_azinfer/health HTTP/1.0\r\napi-key: k\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_an_endpoint_on_every_address_serves_each_and_the_name_of_the_machine() -> None:
    with LocalEndpoint([LocalDeployment("chat")], key="k", host="0.0.0.0") as endpoint:
        for host, status in (("10.1.2.3", 200), (socket.gethostname(), 200), ("evil.example", 421)):
            answer = httpx.get(
                endpoint.url + "/_azinfer/health", headers={"api-key": "k", "host": host}
            )
            assert answer.status_code == status


@pytest.mark.parametrize("host", ["http://a", "a:80", "a/b", "", "[::1]:80"])
def test_an_allowed_host_is_a_name_or_an_address(host: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a host name"):
        LocalEndpoint(allowed_hosts=[host])


def test_an_address_of_ipv6_can_be_allowed() -> None:
    with LocalEndpoint([LocalDeployment("chat")], key="k", allowed_hosts=["fd00::1"]) as endpoint:
        headers = {"api-key": "k", "host": "[fd00::1]:80"}
        assert httpx.get(endpoint.url + "/_azinfer/health", headers=headers).status_code == 200


# The origin, and the headers of responses


@pytest.mark.parametrize("path", ["/_azinfer/reset", "//_AZINFER/reset", "/"])
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1"])
def test_pages_of_other_sites_cannot_use_the_admin_api(
    endpoint: LocalEndpoint, path: str, origin: str
) -> None:
    headers = {"api-key": "k", "origin": origin}
    answer = httpx.post(endpoint.url + path, headers=headers, data={"key": "k"})
    assert answer.status_code == 403
    assert origin in answer.json()["error"]["message"]


def test_the_own_page_can_use_the_admin_api(endpoint: LocalEndpoint) -> None:
    headers = {"api-key": "k", "origin": endpoint.url}
    assert httpx.post(endpoint.url + "/_azinfer/reset", headers=headers).status_code == 200
    assert httpx.post(endpoint.url, data={"key": "k"}, headers=headers).status_code == 303


@pytest.mark.parametrize(
    ("path", "policy"),
    [
        ("/", "form-action 'self'"),
        ("/_azinfer/page/page.js", "default-src 'none'"),
        ("/_azinfer/health", "default-src 'none'"),
        ("/nothing", "default-src 'none'"),
        (CHAT, "default-src 'none'"),
    ],
)
def test_every_response_has_the_security_headers(
    endpoint: LocalEndpoint, path: str, policy: str
) -> None:
    headers = httpx.get(endpoint.url + path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert policy in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert len(headers.get_list("content-security-policy")) == 1


# Sizes, fields and times, before the key is checked


@pytest.mark.parametrize("path", ["/", TOKEN])
def test_forms_of_anyone_are_small(endpoint: LocalEndpoint, path: str) -> None:
    kind = {"content-type": "application/x-www-form-urlencoded"}
    answer = httpx.post(endpoint.url + path, content=b"key=" + b"x" * 70_000, headers=kind)
    assert answer.status_code == 413
    parts = iter([b"a=b&" * 5_000] * 100)
    assert httpx.post(endpoint.url + path, content=parts, headers=kind).status_code == 413
    assert httpx.post(endpoint.url + path, content=b"a=b&" * 30, headers=kind).status_code == 400


@pytest.mark.parametrize("path", ["/", TOKEN, CHAT])
def test_a_body_that_stops_is_refused(
    endpoint: LocalEndpoint, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_body, "_SILENCE", 0.1)
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\napi-key: k\r\ncontent-length: 9\r\n\r\n{{"
    assert exchange(endpoint, head.encode()).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "head", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nhost: localhost\r\n", b"\r\n"]
)
def test_a_connection_that_does_not_finish_its_head_is_closed(
    endpoint: LocalEndpoint, head: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uvicorn_setup, "_HEAD_SECONDS", 0.1)
    assert exchange(endpoint, head) == b""


def test_the_time_of_a_head_begins_again_with_each_request(
    endpoint: LocalEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uvicorn_setup, "_HEAD_SECONDS", 0.1)
    whole = b"GET /_azinfer/health HTTP/1.1\r\nhost: localhost\r\napi-key: k\r\n\r\n"
    assert exchange(endpoint, whole, b"GET /").count(b"HTTP/1.1 200 ") == 1


def test_a_client_that_reads_nothing_is_disconnected(
    endpoint: LocalEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uvicorn_setup, "_STALLED_SECONDS", 0.1)
    address = urlsplit(endpoint.url)
    text = (
        b'{"model":"chat","n":128,"messages":[{"role":"user","content":"' + b"a " * 20_000 + b'"}]}'
    )
    head = f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\napi-key: k\r\n"
    head += f"content-length: {len(text)}\r\n\r\n"
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(30)
        sock.connect((address.hostname, address.port))
        # Much more than the buffers of both ends, of which nothing is read.
        for _ in range(40):
            sock.sendall(head.encode() + text)
        with pytest.raises(ConnectionError):  # noqa: PT012
            while True:
                sock.sendall(b" ")


def test_a_start_of_tls_that_stops_is_closed(
    secure: LocalEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uvicorn_setup, "_HEAD_SECONDS", 0.1)
    with LocalEndpoint([LocalDeployment("chat")], https=True) as endpoint:
        assert exchange(endpoint, b"") == b""


# Keys


def test_wrong_keys_are_logged_and_slowed(caplog: pytest.LogCaptureFixture) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    clock = TestClock()
    with (
        LocalEndpoint(
            [LocalDeployment("chat")], key="k", clock=clock.monotonic, sleep=sleep
        ) as endpoint,
        caplog.at_level(logging.WARNING, "azinfer.local"),
        httpx.Client(base_url=endpoint.url) as http,
    ):
        for _ in range(5):
            http.post(CHAT, json=BODY, headers={"api-key": "wrong-secret"})
            http.post("/", data={"key": "wrong-secret"})
        assert waits == []
        form = {"grant_type": "client_credentials", "client_secret": "wrong-secret"}
        for _ in range(6):
            assert http.post(TOKEN, data=form).status_code == 401
        assert waits == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
        # Neither the right key nor a request without one waits.
        assert http.post(CHAT, json=BODY, headers={"api-key": "k"}).status_code == 200
        assert http.post(CHAT, json=BODY).status_code == 401
        assert len(waits) == 6
        clock.now += 61
        http.get("/openai/v1/models?x=a%0Ab", headers={"authorization": "Bearer wrong-secret"})
        assert len(waits) == 6
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 17
    assert messages[0] == f"wrong key from 127.0.0.1: POST {CHAT}"
    assert not any("secret" in message or "\n" in message for message in messages)


def test_a_key_is_generated_for_any_address() -> None:
    with LocalEndpoint([LocalDeployment("chat")], host="0.0.0.0") as endpoint:
        assert len(endpoint.key) >= 32
        assert httpx.post(endpoint.url + CHAT, json=BODY).status_code == 401


def test_the_address_of_the_page_opens_it_once_and_has_no_key(endpoint: LocalEndpoint) -> None:
    url = endpoint.page_url()
    assert "key" not in url
    with httpx.Client(headers={"sec-fetch-site": "none"}, follow_redirects=True) as browser:
        first = browser.get(url)
        assert first.status_code == 200
        assert str(first.url) == f"{endpoint.url}/"
        # A reload of the address in the same browser leads to the page too.
        assert browser.get(url).status_code == 200
    again = httpx.get(url)
    assert again.status_code == 401
    assert "works only once" in again.text


def test_a_key_in_the_query_is_refused(endpoint: LocalEndpoint) -> None:
    assert httpx.get(f"{endpoint.url}/?key=k").status_code == 401
    assert httpx.get(f"{endpoint.url}/?token=k").status_code == 401


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")
def test_only_the_user_can_read_stored_data(tmp_path: Path) -> None:
    for folder in (tmp_path / "new" / "data", tmp_path / "existing"):
        if folder.name == "existing":
            folder.mkdir(mode=0o755)
        with LocalEndpoint([LocalDeployment("chat")], key="k", data=folder) as endpoint:
            httpx.post(
                f"{endpoint.url}/openai/v1/files",
                headers={"api-key": "k"},
                data={"purpose": "batch"},
                files={"file": b"{}"},
            ).raise_for_status()
            inside = [folder / "files", *folder.glob("store.sqlite*")]
            assert len(inside) > 1
            for path in inside:
                assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    assert stat.S_IMODE((tmp_path / "new" / "data").stat().st_mode) == 0o700
    # A folder that the user made keeps its mode until it is a store.
    with LocalEndpoint([LocalDeployment("chat")], key="k", data=tmp_path / "existing"):
        assert stat.S_IMODE((tmp_path / "existing").stat().st_mode) == 0o700
