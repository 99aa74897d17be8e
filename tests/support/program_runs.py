"""Run programs one after another in this process: `python program_runs.py FILE`, JSON in and out.

The file has a list of programs; the output is a list of what each printed, and its error.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[[list[str]], list[dict[str, Any]]]


def run(program: str, name: str) -> dict[str, Any]:
    """Return what a program prints, and the last line of its error; empty if it has none."""
    output, error = io.StringIO(), ""
    values = {"__name__": "__main__", "__builtins__": __builtins__}
    with contextlib.redirect_stdout(output), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the packages' own
        try:
            exec(compile(program, name, "exec", dont_inherit=True), values)
        except BaseException as caught:
            error = (
                "".join(traceback.format_exception_only(caught)).strip() or type(caught).__name__
            )
    return {"output": output.getvalue(), "error": error}


if __name__ == "__main__":
    programs = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        results = [run(program, f"program {at}") for at, program in enumerate(programs)]
    sys.stdout.write(json.dumps(results))
