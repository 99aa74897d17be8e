"""A lock among processes, which the system frees when its holder ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, once nobody else does.

    Raises:
        OSError: The folder cannot be opened.
    """
    handle = _held(folder)
    try:
        yield
    finally:
        os.close(handle)


def _held(folder: Path) -> int:
    if sys.platform != "win32":
        handle = os.open(folder, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
    else:
        # Folders cannot be locked here, and its own waiting gives up after ten seconds.
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT)
        while True:
            with contextlib.suppress(OSError):
                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
                break
            time.sleep(0.1)
    return handle
