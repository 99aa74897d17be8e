"""Commands of the command line, run in this process."""

from __future__ import annotations

from typing import Any

from typer.testing import CliRunner

from azinfer.core import InferenceError
from azinfer.local.cli.app import app
from azinfer.local.cli.error_messages import describe
from azinfer.local.cli.option_errors import exit_code


def run(*arguments: Any, stdin: str = "") -> tuple[int, str]:
    """Run a command; return its exit code and everything that it prints."""
    result = CliRunner().invoke(app, [*map(str, arguments)], input=stdin)
    if isinstance(result.exception, InferenceError):
        return exit_code(result.exception), describe(result.exception)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output
