"""JSON as services send it: with a byte-order mark or blanks in front."""

from __future__ import annotations

BOM = b"\xef\xbb\xbf"


def json_text(body: bytes) -> bytes:
    """Return a body without the byte-order mark and the blanks in front of its JSON."""
    if body[:1] in (b"{", b"["):
        return body  # without a copy
    return body.lstrip().removeprefix(BOM).lstrip()
