"""The key appears nowhere: in no error, pickle, log or traceback, whatever a service echoes."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from html import escape
from typing import Any
from urllib.parse import quote

import pytest

from azinfer.core import (
    AsyncInferenceClient,
    Clock,
    ConfigurationError,
    InferenceClient,
    InferenceError,
    Timeout,
)
from azinfer.core.errors import Detail
from azinfer.core.redaction import SecretBytes, SecretText, redact, redact_error
from client_driver import USER, ClientDriver
from raw_server import Behaviour, RawServer, chat, events, failure, part, raw, reply, stream

# With characters that JSON, URLs and HTML write in another way.
MARKER = 'mk-9f3b/"7c21&e8d4\\5a60+b1'
START = MARKER[:8]
Ask = Callable[..., ClientDriver]


def shown_by(error: BaseException) -> dict[str, str]:
    """Each text in which an error may be seen, with the variables of all frames of azinfer."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [frame for frame in report.stack if "/azinfer/" in frame.filename]
    texts = {
        f"{frame.name}: {name}": text
        for frame in frames
        for name, text in (frame.locals or {}).items()
    }
    texts |= {"str": str(error), "repr": repr(error), "args": repr(error.args)}
    texts["pickle"] = pickle.dumps(error).decode("latin-1")
    texts["fields"] = repr(vars(error))
    texts["cause"] = repr(error.__cause__) + repr(error.__context__)
    return texts


def leaks_of(error: BaseException) -> list[str]:
    """Where an error shows the key, or its beginning."""
    return [place for place, text in shown_by(error).items() if START in text]


ECHO = f"The key {MARKER} is not valid."
NESTED = failure(
    "x", ECHO, param=MARKER, details=[{"loc": [MARKER], "msg": ECHO, "input": [MARKER]}]
)
ECHOES: dict[str, Behaviour] = {
    f"{status} {name}": reply(body, status, {"x-echo": MARKER, "x-request-id": MARKER})
    for status in (200, 400, 401, 404, 429, 500)
    for name, body in {
        "in JSON": NESTED,
        "as text": ECHO,
        "in a URL": f"https://a.example/?key={quote(MARKER, safe='')}",
        "in HTML": f"<p>{escape(MARKER)}</p>",
        "cut": "x" * (980 - len("The key ")) + ECHO,
        "cut in the start of what is no JSON": "x" * 185 + MARKER,
    }.items()
}
BROKEN: dict[str, Behaviour] = {
    "a reset": raw(b"", "reset"),
    "no HTTP": raw(b"SSH-2.0\r\n\r\n"),
    "silence": raw(b"", "stall"),
    "silence after headers": raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", "stall"),
    "a cut body": raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab"),
    "a redirect": reply("", 307, {"location": f"https://a.example/{quote(MARKER)}"}),
    "an error inside a stream": stream(events(part("a"), failure("x", ECHO))),
    "a stream that breaks": stream(events(part("a"), done=False)),
    "an odd event": stream(events(part("a"), MARKER, done=False)),
}
FAULTS = {**ECHOES, **BROKEN}


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


BAD = f"{MARKER}\nwith a line"


@pytest.mark.parametrize("credential", [BAD, lambda: BAD], ids=["key", "function"])
def test_a_key_that_does_not_fit_is_in_no_traceback(
    kind: str, server: RawServer, credential: Any
) -> None:
    def calling() -> None:
        if kind == "sync":
            InferenceClient(server.url, credential, "m").complete(USER)
        else:
            asyncio.run(AsyncInferenceClient(server.url, credential, "m").complete(USER))

    with pytest.raises(InferenceError) as caught:
        calling()
    assert leaks_of(caught.value) == []


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


@pytest.mark.parametrize("secret", ["abc", "abcd", "abcdefgh", "abcdefghijkl"])
def test_a_secret_is_replaced_wherever_it_stands(secret: str) -> None:
    text = redact(f"<{secret}> and {secret}", secret)
    assert (secret in text) == (len(secret) < 4)


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
