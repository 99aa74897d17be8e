"""The entry point of the command line: run a command, report errors, end on a signal."""

from __future__ import annotations

import sys

from azinfer.local.cli import interrupts


def main() -> None:
    """Run the command that the arguments name.

    Exit codes: 0 success, 1 error, 2 wrong options, 130 Ctrl-C.
    """
    try:
        interrupts.install()
        from azinfer.local.cli.app import app

        app()
    except BaseException as error:
        # Libraries turn interrupts into errors of their own.
        if (code := interrupts.exit_code()) is not None:
            interrupts.leave(code)
        if not isinstance(error, Exception):
            raise
        sys.exit(_report(error))


def _report(error: Exception) -> int:
    """Print an error that a user can act on in one sentence; raise any other.

    Returns:
        The exit code.
    """
    from azinfer.core import InferenceError
    from azinfer.local.cli.error_messages import describe
    from azinfer.local.cli.option_errors import exit_code

    if not isinstance(error, InferenceError | ModuleNotFoundError):
        raise error
    print(f"azinfer: {describe(error)}", file=sys.stderr)  # noqa: T201
    return exit_code(error)
