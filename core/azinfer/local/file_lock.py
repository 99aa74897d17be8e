"""A lock between processes, which the system releases when its owner ends, however it ends."""

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
def lock_folder(folder: Path) -> Iterator[None]:
    """Wait for the lock of a folder, and keep it inside the block.

    Raises:
        OSError: The folder cannot be opened.
    """
    handle = _acquire(folder)
    try:
        yield
    finally:
        os.close(handle)


def _acquire(folder: Path) -> int:
    if sys.platform != "win32":
        handle = os.open(folder, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
    else:
        # Windows cannot lock folders, and its own wait gives up after ten seconds.
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT)
        while True:
            with contextlib.suppress(OSError):
                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
                break
            time.sleep(0.1)
    return handle
