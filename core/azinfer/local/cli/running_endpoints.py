"""Endpoints that `azinfer serve` runs now, written down so that other commands find them."""

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
class Running:
    """An endpoint that runs.

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


@contextlib.contextmanager
def noted(folder: Path, running: Running) -> Iterator[None]:
    """Keep a note of an endpoint, which only its owner may read, for as long as it runs."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"serving-{urlsplit(running.url).port}.json"
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump(asdict(running), file)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def running(folder: Path, port: int | None = None) -> Running:
    """The endpoint that runs.

    Args:
        folder: Where notes are kept.
        port: Its port, where there are several.

    Raises:
        ConfigurationError: None runs, or several do and none was chosen.
    """
    found = {urlsplit(each.url).port: each for each in _answering(folder)}
    if port is not None:
        found = {port: found[port]} if port in found else {}
    if not found:
        at = f" on port {port}" if port is not None else ""
        raise ConfigurationError(f"no endpoint runs{at}: start one with `azinfer serve`")
    if len(found) > 1:
        ports = ", ".join(map(str, sorted(each for each in found if each)))
        raise ConfigurationError(f"several endpoints run: choose one by --port {ports}")
    return next(iter(found.values()))


def _answering(folder: Path) -> Iterator[Running]:
    """What runs; the note of an endpoint that was killed is thrown away."""
    for path in sorted(folder.glob("serving-*.json")):
        try:
            note = Running(**json.loads(path.read_text()))
            parts = urlsplit(note.url)
            if os.name == "posix":
                os.kill(note.pid, 0)  # only whether there is such a process
            socket.create_connection((parts.hostname or "", parts.port or 0), 5).close()
        except (OSError, ValueError, TypeError):
            path.unlink(missing_ok=True)
        else:
            yield note
