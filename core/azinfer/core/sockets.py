"""Sockets of sync code, on which many short reads do not outlast the deadline."""

from __future__ import annotations

from typing import Any

import httpcore

from azinfer.core.connections import Limit


class Backend(httpcore.SyncBackend):
    """Opens connections whose reads and writes all end in time."""

    def connect_tcp(self, *args: Any, **named: Any) -> httpcore.NetworkStream:
        """Open a connection."""
        return _Stream(super().connect_tcp(*args, **named))


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        self.close = stream.close  # type: ignore[method-assign]
        self.get_extra_info = stream.get_extra_info  # type: ignore[method-assign]

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _limited(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _limited(timeout))

    def start_tls(self, *args: Any, **named: Any) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(*args, **named))


def _limited(timeout: float | None) -> float | None:
    return min(timeout, timeout.left()) if isinstance(timeout, Limit) else timeout
