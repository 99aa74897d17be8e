"""Answers in ASCII alone, so that half a character in a request comes back as it went."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import JSONResponse


class AsciiResponse(JSONResponse):
    """An answer of JSON, whatever its texts are; UTF-8 has no halves of surrogate pairs."""

    def render(self, content: Any) -> bytes:
        """Write it."""
        return json.dumps(content, separators=(",", ":")).encode()


def in_header(text: str) -> str:
    """A text as the value of a header, with line breaks and letters beyond ASCII escaped."""
    return text.encode("unicode_escape").decode("ascii")
