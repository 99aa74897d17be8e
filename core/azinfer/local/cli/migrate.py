"""`azinfer migrate`: rewrite programs of other packages for Azure, or show how."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from azinfer.core.errors import ConfigurationError
from azinfer.local.cli.file_writing import write_file
from azinfer.local.cli.output import write, write_json

if TYPE_CHECKING:
    from azinfer.migrate import Migration

_SKIPPED = frozenset({".venv", "venv", ".git", "node_modules", "__pycache__", "site-packages"})


def migrate(paths: Sequence[Path], *, write_files: bool, as_json: bool) -> bool:
    """Rewrite programs, or print what would change; print the lines to change by hand.

    Args:
        paths: Files, or folders with `.py` files.
        write_files: Whether to change the files.
        as_json: Whether to print one JSON list, with the changes and the problems of each file.

    Returns:
        Whether no line has to be changed by hand.

    Raises:
        ConfigurationError: A path does not exist, or a file is not valid Python.
        ModuleNotFoundError: The extra `migrate` is not installed.
    """
    from azinfer.migrate import migrate_source

    results: list[tuple[Path, Migration]] = []
    for path in _files(paths):
        try:
            result = migrate_source(path.read_bytes().decode())  # with its own line ends
        except (OSError, SyntaxError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path} cannot be read: {error}") from None
        results.append((path, result))
    if write_files:  # when all of them could be read
        _write_all(results)
    if as_json:
        write_json([_record(path, result) for path, result in results])
    else:
        _report(results, write_files)
    return not any(result.problems for _, result in results)


def _write_all(results: Sequence[tuple[Path, Migration]]) -> None:
    for path, result in results:
        if result.is_changed:
            try:
                write_file(path, result.after)
            except OSError as error:
                raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            inside = sorted(path.rglob("*.py"))
            yield from (each for each in inside if not _SKIPPED & set(each.parts))
        elif path.is_file():
            yield path
        else:
            raise ConfigurationError(f"the file {path} does not exist")


def _record(path: Path, result: Migration) -> dict[str, object]:
    return {
        "file": str(path),
        "changed": result.is_changed,
        "diff": result.diff(str(path)),
        "problems": [{"line": each.line, "text": each.text} for each in result.problems],
        "notes": [{"line": each.line, "text": each.text} for each in result.notes],
    }


def _report(results: Sequence[tuple[Path, Migration]], written: bool) -> None:
    for path, result in results:
        if written and result.is_changed:
            write(f"rewritten: {path}")
        elif result.is_changed:
            write(result.diff(str(path)).rstrip("\n"))
    sys.stdout.flush()
    problems = [(path, each) for path, result in results for each in result.problems]
    for path, each in problems:
        print(f"{path}:{each.line}: {each.text}", file=sys.stderr)  # noqa: T201
    for path, result in results:
        for note in result.notes:
            print(f"{path}:{note.line}: note: {note.text}", file=sys.stderr)  # noqa: T201
    changed = sum(result.is_changed for _, result in results)
    verb = "rewritten" if written else "to rewrite; --write changes them"
    summary = f"{changed} of {len(results)} files {verb}; {len(problems)} lines to do by hand"
    print(summary, file=sys.stderr)  # noqa: T201
