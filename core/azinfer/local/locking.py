"""A lock among processes, which the system frees when its holder ends, however it ends."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, once nobody else does.

    Args:
        path: The file, made if it is not there; it stays.

    Raises:
        OSError: The file cannot be opened.
    """
    with path.open("a") as file:
        _wait(file.fileno())
        yield


def _wait(handle: int) -> None:
    if sys.platform == "win32":
        # Its own waiting gives up after ten seconds.
        while True:
            with contextlib.suppress(OSError):
                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
                return
            time.sleep(0.1)
    else:
        fcntl.flock(handle, fcntl.LOCK_EX)
