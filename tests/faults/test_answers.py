"""Answers that are broken, cut, late, foreign or malicious: a typed error, and no endless wait."""

from __future__ import annotations

import gzip
import json
import pickle
import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from azinfer.core import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    Clock,
    ContentFilterError,
    DeploymentNotFoundError,
    InferenceError,
    InvalidResponseError,
    PermissionDeniedError,
    StreamInterruptedError,
    Timeout,
)
from client_driver import ClientDriver, TestClock, open_driver
from raw_server import (
    Behaviour,
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
    stream,
    vectors,
)

Ask = Callable[..., ClientDriver]
GOOD = reply(chat())
WHOLE = answer(chat())
TEXT = json.dumps(chat()).encode()


def with_head(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", "content-type: application/json", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def silent(peer: Peer) -> None:
    peer.wait_until_client_leaves()


def drip(data: bytes) -> Behaviour:
    """Send the head, then a byte at a time, for as long as somebody listens."""

    def behave(peer: Peer) -> None:
        peer.send(data)
        peer.sock.settimeout(0.02)
        while True:
            try:
                if not peer.sock.recv(1):
                    break
            except TimeoutError:
                peer.send(b" ")
            except OSError:
                break
        peer.close()

    return behave


LENGTH = f"content-length: {len(TEXT)}"
RETRIED = {
    "a reset in the middle of a body": raw(WHOLE[:-5], "reset"),
    "a body shorter than its length": raw(WHOLE[:-5], "close"),
    "chunks without the last one": raw(chunked_answer(TEXT, whole=False), "close"),
    "no headers, then a reset": lambda peer: peer.reset(),
    "an orderly close before the answer": lambda peer: peer.close(),
    "a head that is cut": raw(b"HTTP/1.1 200 OK\r\ncontent-le", "close"),
    "a status line that is not HTTP": raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "close"),
    "a malformed chunk size": raw(
        chunked_answer(TEXT).replace(b"\r\n\r\n", b"\r\n\r\nzz", 1), "close"
    ),
    "a cut gzip stream": raw(
        with_head(gzip.compress(TEXT)[:-9], "content-encoding: gzip", "connection: close"),
        "close",
    ),
    "502 in HTML": reply("<html>Bad Gateway</html>", 502, content_type="text/html"),
    "504 as text": reply("upstream request timeout", 504, content_type="text/plain"),
}


@pytest.mark.parametrize("fault", RETRIED)
def test_one_fault_is_retried_and_the_call_succeeds(
    ask: Ask, server: RawServer, clock: TestClock, fault: str
) -> None:
    server.will(RETRIED[fault], GOOD)
    assert ask().complete().text == "hello"
    assert (len(server.received), clock.waits) == (2, [0.5])


@pytest.mark.parametrize("fault", RETRIED)
def test_a_permanent_fault_is_a_typed_error_after_three_attempts(
    ask: Ask, server: RawServer, fault: str
) -> None:
    server.will(RETRIED[fault])
    with pytest.raises(InferenceError) as caught:
        ask().complete()
    error = caught.value
    assert isinstance(error, APIConnectionError | APIStatusError | InvalidResponseError)
    assert (error.deployment, error.attempts, len(server.received)) == ("gpt-4.1", 3, 3)


REFUSED: dict[str, Behaviour] = {
    "HTML of a captive portal": reply("<html>Sign in</html>", content_type="text/html"),
    "an empty body": reply(b""),
    "204": raw(b"HTTP/1.1 204 No Content\r\n\r\n", "keep"),
    "null": reply(b"null"),
    "a list": reply(b"[]"),
    "a string": reply(b'"hello"'),
    "cut JSON of the right length": reply(TEXT[:-10]),
    "an encoding that nobody asked for": raw(
        with_head(TEXT, LENGTH, "content-encoding: br"), "keep"
    ),
    "damaged gzip": raw(with_head(TEXT, LENGTH, "content-encoding: gzip"), "keep"),
    "nesting 200,000 deep": reply(b'{"a":' * 200_000),
    "no choices": reply({"choices": []}),
    "an error under 200": reply(failure("no_model_name", "no model")),
    "a redirect to a login page": reply("<html>", 302, {"location": "/login"}),
    "a redirect to itself": reply(b"", 307, {"location": "/openai/v1/chat/completions"}),
    "a redirect without an aim": reply(b"", 301),
}


@pytest.mark.parametrize("fault", REFUSED)
@pytest.mark.parametrize("operation", ["complete", "stream"])
def test_a_malformed_response_is_a_typed_error_at_once(
    ask: Ask, server: RawServer, fault: str, operation: str
) -> None:
    server.will(REFUSED[fault])
    driver = ask()
    with pytest.raises(InferenceError) as caught:
        getattr(driver, operation)()
    assert isinstance(caught.value, InvalidResponseError | APIStatusError)
    assert (caught.value.deployment, len(server.received)) == ("gpt-4.1", 1)
    assert len(str(caught.value)) < 2000
    server.will(GOOD)
    assert driver.complete().text == "hello"


UTF8 = json.dumps(chat("größe 日本"), ensure_ascii=False).encode()
ACCEPTED: dict[str, Behaviour] = {
    "a charset that lies": reply(UTF8, content_type="application/json; charset=iso-8859-1"),
    "a charset that does not exist": reply(UTF8, content_type="application/json; charset=klingon"),
    "no content type": raw(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(UTF8) + UTF8, ""),
    "gzip": reply(gzip.compress(UTF8), headers={"content-encoding": "gzip"}),
    "deflate": reply(zlib.compress(UTF8), headers={"content-encoding": "deflate"}),
    "identity": reply(UTF8, headers={"content-encoding": "identity"}),
    "100 and 103 first": raw(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + answer(UTF8),
        "",
    ),
    "HTTP/1.0": raw(b"HTTP/1.0 200 OK\r\n\r\n" + UTF8, "close"),
    "an answer ended by closing": raw(with_head(UTF8, "connection: close"), "close"),
    "chunks": raw(chunked_answer(UTF8, content_type="application/json"), ""),
    "content in parts": reply(
        chat(None, message={"content": [{"type": "text", "text": "größe 日本"}]})
    ),
    "a stream that nobody asked for": stream(events(part("größe"), part(" 日本", "stop"))),
}


@pytest.mark.parametrize("form", ACCEPTED)
def test_unusual_valid_responses_are_read(ask: Ask, server: RawServer, form: str) -> None:
    server.will(ACCEPTED[form])
    assert ask().complete().text == "größe 日本"
    assert len(server.received) == 1


def test_every_accepted_encoding_is_decoded(ask: Ask, server: RawServer) -> None:
    server.will(GOOD)
    ask().complete()
    assert server.received[0].header("accept-encoding") == "gzip, deflate"


@pytest.mark.parametrize(
    ("content", "text"), [(None, ""), ('\\"', '"'), ("\\ud800", None), ("\\u0000", "\0")]
)
def test_unusual_content_does_not_crash(
    ask: Ask, server: RawServer, content: str | None, text: str | None
) -> None:
    body = json.dumps(chat("X")).replace('"X"', "null" if content is None else f'"{content}"')
    server.will(reply(body))
    if text is None:
        with pytest.raises(InvalidResponseError):
            ask().complete()
    else:
        assert ask().complete().text == text


SLOW: dict[str, Behaviour] = {
    "no headers": silent,
    "headers, then silence": raw(with_head(b"", LENGTH), "stall"),
    "half a body, then silence": raw(WHOLE[:-5], "stall"),
    "a byte now and then": drip(with_head(b"", "content-length: 1000000")),
    "a body without end": drip(with_head(b"", "transfer-encoding: chunked")),
    "headers a byte at a time": drip(b"HTTP/1.1 200 OK\r\nx: "),
}


@pytest.mark.parametrize("fault", SLOW)
def test_a_slow_service_is_a_typed_timeout(ask: Ask, server: RawServer, fault: str) -> None:
    clock = Clock()
    server.will(SLOW[fault])
    driver = ask(timeout=Timeout(attempt=0.5, read=0.4, total=2), max_retries=0, clock=clock)
    began = clock.monotonic()
    with pytest.raises(InferenceError) as caught:
        driver.complete()
    assert clock.monotonic() - began < 4
    assert isinstance(caught.value, APIConnectionError)
    assert server.wait_until(lambda: server.open_connections == 0)


class ClockFromRequest(Clock):
    """Real time that begins when a server has a request: what comes before it takes no time."""

    def __init__(self, number: int, server: RawServer) -> None:
        self._number, self._server = number, server
        self._began: float | None = None

    def monotonic(self) -> float:
        """Return the seconds since the server has received the request."""
        if len(self._server.received) < self._number:
            return 0.0
        now = super().monotonic()
        self._began = now if self._began is None else self._began
        return now - self._began


@pytest.mark.usefixtures("proxies_count")
def test_a_service_behind_a_slow_proxy_times_out(
    kind: str, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    server.will(GOOD, SLOW["headers a byte at a time"])
    limits = Timeout(attempt=1, connect=60, read=60, total=60)
    url, clock = "http://no-such-host.invalid/openai/v1", ClockFromRequest(2, server)
    options: dict[str, Any] = {"max_retries": 0, "allow_http": True, "clock": clock}
    with open_driver(kind, url, "k", model="m", **options) as driver:
        driver.complete(timeout=60)  # all that has to be imported is imported
        with pytest.raises(APITimeoutError, match="within 1 seconds"):
            driver.complete(timeout=limits)
    assert server.wait_until(lambda: server.open_connections == 0)
    targets = {each.target for each in server.received}
    assert len(server.received) == 2
    assert targets == {"http://no-such-host.invalid/openai/v1/chat/completions"}


def test_an_endless_body_is_refused_at_the_limit(ask: Ask, server: RawServer) -> None:
    def endless(peer: Peer) -> None:
        peer.send(with_head(b"", "transfer-encoding: chunked"))
        block = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        try:
            while True:
                peer.sock.sendall(block)
        except OSError:
            peer.close()

    server.will(endless)
    with pytest.raises(InvalidResponseError, match="larger than"):
        ask(clock=Clock(), max_retries=0).complete()


BOMB = """
import asyncio, pathlib, resource, sys
from azinfer.core import AsyncInferenceClient, InferenceClient, InvalidResponseError
made = InferenceClient if sys.argv[2] == "sync" else AsyncInferenceClient
client = made(sys.argv[1], "k", "m", max_retries=0)
try:
    work = client.complete([{"role": "user", "content": "hi"}])
    if sys.argv[2] != "sync":
        asyncio.run(work)
except InvalidResponseError as error:
    assert "larger than" in str(error), error
else:
    raise AssertionError("it was taken for an answer")
# Linux counts the memory of the process that started this one into ru_maxrss.
status = pathlib.Path("/proc/self/status")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
if status.exists():
    peak = int(status.read_text().split("VmHWM:")[1].split()[0])
print(peak // 1024)
"""


def test_a_compression_bomb_does_not_fill_the_memory(kind: str, server: RawServer) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(b" " * 1_000_000) for _ in range(300)) + packer.flush()
    assert len(bomb) < 400_000
    server.will(reply(bomb, headers={"content-encoding": "gzip"}))
    command = [sys.executable, "-c", BOMB, f"{server.url}/models", kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 150


def test_leftover_bytes_never_answer_the_next_call(ask: Ask, server: RawServer) -> None:
    late = answer(chat("of the call before"))
    short = with_head(TEXT, f"content-length: {len(TEXT) - 40}")
    server.will(raw(short, ""), GOOD)
    driver = ask()
    with pytest.raises(InvalidResponseError):
        driver.complete()
    assert driver.complete().text == "hello"
    server.will(raw(WHOLE + late, ""), GOOD)
    assert [driver.complete().text for _ in range(3)] == ["hello"] * 3


def test_a_late_response_never_answers_the_next_call(ask: Ask, server: RawServer) -> None:
    sent = threading.Event()

    def poison(peer: Peer) -> None:
        peer.send(WHOLE)
        peer.send(answer(chat("unasked")))
        sent.set()

    server.will(poison, GOOD)
    driver = ask()
    assert driver.complete().text == "hello"
    assert sent.wait(10)
    assert [driver.complete().text for _ in range(2)] == ["hello"] * 2


def test_the_answer_to_another_request_is_not_taken(ask: Ask, server: RawServer) -> None:
    requests: list[str] = []

    def echo(request: Any) -> Behaviour:
        requests.append(request.header("x-ms-client-request-id"))
        # The first answer has the id of a request that this process never sent.
        wrong = requests[0][:18] + "-ffff-000000000000"
        content = wrong if len(requests) == 1 else requests[-1]
        return reply(chat(), headers={"x-ms-client-request-id": content})

    server.choose = echo
    assert ask().complete().text == "hello"
    assert len(requests) == 2


def test_a_closed_idle_connection_is_replaced_silently(
    ask: Ask, server: RawServer, clock: TestClock
) -> None:
    def once(peer: Peer) -> None:
        peer.send(WHOLE)
        peer.close()

    server.will(once)
    driver = ask()
    assert driver.complete().text == "hello"
    assert server.wait_until(lambda: server.open_connections == 0)
    assert driver.complete().text == "hello"
    assert server.connections == 2
    assert not clock.waits


def test_a_connection_that_fails_on_reuse_is_retried(ask: Ask, server: RawServer) -> None:
    def choose(request: Any) -> Behaviour:
        first = sum(each.connection == request.connection for each in server.received) == 1
        return GOOD if first else lambda peer: peer.reset()

    server.choose = choose
    driver = ask()
    assert [driver.complete().text for _ in range(4)] == ["hello"] * 4


STREAMS: dict[str, tuple[bytes, str, type[InferenceError]]] = {
    "a clean end without a finish reason": (
        events(part("hel"), done=False),
        "close",
        StreamInterruptedError,
    ),
    "a reset after text": (events(part("hel"), done=False), "reset", StreamInterruptedError),
    "a cut inside a character": (
        events(part("hel"), done=False) + b'data: {"choices":[{"delta":{"content":"\xe6\x97',
        "close",
        StreamInterruptedError,
    ),
    "a cut inside an event": (
        events(part("hel"), done=False) + b'data: {"choices"',
        "close",
        StreamInterruptedError,
    ),
    "silence": (events(part("hel"), done=False), "stall", APITimeoutError),
    "a malformed event": (
        events(part("hel"), "{oops", part("lo", "stop")),
        "close",
        InvalidResponseError,
    ),
    "an error event": (
        events(part("hel"), done=False)
        + b'event: error\ndata: {"error":{"code":"500","message":"x"}}\n\n',
        "close",
        APIStatusError,
    ),
    "an error as data": (
        events(part("hel"), failure("content_filter", "x")),
        "close",
        ContentFilterError,
    ),
}


@pytest.mark.parametrize("fault", STREAMS)
def test_a_broken_stream_is_a_typed_error_with_its_partial_answer(
    ask: Ask, server: RawServer, fault: str
) -> None:
    data, then, kind = STREAMS[fault]
    server.will(stream(data, then))
    texts: list[str] = []
    with pytest.raises(kind) as caught:
        ask(timeout=Timeout(read=1), clock=Clock()).read(lambda chunk: texts.append(chunk.text))
    assert "".join(texts) == "hel"
    assert caught.value.partial is not None
    assert caught.value.partial.text == "hel"
    assert caught.value.deployment == "gpt-4.1"
    assert len(server.received) == 1


def test_a_chunked_stream_that_is_cut_is_interrupted(ask: Ask, server: RawServer) -> None:
    server.will(raw(chunked_answer(events(part("hel"), done=False), whole=False), "close"))
    with pytest.raises(StreamInterruptedError) as caught:
        ask().stream()
    assert caught.value.partial is not None
    assert caught.value.partial.text == "hel"


EMPTY = {"choices": [{"index": 0, "delta": {"role": None, "content": None, "tool_calls": None}}]}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (events(part("a"), part(None, "stop"), done=False), "stop"),
        (events(part("a"), part(None, "length")), "length"),
        (events(part("a"), part(None, "content_filter")), "content_filter"),
        (events(part("a"), "null", part(None, "stop")), "stop"),
        (events(part("a"), {"choices": [{"index": 0}]}, part("", "stop")), "stop"),
        (
            events(part("a"), EMPTY, part("", "stop")),
            "stop",
        ),
        (events(part("a")), None),
    ],
)
def test_a_complete_stream_has_its_finish_reason(
    ask: Ask, server: RawServer, data: bytes, reason: str | None
) -> None:
    server.will(stream(data))
    read = ask().stream()
    assert (read.text, read.completion.finish_reason) == ("a", reason)


@pytest.mark.parametrize(
    "rows",
    [
        {"data": [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0]}]},
        {"data": [{"index": 0, "embedding": [1.0]}] * 3},
        vectors([1.0], [2.0], [3.0], [4.0]),
        vectors([1.0], [2.0], ["NaN"]),
        vectors([1.0], [2.0], [3.0, 4.0]),
        vectors([1.0], [2.0], "AACAfw=="),
        vectors([1.0], [2.0], None),
    ],
)
def test_mismatched_vectors_are_a_typed_error(ask: Ask, server: RawServer, rows: Any) -> None:
    server.will(reply(rows))
    with pytest.raises(InvalidResponseError):
        ask().embed(["a", "b", "c"])


@pytest.mark.parametrize(
    ("status", "body", "raised", "code"),
    [
        (404, failure("DeploymentNotFound"), DeploymentNotFoundError, "DeploymentNotFound"),
        (404, failure("unknown_model"), DeploymentNotFoundError, "unknown_model"),
        (401, {"statusCode": 401, "message": "no"}, AuthenticationError, "401"),
        (403, failure("Forbidden"), PermissionDeniedError, "Forbidden"),
        (413, failure("RequestEntityTooLarge"), BadRequestError, "RequestEntityTooLarge"),
        (400, [failure("x")], BadRequestError, "x"),
        (400, b"", BadRequestError, "400"),
        (400, "plain text", BadRequestError, "400"),
        (400, b"\xff\xfe", BadRequestError, "400"),
        (418, {"message": "teapot"}, BadRequestError, "418"),
    ],
)
def test_an_error_body_in_any_dialect_is_typed_after_one_attempt(
    ask: Ask, server: RawServer, status: int, body: Any, raised: type[APIStatusError], code: str
) -> None:
    server.will(reply(body, status, {"apim-request-id": "r9"}))
    with pytest.raises(raised) as caught:
        ask().complete()
    error = caught.value
    assert (error.status, error.code, error.request_id) == (status, code, "r9")
    assert (error.deployment, len(server.received)) == ("gpt-4.1", 1)
    assert error.message


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("{'error': {'message': \"Unsupported parameter: 'n'\"}}", "Unsupported parameter: 'n'"),
        ('{"message": "nested"}', "nested"),
        ("{'not': closed", "{'not': closed"),
        ("{" * 20_000, "{{{"),
    ],
)
def test_an_error_nested_in_a_message_is_read(
    ask: Ask, server: RawServer, message: str, expected: str
) -> None:
    server.will(reply(failure("x", message), 400))
    with pytest.raises(BadRequestError) as caught:
        ask().complete()
    assert caught.value.message.startswith(expected)


def test_the_parameter_at_fault_is_readable(ask: Ask, server: RawServer) -> None:
    detail = [
        {"type": "extra_forbidden", "loc": ["body", "user"], "msg": "Extra inputs", "input": 1}
    ]
    server.will(reply({"detail": detail}, 422))
    with pytest.raises(BadRequestError) as caught:
        ask().complete()
    assert (caught.value.param, caught.value.details[0].input) == ("user", 1)


VIOLENCE = {"violence": {"filtered": True, "severity": "high"}}


@pytest.mark.parametrize(
    "inner",
    [
        {"innererror": {"content_filter_result": VIOLENCE}},
        {"inner_error": {"content_filter_results": VIOLENCE}},
        {"content_filter_result": {**VIOLENCE, "hate": 1}},
    ],
)
def test_the_category_of_a_content_filter_is_readable(
    ask: Ask, server: RawServer, inner: dict[str, Any]
) -> None:
    server.will(reply(failure("content_filter", "blocked", **inner), 400))
    with pytest.raises(ContentFilterError) as caught:
        ask().complete()
    assert dict(caught.value.categories) == {"violence": "high"}


def test_an_error_whose_body_cannot_be_decoded_keeps_its_status(
    ask: Ask, server: RawServer
) -> None:
    server.will(reply(b"no gzip", 400, {"content-encoding": "gzip"}))
    with pytest.raises(BadRequestError) as caught:
        ask().complete()
    assert caught.value.status == 400


def test_an_unreachable_service_is_an_error_that_says_so(ask: Ask, server: RawServer) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        driver = ask()
        driver.client.endpoint = type(driver.client.endpoint).parse(
            f"http://127.0.0.1:{port}/models"
        )
        with pytest.raises(APIConnectionError, match="connection failed"):
            driver.complete()


def tool_answers(*calls: Any) -> list[Any]:
    """A whole answer that calls tools, and the same as a stream."""
    whole = chat(None, message={"tool_calls": list(calls)})
    pieces = [part(None, None, tool_calls=[call]) for call in calls]
    return [reply(whole), stream(events(*pieces, part(None, "tool_calls")))]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("arguments", "read"),
    [(None, "{}"), ({"x": 1}, '{"x":1}'), ('{"x":1}', '{"x":1}'), ("", "{}")],
)
def test_arguments_of_any_form_are_a_json_string(
    ask: Ask, server: RawServer, arguments: Any, read: str, streamed: bool
) -> None:
    call = {"id": "a", "index": 0, "function": {"name": "f", "arguments": arguments}}
    server.will(tool_answers(call)[streamed])
    completion = ask().stream().completion if streamed else ask().complete()
    assert [each.function.arguments for each in completion.tool_calls] == [read]
    assert completion.finish_reason == "tool_calls"


@pytest.mark.parametrize("streamed", [False, True])
def test_two_calls_with_one_id_both_reach_the_caller(
    ask: Ask, server: RawServer, streamed: bool
) -> None:
    first = {"id": "a", "index": 0, "function": {"name": "f", "arguments": "{}"}}
    second = {"id": "a", "index": 1, "function": {"name": "g", "arguments": "{}"}}
    server.will(tool_answers(first, second)[streamed])
    completion = ask().stream().completion if streamed else ask().complete()
    assert [each.function.name for each in completion.tool_calls] == ["f", "g"]


def test_a_filtered_choice_without_content_says_so(ask: Ask, server: RawServer) -> None:
    choice = {"index": 0, "finish_reason": "content_filter"}
    server.will(reply({"choices": [choice]}), stream(events({"choices": [choice]})))
    driver = ask()
    for read in (driver.complete(), driver.stream().completion):
        assert (read.text, read.finish_reason) == ("", "content_filter")


def test_vectors_out_of_order_are_sorted_by_index(ask: Ask, server: RawServer) -> None:
    rows = vectors([1.0], [2.0], [3.0])
    server.will(reply({**rows, "data": rows["data"][::-1]}))
    assert [list(each) for each in ask().embed(["a", "b", "c"])] == [[1.0], [2.0], [3.0]]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "null"])
def test_a_vector_with_an_invalid_number_is_a_typed_error(
    ask: Ask, server: RawServer, number: str
) -> None:
    server.will(reply(json.dumps(vectors([1.0, 2.0])).replace("2.0", number)))
    with pytest.raises(InvalidResponseError):
        ask().embed("a", encoding_format="float")


def test_base64_is_decoded_even_if_floats_were_requested(ask: Ask, server: RawServer) -> None:
    server.will(reply(vectors("AACAPwAAAEA=")))
    embeddings = ask().embed("a", encoding_format="float")
    assert server.received[0].json["encoding_format"] == "float"
    assert list(embeddings.vectors[0]) == [1.0, 2.0]


@pytest.mark.parametrize("operation", ["complete", "stream"])
def test_an_error_for_a_malformed_response_has_its_request_id(
    ask: Ask, server: RawServer, operation: str
) -> None:
    known = {"apim-request-id": "r9"}
    server.will(reply(failure("500"), 500, {"apim-request-id": "r8"}), reply(b"null", 200, known))
    with pytest.raises(InvalidResponseError, match="request id r9") as caught:
        getattr(ask(), operation)()
    assert (caught.value.request_id, caught.value.headers["content-length"]) == ("r9", "4")
    server.will(reply(failure("500"), 500, {"apim-request-id": "r8"}), lambda peer: peer.reset())
    with pytest.raises(APIConnectionError) as broken:
        getattr(ask(max_retries=1), operation)()
    assert (broken.value.request_id, broken.value.headers) == (None, {})


def test_errors_that_come_over_the_wire_survive_a_pickle(ask: Ask, server: RawServer) -> None:
    server.will(reply(failure("DeploymentNotFound", "gone"), 404, {"apim-request-id": "r9"}))
    with pytest.raises(DeploymentNotFoundError) as caught:
        ask().complete()
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is DeploymentNotFoundError
    assert str(again) == str(caught.value)
    assert (again.status, again.request_id, again.deployment) == (404, "r9", "gpt-4.1")
    assert again.headers["apim-request-id"] == "r9"


def test_an_error_nested_twice_in_messages_is_read(ask: Ask, server: RawServer) -> None:
    inner = {"error": {"code": "x", "message": "the reason"}}
    message = json.dumps({"error": {"message": json.dumps(inner)}})
    server.will(reply(failure("Invalid input", message), 400))
    with pytest.raises(BadRequestError) as caught:
        ask().complete()
    assert caught.value.message == "the reason"


def test_closing_twice_and_calling_after_it_are_harmless(
    kind: str, ask: Ask, server: RawServer
) -> None:
    server.will(GOOD)
    driver = ask()
    for _ in range(2):
        assert driver.complete().text == "hello"
        for _ in range(2):
            driver.run(driver.client.close() if kind == "sync" else driver.client.aclose())
