"""Server-sent events, decoded from bytes that may be cut anywhere.

Source: "Server-sent events" of the HTML standard, section "Parsing an event stream".
"""

from __future__ import annotations

from azinfer.core.errors import InvalidResponseError
from azinfer.core.json_text import BOM

_LONGEST_EVENT = 16 * 1024 * 1024


class EventDecoder:
    """Decodes bytes, cut anywhere, into events: pairs of the event's name and its data."""

    def __init__(self) -> None:
        self._tail: list[bytes] = []
        self._data: list[bytes] = []
        self._name = b""
        self._size = 0
        self._after_cr = False
        self._at_start = True

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Return the events that further bytes complete.

        Raises:
            InvalidResponseError: An event is too long.
        """
        if self._after_cr and data:
            data = data[data.startswith(b"\n") :]
            self._after_cr = False
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self._size += len(data)
        if self._size > _LONGEST_EVENT:
            raise InvalidResponseError(f"an event is longer than {_LONGEST_EVENT} bytes")
        lines = data.split(b"\n")
        rest = lines.pop()
        events: list[tuple[bytes, bytes]] = []
        if lines:
            lines[0] = b"".join((*self._tail, lines[0]))
            self._tail.clear()
            for line in lines:
                self._line(line, events)
        if rest:
            self._tail.append(rest)
        return events

    def whole_event(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Return the only event in further bytes, if it has one line of data, as nearly all have.

        If it returns None, the bytes are still to be fed.
        """
        if self._tail or self._size or self._at_start or not data.endswith(b"\n\n"):
            return None
        name, start = b"", 0
        if not data.startswith(b"data: "):
            start = data.find(b"\n") + 1
            if not data.startswith(b"event: ") or not data.startswith(b"data: ", start):
                return None
            name = data[7:start].strip()
        if data.find(b"\n", start, -2) >= 0 or b"\r" in data:
            return None
        return name, data[start + 6 : -2]

    def finish(self) -> list[tuple[bytes, bytes]]:
        """Return the event that the end of the stream completes, if it lacks its last line."""
        return self.feed(b"\n\n")

    def _line(self, line: bytes, events: list[tuple[bytes, bytes]]) -> None:
        if self._at_start:
            line, self._at_start = line.removeprefix(BOM), False
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif not line:
            if any(self._data):
                events.append((self._name, b"\n".join(self._data)))
            self._data.clear()
            self._name, self._size = b"", 0
        elif line.startswith(b"event:"):
            self._name = line[6:].strip()
