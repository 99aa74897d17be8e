"""Signals: every command ends within two seconds, with its exit code and without a traceback.

The system may deliver a signal to any thread, and Python runs handlers in the main thread alone,
when that executes its next instruction. A main thread that waits for a lock, or is inside native
code, would not notice. So a thread of its own learns of each signal through a pipe; it wakes the
main thread, and ends the process if that does not end in time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

INTERRUPTED, STOPPED = 130, 0
# Seconds in which commands may close what they opened; after that the process ends anyway.
_SECONDS_TO_CLOSE = 1.5
# Seconds between two attempts to wake the main thread, which may just begin to wait.
_STEP = 0.05
# A signal whose handler does nothing, but which ends a wait of the main thread. Windows has none:
# there, waits of the main thread have to end by themselves.
_WAKE: int | None = getattr(signal, "SIGURG", None)


class _Signals:
    """The signals of this process.

    Attributes:
        exit_code: The code with which the process ends because of a signal; None before.
        wakes: How often the main thread handled a signal that woke it.
        write: The end of the pipe that gets the number of each signal.
    """

    def __init__(self) -> None:
        self.exit_code: int | None = None
        self.wakes = 0
        self.write = -1


_signals = _Signals()


def install() -> None:
    """Handle SIGINT from now on; call it in the main thread, before slow imports."""
    read, _signals.write = _pipe()
    # The thread starts here and not in a handler, where a lock of `threading` may be taken.
    main = threading.get_ident()
    watch = threading.Thread(
        target=_watch, args=(read, main), name="azinfer-interrupt", daemon=True
    )
    watch.start()
    _listen()
    if _WAKE is not None:
        signal.signal(_WAKE, _count_wake)
    signal.signal(signal.SIGINT, _interrupt)
    sys.unraisablehook = _ignore_interrupts


def stop_on_sigterm() -> None:
    """End the process with code 0 on SIGTERM, with which containers and init systems stop one."""
    signal.signal(signal.SIGTERM, _stop)


def exit_code() -> int | None:
    """Return the code with which the process must end because of a signal; None without one."""
    return _signals.exit_code


@contextlib.contextmanager
def end_only_the_block() -> Iterator[None]:
    """Raise KeyboardInterrupt on every Ctrl-C in a block, and do not end the process."""
    _listen()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        _listen()


def leave(code: int) -> NoReturn:
    """End the process now.

    Threads inside a model's native code cannot be stopped, and an orderly exit of the interpreter
    would wait for them.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _pipe() -> tuple[Callable[[], bytes], int]:
    """Return a function that waits for the next byte, and what to write bytes to."""
    if sys.platform == "win32":  # where signals can be written to a socket alone
        import socket

        receiver, sender = socket.socketpair()
        sender.setblocking(False)
        return lambda: receiver.recv(1), sender.detach()
    read, write = os.pipe()
    os.set_blocking(write, False)
    return lambda: os.read(read, 1), write


def _listen() -> None:
    """Write the number of each signal to the pipe; event loops end this when they are closed."""
    if _signals.write != -1:
        signal.set_wakeup_fd(_signals.write, warn_on_full_buffer=False)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    _begin_end(number, INTERRUPTED)
    raise KeyboardInterrupt


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    _begin_end(number, STOPPED)
    raise SystemExit(STOPPED)


def _begin_end(number: int, code: int) -> None:
    signal.signal(number, _exit_now)
    _signals.exit_code = code
    if sys.platform != "win32":
        # An event loop of a library may have read the first one.
        with contextlib.suppress(BlockingIOError):
            os.write(_signals.write, bytes([number]))


def _exit_now(number: int, frame: FrameType | None) -> NoReturn:
    os._exit(_code(number))


def _count_wake(number: int, frame: FrameType | None) -> None:
    _signals.wakes += 1


def _watch(read: Callable[[], bytes], main: int) -> NoReturn:
    """Wake the main thread after each signal, and end the process if it does not end in time."""
    while True:
        [number] = read()
        if number == _WAKE or (_WAKE is None and _ends_only_a_block(number)):
            continue
        end, wakes = time.monotonic() + _SECONDS_TO_CLOSE, _signals.wakes
        while time.monotonic() < end:
            if _WAKE is not None:
                signal.pthread_kill(main, _WAKE)
            time.sleep(_STEP)
            # Handlers run in the order of their numbers, and the waking signal's is higher; the
            # first wake may be one of an earlier signal.
            if _signals.exit_code is None and _signals.wakes > wakes + 1:
                break
        else:
            if not _ends_only_a_block(number):
                os._exit(_code(number))


def _ends_only_a_block(number: int) -> bool:
    return signal.getsignal(number) is signal.default_int_handler


def _code(number: int) -> int:
    return INTERRUPTED if number == signal.SIGINT else STOPPED


def _ignore_interrupts(unraisable: Any) -> None:
    # Python prints a traceback for an interrupt that arrives while an object is being deleted.
    if _signals.exit_code is None or not issubclass(
        unraisable.exc_type, KeyboardInterrupt | SystemExit
    ):
        sys.__unraisablehook__(unraisable)
