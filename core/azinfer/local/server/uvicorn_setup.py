"""The set-up of uvicorn: limits of connections, and a server that runs in a thread."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import uvicorn

from azinfer.local.api.fault_injection import CLOSE

_LARGEST_HEAD = 64 * 1024


def configure_limits(config: uvicorn.Config) -> None:
    """Limit the size of request heads, and enable the application to close a connection.

    The function in `scope["extensions"]["azinfer.close"]` closes the
    connection without a response.
    """
    config.h11_max_incomplete_event_size = _LARGEST_HEAD
    config.load()
    chosen: Any = config.http_protocol_class

    class BoundedProtocol(chosen):  # type: ignore[misc]  # its base is h11's or httptools' protocol
        """One connection."""

        def connection_made(self, transport: asyncio.Transport) -> None:
            """Pass the function that closes the connection to the application."""
            super().connection_made(transport)
            inner: Any = config.loaded_app
            extensions = {CLOSE: transport.close}

            async def app(scope: Any, receive: Any, send: Any) -> None:
                scope["extensions"] = extensions
                await inner(scope, receive, send)

            self.app = app

        # httptools alone calls these; h11 has the bound above.
        def on_message_begin(self) -> None:
            """Start to count the bytes of the head."""
            self._head = 0
            super().on_message_begin()

        def on_url(self, url: bytes) -> None:
            """Count the bytes of the head."""
            self._count(url)
            super().on_url(url)

        def on_header(self, name: bytes, value: bytes) -> None:
            """Count the bytes of the head."""
            self._count(name + value)
            super().on_header(name, value)

        def _count(self, part: bytes) -> None:
            self._head += len(part)
            if self._head > _LARGEST_HEAD:
                raise ValueError("the head of the request is too long")

    config.http_protocol_class = BoundedProtocol


class BackgroundServer(uvicorn.Server):
    """A server for a thread: without signal handlers, with events for its start and end."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self.over = threading.Event()
        self.loop: asyncio.AbstractEventLoop

    def install_signal_handlers(self) -> None:
        """Install none, for the signals belong to the process."""

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, and set `over` at the end."""
        try:
            super().run(sockets)
        finally:
            self.over.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and set `ready`."""
        self.loop = asyncio.get_running_loop()
        try:
            await super().startup(sockets)
        finally:
            self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop without waiting 30 s for idle clients to answer the end of TLS."""
        ending = asyncio.ensure_future(super().shutdown(sockets))
        while not ending.done():
            for connection in list(self.server_state.connections):
                transport: asyncio.WriteTransport = connection.transport
                if transport.is_closing() and not transport.get_write_buffer_size():
                    transport.abort()
            await asyncio.wait([ending], timeout=0.05)
        await ending
