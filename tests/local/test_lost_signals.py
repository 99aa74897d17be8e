"""Signals that the system delivers to another thread than the main one: they are never lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# A thread sends the signal to itself, as the system may do with any signal to the process, when
# the main thread waits in the function that HERE names; then that thread has nothing more to do.
SEND = """
import os, signal, sys, threading, time

def send(number, here):
    while True:
        frame = sys._current_frames()[threading.main_thread().ident]
        codes = []
        while frame is not None:
            codes.append(frame.f_code.co_name)
            frame = frame.f_back
        waits = codes[0] in ("wait", "take_next", "sleep_in_steps", "sleep_natively")
        if waits and here in codes and "start" not in codes:
            break
        time.sleep(0.01)
    time.sleep(0.05 * (here == "sleep_natively"))  # whose last instruction cannot be seen
    signal.pthread_kill(threading.get_ident(), number)
    threading.Event().wait()

def begin(number, here):
    threading.Thread(target=send, args=(number, here), daemon=True).start()
"""
COMMAND = """
sys.argv = ["azinfer", *sys.argv[1:]]
from azinfer.local.cli import interrupts
installed = interrupts.install
interrupts.install = lambda: (installed(), begin(NUMBER, HERE))
from azinfer.local.cli.main import main
main()
"""
HANG = 60.0  # far longer than any takes


def run(program: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SEND + program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG,
        env={**os.environ, **environ},
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_serve_ends(number: signal.Signals, code: int, tmp_path: Path) -> None:
    program = COMMAND.replace("NUMBER", str(int(number))).replace("HERE", "'serve'")
    done = run(program, "serve", "--synthetic", "--port", "0", AZINFER_DATA=str(tmp_path))
    assert (done.returncode, done.stderr) == (code, "")
    assert "Press Ctrl-C to stop." in done.stdout
    assert list(tmp_path.glob("serving-*")) == []


# A command that waits for something that never comes, in a lock.
WAITING = """
import threading
from azinfer.local.cli import app as commands

@commands.app.command()
def wait_endlessly():
    threading.Event().wait()
"""


def test_a_command_that_waits_for_a_lock_ends() -> None:
    program = WAITING + COMMAND.replace("NUMBER", "signal.SIGINT").replace(
        "HERE", "'wait_endlessly'"
    )
    done = run(program, "wait-endlessly")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


NATIVE = """
import ctypes
from azinfer.local.cli import app as commands

@commands.app.command()
def sleep_natively():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGURG})  # what would wake it
    ctypes.CDLL(None).sleep(3600)
"""


def test_a_command_inside_native_code_ends() -> None:
    program = NATIVE + COMMAND.replace("NUMBER", "signal.SIGINT").replace(
        "HERE", "'sleep_natively'"
    )
    done = run(program, "sleep-natively")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


LIBRARY = {
    "an endpoint": """
from azinfer.local import LocalEndpoint
with LocalEndpoint() as endpoint:
    begin(signal.SIGINT, "wait_in_steps")
    endpoint.wait()
""",
    "embeddings": """
from azinfer.core.embedding_requests import embed_in_threads
begin(signal.SIGINT, "_embed_in_threads")
embed_in_threads(lambda part: threading.Event().wait(), [1, 2], None)
""",
    "a pause": """
from azinfer.core.clock import Clock
begin(signal.SIGINT, "sleep")
Clock().sleep(1e6)
""",
}


@pytest.mark.parametrize("program", LIBRARY.values(), ids=LIBRARY)
def test_a_program_that_waits_for_the_library_is_interrupted(program: str) -> None:
    done = run(program)
    assert done.returncode == -signal.SIGINT
    assert done.stderr.endswith("KeyboardInterrupt\n")
