"""Commands in a real terminal, whose keys a test presses."""

from __future__ import annotations

import codecs
import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

COMMAND = str(Path(sys.executable).with_name("azinfer"))
# For a command that does not end at all; far longer than any takes.
_HUNG = 60.0
_ESCAPE, _CUT_ESCAPE = re.compile(r"\x1b\[[\d;?]*[a-zA-Z]"), re.compile(r"\x1b(\[[\d;?]*)?$")
# This terminal does not say where its cursor is.
_SETTINGS = {"TERM": "xterm", "COLUMNS": "80", "PROMPT_TOOLKIT_NO_CPR": "1"}


class Terminal:
    """A command that runs in its own terminal.

    Args:
        arguments: The command's arguments.
        environ: Variables beside those of the process.
    """

    def __init__(self, *arguments: str, environ: Mapping[str, str] | None = None) -> None:
        self._keys, inside = pty.openpty()
        self.output = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._cut_escape = ""
        self.process = subprocess.Popen(
            [COMMAND, *arguments],
            stdin=inside,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
            env={**os.environ, **_SETTINGS, **(environ or {})},
            preexec_fn=_take_terminal,
        )
        os.close(inside)

    def press(self, keys: str) -> None:
        """Send keys, as `"\\x03"` for Ctrl-C."""
        os.write(self._keys, keys.encode())

    def read_until(self, text: str) -> str:
        """Read until a text appears, and return the output up to its end.

        Raises:
            AssertionError: The command ends or hangs first.
        """
        while text not in self.output:
            assert self._read(), f"{text!r} did not appear in {self.output!r}"
        before, _, self.output = self.output.partition(text)
        return before + text

    def wait(self) -> int:
        """Read the rest, and return the exit code."""
        while self._read():
            pass
        return self.process.wait(_HUNG)

    def close(self) -> None:
        """End the command if it runs, and close the terminal."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(_HUNG)
        os.close(self._keys)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._keys], [], [], _HUNG)
        with contextlib.suppress(OSError):  # Linux reports the end so
            part = os.read(self._keys, 65536) if ready else b""
            # Escape sequences move the cursor and set colours; a read may end within one.
            text = _ESCAPE.sub("", self._cut_escape + self._decoder.decode(part))
            cut = _CUT_ESCAPE.search(text)
            self._cut_escape = cut[0] if cut else ""
            self.output += text.removesuffix(self._cut_escape)
            return bool(part)
        return False


@contextlib.contextmanager
def terminal(*arguments: str, environ: Mapping[str, str] | None = None) -> Iterator[Terminal]:
    """Run a command in a terminal for the time of a block."""
    running = Terminal(*arguments, environ=environ)
    try:
        yield running
    finally:
        running.close()


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
