"""Waits of sync code that a signal can end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from queue import SimpleQueue

T = TypeVar("T")
# Python runs signal handlers in the main thread alone. Where the system delivers a signal to
# another thread, a main thread that waits without end for a lock does not notice it.
LONGEST_WAIT = 0.25  # seconds


def sleep_in_steps(seconds: float) -> None:
    """Sleep, but handle signals meanwhile."""
    end = time.monotonic() + seconds
    while seconds > LONGEST_WAIT:
        time.sleep(LONGEST_WAIT)
        seconds = end - time.monotonic()
    time.sleep(max(seconds, 0.0))


def wait_in_steps(wait: Callable[[float], bool]) -> None:
    """Wait without end, as `event.wait` and `condition.wait` do, but handle signals meanwhile.

    Args:
        wait: Waits for some seconds at most, and returns whether what it waits for happened.
    """
    while not wait(LONGEST_WAIT):
        pass


def take_next(queue: SimpleQueue[T]) -> T:
    """Return the next entry of a queue, and handle signals meanwhile."""
    from queue import Empty

    while True:
        try:
            return queue.get(timeout=LONGEST_WAIT)
        except Empty:
            pass
