"""The checkpoint of a bulk command: whether a run uses it, and its end."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from azinfer.core import ConfigurationError

_PATIENCE = 1.0  # seconds to wait for a run that is just ending
_CLEARING = "BEGIN EXCLUSIVE; DROP TABLE IF EXISTS done; DROP TABLE IF EXISTS facts; COMMIT"


def refuse_if_in_use(checkpoint: Path) -> None:
    """Check that no run is using a checkpoint.

    Raises:
        ConfigurationError: One is.
    """
    try:
        with closing(sqlite3.connect(checkpoint, timeout=0)) as database:
            database.executescript("BEGIN EXCLUSIVE; ROLLBACK")
    except sqlite3.Error as error:
        if "locked" in str(error):
            raise _in_use(checkpoint) from None


def _in_use(checkpoint: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{checkpoint} is in use by another run: wait for its end, or use another file"
    )


def clear(checkpoint: Path) -> None:
    """Remove the results of an earlier run.

    Raises:
        ConfigurationError: A run is using them.
    """
    if not checkpoint.exists():
        return
    try:
        with closing(sqlite3.connect(checkpoint, timeout=_PATIENCE)) as database:
            # The file stays, as another run could lock it just before it is deleted.
            database.executescript(_CLEARING)
    except sqlite3.Error as error:
        if "locked" in str(error):
            raise _in_use(checkpoint) from None
        delete(checkpoint)  # it is not a checkpoint


def delete(checkpoint: Path) -> None:
    """Delete a checkpoint and the files beside it."""
    for ending in ("", "-wal", "-shm"):
        checkpoint.with_name(f"{checkpoint.name}{ending}").unlink(missing_ok=True)
