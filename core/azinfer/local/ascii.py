"""JSON answers in ASCII alone, so that half a character in a request comes back as it went."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import JSONResponse


class AsciiResponse(JSONResponse):
    """An answer of JSON, whatever its texts are; UTF-8 has no halves of surrogate pairs."""

    def render(self, content: Any) -> bytes:
        """Write it."""
        return json.dumps(content, separators=(",", ":")).encode()
