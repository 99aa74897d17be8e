"""The keys that a user presses while no prompt is shown."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def keep_typed_keys() -> Iterator[None]:
    """Keep keys that are pressed between two prompts for the next prompt, unchanged.

    In the terminal's usual mode the kernel edits lines itself: a Ctrl-D that is pressed while an
    answer is written becomes the end of an input that nobody reads, and the next prompt reads a
    NUL instead of it. Ctrl-C still interrupts. Without a terminal, and on Windows, this does
    nothing.
    """
    try:
        import termios
        import tty

        before = termios.tcgetattr(sys.stdin.fileno())
    except (ImportError, OSError, termios.error):
        yield
        return
    tty.setcbreak(sys.stdin.fileno())
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, before)
