"""Ctrl-C in a real terminal: exit code 130 and no traceback, whatever the command does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from azinfer.local.engines import weights
from terminals import Terminal, terminal

INTERRUPTING = str(Path(__file__).parent.parent / "support/interrupting")


@pytest.fixture(scope="module", autouse=True)
def models() -> None:
    """Fetch the models before any test interrupts a command that loads them."""
    for each in weights.GGUF:
        weights.pull(each, weights.cache())


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Return variables for a command, and check that no endpoint stays registered."""
    yield {"AZINFER_DATA": str(tmp_path)}
    assert list(tmp_path.glob("serving-*")) == []


def check_end(command: Terminal) -> None:
    assert command.wait() == 130, command.output
    for text in ("Traceback", "KeyboardInterrupt", "Aborted"):
        assert text not in command.output


@pytest.mark.parametrize(
    ("arguments", "module"),
    [
        *(
            ("serve --port 0", module)
            for module in (
                *("azinfer.local.cli.app", "typer", "azinfer.core", "msgspec", "starlette"),
                *("uvicorn", "azinfer.local.endpoint", "rich.progress", "xllamacpp", "gguf"),
            )
        ),
        ("demo", "langchain_core.prompts"),
        ("demo", "llama_index.core"),
        ("pull", "rich.progress"),
        ("chat hi", "azinfer.local.cli.chat"),
        ("deployments --endpoint http://127.0.0.1:9 --key k", "azinfer.core.sync_operations"),
        ("--help", "typer.main"),
    ],
)
def test_an_interrupt_during_an_import_ends_the_command(
    arguments: str, module: str, environ: dict[str, str]
) -> None:
    path = os.pathsep.join([INTERRUPTING, os.environ.get("PYTHONPATH", "")])
    environ = {**environ, "INTERRUPT_AT": module, "PYTHONPATH": path}
    with terminal(*arguments.split(), environ=environ) as command:
        check_end(command)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("serve --port 0", "Loading the models"),
        ("serve --port 0", "http://"),
        ("serve --port 0", "Press Ctrl-C to stop."),
        ("demo", "Loading the models"),
        ("demo", "a question"),
        ("demo", "a chain"),
    ],
)
def test_ctrl_c_ends_a_command_that_has_begun(
    arguments: str, text: str, environ: dict[str, str]
) -> None:
    with terminal(*arguments.split(), environ=environ) as command:
        command.read_until(text)
        command.press("\x03")
        check_end(command)


def test_a_second_ctrl_c_ends_it_too(environ: dict[str, str]) -> None:
    with terminal("serve", "--synthetic", "--port", "0", environ=environ) as command:
        command.read_until("Press Ctrl-C to stop.")
        command.press("\x03\x03")
        check_end(command)
    for path in Path(environ["AZINFER_DATA"]).glob("serving-*"):
        path.unlink()  # the second one leaves no time to tidy up


def test_a_download_is_interrupted_and_leaves_no_files(
    environ: dict[str, str], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connects, and never answers
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        environ = {**environ, "AZINFER_CACHE": str(cache), "PIP_INDEX_URL": index}
        with terminal("pull", environ=environ) as command:
            command.read_until(weights.SMOLLM2.name)
            command.press("\x03")
            check_end(command)
    # The interrupt may come before the folder was made.
    assert list(cache.glob("*")) == []


# The interrupt arrives when the native library has loaded a model but not started its thread.
INTERRUPTED_LOAD = """
import os, signal, sys
import xllamacpp

load = xllamacpp.Server
xllamacpp.Server = lambda params: (load(params), os.kill(os.getpid(), signal.SIGINT))[0]
sys.argv[0] = "azinfer"
from azinfer.local.cli.main import main
main()
"""


@pytest.mark.parametrize("command", ["serve --port 0", "demo"])
def test_an_interrupt_leaves_no_half_made_model(command: str, environ: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_LOAD, *command.split()],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environ},
    )
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
