"""JSON over the wire: read with its letter, and written in ASCII alone.

So half a character in a request comes back as it went.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from starlette.responses import JSONResponse


class AsciiResponse(JSONResponse):
    """An answer of JSON, whatever its texts are; UTF-8 has no halves of surrogate pairs."""

    def render(self, content: Any) -> bytes:
        """Write it."""
        return json.dumps(content, separators=(",", ":")).encode()


def in_header(text: str) -> str:
    """A text as the value of a header, with line breaks and letters beyond ASCII escaped."""
    return text.encode("unicode_escape").decode("ascii")


def read_json(content: bytes) -> Any:
    """What JSON says.

    Raises:
        ValueError: It is none, or has a number that no float holds.
        RecursionError: It is nested too deep.
    """
    return _DECODER.decode(content.decode(json.detect_encoding(content), "surrogatepass"))


def _whole(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"the number {digits[:20]}… has more than {_DIGITS} digits")
    return int(digits)


def _number(digits: str) -> float:
    if not math.isfinite(number := float(digits)):
        raise ValueError(f"the number {digits[:20]} is too large")
    return number


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


_DIGITS = 300
_DECODER = json.JSONDecoder(parse_int=_whole, parse_float=_number, parse_constant=_constant)
