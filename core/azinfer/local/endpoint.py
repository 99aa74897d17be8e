"""The local endpoint as an object: started in a thread, reached over HTTP, stopped at the end."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import uvicorn

from azinfer.core.errors import ConfigurationError, InferenceError
from azinfer.local.deployments import LocalDeployment
from azinfer.local.log import RequestLog
from azinfer.local.server import application
from azinfer.local.store import Store


class LocalEndpoint:
    """An endpoint with deployments on one's own machine, over real HTTP.

    Args:
        deployments: What it serves; left out, a synthetic deployment called `"synthetic"`.
        key: The key that requests must bear; left out, a new one.
        host: The address to listen on; other than loopback it needs a `key`.
        port: The port; 0 lets the system choose.
        strict: Whether to refuse what the service refuses though real clients send it.
        data: A directory to keep files and batches in, so that they outlive the process; left
            out, they last until `stop`.
        clock: Monotonic seconds, by which rate limits are counted; for tests.
        now: Seconds since 1970, by which files and batches end; for tests.

    Attributes:
        url: The address, once it was started.
        key: The key that requests must bear.
        requests: What clients sent, newest last, without their credentials.

    Raises:
        ConfigurationError: Two deployments have one name, or the address needs a key.

    Example:
        >>> from azinfer.core import InferenceClient
        >>> with LocalEndpoint([LocalDeployment("echo")]) as endpoint:
        ...     client = InferenceClient(endpoint.url, endpoint.key, model="ECHO")
        ...     client.complete([{"role": "user", "content": "Hello"}]).text
        'This is a synthetic answer to: Hello'
    """

    def __init__(
        self,
        deployments: Sequence[LocalDeployment] | None = None,
        *,
        key: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        strict: bool = False,
        data: Path | str | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        if host not in ("127.0.0.1", "::1", "localhost") and key is None:
            raise ConfigurationError(f"host={host!r} is open to others: give a key of your own")
        self.deployments = tuple(deployments or (LocalDeployment("synthetic"),))
        self.key = key or secrets.token_urlsafe(24)
        self._address = (host, port)
        self.requests = RequestLog()
        self._store = Store(None if data is None else Path(data), now)
        self._app = application(
            self.deployments, self.key, strict, clock, self.requests, self._store
        )
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.url = ""

    def __repr__(self) -> str:
        names = ", ".join(deployment.name for deployment in self.deployments)
        return f"LocalEndpoint({self.url or 'not started'}: {names})"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; `url` is set when this returns.

        Raises:
            InferenceError: The address is taken or not this machine's.
            ConfigurationError: Another endpoint uses `data`, or it cannot be written.
        """
        sock = self._listen()
        with contextlib.ExitStack() as failed:
            failed.callback(sock.close)
            if self._store.lasting:
                self._store.open()
            failed.pop_all()
        self._server = _Quiet(
            uvicorn.Config(
                self._app,
                log_config=None,
                log_level="critical",
                ws="none",
                access_log=False,
                lifespan="on",
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, args=([sock],), name="azinfer-local", daemon=True
        )
        self._thread.start()
        self._server.ready.wait()
        host, port = self._address[0], sock.getsockname()[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def stop(self) -> None:
        """End the requests in flight, close the engines and the port."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join()
        self._server = self._thread = None
        self.url = ""

    def wait(self) -> None:
        """Serve until the process is interrupted."""
        if self._thread is not None:
            self._thread.join()

    def _listen(self) -> socket.socket:
        host, port = self._address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # asyncio switches off the 40 ms wait of Nagle for sockets that say they are TCP.
        sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
        except OSError as error:
            sock.close()
            raise InferenceError(
                f"port {port} of {host} cannot be listened on: {error.strerror}; choose another "
                "or 0 for any free one"
            ) from None
        return sock


class _Quiet(uvicorn.Server):
    """A server that leaves the signals of the process alone and tells when it is ready."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    def install_signal_handlers(self) -> None:
        """Leave them."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell."""
        try:
            await super().startup(sockets)
        finally:
            self.ready.set()
