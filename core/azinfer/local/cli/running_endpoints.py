"""Endpoints that `azinfer serve` runs now: registered, so that other commands find them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from azinfer.core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class RunningEndpoint:
    """A local endpoint that accepts requests now.

    Attributes:
        url: Its address.
        key: Its key.
        ca_file: The authorities that its clients must trust; None for plain HTTP.
        pid: Its process.
    """

    url: str
    key: str = field(repr=False)
    ca_file: str | None = None
    pid: int = field(default_factory=os.getpid)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return urlsplit(self.url).port or 0


@contextlib.contextmanager
def register(folder: Path, endpoint: RunningEndpoint) -> Iterator[None]:
    """Keep an endpoint in a file that only its owner can read, for as long as it runs.

    Args:
        folder: Where endpoints are registered.
        endpoint: The endpoint.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"serving-{endpoint.port}.json"
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump(asdict(endpoint), file)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def find_running(folder: Path, port: int | None = None, option: str = "--port") -> RunningEndpoint:
    """Return the running endpoint.

    Args:
        folder: Where endpoints are registered.
        port: Its port, if several run.
        option: How the user chooses one of several, for the error.

    Raises:
        ConfigurationError: No endpoint runs, or several run and none was chosen.
    """
    running = {each.port: each for each in all_running(folder)}
    if port is not None:
        running = {port: running[port]} if port in running else {}
    if not running:
        where = f" on port {port}" if port is not None else ""
        raise ConfigurationError(
            f"no local endpoint is running{where}: start one with `azinfer serve`"
        )
    if len(running) > 1:
        choices = (str(each) for each in sorted(running))
        if option == "--endpoint":
            choices = (running[each].url for each in sorted(running))
        raise ConfigurationError(
            f"several local endpoints are running: choose {option} {' or '.join(choices)}"
        )
    return next(iter(running.values()))


def all_running(folder: Path) -> Iterator[RunningEndpoint]:
    """Yield the running endpoints; remove those whose process was killed.

    Args:
        folder: Where endpoints are registered.
    """
    for path in sorted(folder.glob("serving-*.json")):
        try:
            endpoint = RunningEndpoint(**json.loads(path.read_text()))
            if os.name == "posix":
                os.kill(endpoint.pid, 0)  # sends nothing; raises if there is no such process
            host = urlsplit(endpoint.url).hostname or ""
            socket.create_connection((host, endpoint.port), 5).close()
        except (OSError, ValueError, TypeError):
            path.unlink(missing_ok=True)
        else:
            yield endpoint
