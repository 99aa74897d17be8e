"""Ctrl-C: every command ends within two seconds, with exit code 130 and without a traceback."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

EXIT_CODE = 130
# Seconds in which commands may close what they opened; after that the process ends anyway.
_SECONDS_TO_CLOSE = 1.5


def install() -> None:
    """Handle SIGINT from now on; call it in the main thread, before slow imports."""
    # The thread starts here and not in the handler, where a lock of `threading` may be taken.
    interrupted = threading.Lock()
    interrupted.acquire()
    threading.Thread(
        target=_exit_after, args=(interrupted,), name="azinfer-interrupt", daemon=True
    ).start()

    def handle(number: int, frame: FrameType | None) -> NoReturn:
        signal.signal(signal.SIGINT, _exit_now)
        interrupted.release()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handle)
    sys.unraisablehook = _ignore_interrupts


def is_interrupted() -> bool:
    """Return whether Ctrl-C was pressed since `install`."""
    return signal.getsignal(signal.SIGINT) is _exit_now


@contextlib.contextmanager
def end_only_the_block() -> Iterator[None]:
    """Raise KeyboardInterrupt on every Ctrl-C in a block, and do not end the process."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def leave() -> NoReturn:
    """End the process now, with exit code 130.

    Threads inside a model's native code cannot be stopped, and an orderly exit of the interpreter
    would wait for them.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(EXIT_CODE)


def _exit_now(number: int, frame: FrameType | None) -> NoReturn:
    os._exit(EXIT_CODE)


def _exit_after(interrupted: threading.Lock) -> None:
    interrupted.acquire()
    time.sleep(_SECONDS_TO_CLOSE)
    os._exit(EXIT_CODE)


def _ignore_interrupts(unraisable: Any) -> None:
    # Python prints a traceback for an interrupt that arrives while an object is being deleted.
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
