"""Keys and prompts go to the configured host over a verified connection, and nowhere else."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from azinfer.core import APIConnectionError, APIStatusError, ConfigurationError, InferenceError
from certificates import Authority
from client_driver import KEY, USER, ClientDriver, open_driver
from raw_server import RawServer, chat, events, failure, part, reply, stream

Ask = Callable[..., ClientDriver]


@pytest.fixture
def other() -> Iterator[RawServer]:
    """Another host, which must receive nothing."""
    server = RawServer().start()
    server.will(reply(chat("stolen")))
    yield server
    server.stop()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("operation", ["complete", "stream"])
def test_neither_prompt_nor_key_follows_a_redirect(
    ask: Ask, server: RawServer, other: RawServer, status: int, operation: str
) -> None:
    location = f"{other.url}/openai/v1/chat/completions"
    server.will(reply(b"", status, {"location": location}))
    with pytest.raises(APIStatusError, match="Redirects are not followed") as caught:
        getattr(ask(), operation)()
    assert location in str(caught.value)
    assert (caught.value.status, len(server.received)) == (status, 1)
    assert not other.received


def test_a_redirect_to_plain_http_gets_no_key(
    kind: str, secure: RawServer, other: RawServer, authority: Authority
) -> None:
    secure.will(reply(b"", 307, {"location": f"{other.url}/models/chat/completions"}))
    environ = {"SSL_CERT_FILE": str(authority.path)}
    driver = ClientDriver(kind, f"{secure.url}/models", KEY, "m", environ=environ)
    with pytest.raises(APIStatusError):
        driver.complete()
    driver.close()
    assert len(secure.received) == 1
    assert not other.received


def test_a_server_of_an_unknown_authority_gets_no_request(kind: str, secure: RawServer) -> None:
    driver = ClientDriver(kind, f"{secure.url}/models", KEY, "m", max_retries=0, environ={})
    with pytest.raises(APIConnectionError, match="set SSL_CERT_FILE"):
        driver.complete()
    driver.close()
    assert not secure.received


def test_a_server_with_another_hosts_certificate_gets_no_request(
    kind: str, authority: Authority, serve_tls: Callable[[str], RawServer]
) -> None:
    server = serve_tls("other.example.com")
    environ = {"SSL_CERT_FILE": str(authority.path)}
    driver = ClientDriver(kind, f"{server.url}/models", KEY, "m", max_retries=0, environ=environ)
    with pytest.raises(APIConnectionError, match="connection failed"):
        driver.complete()
    driver.close()
    assert not server.received


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_authority_of_a_company_works(
    kind: str, secure: RawServer, authority: Authority, variable: str
) -> None:
    environ = {variable: str(authority.path)}
    with open_driver(kind, f"{secure.url}/models", KEY, "m", environ=environ) as driver:
        assert driver.complete().text == "hello"


def test_a_folder_of_authorities_works(
    kind: str, secure: RawServer, authority: Authority, tmp_path: Path
) -> None:
    folder = tmp_path / "authorities"
    folder.mkdir()
    command = ["openssl", "x509", "-hash", "-noout", "-in", str(authority.path)]
    name = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    (folder / f"{name}.0").write_bytes(authority.path.read_bytes())
    environ = {"SSL_CERT_DIR": str(folder)}
    with open_driver(kind, f"{secure.url}/models", KEY, "m", environ=environ) as driver:
        assert driver.complete().text == "hello"


def test_unreadable_certificates_are_an_error(kind: str, tmp_path: Path) -> None:
    environ = {"SSL_CERT_FILE": str(tmp_path / "missing.pem")}
    driver = ClientDriver(kind, "https://contoso.openai.azure.com", KEY, "m", environ=environ)
    with pytest.raises(ConfigurationError, match=r"missing\.pem .*cannot be read"):
        driver.complete()
    driver.close()


@pytest.mark.parametrize("through", ["sockets", "httpx"])
@pytest.mark.parametrize("operation", ["complete", "stream"])
def test_the_key_does_not_appear_in_logs(
    ask: Ask,
    server: RawServer,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    operation: str,
    through: str,
) -> None:
    caplog.set_level(1)
    caplog.set_level(logging.DEBUG, "httpcore")  # of which others may have set a level
    http = httpx.Client() if kind == "sync" else httpx.AsyncClient()
    server.will(
        reply(failure("500"), 500), stream(events(part("a", "stop"))), reply(failure("400"), 400)
    )
    driver = ask("/models", http_client=http if through == "httpx" else None)
    getattr(driver, operation)()
    with pytest.raises(InferenceError):
        getattr(driver, operation)()
    if isinstance(http, httpx.Client):
        http.close()
    else:
        driver.run(http.aclose())
    loggers = {record.name.partition(".")[0] for record in caplog.records}
    assert ("httpcore" in loggers) is (through == "httpx")
    assert KEY not in caplog.text


@pytest.mark.parametrize("key", ["ключ", "ke\u2028y", "key\u00a0key", "ke y", "\x7f"])
def test_a_key_that_does_not_fit_in_a_header_is_refused_before_sending(
    ask: Ask, server: RawServer, key: str
) -> None:
    with pytest.raises(ConfigurationError, match="copy it again") as caught:
        ask(credential=key)
    assert key not in str(caught.value)
    assert not server.received


def test_a_key_from_a_file_may_end_with_a_line(ask: Ask, server: RawServer) -> None:
    server.will(reply(chat()))
    ask(credential=f"{KEY}\r\n").complete()
    assert server.received[0].header("api-key") == KEY


@pytest.mark.parametrize("path", ["/models", "/openai/v1", "/openai"])
@pytest.mark.parametrize(
    "name",
    ["../../../admin", "gpt?api-version=evil#frag", "gpt\r\nx-evil: 1\r\n\r\nGET /"],
)
def test_a_deployments_name_cannot_change_path_or_headers(
    ask: Ask, server: RawServer, caplog: pytest.LogCaptureFixture, path: str, name: str
) -> None:
    caplog.set_level(1)
    server.will(reply(chat()))
    ask(path).complete(model=name)
    (request,) = server.received
    assert request.header("x-evil") is None
    segments = request.target.partition("?")[0].split("/")
    assert segments[-2:] == ["chat", "completions"]
    assert ".." not in segments
    assert not any("\nx-evil" in record.getMessage() for record in caplog.records)


def test_a_callers_header_cannot_forge_another_header(ask: Ask, server: RawServer) -> None:
    server.will(reply(chat()))
    with pytest.raises(InferenceError):
        ask(headers={"x-team": "a\r\nx-evil: 1"}, max_retries=0).complete()
    assert not server.received


def test_netrc_is_not_read(
    ask: Ask, server: RawServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password stolen\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    server.will(reply(chat()))
    ask().complete()
    assert server.received[0].header("authorization") is None
    assert server.received[0].header("api-key") == KEY


def test_cookies_of_an_answer_are_not_sent_with_the_next(ask: Ask, server: RawServer) -> None:
    server.will(reply(chat(), headers={"set-cookie": "session=1; Path=/"}))
    driver = ask()
    driver.complete()
    driver.complete()
    assert [each.header("cookie") for each in server.received] == [None, None]


def test_the_url_of_an_image_is_passed_on_and_never_fetched(
    ask: Ask, server: RawServer, other: RawServer
) -> None:
    server.will(reply(chat()))
    url = f"{other.url}/secret.png"
    ask().complete(
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]
    )
    assert url.encode() in server.received[0].body
    assert not other.received


def test_a_proxy_is_not_used_on_loopback(
    ask: Ask, server: RawServer, other: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, other.url)
    server.will(reply(chat()))
    assert ask().complete().text == "hello"
    assert not other.received


PROXIED = """
import asyncio, sys
from azinfer.core import AsyncInferenceClient, InferenceClient, InferenceError
user = [{"role": "user", "content": "hi"}]
endpoint = "http://no-such-host.invalid/openai/v1"
client = InferenceClient(endpoint, "k", "m", allow_http=True, max_retries=0)
print(client.complete(user).text)
later = AsyncInferenceClient(endpoint, "k", "m", allow_http=True, max_retries=0)
print(asyncio.run(later.complete(user)).text)
"""


@pytest.mark.usefixtures("proxies_count")
def test_a_proxy_of_the_environment_is_used_for_other_machines(
    other: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", other.url)
    other.will(reply(chat("through the proxy")))
    command = [sys.executable, "-W", "error", "-c", PROXIED]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.stdout == "through the proxy\n" * 2, done.stderr
    assert other.received[0].target.startswith("http://no-such-host.invalid/openai/v1/chat/")


def test_a_token_is_not_sent_in_clear_text(kind: str) -> None:
    class Credential:
        def get_token(self, *scopes: str) -> Any:
            raise AssertionError("a token was asked for")

    with pytest.raises(ConfigurationError, match="is not https"):
        ClientDriver(kind, "http://contoso.openai.azure.com", Credential(), "m").complete(USER)


def test_https_on_loopback_does_not_go_through_a_proxy(
    kind: str, secure: RawServer, other: RawServer, authority: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, other.url)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    secure.will(reply(chat()))
    driver = ClientDriver(kind, secure.url, "a-key", model="m")
    assert driver.complete().text == "hello"
    assert not other.received
    driver.close()
