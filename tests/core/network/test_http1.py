"""HTTP/1.1 as bytes: how requests are written, and how answers are read however they are split."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from azinfer.core.errors import APIConnectionError, ConfigurationError
from azinfer.core.network.http1 import ResponseParser, encode_request
from azinfer.core.network.request import Request, SharedHeaders

OK = b"HTTP/1.1 200 OK\r\n"
WHOLE = OK + b"Content-Length: 2\r\nX-Id:  7 \r\n\r\n{}"


@dataclass
class Case:
    """An answer's bytes, what they say, and whether the connection serves again."""

    data: bytes
    body: bytes = b"{}"
    status: int = 200
    reusable: bool = True
    closed: bool = False


CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
CASES = {
    "a length": Case(WHOLE),
    "chunks": Case(CHUNKED + b"1\r\n{\r\n1;name=value\r\n}\r\n0\r\n\r\n"),
    "chunks and trailers": Case(CHUNKED + b"2\r\n{}\r\n0\r\nx-id: 8\r\n\r\n"),
    "100 and 103 before it": Case(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: 9\r\n\r\n" + WHOLE
    ),
    "no body": Case(b"HTTP/1.1 204 No Content\r\n\r\n", b"", 204),
    "no reason": Case(b"HTTP/1.1 404\r\ncontent-length: 0\r\n\r\n", b"", 404),
    "all until the end": Case(OK + b"\r\n{}", reusable=False, closed=True),
    "HTTP/1.0": Case(b"HTTP/1.0 200 OK\r\n\r\n{}", reusable=False, closed=True),
    "connection: close": Case(
        OK + b"connection: close\r\ncontent-length: 2\r\n\r\n{}", reusable=False
    ),
    "another answer behind it": Case(WHOLE + WHOLE, reusable=False),
    "no HTTP behind it": Case(WHOLE + b"\x00\x01", reusable=False),
    "bytes behind the last": Case(
        OK + b"connection: close\r\ncontent-length: 2\r\n\r\n{}{}", reusable=False
    ),
}


def parser_expecting_answer() -> ResponseParser:
    """ResponseParser of which one is expected."""
    answers = ResponseParser()
    answers.expect()
    return answers


def read(answers: ResponseParser, case: Case, cuts: list[int]) -> bytes:
    """The body of an answer whose bytes come in pieces."""
    places = sorted({0, len(case.data), *(cut % len(case.data) for cut in cuts)})
    for start, end in itertools.pairwise(places):
        answers.feed(case.data[start:end])
    if case.closed:
        answers.eof()
    return b"".join(answers.take_parts())


@pytest.mark.parametrize("name", CASES)
@given(st.lists(st.integers(0, 1000), max_size=20))
@example(list(range(1000)))
def test_a_response_is_parsed_however_its_bytes_are_cut(name: str, cuts: list[int]) -> None:
    case = CASES[name]
    answers = parser_expecting_answer()
    assert read(answers, case, cuts) == case.body
    assert (answers.status, answers.ended) == (case.status, True)
    assert answers.reusable is case.reusable
    assert answers.headers.get("x-id") in (None, "7")
    assert "link" not in answers.headers


def test_responses_follow_each_other_on_a_connection() -> None:
    answers = ResponseParser()
    for name in ("a length", "chunks and trailers", "no body", "a length"):
        answers.expect()
        assert read(answers, CASES[name], []) == CASES[name].body
        assert answers.reusable
    answers.feed(b"HTTP/1.1 ")
    assert not answers.reusable
    with pytest.raises(APIConnectionError, match="a response to no request"):
        answers.expect()


def test_a_response_before_any_request_is_refused() -> None:
    answers = ResponseParser()
    answers.feed(WHOLE[:20])
    with pytest.raises(APIConnectionError, match="a response to no request"):
        answers.expect()


def test_informational_responses_have_no_body() -> None:
    answers = parser_expecting_answer()
    answers.feed(b"HTTP/1.1 104 Soon\r\ncontent-length: 5\r\n\r\nhello" + WHOLE)
    assert (answers.status, answers.take_parts()) == (200, [b"{}"])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"SSH-2.0-OpenSSH\r\n", "is not valid HTTP/1.1"),
        (CHUNKED + b"zz\r\n{}\r\n", "is not valid HTTP/1.1"),
        (OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}", "is not valid HTTP/1.1"),
        (
            b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            "not valid HTTP/1.1",
        ),
        (b"".join((OK, b"x: ", b"y" * 200_000)), "more than 102400 bytes"),
        (CHUNKED + b"2;" + b"y" * 200_000, "more than 102400 bytes"),
        (CHUNKED + b"2\r\n{}\r\n0\r\nx: " + b"y" * 200_000, "more than 102400 bytes"),
    ],
)
def test_a_malformed_response_is_an_error(data: bytes, expected: str) -> None:
    answers = parser_expecting_answer()
    with pytest.raises(APIConnectionError, match=expected):
        deque(map(answers.feed, (data[at : at + 50_000] for at in range(0, len(data), 50_000))))
    assert not answers.reusable


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "without a response"),
        (OK, "without a response"),
        (WHOLE[:-1], "in the middle of a response"),
        (CHUNKED + b"2\r\n{}\r\n0\r\n", "in the middle of a response"),
    ],
)
def test_an_incomplete_response_is_an_error(data: bytes, expected: str) -> None:
    answers = parser_expecting_answer()
    answers.feed(data)
    with pytest.raises(APIConnectionError, match=expected):
        answers.eof()
    assert not answers.reusable


def new_request(headers: list[tuple[str, str]], body: bytes = b"{}") -> Request:
    """A request."""
    return Request("POST", "http://h/", SharedHeaders(headers), body, "id")


def test_a_request_has_one_id_or_none() -> None:
    headers = SharedHeaders([("X-Ms-Client-Request-Id", "own")])
    for request, ids in (
        (Request("GET", "http://h/", SharedHeaders(()), b"", "id"), ["id"]),
        (Request("GET", "http://h/", SharedHeaders(()), b"", ""), []),
        (Request("GET", "http://h/", headers, b"", "id"), ["own"]),
    ):
        lines = encode_request(request, "/", "h").decode().lower().split("\r\n")
        sent = [line.split(": ") for line in lines if line.startswith("x-ms-client-request-id")]
        assert [value for _, value in sent] == ids
        assert [value for _, value in request.header_pairs] == ids


def test_the_headers_of_a_request_are_in_no_traceback() -> None:
    headers = SharedHeaders([("api-key", "a-secret")])
    encode_request(Request("GET", "http://h/", headers, b"", "id"), "/", "h")
    assert "a-secret" not in f"{headers!r} {headers.lines!r}"


def test_a_request_is_encoded_correctly() -> None:
    assert encode_request(new_request([("api-key", "k")]), "/a?b=c", "h:81") == (
        b"POST /a?b=c HTTP/1.1\r\nHost: h:81\r\nContent-Length: 2\r\n"
        b"x-ms-client-request-id: id\r\napi-key: k\r\n\r\n{}"
    )
    assert encode_request(new_request([("HOST", "other")], b""), "/", "h") == (
        b"POST / HTTP/1.1\r\nContent-Length: 0\r\nx-ms-client-request-id: id\r\nHOST: other\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("x-team", value) for value in ("a\r\nx-evil: 1", "a\n", "a\x00", "é", "\u2028")),
        *((name, "a") for name in ("x team", "x-team:", "", "x\r\n", "é")),
    ],
)
def test_a_header_that_cannot_be_sent_is_named_without_its_value(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        encode_request(new_request([(name, value)]), "/", "h")
    assert repr(name) in str(caught.value)
    assert value == "a" or value not in str(caught.value)


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "Connection", "expect"])
def test_a_header_that_frames_the_request_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{name}' cannot be set: only the client"):
        encode_request(new_request([(name, "1")]), "/", "h")
