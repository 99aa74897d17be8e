"""Help texts: complete, readable at 80 columns, and printed without loading the server."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from typing import Any

import pytest
from typer.main import get_command

from azinfer.local.cli.app import app
from azinfer.local.cli.output import table

GROUP: Any = get_command(app)
COMMANDS: dict[str, Any] = GROUP.commands
RUN = "from azinfer.local.cli.main import main; main()"


def run(*arguments: str, after: str = "") -> str:
    """Run the command line in a new process and return what it prints."""
    program = f"import sys\ntry:\n    {RUN}\nfinally:\n    {after or 'pass'}"
    environ = {**os.environ, "COLUMNS": "80", "TERM": "xterm-256color"}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=environ,
    )
    return done.stdout


def words(text: str) -> str:
    return " ".join(text.split())


INNER = {
    f"{name} {inner}": command
    for name, group in COMMANDS.items()
    for inner, command in getattr(group, "commands", {}).items()
}


@pytest.mark.parametrize("name", sorted({**COMMANDS, **INNER}))
def test_help_has_every_word_of_its_source(name: str) -> None:
    command = {**COMMANDS, **INNER}[name]
    output = run(*name.split(), "--help")
    texts = [command.callback.__doc__, command.epilog, *(each.help for each in command.params)]
    for text in texts:
        assert words(text) in words(output)
    assert "130 stopped by Ctrl-C" in words(output)
    assert max(map(len, output.splitlines())) <= 80


def test_the_list_of_commands_cuts_no_description() -> None:
    output = run("--help").partition("Commands:")[2]
    assert "..." not in output
    for command in COMMANDS.values():
        first_line = inspect.getdoc(command.callback)
        assert first_line is not None
        assert first_line.splitlines()[0] in words(output)


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_the_server_is_not_loaded_for(option: str) -> None:
    modules = run(option, after="print(sorted(sys.modules))").splitlines()[-1]
    loaded = {name.partition(".")[0] for name in ast.literal_eval(modules)}
    assert not loaded & {"starlette", "uvicorn", "numpy", "rich", "httpx", "xllamacpp", "htpy"}
    if option == "--help":
        assert "azinfer.core" not in ast.literal_eval(modules)


def test_tables_break_between_words_only() -> None:
    columns = ("name", "model", "rate limits")
    rows = [
        ("Small-Chat-PTU", "OpenAI gpt-4.1 2025-04-14", "6 requests / 10 s, 12,000 tokens / 60 s"),
        ("x", "-", "-"),
    ]
    for width in (120, 80, 50, 40):
        lines = table(columns, rows, width)
        assert max(map(len, lines)) <= width
        split = {word for line in lines for word in line.split()}
        assert {word for row in rows for cell in row for word in cell.split()} <= split
        assert lines[0].split() == ["name", "model", "rate", "limits"][: len(lines[0].split())]


def test_rows_that_fit_no_table_are_blocks() -> None:
    lines = table(("name", "model"), [("a-long-name", "a-long-model")], 16)
    assert lines == ["a-long-name", "  model:", "  a-long-model"]
