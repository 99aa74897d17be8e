"""The checkpoint of bulk work: one SQLite file with the finished requests, to continue a run.

Each finished request is one row, written before its results are handed out: the position of its
first item, the number of items, their digest, and the values. A process that is killed
loses only the requests that were under way.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from azinfer.core.errors import ConfigurationError

_FORMAT = 1
_PATIENCE = 10.0  # seconds to wait for a run of the same process that is just ending
_TABLES = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS done (
    first INTEGER PRIMARY KEY, count INTEGER NOT NULL, digest BLOB NOT NULL,
    tokens INTEGER NOT NULL, data BLOB NOT NULL
);
"""

# Checkpoints of ended runs, whose last answers are still under way.
_ENDING: WeakValueDictionary[str, Checkpoint] = WeakValueDictionary()


class Checkpoint:
    """The finished requests, in a file that only one run at a time can use.

    Args:
        path: The file; it is created if it does not exist.
        work: The operation, the model, where it is and the options, as JSON values.

    Raises:
        ConfigurationError: The file is not a checkpoint, belongs to other work, or is in use.
    """

    def __init__(self, path: str | Path, work: Mapping[str, Any]) -> None:
        self.path = str(path)
        self._past_the_last = self._closed = False
        self._lock = threading.Lock()
        if (ending := _ENDING.pop(self._place, None)) is not None:
            ending.close()
        try:
            # The lock of the run allows one thread at a time.
            self._database = sqlite3.connect(
                self.path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise ConfigurationError(f"{self.path} cannot be opened: {error}") from None
        try:
            self._open(work)
        except BaseException as error:
            self._database.close()
            if isinstance(error, sqlite3.Error):
                raise ConfigurationError(_describe(self.path, error)) from None
            raise

    def _open(self, work: Mapping[str, Any]) -> None:
        run = self._database.execute
        run("PRAGMA locking_mode=EXCLUSIVE")
        if run("PRAGMA journal_mode=WAL").fetchone()[0] != "wal":  # pragma: no cover
            raise sqlite3.OperationalError("its file system does not allow a write-ahead log")
        # A commit survives the end of the process; only a power cut may take the last ones.
        run("PRAGMA synchronous=NORMAL")
        run("BEGIN EXCLUSIVE")
        for statement in _TABLES.split(";")[:-1]:
            run(statement)
        known = dict(run("SELECT name, value FROM facts").fetchall())
        if not known:
            facts = {"format": _FORMAT, **work}
            rows = [(name, json.dumps(value)) for name, value in facts.items()]
            self._database.executemany("INSERT INTO facts VALUES (?, ?)", rows)
        run("COMMIT")
        self._check({name: json.loads(value) for name, value in known.items()}, work)
        self._end = run("SELECT coalesce(max(first + count), 0) FROM done").fetchone()[0]

    def _check(self, known: Mapping[str, Any], work: Mapping[str, Any]) -> None:
        """Raise if the file belongs to other work."""
        wanted = {"format": _FORMAT, **work}
        for name in sorted(known.keys() | wanted) if known else ():
            if known.get(name) != wanted.get(name):
                raise ConfigurationError(
                    f"{self.path} was created with {name} {_short(known.get(name))}, this run has "
                    f"{_short(wanted.get(name))}: use another file, or delete this one to "
                    "begin again"
                )

    def next(self, first: int) -> tuple[int, int, bytes] | None:
        """Return the first row of an earlier run at a position or after it."""
        if self._past_the_last:
            return None
        query = "SELECT first, count, digest FROM done WHERE first >= ? ORDER BY first LIMIT 1"
        row: tuple[int, int, bytes] | None = self._database.execute(query, (first,)).fetchone()
        # Rows of this run are all before the position that is planned next.
        self._past_the_last = row is None
        return row

    def end(self) -> int:
        """Return the position after the last item that an earlier run finished."""
        return int(self._end)

    def values_of(self, first: int) -> bytes:
        """Return the values of a row, as they were stored."""
        query = "SELECT data FROM done WHERE first = ?"
        data: bytes = self._database.execute(query, (first,)).fetchone()[0]
        return data

    def store(self, first: int, count: int, digest: bytes, tokens: int, data: bytes) -> None:
        """Store the values of a request; they are in the file when this returns.

        Raises:
            ConfigurationError: The file cannot be written, for example because the disk is full.
        """
        row = (first, count, digest, tokens, data)
        with self._lock:
            if self._closed:  # the next run has taken the file, and does this work again
                return
            try:
                self._database.execute("INSERT INTO done VALUES (?, ?, ?, ?, ?)", row)
            except sqlite3.Error as error:
                raise ConfigurationError(f"{self.path} cannot be written: {error}") from None

    def close_soon(self) -> None:
        """Keep the file for late answers, until another run of this process needs it."""
        _ENDING[self._place] = self

    def close(self) -> None:
        """Close the file, so that another run can use it; it can be called twice."""
        with self._lock:
            self._closed = True
            self._database.close()

    @property
    def _place(self) -> str:
        return os.path.realpath(self.path)


def _describe(path: str, error: sqlite3.Error) -> str:
    if "locked" in str(error):
        return f"{path} is in use by another run: wait for its end, or use another file"
    return f"{path} is not a checkpoint of azinfer: {error}; use another file"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
