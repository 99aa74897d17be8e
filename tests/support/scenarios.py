"""Scenarios: the bytes that a service sends, and the result that the client must return.

Each family is a table, which `tests/faults/test_scenarios.py` runs against both clients. What is
expected is a mapping of names to values:

    text, finish, usage, vectors, names, waits    what the caller gets
    error, code, status, says                     the error that the caller gets, by its class
    partial                                       what came before it is the beginning of the text
    maybe, maybe vectors                          this value, or else any error of azinfer
    ANY                                           a value, or any error of azinfer
"""

from __future__ import annotations

import base64
import gzip
import json
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from azinfer.core import (
    APIConnectionError,
    AuthenticationError,
    BadRequestError,
    InferenceError,
    InvalidResponseError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
)
from raw_server import answer, chat, events, failure, part, vectors

Expected: TypeAlias = Mapping[str, Any]

ANY: Expected = {}
HELLO: Expected = {"text": "hello"}
MAYBE: Expected = {"maybe": "hello"}
LOST: Expected = {"error": APIConnectionError}
INVALID: Expected = {"error": InvalidResponseError}
TYPED: Expected = {"error": InferenceError}
NOW = "Fri, 15 Jan 2027 08:00:00 GMT"  # when the clock of the tests begins


@dataclass(frozen=True)
class Scenario:
    """One behaviour of a service and the expected result.

    Attributes:
        name: Its family and its name.
        answers: What is sent for each request; the last one for all further ones.
        expected: What the caller gets.
        operation: What is called: complete, stream, embed or deployments.
        pieces: `True` to send each byte alone.
        inputs: How many texts are embedded.
        retries: How often the client may send again.
        closes: Whether the connection is closed after an answer.
    """

    name: str
    answers: tuple[bytes, ...]
    expected: Mapping[str, Any]
    operation: str = "complete"
    pieces: bool = False
    inputs: int = 2
    retries: int = 0
    closes: bool = True


# HTTP framing. Source: RFC 9112, sections 2 to 7 and 9; RFC 9110, section 8.4 (codings).

BODY = json.dumps(chat()).encode()
SIZE = len(BODY)


def head(*headers: str, status: str = "HTTP/1.1 200 OK") -> bytes:
    """Return a status line with headers."""
    return "\r\n".join((status, *headers, "\r\n")).encode("latin-1")


def sized_response(*headers: str, status: str = "HTTP/1.1 200 OK", body: bytes = BODY) -> bytes:
    """Return a response with its right length."""
    return head(*headers, f"content-length: {len(body)}", status=status) + body


def in_chunks(*chunks: str, end: str = "0\r\n\r\n") -> bytes:
    """Return a response in chunks: each is a size line, of which {} is the size in hex."""
    each = -(-SIZE // len(chunks))
    data = b""
    for at, chunk in enumerate(chunks):
        piece = BODY[at * each : (at + 1) * each]
        data += chunk.replace("{}", f"{len(piece):x}").encode() + b"\r\n" + piece + b"\r\n"
    return head("transfer-encoding: chunked") + data + end.encode()


STATUS_LINES: dict[str, Expected] = {
    "HTTP/1.1 200 OK": HELLO,
    "HTTP/1.1 200 ": HELLO,
    "HTTP/1.1 200": HELLO,
    "HTTP/1.0 200 OK": HELLO,
    "HTTP/1.1 200 A long reason: with, punctuation!": HELLO,
    "HTTP/1.1 201 Created": HELLO,
    "HTTP/1.1 202 Accepted": HELLO,
    "HTTP/1.1 203 Non-Authoritative": HELLO,
    "HTTP/1.1 200 \xd6k": MAYBE,
    "HTTP/1.1 206 Partial Content": MAYBE,
    "HTTP/1.1 299 X": MAYBE,
    "HTTP/1.2 200 OK": MAYBE,
    "HTTP/2.0 200 OK": MAYBE,
    "HTTP/9.9 200 OK": MAYBE,
    "http/1.1 200 OK": MAYBE,
    "HTTP/1.1  200 OK": MAYBE,
    "HTTP/1.1\t200 OK": MAYBE,
    "HTTP/1.1 20 OK": TYPED,
    "HTTP/1.1 2000 OK": TYPED,
    "HTTP/1.1 000 OK": TYPED,
    "HTTP/1.1 600 X": TYPED,
    "HTTP/1.1 999 X": TYPED,
    "HTTP/1.1 abc OK": LOST,
    "HTTP/1.1 -200 OK": LOST,
    "HTTP 200 OK": LOST,
    "ICY 200 OK": LOST,
    "SSH-2.0-OpenSSH_9.2": LOST,
    "GET / HTTP/1.1": LOST,
    "<html>": LOST,
    "\x00\x01\x02": LOST,
    "HTTP/1.1 300 X": TYPED,
    "HTTP/1.1 301 X": TYPED,
    "HTTP/1.1 304 X": TYPED,
    "HTTP/1.1 307 X": TYPED,
    "HTTP/1.1 204 No Content": TYPED,
    "HTTP/1.1 205 Reset Content": MAYBE,
    "HTTP/1.1 101 Switching Protocols": LOST,
}
LENGTHS: dict[str, Expected] = {
    f"{SIZE}": HELLO,
    f"  {SIZE}": HELLO,
    f"{SIZE}  ": HELLO,
    f"\t{SIZE}": HELLO,
    f"000{SIZE}": MAYBE,
    f"+{SIZE}": TYPED,
    f"-{SIZE}": TYPED,
    f"{SIZE}, {SIZE}": MAYBE,
    f"{SIZE}, {SIZE + 1}": TYPED,
    f"{SIZE}\r\ncontent-length: {SIZE}": MAYBE,
    f"{SIZE}\r\ncontent-length: {SIZE + 1}": TYPED,
    f"{SIZE + 1}\r\ncontent-length: {SIZE}": TYPED,
    f"0x{SIZE:x}": TYPED,
    f"{SIZE}.0": TYPED,
    f"{SIZE} {SIZE}": TYPED,
    "": TYPED,
    "abc": TYPED,
    "0": INVALID,
    "1": INVALID,
    f"{SIZE - 1}": INVALID,
    f"{SIZE - 40}": INVALID,
    f"{SIZE + 1}": LOST,
    f"{SIZE + 4000}": LOST,
    f"{2**63}": TYPED,
    f"{10**30}": TYPED,
    "9" * 5000: TYPED,
}
CODINGS: dict[str, Expected] = {
    "chunked": HELLO,
    "Chunked": HELLO,
    "CHUNKED": HELLO,
    " chunked ": HELLO,
    "identity, chunked": MAYBE,
    "gzip, chunked": MAYBE,
    "chunked, chunked": MAYBE,
    "chunked;q=1": MAYBE,
    "xchunked": TYPED,
    "chunked, gzip": TYPED,
}
CHUNKS: dict[str, tuple[bytes, Expected]] = {
    "one": (in_chunks("{}"), HELLO),
    "several": (in_chunks("{}", "{}", "{}"), HELLO),
    "each byte": (in_chunks(*["{}"] * SIZE), HELLO),
    "leading zeros": (in_chunks("000{}", "00{}"), HELLO),
    "upper case": (in_chunks(f"{SIZE:X}"), HELLO),
    "an extension": (in_chunks("{};a=b", "{};a"), HELLO),
    # RFC 9112, section 7.1.1, allows the space; llhttp refuses it.
    "an extension after a space": (in_chunks("{}; a"), MAYBE),
    "a quoted extension": (in_chunks('{};a="b;c"'), MAYBE),
    "a space after the size": (in_chunks("{} "), MAYBE),
    "a space before the size": (in_chunks(" {}"), MAYBE),
    "a long end": (in_chunks("{}", end="000\r\n\r\n"), HELLO),
    "an end with an extension": (in_chunks("{}", end="0;a=b\r\n\r\n"), HELLO),
    "a trailer": (in_chunks("{}", end="0\r\nx-a: 1\r\n\r\n"), HELLO),
    "trailers": (in_chunks("{}", end="0\r\nx-a: 1\r\nx-b: 2\r\n\r\n"), HELLO),
    # No sender may do that (RFC 9110, section 6.5.1); llhttp refuses it.
    "a trailer with a length": (in_chunks("{}", end="0\r\ncontent-length: 3\r\n\r\n"), MAYBE),
    "no end": (in_chunks("{}", end=""), LOST),
    "half an end": (in_chunks("{}", end="0\r\n"), LOST),
    "a trailer without an end": (in_chunks("{}", end="0\r\nx-a: 1\r\n"), LOST),
    "a negative size": (in_chunks("-{}"), LOST),
    "a size with 0x": (in_chunks("0x{}"), LOST),
    "a size that is a word": (in_chunks("size"), LOST),
    "an empty size": (in_chunks(""), LOST),
    "a huge size": (in_chunks("f" * 17), LOST),
    "a size that is too small": (in_chunks(f"{SIZE - 3:x}"), LOST),
    "a size that is too large": (in_chunks(f"{SIZE + 3:x}"), LOST),
    "line feeds alone": (in_chunks("{}").replace(b"\r\n", b"\n"), MAYBE),
    "bytes behind the end": (in_chunks("{}") + b"more", HELLO),
    "a response behind the end": (in_chunks("{}") + answer(chat("foreign")), HELLO),
}
HEADERS: dict[str, Expected] = {
    "X-A: 1": HELLO,
    "x-a:1": HELLO,
    "x-a:\t1\t": HELLO,
    "x-a:": HELLO,
    "x-a: a:b:c": HELLO,
    "x-a: \xfc\xff": MAYBE,
    "x-a: 1\r\nx-a: 2": HELLO,
    "x-a: 1\r\n folded": MAYBE,
    "x-a : 1": MAYBE,
    ": 1": MAYBE,
    "no colon": MAYBE,
    "x a: 1": MAYBE,
    "x-a: \x00": MAYBE,
    "x-a: 1\r2": MAYBE,
    "x-a: 1\nx-b: 2": MAYBE,
    "(x): 1": MAYBE,
    "connection: close": HELLO,
    "connection: keep-alive": HELLO,
    "connection: Keep-Alive, X-A": HELLO,
    "keep-alive: timeout=0": HELLO,
    "upgrade: h2c": MAYBE,
    "connection: upgrade\r\nupgrade: h2c": MAYBE,
    "content-type: text/html": HELLO,
    "content-type: application/json; charset=klingon": HELLO,
    "content-type: \xff": MAYBE,
    "content-range: bytes 0-9/10": HELLO,
    "set-cookie: a=b": HELLO,
    "location: https://a.example/": HELLO,
    "\r\n".join(f"x-{at}: {at}" for at in range(90)): HELLO,
    "x-a: " + "1" * 50_000: HELLO,
    "x-a: " + "1" * 200_000: TYPED,
    "\r\n".join(f"x-{at}: {at}" for at in range(20_000)): TYPED,
}
BEFORE: dict[str, Expected] = {
    "HTTP/1.1 100 Continue\r\n\r\n": HELLO,
    "HTTP/1.1 102 Processing\r\n\r\n": HELLO,
    "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n": HELLO,
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n": HELLO,
    "HTTP/1.1 100 Continue\r\ncontent-length: 3\r\n\r\n": MAYBE,
    "HTTP/1.1 100 C\r\n\r\n" * 9: HELLO,
    "\r\n": MAYBE,
    "\r\n\r\n\r\n": MAYBE,
    "\n": MAYBE,
    " ": MAYBE,
    "junk\r\n": LOST,
}


def raw_deflated(data: bytes) -> bytes:
    """Return data in the format that some servers wrongly call deflate."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


HALVES = gzip.compress(BODY[:50]) + gzip.compress(BODY[50:])
CONTENTS: dict[str, tuple[str, bytes, Expected]] = {
    "gzip": ("gzip", gzip.compress(BODY), HELLO),
    "x-gzip": ("x-gzip", gzip.compress(BODY), HELLO),
    "GZIP": ("GZIP", gzip.compress(BODY), HELLO),
    "deflate": ("deflate", zlib.compress(BODY), HELLO),
    "deflate without its header": ("deflate", raw_deflated(BODY), MAYBE),
    "identity": ("identity", BODY, HELLO),
    "no name": ("", BODY, HELLO),
    "two": ("gzip, identity", gzip.compress(BODY), MAYBE),
    "gzip twice": ("gzip, gzip", gzip.compress(gzip.compress(BODY)), MAYBE),
    "gzip in two members": ("gzip", HALVES, MAYBE),
    "gzip and more": ("gzip", gzip.compress(BODY) + b"more", MAYBE),
    "gzip of nothing": ("gzip", gzip.compress(b""), INVALID),
    "gzip that is empty": ("gzip", b"", TYPED),
    "gzip that is cut": ("gzip", gzip.compress(BODY)[:-9], TYPED),
    "gzip that is changed": ("gzip", gzip.compress(BODY)[:-8] + b"12345678", TYPED),
    "gzip that is plain": ("gzip", BODY, TYPED),
    "plain that is gzip": ("identity", gzip.compress(BODY), INVALID),
    "br": ("br", BODY, INVALID),
    "zstd": ("zstd", BODY, INVALID),
    "an unknown one": ("x-unknown", BODY, INVALID),
}


def framing_scenarios() -> Iterator[Scenario]:
    """HTTP/1.1 as it is and as it should not be."""
    for line, expected in STATUS_LINES.items():
        yield Scenario(f"status line {line!r}", (sized_response(status=line),), expected)
    for length, expected in LENGTHS.items():
        name = f"content-length {length[:40]!r}"
        yield Scenario(name, (head(f"content-length: {length}") + BODY,), expected)
    for coding, expected in CODINGS.items():
        data = in_chunks("{}").replace(b"chunked", coding.encode(), 1)
        yield Scenario(f"transfer-encoding {coding!r}", (data,), expected)
    for name, (data, expected) in CHUNKS.items():
        yield Scenario(f"chunks: {name}", (data,), expected)
    for header, expected in HEADERS.items():
        yield Scenario(f"header {header[:40]!r} {len(header)}", (sized_response(header),), expected)
    for before, expected in BEFORE.items():
        yield Scenario(
            f"before it {before[:60]!r}", (before.encode() + sized_response(),), expected
        )
    for name, (coding, data, expected) in CONTENTS.items():
        data = sized_response(f"content-encoding: {coding}", body=data)
        yield Scenario(f"content-encoding: {name}", (data,), expected)
    yield from cuts()


def cuts() -> Iterator[Scenario]:
    """Responses that are cut, doubled, or come in pieces."""
    both = head("transfer-encoding: chunked", f"content-length: {SIZE}")
    yield Scenario(
        "chunks and a length",
        (in_chunks("{}").replace(head("transfer-encoding: chunked"), both),),
        MAYBE,
    )
    yield Scenario("no length", (head() + BODY,), HELLO)
    yield Scenario("no length in HTTP/1.0", (head(status="HTTP/1.0 200 OK") + BODY,), HELLO)
    yield Scenario("each byte alone", (sized_response(),), HELLO, pieces=True)
    yield Scenario("each byte of chunks alone", (in_chunks("{}", "{}"),), HELLO, pieces=True)
    yield Scenario("nothing", (b"",), LOST)
    for at in (1, 9, 15, 20, 40, len(sized_response()) - SIZE, len(sized_response()) - 1):
        yield Scenario(f"cut after {at}", (sized_response()[:at],), LOST)
    yield Scenario(
        "a second response", (sized_response() + answer(chat("foreign")),), HELLO, closes=False
    )
    yield Scenario("line feeds alone", (sized_response().replace(b"\r\n", b"\n"),), MAYBE)


# JSON. Source: RFC 8259, sections 2 to 9.


def body_with(old: str, new: str) -> bytes:
    """Return the body of a chat with some text replaced."""
    assert old in BODY.decode()
    return BODY.decode().replace(old, new).encode("utf-8", "surrogatepass")


TEXTS: dict[str, Any] = {
    '"hello"': "hello",
    '"h\\u0065llo"': "hello",
    '"\\"\\\\\\/\\b\\f\\n\\r\\t"': '"\\/\b\f\n\r\t',
    '"\\u00e9"': "é",
    '"é"': "é",
    '"\\ud83d\\ude00"': "😀",
    '"😀"': "😀",
    '"\\u0000"': "\0",
    '"\\u2028"': "\u2028",
    '"\u2028\u2029\u0085"': "\u2028\u2029\u0085",
    '"\x7f"': "\x7f",
    '""': "",
    "null": "",
    '"' + "x" * 100_000 + '"': "x" * 100_000,
    '[{"type":"text","text":"a"},{"type":"text","text":"b"}]': "ab",
    "[]": "",
}
BODIES: dict[bytes, Expected] = {
    b" \t\r\n" + BODY + b" \t\r\n": HELLO,
    b"\xef\xbb\xbf" + BODY: HELLO,
    b"\xef\xbb\xbf\r\n" + BODY: HELLO,
    b"\n" * 10_000 + BODY: HELLO,
    BODY.replace(b" ", b""): HELLO,
    json.dumps(chat(), indent=8).encode(): HELLO,
    BODY.decode().encode("utf-16"): TYPED,
    BODY.decode().encode("utf-16-le"): TYPED,
    BODY.decode().encode("utf-32"): TYPED,
    BODY + b"x": TYPED,
    BODY + BODY: TYPED,
    b"x" + BODY: TYPED,
    b")]}',\n" + BODY: TYPED,
    BODY[:-1]: TYPED,
    BODY[1:]: TYPED,
    b"": TYPED,
    b" ": TYPED,
    b"\x00": TYPED,
    b"{": TYPED,
    b"{}": TYPED,
    b"[]": TYPED,
    b"null": TYPED,
    b"true": TYPED,
    b"1": TYPED,
    b'"hello"': TYPED,
    b"NaN": TYPED,
    b"[" * 100_000: TYPED,
    b'{"a":' * 100_000: TYPED,
    b"[" * 100_000 + b"]" * 100_000: TYPED,
    body_with("hello", "\xff").replace(b"\xc3\xbf", b"\xff"): TYPED,
    body_with('"id": "c1"', '"id": "a", "id": "c1"'): HELLO,
    body_with('"created": 1', '"created": 1e0'): HELLO,
    body_with('"created": 1', '"created": 1' + "0" * 400): MAYBE,
    body_with('"created": 1', '"created": -0.0'): HELLO,
    body_with('"created": 1', '"created": 1e400'): MAYBE,
    body_with('"created": 1', '"created": 1' + "0" * 5000): MAYBE,
}
NOT_JSON = [
    *('"\\ud800"', '"\ud800"', '"\\x"', '"\\u12"', '"a\nb"', '"a', "'hello'", "hello", "undefined"),
    *("NaN", "Infinity", "0x1", "01", "+1", ".5", "1.", "[1,]", '{"a":1,}', "{a:1}", "True"),
]
ODD: list[Any] = [None, True, 0, -1, 1.5, 2**70, "", "x", [], [None], {}, {"a": 1}]
FIELDS = ("id", "created", "model", "object", "usage", "choices", "system_fingerprint")
CHOICE_FIELDS = ("index", "finish_reason", "message", "logprobs", "content_filter_results")
MESSAGE_FIELDS = ("role", "content", "refusal", "tool_calls", "reasoning_content", "audio")


def with_field(field: str, value: Any) -> bytes:
    """Return the body of a chat with another value in a field."""
    body = chat()
    choice = body["choices"][0]
    place = choice["message"] if field in MESSAGE_FIELDS else choice
    (body if field in FIELDS else place)[field] = value
    return json.dumps(body).encode()


def json_oddities() -> Iterator[Scenario]:
    """JSON as it is and as it should not be."""
    for text, value in TEXTS.items():
        data = answer(body_with('"hello"', text))
        yield Scenario(f"content {text[:40]}", (data,), {"text": value})
        chunk = json.dumps(part("X", "stop")).replace('"X"', text)
        expected: Expected = {"text": value}
        yield Scenario(f"delta {text[:40]}", (stream_response(events(chunk)),), expected, "stream")
    for text in NOT_JSON:
        yield Scenario(f"content {text!r}", (answer(body_with('"hello"', text)),), TYPED)
        chunk = json.dumps(part("X", "stop")).replace('"X"', text)
        data = f"data: {chunk}\n\ndata: [DONE]\n\n".encode("utf-8", "surrogatepass")
        yield Scenario(f"delta {text!r}", (stream_response(data),), TYPED, "stream")
    for at, (body, expected) in enumerate(BODIES.items()):
        yield Scenario(f"body {at} {body[:24]!r}", (answer(body),), expected)
    for field in (*FIELDS, *CHOICE_FIELDS, *MESSAGE_FIELDS):
        for value in ODD:
            name = f"{field} is {json.dumps(value)[:20]}"
            yield Scenario(name, (answer(with_field(field, value)),), ANY)


# Retry-After. Source: RFC 9110, sections 5.6.7 and 10.2.3; retry-after-ms is Azure OpenAI's.

GOOD = answer(chat())
BACKOFF = [0.5]
WAITS: dict[str, tuple[dict[str, str], list[float]]] = {
    "nothing": ({}, BACKOFF),
    "seconds": ({"retry-after": "2"}, [2.0]),
    "spaces": ({"retry-after": "  2 "}, [2.0]),
    "zero": ({"retry-after": "0"}, BACKOFF),
    "negative": ({"retry-after": "-1"}, BACKOFF),
    "a fraction": ({"retry-after": "1.5"}, [1.5]),
    "sixty": ({"retry-after": "60"}, [60.0]),
    "a word": ({"retry-after": "soon"}, BACKOFF),
    "empty": ({"retry-after": ""}, BACKOFF),
    "nan": ({"retry-after": "nan"}, BACKOFF),
    "inf": ({"retry-after": "inf"}, BACKOFF),
    "-inf": ({"retry-after": "-inf"}, BACKOFF),
    "a list": ({"retry-after": "2, 3"}, BACKOFF),
    "a unit": ({"retry-after": "2s"}, BACKOFF),
    "hexadecimal": ({"retry-after": "0x2"}, BACKOFF),
    "many digits": ({"retry-after": "0" * 5000 + "2"}, [2.0]),
    "a date": ({"retry-after": "Fri, 15 Jan 2027 08:00:03 GMT"}, [3.0]),
    "a date in lower case": ({"retry-after": "fri, 15 jan 2027 08:00:03 gmt"}, [3.0]),
    "a date without its day": ({"retry-after": "15 Jan 2027 08:00:03 GMT"}, [3.0]),
    "a date with a zone": ({"retry-after": "Fri, 15 Jan 2027 09:00:03 +0100"}, [3.0]),
    "a date of RFC 850": ({"retry-after": "Friday, 15-Jan-27 08:00:03 GMT"}, [3.0]),
    "a date of asctime": ({"retry-after": "Fri Jan 15 08:00:03 2027"}, [3.0]),
    "a date that has passed": ({"retry-after": "Fri, 15 Jan 2027 07:59:00 GMT"}, BACKOFF),
    "now": ({"retry-after": NOW}, BACKOFF),
    "a date that does not exist": ({"retry-after": "Fri, 32 Jan 2027 08:00:03 GMT"}, BACKOFF),
    "a date of year 99999": ({"retry-after": "Fri, 15 Jan 99999 08:00:03 GMT"}, BACKOFF),
    "a date of ISO 8601": ({"retry-after": "2027-01-15T08:00:03Z"}, BACKOFF),
    "milliseconds": ({"retry-after-ms": "2500"}, [2.5]),
    "milliseconds of x-ms": ({"x-ms-retry-after-ms": "2500"}, [2.5]),
    "milliseconds that are zero": ({"retry-after-ms": "0", "retry-after": "1"}, [1.0]),
    "milliseconds that are odd": ({"retry-after-ms": "x", "retry-after": "1"}, [1.0]),
    "the longest": ({"retry-after-ms": "500", "retry-after": "3"}, [3.0]),
    "the longest of three": (
        {"retry-after-ms": "4000", "x-ms-retry-after-ms": "1", "retry-after": "3"},
        [4.0],
    ),
}
LIMITS: dict[str, tuple[dict[str, str], list[float]]] = {
    "time remaining": ({"x-ratelimit-timeremaining": "4"}, [4.0]),
    "no requests remain": (
        {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "5"},
        [5.0],
    ),
    "no tokens remain": (
        {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6"},
        [6.0],
    ),
    "requests remain": (
        {"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "5"},
        BACKOFF,
    ),
}
LATE = ["61", "3600", "86400", "9" * 30, "Sat, 16 Jan 2027 08:00:00 GMT"]


def retry_after() -> Iterator[Scenario]:
    """When a service says how long to wait."""
    for status in (429, 503):
        for name, (headers, waits) in WAITS.items():
            sent = (answer(failure(), status, headers), GOOD)
            yield Scenario(f"{status}: {name}", sent, {**HELLO, "waits": waits}, retries=1)
    for name, (headers, waits) in LIMITS.items():
        sent = (answer(failure(), 429, headers), GOOD)
        yield Scenario(f"429: {name}", sent, {**HELLO, "waits": waits}, retries=1)
    for late in LATE:
        sent = (answer(failure(), 429, {"retry-after": late}), GOOD)
        yield Scenario(f"late {late[:24]}", sent, {"error": RateLimitError, "waits": []}, retries=1)
    text = "Please retry after 7 seconds."
    sent = (answer(failure("429", text), 429), GOOD)
    yield Scenario("in the text", sent, {**HELLO, "waits": [7.0]}, retries=1)
    for status in (400, 401, 403, 404, 413, 422, 501):
        sent = (answer(failure(), status, {"retry-after": "2"}), GOOD)
        yield Scenario(
            f"{status} is final", sent, {"waits": [], "error": InferenceError}, retries=1
        )
    for status in (408, 409, 429, 500, 502, 503, 504, 529):
        sent = (answer(failure(), status), GOOD)
        yield Scenario(f"{status} passes", sent, {**HELLO, "waits": BACKOFF}, retries=1)


# Server-sent events. Source: "Parsing an event stream" of the HTML standard.


def stream_response(data: bytes) -> bytes:
    """Return a stream that the end of its connection ends."""
    return head("content-type: text/event-stream", "connection: close") + data


HEL, LO, DONE = json.dumps(part("hel")), json.dumps(part("lo", "stop")), "[DONE]"
HEL_AT = HEL.index(",") + 1
GRAMMAR: dict[str, str] = {
    "plain": f"data: {HEL}\n\ndata: {LO}\n\ndata: {DONE}\n\n",
    "no space": f"data:{HEL}\n\ndata:{LO}\n\ndata:{DONE}\n\n",
    "two spaces": f"data:  {HEL}\n\ndata:  {LO}\n\ndata: {DONE}\n\n",
    "a byte-order mark": f"\ufeffdata: {HEL}\n\ndata: {LO}\n\ndata: {DONE}\n\n",
    "a comment first": f": hi\n\ndata: {HEL}\n\ndata: {LO}\n\ndata: {DONE}\n\n",
    "comments between": f"data: {HEL}\n\n:\n\n: x\n\ndata: {LO}\n\n:\n\ndata: {DONE}\n\n",
    "a comment inside": f":a\ndata: {HEL}\n:b\n\ndata: {LO}\n\ndata: {DONE}\n\n",
    "names": f"event: message\ndata: {HEL}\n\nevent:x\ndata: {LO}\n\ndata: {DONE}\n\n",
    "ids": f"id: 1\ndata: {HEL}\n\nid\ndata: {LO}\nid: 3\n\ndata: {DONE}\n\n",
    "retry": f"retry: 10\n\nretry: x\ndata: {HEL}\n\ndata: {LO}\n\ndata: {DONE}\n\n",
    "unknown fields": f"a: b\ndata: {HEL}\nc\n\n d: e\ndata: {LO}\n\ndata: {DONE}\n\n",
    "two lines of data": (
        f"data: {HEL[:HEL_AT]}\ndata: {HEL[HEL_AT:]}\n\ndata: {LO}\n\ndata: {DONE}\n\n"
    ),
    "empty data": f"data\n\ndata:\n\ndata: {HEL}\n\ndata: \n\ndata: {LO}\n\ndata: {DONE}\n\n",
    "more blank lines": f"\n\n\ndata: {HEL}\n\n\n\ndata: {LO}\n\n\ndata: {DONE}\n\n\n",
    "no end of the last event": f"data: {HEL}\n\ndata: {LO}\n\ndata: {DONE}\n",
    "no end of the last line": f"data: {HEL}\n\ndata: {LO}\n\ndata: {DONE}",
    "no DONE": f"data: {HEL}\n\ndata: {LO}\n\n",
    "no DONE and no last line": f"data: {HEL}\n\ndata: {LO}",
    "more behind DONE": f"data: {HEL}\n\ndata: {LO}\n\ndata: {DONE}\n\ndata: {HEL}\n\n",
    "DONE with a space": f"data: {HEL}\n\ndata: {LO}\n\ndata: {DONE} \n\n",
    "null": f"data: null\n\ndata: {HEL}\n\ndata: {LO}\n\ndata: {DONE}\n\n",
    "a large comment": f":{'x' * 100_000}\n\ndata: {HEL}\n\ndata: {LO}\n\ndata: {DONE}\n\n",
}
PLAIN = GRAMMAR["plain"].encode()
USAGE = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}
CHUNKS_OF: dict[str, tuple[list[Any], Expected]] = {
    "usage at the end": ([part("hello", "stop"), USAGE], {**HELLO, "usage": (3, 2)}),
    "usage in the middle": ([part("hel"), USAGE, part("lo", "stop")], {**HELLO, "usage": (3, 2)}),
    "no choices first": ([{"choices": []}, part("hello", "stop")], HELLO),
    "a role first": ([part(role="assistant"), part("hello", "stop")], HELLO),
    "empty deltas": ([part(""), part("hello"), part(), part(None, "stop")], HELLO),
    "the end of its own": ([part("hello"), part(None, "stop")], HELLO),
    "length": ([part("hello", "length")], {**HELLO, "finish": "length"}),
    "content_filter": ([part("hello", "content_filter")], {**HELLO, "finish": "content_filter"}),
    "an unknown reason": ([part("hello", "other")], {**HELLO, "finish": "other"}),
    "an error first": ([failure("invalid_prompt", "no")], {"error": BadRequestError}),
    "an error behind text": ([part("a"), failure("server_error")], {"error": ServerError}),
    "a message instead": (
        [{"choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}]}],
        HELLO,
    ),
    "a list": ([[]], TYPED),
    "a number": ([1], TYPED),
    "a text": (['"hello"'], TYPED),
    "no JSON": (["hello"], TYPED),
    "cut JSON": ([HEL[:-2]], TYPED),
    "cut JSON behind text": ([part("a"), HEL[:-2]], TYPED),
    "choices that are a text": ([{"choices": "x"}], TYPED),
    "choices that are null": ([{"choices": None}, part("hello", "stop")], MAYBE),
    "a choice that is null": ([{"choices": [None]}, part("hello", "stop")], MAYBE),
    "a delta that is null": (
        [{"choices": [{"index": 0, "delta": None}]}, part("hello", "stop")],
        MAYBE,
    ),
}


def event_streams() -> Iterator[Scenario]:
    """Streams of events, whole, cut and odd."""
    for name, text in GRAMMAR.items():
        for end, shown in (("\n", "LF"), ("\r\n", "CRLF"), ("\r", "CR")):
            data = stream_response(text.replace("\n", end).encode())
            yield Scenario(f"{name}, {shown}", (data,), HELLO, "stream")
    for end, shown in (("\n", "LF"), ("\r\n", "CRLF"), ("\r", "CR")):
        for name in ("plain", "two lines of data", "a byte-order mark"):
            data = stream_response(GRAMMAR[name].replace("\n", end).encode())
            title = f"{name}, {shown}, each byte alone"
            yield Scenario(title, (data,), HELLO, "stream", pieces=True)
    for at in range(1, PLAIN.index(LO.encode()) + len(LO), 9):
        expected: Expected = {"error": InferenceError, "partial": at}
        yield Scenario(f"cut after {at}", (stream_response(PLAIN[:at]),), expected, "stream")
    for name, (chunks, expected) in CHUNKS_OF.items():
        yield Scenario(f"chunks: {name}", (stream_response(events(*chunks)),), expected, "stream")
    for text in ("é", "😀", "\u2028", "\u0085", "\x7f", "\ufeff", "a\\n\\nb"):
        chunk = json.dumps(part("X", "stop")).replace("X", text)
        value = {"text": text.replace("\\n", "\n")}
        data = stream_response(events(chunk))
        yield Scenario(f"text {text!r}", (data,), value, "stream", pieces=True)
    broken = stream_response(events(part("X", "stop")).replace(b"X", b"\xc3"))
    yield Scenario("a cut character", (broken,), TYPED, "stream")
    yield Scenario("nothing", (stream_response(b""),), TYPED, "stream")
    yield Scenario("DONE alone", (stream_response(b"data: [DONE]\n\n"),), TYPED, "stream")
    yield Scenario("a comment alone", (stream_response(b":\n\n"),), TYPED, "stream")
    yield Scenario("HTML", (stream_response(b"<html>sign in</html>"),), TYPED, "stream")
    yield Scenario("JSON", (answer(chat()),), HELLO, "stream")
    yield Scenario("events for a plain call", (stream_response(PLAIN),), {"maybe": "hello"})
    endless = stream_response(b"data: " + b"x" * (17 * 1024 * 1024))
    yield Scenario("an endless line", (endless,), TYPED, "stream")


# Error bodies, in the dialects of services, gateways and proxies.

CLASSES: dict[int, type[InferenceError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: BadRequestError,
    408: ServerError,
    409: BadRequestError,
    413: BadRequestError,
    422: BadRequestError,
    424: BadRequestError,
    429: RateLimitError,
    500: ServerError,
    502: ServerError,
    503: ServerError,
    504: ServerError,
    529: ServerError,
}
WHY = "The reason."
INSIDE = {"error": {"message": WHY, "code": "x"}}
DIALECTS: dict[str, Any] = {
    "OpenAI": INSIDE,
    "OpenAI with nulls": {"error": {"message": WHY, "code": None, "type": None, "param": None}},
    "Azure": {"error": {"code": "x", "message": WHY, "target": "t", "details": []}},
    "API Management": {"statusCode": 0, "message": WHY},
    "flat": {"message": WHY},
    "flat msg": {"msg": WHY},
    "a problem": {"type": "about:blank", "title": WHY, "status": 0},
    "FastAPI": {"detail": WHY},
    "FastAPI list": {"detail": [{"loc": ["body", "a"], "msg": WHY, "type": "v"}]},
    "Anthropic": {"type": "error", "error": {"type": "x", "message": WHY}},
    "Cohere": {"id": "1", "message": WHY},
    "vLLM": {"object": "error", "message": WHY, "type": "x", "param": None, "code": 0},
    "a text in error": {"error": WHY},
    "a list": [INSIDE],
    "JSON in the message": {"error": {"message": json.dumps(INSIDE)}},
    "twice": {"error": {"message": json.dumps({"error": {"message": json.dumps(INSIDE)}})}},
    "a reason": {"reason": WHY},
    "a fault": {"fault": {"faultstring": WHY}},
    "inner": {"error": {"message": WHY, "innererror": {"code": "y"}}},
    "text": WHY,
    "JSON with text behind": json.dumps(INSIDE) + "\nsee https://a.example/help",
    "a byte-order mark": "\ufeff" + json.dumps(INSIDE),
    "errors": {"errors": [{"message": WHY}]},
}
SILENT = ["", " ", "null", "[]", "{}", "0", '""', "{", '{"error":null}', '{"error":{}}', "\x00"]
CODED: dict[str, type[InferenceError]] = {
    "rate_limit_exceeded": RateLimitError,
    "too_many_requests": RateLimitError,
    "insufficient_quota": RateLimitError,
    "server_error": ServerError,
    "internal_error": ServerError,
    "InternalServerError": ServerError,
    "server_is_overloaded": ServerError,
    "overloaded_error": ServerError,
    "invalid_prompt": BadRequestError,
    "invalid_request_error": BadRequestError,
    "invalid_api_key": AuthenticationError,
    "authentication_error": AuthenticationError,
    "permission_error": PermissionDeniedError,
}


def error_bodies() -> Iterator[Scenario]:
    """Errors, however they are written."""
    for status in (400, 401, 429, 500):
        for name, body in DIALECTS.items():
            expected = {"error": CLASSES[status], "status": status, "says": WHY}
            yield Scenario(f"{status} {name}", (answer(body, status),), expected)
        for body in SILENT:
            expected = {"error": CLASSES[status], "status": status}
            yield Scenario(f"{status} {body!r}", (answer(body, status),), expected)
    for status, kind in CLASSES.items():
        for body in (INSIDE, "<html><title>Oops</title></html>"):
            expected = {"error": kind, "status": status}
            yield Scenario(f"{status} {str(body)[:9]}", (answer(body, status),), expected)
        stream = {"error": kind, "status": status, "says": WHY}
        yield Scenario(f"{status} of a stream", (answer(INSIDE, status),), stream, "stream")
    for code, kind in CODED.items():
        expected = {"error": kind, "code": code}
        data = failure(code, WHY)
        yield Scenario(f"{code} under 200", (answer(data),), expected)
        yield Scenario(f"{code} in a stream", (stream_response(events(data)),), expected, "stream")


# Token counts in headers, of models that do not count in the body.

PAIRS = (
    ("prompt_token_len", "sampling_token_len"),
    ("prompt-token-len", "sampling-token-len"),
    ("num-tokens", "sampling-token-len"),
)
COUNTS: dict[str, int | None] = {
    "7": 7,
    "0": 0,
    " 7 ": 7,
    "007": 7,
    "-7": None,
    "7.0": None,
    "x": None,
    "": None,
    "7,7": None,
    "1e3": None,
    "\xb2": None,
    "0x7": None,
    "+7": None,
    "nan": None,
}
NUMBERS = ["0", "-1", "x", "", "1.5", "9" * 5000, "\xb2", "nan", "inf", "1e999"]
NUMBERED = (
    *("x-ratelimit-remaining-requests", "x-ratelimit-remaining-tokens", "x-ms-region"),
    *("x-ratelimit-limit-tokens", "ms-azureml-model-error-statuscode", "x-ms-is-spilled-over"),
)


def count_headers() -> Iterator[Scenario]:
    """Headers with numbers, and with what is not a number."""
    bare = {key: value for key, value in chat().items() if key != "usage"}
    for read, written in PAIRS:
        for text, count in COUNTS.items():
            data = answer(bare, headers={read: text, written: "2"})
            usage = None if count is None else (count, 2)
            yield Scenario(f"{read} {text!r}", (data,), {**HELLO, "usage": usage})
    for text in ("9" * 5000, "9" * 30):
        data = answer(bare, headers={"num-tokens": text, "sampling-token-len": text})
        yield Scenario(f"num-tokens with {len(text)} digits", (data,), HELLO)
    for name in NUMBERED:
        for text in NUMBERS:
            title = f"{name} {text[:9]!r} {len(text)}"
            yield Scenario(title, (answer(chat(), headers={name: text}),), HELLO)
    for text in NUMBERS:
        headers = {"ms-azureml-model-error-statuscode": text}
        data = answer(INSIDE, 424, headers)
        yield Scenario(f"inner status {text[:9]!r} {len(text)}", (data,), {"error": InferenceError})


# Embeddings.

TWO = [[1.0, 2.0], [3.0, 4.0]]


def packed_floats(*numbers: float) -> str:
    """Return floats as base64."""
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def rows(*items: Any) -> dict[str, Any]:
    """Return an answer with these entries."""
    return {"object": "list", "model": "e", "data": list(items)}


def row(index: Any, vector: Any) -> dict[str, Any]:
    """Return an entry."""
    return {"object": "embedding", "index": index, "embedding": vector}


EMBEDDED: dict[str, tuple[Any, Expected]] = {
    "floats": (vectors(*TWO), {"vectors": TWO}),
    "base64": (vectors(packed_floats(1, 2), packed_floats(3, 4)), {"vectors": TWO}),
    "both": (vectors([1.0, 2.0], packed_floats(3, 4)), {"vectors": TWO}),
    "integers": (vectors([1, 2], [3, 4]), {"vectors": TWO}),
    "the other order": (rows(row(1, TWO[1]), row(0, TWO[0])), {"vectors": TWO}),
    "no indices": (rows({"embedding": TWO[0]}, {"embedding": TWO[1]}), {"vectors": TWO}),
    "an index 1.0": (rows(row(1.0, TWO[1]), row(0.0, TWO[0])), {"vectors": TWO}),
    "an unknown field": ({**vectors(*TWO), "x": 1}, {"vectors": TWO}),
    "an unknown field of an entry": (
        rows({**row(0, TWO[0]), "x": 1}, row(1, TWO[1])),
        {"vectors": TWO},
    ),
    "no usage": (rows(row(0, TWO[0]), row(1, TWO[1])), {"vectors": TWO}),
    "usage null": ({**vectors(*TWO), "usage": None}, {"vectors": TWO}),
    "usage a text": ({**vectors(*TWO), "usage": "x"}, {"vectors": TWO}),
    "model a number": ({**vectors(*TWO), "model": 1}, {"vectors": TWO}),
    "too few": (vectors(TWO[0]), INVALID),
    "too many": (vectors(*TWO, TWO[0]), INVALID),
    "none": (rows(), INVALID),
    "data null": ({"data": None}, INVALID),
    "data an object": ({"data": {}}, INVALID),
    "data a text": ({"data": "x"}, INVALID),
    "no data": ({}, INVALID),
    "a list": (TWO, INVALID),
    "a text": ("null", INVALID),
    "one index twice": (rows(row(0, TWO[0]), row(0, TWO[1])), INVALID),
    "an index too large": (rows(row(0, TWO[0]), row(2, TWO[1])), INVALID),
    "a negative index": (rows(row(0, TWO[0]), row(-1, TWO[1])), INVALID),
    "different lengths": (vectors([1.0, 2.0], [3.0]), INVALID),
    "base64 of other length": (vectors(packed_floats(1, 2), packed_floats(3)), INVALID),
    "an empty vector": (vectors([], []), INVALID),
    "an empty text": (vectors("", ""), INVALID),
    "base64 that is cut": (vectors(packed_floats(1, 2)[:-3], packed_floats(3, 4)), INVALID),
    "base64 of 7 bytes": (
        vectors(base64.b64encode(b"1234567").decode(), packed_floats(1)),
        INVALID,
    ),
    "base64 with blanks": (vectors("AACA PwAAAEA=", packed_floats(3, 4)), INVALID),
    "base64 of NaN": (vectors(packed_floats(float("nan"), 2), packed_floats(3, 4)), INVALID),
    "base64 of infinity": (vectors(packed_floats(float("inf"), 2), packed_floats(3, 4)), INVALID),
    "an entry that is null": (rows(None, row(1, TWO[1])), INVALID),
    "an entry that is a list": (rows(*TWO), INVALID),
}
NO_VECTORS: list[Any] = [
    *(None, True, 1, "x", {}, [None, 1.0], [True, 1.0], ["1", 1.0], [[1.0], [2.0]], [{}, 1.0]),
    *([1e39, 1.0], [2**2000, 1.0]),
]
NO_INDICES: list[Any] = [None, True, "0", 0.5, [], {}, 2**70, -1]


def embedding_shapes() -> Iterator[Scenario]:
    """Vectors, and what is not a vector."""
    for name, (body, expected) in EMBEDDED.items():
        yield Scenario(name, (answer(body),), expected, "embed")
    for value in NO_VECTORS:
        body = vectors(value, [1.0, 2.0])
        yield Scenario(f"vector {str(value)[:30]}", (answer(body),), INVALID, "embed")
    for index in NO_INDICES:
        body = rows(row(index, TWO[0]), row(1, TWO[1]))
        yield Scenario(f"index {index!r}", (answer(body),), {"maybe vectors": TWO}, "embed")
    for number in ("NaN", "Infinity", "-Infinity", "1e999", "null", "", "0x1", "01", "1_0"):
        text = json.dumps(vectors(*TWO)).replace("2.0", number)
        yield Scenario(f"number {number!r}", (answer(text),), INVALID, "embed")
    for count in (1, 3, 7):
        some = [[float(at), 1.0] for at in range(count)]
        expected = {"vectors": some}
        yield Scenario(f"{count} texts", (answer(vectors(*some)),), expected, "embed", inputs=count)
    cut = answer(vectors(*TWO))[:-20]
    yield Scenario("a cut body", (cut,), LOST, "embed")
    for status in (400, 401, 429, 500):
        expected = {"error": CLASSES[status]}
        yield Scenario(f"status {status}", (answer(INSIDE, status),), expected, "embed")


# Lists of deployments, page by page.


def deployments_page(*names: str, link: Any = None, key: str = "data") -> bytes:
    """Return a page of the list."""
    entries = [{"id": name, "model": "gpt-4.1", "status": "succeeded"} for name in names]
    return answer({key: entries, **({} if link is None else {"nextLink": link})})


HOST = "http://127.0.0.1:*****"  # is replaced by that of the server, which is as long
NEXT = "/openai/deployments?api-version=2022-12-01&page=2"
LISTS: dict[str, tuple[Sequence[Any], Expected]] = {
    "one page": ([deployments_page("a", "b")], {"names": ["a", "b"]}),
    "no entries": ([deployments_page()], {"names": []}),
    "value": ([deployments_page("a", key="value")], {"names": ["a"]}),
    "two pages": (
        [deployments_page("a", link=HOST + NEXT), deployments_page("b")],
        {"names": ["a", "b"]},
    ),
    "two pages of value": (
        [deployments_page("a", link=HOST + NEXT, key="value"), deployments_page("b", key="value")],
        {"names": ["a", "b"]},
    ),
    "an empty page": (
        [deployments_page(link=HOST + NEXT), deployments_page("b")],
        {"names": ["b"]},
    ),
    "an empty link": ([deployments_page("a", link="")], {"names": ["a"]}),
    "a link that is false": ([deployments_page("a", link=False)], {"names": ["a"]}),
    "a link that is a number": ([deployments_page("a", link=1)], INVALID),
    "a link that is a list": ([deployments_page("a", link=["x"])], INVALID),
    "a link that is an object": ([deployments_page("a", link={"href": "x"})], INVALID),
    "a link to another host": ([deployments_page("a", link="https://evil.example/x")], INVALID),
    "a link to another port": ([deployments_page("a", link="http://127.0.0.1:1/x")], INVALID),
    "a link without a host": ([deployments_page("a", link=NEXT)], INVALID),
    "a link that is a word": ([deployments_page("a", link="next")], INVALID),
    "a link that is no URL": ([deployments_page("a", link="http://[")], INVALID),
    "data null": ([answer({"data": None})], {"names": []}),
    "data an object": ([answer({"data": {}})], ANY),
    "data a number": ([answer({"data": 1})], INVALID),
    "data a text": ([answer({"data": "ab"})], INVALID),
    "an entry that is null": ([answer({"data": [None]})], INVALID),
    "an entry that is a text": ([answer({"data": ["a"]})], INVALID),
    "an entry without a name": ([answer({"data": [{}]})], INVALID),
    "a list": ([answer([])], TYPED),
    "null": ([answer("null")], TYPED),
    "nothing": ([answer("")], TYPED),
    "HTML": ([answer("<html>")], TYPED),
    "an error": ([answer(INSIDE, 403)], {"error": PermissionDeniedError}),
    "an error on the second page": (
        [deployments_page("a", link=HOST + NEXT), answer(INSIDE, 500)],
        {"error": ServerError},
    ),
    "a cut page": ([deployments_page("a")[:-5]], LOST),
}


def lists() -> Iterator[Scenario]:
    """Lists of deployments."""
    for name, (pages, expected) in LISTS.items():
        yield Scenario(name, tuple(pages), expected, "deployments")
    for value in ODD:
        for field in ("id", "model", "status"):
            data = answer({"data": [{"id": "a", "model": "m", field: value}]})
            yield Scenario(f"{field} is {value!r}", (data,), ANY, "deployments")


FAMILIES = {
    "HTTP framing": framing_scenarios,
    "JSON oddities": json_oddities,
    "Retry-After": retry_after,
    "event streams": event_streams,
    "error bodies": error_bodies,
    "count headers": count_headers,
    "embedding shapes": embedding_shapes,
    "lists": lists,
}
