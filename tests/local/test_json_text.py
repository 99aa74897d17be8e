"""JSON on the wire: the fast and the plain implementation read and write the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from azinfer.local.wire.json import read_json, write_json

VALUES: list[Any] = [
    {"a": [1, 2.5, True, None, "x"], "b": {}},
    "é\u2028\U0001f600 \x7f\x00",
    "half of a pair: \ud83d",
    {"\ud83d": 2**70, "b": -(2**63)},
    10**299,
    [0.1, 1e16, 1e-7, -0.0],
]


@pytest.mark.parametrize("value", VALUES, ids=ascii)
def test_values_are_written_in_ascii_and_read_again(value: Any) -> None:
    data = write_json(value)
    assert data.isascii()
    assert read_json(data) == json.loads(data) == value


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-32-le"])
def test_bodies_in_any_unicode_are_read(coding: str) -> None:
    assert read_json('{"a": "é\U0001f600"}'.encode(coding)) == {"a": "é\U0001f600"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1" * 301, "more than 300 digits"),
        (f'{{"a": [-{"9" * 4000}]}}', "more than 300 digits"),
        ("1e999", "too large"),
        ("[NaN]", "NaN is not a number"),
        ("-Infinity", "-Infinity is not a number"),
        ("{oops", "Expecting property name"),
        ("[1,]", "Expecting value"),
        ("", "Expecting value"),
    ],
)
def test_invalid_json_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_json(text.encode())


def test_long_runs_of_digits_in_a_text_are_not_a_number() -> None:
    assert read_json(b'"' + b"7" * 999 + b'"') == "7" * 999


def test_bytes_that_are_not_a_text_are_refused() -> None:
    with pytest.raises(UnicodeDecodeError):
        read_json(b'"\xff"')
