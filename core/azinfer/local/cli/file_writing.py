"""Files that commands write: whole or not at all, and never over what the user reads.

A file is written under another name beside it and renamed at the end, so that a kill leaves no half
of one.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from stat import S_ISREG

from azinfer.core.errors import ConfigurationError

_STANDARD_INPUT = "-"


def write_file(path: Path, text: str) -> None:
    """Write a text to a file; an earlier one stays as it was until the new one is complete.

    A symbolic link stays a link, and the permissions of an earlier file stay.

    Raises:
        OSError: The file cannot be written.
    """
    if path.exists() and not path.is_file():  # a pipe, or /dev/stdout
        path.write_text(text, "utf-8", newline="")
        return
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(2, f"{target.parent} is not a folder")
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".azinfer-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, name)
        else:
            Path(name).chmod(0o666 & ~_mask())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def refuse_inputs(output: Path | None, names: Sequence[str], *endings: str) -> None:
    """Check that no file of the input would be written.

    Args:
        output: The file to write; None for the standard output.
        names: The files of the input; `-` is the standard input.
        endings: What is added to the output's name for files that are written beside it.

    Raises:
        ConfigurationError: They are the same file, by whatever name: a link, another path, or a
            redirection of the shell.
    """
    for name in names:
        if output is None:
            if _same(_state(name), _state_of(sys.stdout)):
                raise ConfigurationError(
                    f"{title(name)} is the file that the output goes to, too: send it to another"
                )
            continue
        places = (str(output), os.path.realpath(output))
        for ending, place in product(("", *endings), places):
            written = Path(f"{place}{ending}")
            if is_same(written, name):
                also = f"; {written} belongs to --output {output}" if ending else ""
                raise ConfigurationError(
                    f"{title(name)} would be overwritten: --output {str(written)!r} is the same "
                    f"file{also}; use another file for the output"
                )


def is_same(path: Path, name: str | Path) -> bool:
    """Return whether two names, one of which may be `-`, stand for the same file."""
    if _same(_state(str(path)), _state(str(name))):
        return True
    return str(name) != _STANDARD_INPUT and os.path.realpath(path) == os.path.realpath(name)


def is_any_of(path: Path, others: Iterable[Path]) -> bool:
    """Return whether a file is one of others, by whatever name."""
    return any(is_same(path, each) for each in others)


def title(name: str) -> str:
    """Return the words for a file of the input."""
    return "the standard input" if name == _STANDARD_INPUT else name


def _state(name: str) -> os.stat_result | None:
    if name == _STANDARD_INPUT:
        return _state_of(sys.stdin)
    with suppress(OSError):
        return os.stat(name)
    return None


def _state_of(stream: object) -> os.stat_result | None:
    """Return what a standard stream is; None if it is not a file of the system."""
    with suppress(OSError, ValueError, AttributeError):
        return os.fstat(stream.fileno())  # type: ignore[attr-defined]
    return None


def _same(one: os.stat_result | None, other: os.stat_result | None) -> bool:
    """Return whether both are the same file on a disk; a terminal or a pipe may be both."""
    if one is None or other is None or not S_ISREG(one.st_mode):
        return False
    return os.path.samestat(one, other)


def _mask() -> int:
    """Return the permissions that new files of this process do not get."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
