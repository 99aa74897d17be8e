"""Interrupt this process when it imports the module that INTERRUPT_AT names."""

import os
import signal
import sys


def _interrupt(event: str, arguments: tuple[object, ...]) -> None:
    if event == "import" and arguments[0] == os.environ.get("INTERRUPT_AT"):
        del os.environ["INTERRUPT_AT"]
        os.kill(os.getpid(), signal.SIGINT)


sys.addaudithook(_interrupt)
