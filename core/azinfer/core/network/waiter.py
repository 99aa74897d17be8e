"""Waiting for one socket.

Sockets with a timeout of their own take three more system calls for a request: Python sets the
timeout anew and polls before each operation. A poll that is prepared once takes none of them.
"""

from __future__ import annotations

import math
import select
from typing import Any

from azinfer.core.network.dialing import LONGEST_POLL
from azinfer.core.network.tls import WANTS_TO_READ


class Waiter:
    """Waits until a socket that does not block can be read or written.

    Args:
        sock: The socket, or an object with its `fileno`.
    """

    def __init__(self, sock: Any) -> None:
        self._socket = sock
        self._reading = _poll_of(sock)

    def is_readable(self) -> bool:
        """Return whether bytes have come, or the end, or another thread closed the socket."""
        return self._socket.fileno() < 0 or bool(self._reading(0))

    def wait_after(self, blocked: OSError, seconds: float) -> None:
        """Wait until an operation of the socket that would have blocked can continue.

        A write also stops waiting when there is something to read.

        Raises:
            TimeoutError: It still cannot.
        """
        wants_to_read = isinstance(blocked, WANTS_TO_READ)
        (self.wait_to_read if wants_to_read else self.wait_to_write)(seconds)

    def wait_to_read(self, seconds: float) -> None:
        """Wait for bytes, or the end.

        Raises:
            TimeoutError: Nothing came.
        """
        if not self._reading(min(math.ceil(seconds * 1000), LONGEST_POLL)):
            raise TimeoutError("the service sent nothing")

    def wait_to_write(self, seconds: float) -> None:
        """Wait until the network accepts more bytes, or until bytes came.

        Raises:
            TimeoutError: It accepted none.
        """
        milliseconds = min(math.ceil(seconds * 1000), LONGEST_POLL)
        if not _poll_of(self._socket, writing=True)(milliseconds):
            raise TimeoutError("the network accepted nothing")


def _poll_of(sock: Any, *, writing: bool = False) -> Any:
    """Return a function of milliseconds that returns what is ready by then, if anything."""
    if hasattr(select, "poll"):
        poller = select.poll()
        poller.register(sock.fileno(), select.POLLIN | (select.POLLOUT if writing else 0))
        return poller.poll

    def wait(milliseconds: int) -> Any:  # pragma: no cover
        return any(select.select([sock], [sock] if writing else [], [], milliseconds / 1000))

    return wait  # pragma: no cover
