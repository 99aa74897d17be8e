"""The set-up of uvicorn: limits of connections, and a server that runs in a thread."""

from __future__ import annotations

import asyncio
import functools
import socket
import threading
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from azinfer.local.api.client_departure import DEPARTURE, Departure
from azinfer.local.api.fault_injection import CLOSE
from azinfer.local.api.request_body import HAS_WHOLE_BODY
from azinfer.local.server.joined_writes import JoinedWrites

_LARGEST_HEAD = 64 * 1024
# Seconds for the head of a request and for the start of TLS, and seconds after which a client
# that reads nothing of its response is disconnected; long enough for a debugger.
_HEAD_SECONDS, _STALLED_SECONDS = 10.0, 120.0


def configure_limits(config: uvicorn.Config) -> None:
    """Limit the heads of requests and slow readers, and enable the application to close.

    The function in `scope["extensions"]["azinfer.close"]` closes the
    connection without a response; `azinfer.has_whole_body` returns whether the body is there,
    and `azinfer.departure` knows when the client leaves.
    """
    config.load()
    config.http_protocol_class = BoundedProtocol


class BoundedProtocol(HttpToolsProtocol):
    """One connection: its heads are limited in size and time, and so is a stalled response."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Pass the function that closes the connection to the application."""
        super().connection_made(transport)
        inner: Any = self.config.loaded_app
        self._departure = Departure()
        self._writes = JoinedWrites(transport, self.loop)
        extensions = {
            CLOSE: transport.close,
            DEPARTURE: self._departure,
            HAS_WHOLE_BODY: self._has_whole_body,
        }

        async def app(scope: Any, receive: Any, send: Any) -> None:
            scope["extensions"] = extensions
            await inner(scope, receive, send)

        self.app = app
        self._head = 0
        # When the present head must be there, if one is awaited; the timer looks at it at times,
        # because a timer for each request costs more.
        self._head_deadline: float | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._stalled_timer: asyncio.TimerHandle | None = None
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers, and the work for the client."""
        self._departure.leave()
        if self._head_timer is not None:
            self._head_timer.cancel()
        self._stop_stalled_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Start the time of the next head, unless a request is being answered."""
        cycle: Any = self.cycle  # None before the first request
        if self._head_deadline is None and (cycle is None or cycle.response_complete):
            self._await_head()
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Start to count the bytes of the head."""
        self._head = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count the bytes of the head."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count the bytes of the head."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Stop the time of the head."""
        self._head_deadline = None
        super().on_headers_complete()
        cycle: Any = self.cycle
        cycle.transport = self._writes

    def pause_writing(self) -> None:
        """Start to watch a client that does not read."""
        super().pause_writing()
        if self._stalled_timer is None:
            self._watch(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Stop watching."""
        self._stop_stalled_timer()
        super().resume_writing()

    def _has_whole_body(self) -> bool:
        """Return whether the newest request, and so any before it, has arrived whole."""
        cycle: Any = self.cycle
        return not cycle.more_body

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > _LARGEST_HEAD:
            raise ValueError("the head of the request is too long")

    def _await_head(self) -> None:
        self._head_deadline = self.loop.time() + _HEAD_SECONDS
        if self._head_timer is None:
            self._head_timer = self.loop.call_at(self._head_deadline, self._check_head)

    def _check_head(self) -> None:
        self._head_timer = None
        if self._head_deadline is None:
            return
        if self._head_deadline <= self.loop.time():
            self.transport.close()
        else:
            self._head_timer = self.loop.call_at(self._head_deadline, self._check_head)

    def _watch(self, unread: int) -> None:
        def check() -> None:
            left = self.transport.get_write_buffer_size()
            if left >= unread:
                self.transport.abort()
            else:
                self._watch(left)

        self._stalled_timer = self.loop.call_later(_STALLED_SECONDS, check)

    def _stop_stalled_timer(self) -> None:
        if self._stalled_timer is not None:
            self._stalled_timer.cancel()
            self._stalled_timer = None


class BackgroundServer(uvicorn.Server):
    """A server for a thread: without signal handlers, with events for its start and end."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self.over = threading.Event()
        self.loop: asyncio.AbstractEventLoop

    def install_signal_handlers(self) -> None:
        """Do nothing: signals belong to the process."""

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, and set `over` at the end."""
        try:
            super().run(sockets)
        finally:
            self.over.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and set `ready`."""
        self.loop = asyncio.get_running_loop()
        if self.config.ssl is not None:
            # uvicorn has no argument for this, and its default is a minute.
            self.loop.create_server = functools.partial(  # type: ignore[method-assign]
                self.loop.create_server, ssl_handshake_timeout=_HEAD_SECONDS
            )
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
