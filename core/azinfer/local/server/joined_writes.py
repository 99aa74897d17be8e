"""Writes of a response that are joined: its head goes with the beginning of its body.

uvicorn writes them one after the other, so that a client reads twice, and the second write takes a
thirtieth of all that a small response costs.
"""

from __future__ import annotations

import asyncio

_HEAD = b"HTTP/"
# The longest body that is copied behind a head instead of being written alone.
_LONGEST = 64 * 1024


class JoinedWrites:
    """What a response writes to: a transport that keeps a head back until more is written.

    A head that nothing follows at once, such as that of a stream, is written before the event loop
    waits for anything.

    Args:
        transport: The transport of the connection.
        loop: The event loop.
    """

    __slots__ = ("_head", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._head: bytes | None = None

    def write(self, data: bytes) -> None:
        """Write some bytes, or keep them for now if they are a head."""
        head, self._head = self._head, None
        if head is None and data[: len(_HEAD)] == _HEAD:
            self._head = data
            self._loop.call_soon(self._flush)
        elif head is None:
            self._transport.write(data)
        elif len(data) <= _LONGEST:
            self._transport.write(head + data)
        else:
            self._transport.write(head)
            self._transport.write(data)

    def close(self) -> None:
        """Close the connection once everything is sent."""
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Return whether the connection is closed, or will be."""
        return self._transport.is_closing()

    def _flush(self) -> None:
        head, self._head = self._head, None
        if head is not None and not self._transport.is_closing():
            self._transport.write(head)
