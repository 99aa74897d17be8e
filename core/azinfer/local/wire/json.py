"""JSON over the wire: read strictly, and written in ASCII only.

Therefore a text with half of a surrogate pair is returned unchanged.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from starlette.responses import JSONResponse


class AsciiResponse(JSONResponse):
    """A JSON response for any texts; UTF-8 cannot encode half of a surrogate pair."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return json.dumps(content, separators=(",", ":")).encode()


def in_header(text: str) -> str:
    """Return a text as the value of a header; line breaks and non-ASCII letters are escaped."""
    return text.encode("unicode_escape").decode("ascii")


def read_json(content: bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: The text is not JSON, or has a number that is too large.
        RecursionError: The value is nested too deeply.
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
    raise ValueError(f"{name} is not a number in JSON")


_DIGITS = 300
_DECODER = json.JSONDecoder(parse_int=_whole, parse_float=_number, parse_constant=_constant)
