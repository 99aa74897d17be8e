"""The key appears nowhere: in no error, pickle, log or traceback, whatever a service echoes."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from azinfer.core import (
    AsyncInferenceClient,
    Clock,
    ConfigurationError,
    Endpoint,
    HiddenEnvironment,
    InferenceClient,
    InferenceError,
    Timeout,
)
from azinfer.core.errors import Detail
from azinfer.core.redaction import SecretBytes, SecretText, redact, redact_error
from client_driver import USER, ClientDriver
from leaks import FAULTS, MARKER, START, leaks_of, visible_texts
from raw_server import RawServer, chat, failure, reply

Ask = Callable[..., ClientDriver]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("operation", ["complete", "stream"])
def test_no_error_shows_the_key(
    ask: Ask,
    server: RawServer,
    caplog: pytest.LogCaptureFixture,
    fault: str,
    operation: str,
) -> None:
    server.will(FAULTS[fault])
    driver = ask("/models", MARKER, timeout=Timeout(read=0.3), clock=Clock(), max_retries=0)
    with caplog.at_level(1), pytest.raises(InferenceError) as caught:
        getattr(driver, operation)()
    assert leaks_of(caught.value) == []
    assert START not in caplog.text


CLIENTS: tuple[Any, ...] = (InferenceClient, AsyncInferenceClient)
BAD = f"{MARKER}\nwith a line"


@pytest.mark.parametrize("credential", [BAD, lambda: BAD], ids=["key", "function"])
def test_a_key_that_does_not_fit_is_in_no_traceback(
    kind: str, server: RawServer, credential: Any
) -> None:
    def call() -> None:
        if kind == "sync":
            InferenceClient(server.url, credential, "m").complete(USER)
        else:
            asyncio.run(AsyncInferenceClient(server.url, credential, "m").complete(USER))

    with pytest.raises(InferenceError) as caught:
        call()
    assert leaks_of(caught.value) == []


KEY = "sk9f3b7c21e8d45a60b1"
INVALID = {
    "an unknown path": f"https://host.example/path?api-key={KEY}",
    "another protocol": f"ftp://host.example/path?api-key={KEY}",
    "no host": f"https://?api-key={KEY}",
    "no protocol": f"host.example/path?x=1&sig={KEY}",
    "a port": f"https://contoso.openai.azure.com:99999?subscription-key={KEY}",
    "an open bracket": f"https://[::1/?api-key={KEY}",
    "a password": f"https://user:{KEY}@contoso.openai.azure.com",
    "a fragment": f"https://host.example/path#api-key={KEY}",
    "plain HTTP": f"http://host.example/v1?code={KEY}",
    "an unknown surface": f"https://contoso.openai.azure.com?api-key={KEY}",
}


@pytest.mark.parametrize("url", INVALID.values(), ids=INVALID)
def test_a_key_in_an_invalid_url_is_in_no_traceback(tmp_path: Path, url: str) -> None:
    file = tmp_path / "azinfer.toml"
    file.write_text(f"[endpoints.main]\nurl = {json.dumps(url)}\nsurface = 'opnai'\n")
    calls: list[Callable[[], object]] = [
        *(lambda kind=kind: kind(url, "a-key", surface="opnai") for kind in CLIENTS),
        lambda: InferenceClient(url, "a-key").with_options(surface="opnai"),
        lambda: InferenceClient.from_config(file),
        lambda: Endpoint.parse(url, "opnai"),
    ]
    for call in calls:
        with pytest.raises(ConfigurationError) as caught:
            call()
        texts = visible_texts(caught.value)
        assert [place for place, text in texts.items() if KEY in text] == []


@pytest.mark.parametrize("name", ["authorization", "api-key", "x-mine"])
def test_a_header_that_does_not_fit_is_in_no_traceback(
    ask: Ask, server: RawServer, name: str
) -> None:
    driver = ask(credential=MARKER, headers={name: BAD})
    with pytest.raises(ConfigurationError) as caught:
        driver.complete()
    assert leaks_of(caught.value) == []


def test_an_answer_echoes_no_key_in_its_headers(ask: Ask, server: RawServer) -> None:
    server.will(reply(chat(), headers={"x-echo": MARKER}))
    assert MARKER not in repr(ask(credential=MARKER).complete())


@pytest.mark.parametrize("secret", ["abc", "abcdefgh", "abcdefghijkl"])
def test_a_secret_is_replaced_wherever_it_stands(secret: str) -> None:
    text = redact(f"<{secret}> and {secret}", secret)
    assert (secret in text) == (len(secret) < 4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("chat", "[redacted]"),
        ("Bearer chat", "Bearer [redacted]"),
        ("api-key: chat, x", "api-key: [redacted], x"),
        ('{"key": "chat", "a": 1}', '{"key": "[redacted]", "a": 1}'),
        ('"{\\"a\\":\\"chat\\"}"', '"{\\"a\\":\\"[redacted]\\"}"'),
        ("the key 'chat' and KEY=chat&b", "the key '[redacted]' and KEY=[redacted]&b"),
        ("the chat model 'chat two' chats: /chat/completions", None),
        ("the key chats", None),
    ],
)
def test_a_short_secret_is_replaced_only_where_a_secret_stands(
    text: str, expected: str | None
) -> None:
    assert redact(text, "chat") == (text if expected is None else expected)


def test_only_a_long_start_of_a_secret_counts() -> None:
    assert redact("abcdefgh and abcdefg", "abcdefghijkl") == "[redacted] and abcdefg"
    assert redact("the end: abcdefghij", "abcdefghijkl") == "the end: [redacted]"


def test_an_error_without_a_body_is_redacted_too() -> None:
    error = InferenceError(f"m {MARKER}", details=[Detail(("a",), "b", {"c": (MARKER, 1)})])
    redact_error(error, MARKER)
    assert leaks_of(error) == []
    assert error.details == (Detail(("a",), "b", {"c": ["[redacted]", 1]}),)


def test_values_with_secrets_have_no_text_of_their_own() -> None:
    for value in (SecretText(MARKER), SecretBytes(MARKER.encode())):
        assert START not in repr([value])
    assert json.dumps(SecretText("a")) == '"a"'


def test_an_environment_does_not_show_its_values() -> None:
    environ = HiddenEnvironment({"KEY": MARKER}, {"KEY": "b", "OTHER": MARKER})
    assert (repr(environ), environ["KEY"]) == ("HiddenEnvironment(2 variables)", MARKER)


def test_every_logger_is_quiet_about_the_key(
    ask: Ask, server: RawServer, caplog: pytest.LogCaptureFixture
) -> None:
    for name in logging.root.manager.loggerDict:
        caplog.set_level(1, name)
    server.will(reply(chat()))
    ask(credential=MARKER).complete()
    assert START not in caplog.text


def test_both_ids_of_a_request_are_kept_and_named(ask: Ask, server: RawServer) -> None:
    ids = {"apim-request-id": "gateway-1", "x-request-id": "model-2"}
    server.will(reply(failure("x"), 400, ids))
    with pytest.raises(InferenceError) as caught:
        ask().complete()
    error = caught.value
    assert error.request_id == "model-2"
    assert error.request_ids == {"x-request-id": "model-2", "apim-request-id": "gateway-1"}
    assert "request id model-2, apim-request-id gateway-1" in str(error)
