"""The store: files, batches and their results in one directory, safe from a sudden end.

What is listed in the database is whole. The content of a file gets its name only when all of it
is written, and its row after that; a result is there or not, never half.
"""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from azinfer.core.errors import ConfigurationError
from azinfer.local.wire.body import Json

UNENDED = ("validating", "in_progress", "finalizing", "cancelling")
_TABLES = """
CREATE TABLE IF NOT EXISTS files (number INTEGER PRIMARY KEY, id TEXT UNIQUE, told TEXT);
CREATE TABLE IF NOT EXISTS batches (number INTEGER PRIMARY KEY, id TEXT UNIQUE, told TEXT);
CREATE TABLE IF NOT EXISTS results (
    batch TEXT, line INTEGER, failed INTEGER, told TEXT, PRIMARY KEY (batch, line)
) WITHOUT ROWID;
"""
_KEEP_BATCH = """
INSERT INTO batches (id, told) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET told = excluded.told
"""
# Nobody else may open it; what was written outlives the process, and the file any power cut.
_ALONE = "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"


class FileStore:
    """Files and batches in a directory; used from one thread at a time.

    Args:
        directory: Where to keep them; None for a directory that lasts as long as the store.
        now: Seconds since 1970.

    Attributes:
        lasting: Whether what it has outlives it, and it may have something from before.
    """

    def __init__(self, directory: Path | None, now: Callable[[], float] = time.time) -> None:
        self.now = now
        self._directory = directory
        self.lasting = directory is not None
        self._open: sqlite3.Connection | None = None
        self._left = contextlib.ExitStack()

    def open(self) -> None:
        """Open it before it is used, so that what is wrong is told at once.

        Raises:
            ConfigurationError: Another endpoint has it, or it cannot be written.
        """
        self._database()

    def close(self) -> None:
        """Close it; a directory that was given stays."""
        self._left.close()
        self._open = None

    def clear(self) -> None:
        """Forget all files and batches."""
        if self._open is None:
            return
        for told in self.files():
            self.remove_file(told["id"])
        with self._database() as database:
            database.execute("DELETE FROM batches")
            database.execute("DELETE FROM results")

    def begin_file(self) -> tuple[str, Path]:
        """The id of a new file, and where to write its content before `end_file`."""
        self._database()
        file_id = f"file-{uuid.uuid4().hex}"
        return file_id, self.path(file_id).with_suffix(".part")

    def end_file(self, file_id: str, told: Json) -> Json:
        """Keep a file whose content was written.

        Args:
            file_id: Its id.
            told: What else is told of it; `expires_after` in seconds becomes a time.
        """
        whole = self._placed(file_id, told)
        self._write("INSERT INTO files (id, told) VALUES (?, ?)", file_id, json.dumps(whole))
        return whole

    def file(self, file_id: str) -> Json | None:
        """What is told of a file; None where there is none, or no longer."""
        return next(iter(self._lasting(self._told("files", file_id))), None)

    def files(self) -> list[Json]:
        """What is told of all files, newest first."""
        return self._lasting(self._told("files"))

    def path(self, file_id: str) -> Path:
        """Where the content of a file is."""
        assert self._directory is not None
        return self._directory / "files" / file_id

    def remove_file(self, file_id: str) -> None:
        """Delete a file."""
        self._write("DELETE FROM files WHERE id = ?", file_id)
        self.path(file_id).unlink(missing_ok=True)

    def keep_batch(self, told: Json) -> None:
        """Keep what is told of a batch, new or changed."""
        self._write(_KEEP_BATCH, told["id"], json.dumps(told))

    def batch(self, batch_id: str) -> Json | None:
        """What is told of a batch; None where there is none."""
        return next(iter(self._told("batches", batch_id)), None)

    def batches(self) -> list[Json]:
        """What is told of all batches, newest first."""
        return self._told("batches")

    def add_result(self, batch_id: str, line: int, failed: bool, told: Json) -> None:
        """Keep the result of one line of a batch."""
        values = (batch_id, line, failed, json.dumps(told, separators=(",", ":")))
        self._write("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?)", *values)

    def done(self, batch_id: str) -> set[int]:
        """The lines of a batch that have a result."""
        found = self._database().execute("SELECT line FROM results WHERE batch = ?", (batch_id,))
        return {line for (line,) in found}

    def counts(self, batch_id: str) -> tuple[int, int]:
        """How many lines of a batch succeeded, and how many failed."""
        query = "SELECT failed, COUNT(*) FROM results WHERE batch = ? GROUP BY failed"
        counts = dict(self._database().execute(query, (batch_id,)).fetchall())
        return counts.get(0, 0), counts.get(1, 0)

    def results(self, batch_id: str, failed: bool) -> Iterable[str]:
        """The results of a batch that succeeded or failed, in the order of their lines."""
        query = "SELECT told FROM results WHERE batch = ? AND failed = ? ORDER BY line"
        return (told for (told,) in self._database().execute(query, (batch_id, failed)))

    def end_batch(self, told: Json, files: Mapping[str, Json]) -> None:
        """Keep how a batch ended, and its results as files: all of it or nothing.

        Args:
            told: What is told of the batch.
            files: By the ids of files whose content was written, what else is told of them.
        """
        rows = [(name, json.dumps(self._placed(name, each))) for name, each in files.items()]
        with self._database() as database:
            database.executemany("INSERT INTO files (id, told) VALUES (?, ?)", rows)
            database.execute(_KEEP_BATCH, (told["id"], json.dumps(told)))
            database.execute("DELETE FROM results WHERE batch = ?", (told["id"],))

    def _placed(self, file_id: str, told: Json) -> Json:
        """What is told of a file, once its content has its name."""
        part = self.path(file_id).with_suffix(".part")
        size, created = part.stat().st_size, int(self.now())
        part.replace(self.path(file_id))
        whole = {"id": file_id, "object": "file", "bytes": size, "created_at": created, **told}
        if seconds := whole.pop("expires_after", None):
            whole["expires_at"] = created + seconds
        return whole

    def user_of(self, file_id: str) -> str | None:
        """The batch that still needs a file; None where none does."""
        using = (each for each in self.batches() if each["status"] in UNENDED)
        return next((each["id"] for each in using if each["input_file_id"] == file_id), None)

    def _lasting(self, files: list[Json]) -> list[Json]:
        """Files without those whose time is over, which are deleted."""
        over = [each for each in files if each.get("expires_at", math.inf) <= self.now()]
        for each in over:
            self.remove_file(each["id"])
        return [each for each in files if each not in over]

    def _told(self, table: str, row_id: str | None = None) -> list[Json]:
        if row_id is not None and not row_id.isascii():
            return []
        which, values = ("WHERE id = ?", (row_id,)) if row_id is not None else ("", ())
        query = f"SELECT told FROM {table} {which} ORDER BY number DESC"
        return [json.loads(told) for (told,) in self._database().execute(query, values)]

    def _write(self, statement: str, *values: object) -> None:
        with self._database() as database:
            database.execute(statement, values)

    def _database(self) -> sqlite3.Connection:
        if self._open is None:
            self._open = self._opened()
        return self._open

    def _opened(self) -> sqlite3.Connection:
        """The database, once nobody else has it and nothing half is left."""
        if self._directory is None:
            folder = self._left.enter_context(tempfile.TemporaryDirectory(prefix="azinfer-"))
            self._left.callback(setattr, self, "_directory", None)
            self._directory = Path(folder)
        try:
            (self._directory / "files").mkdir(parents=True, exist_ok=True)
            path = self._directory / "store.sqlite"
            database = sqlite3.connect(path, timeout=0, check_same_thread=False)
            self._left.callback(database.close)
            database.executescript(f"{_ALONE} BEGIN IMMEDIATE; {_TABLES}")
            database.commit()
        except (OSError, sqlite3.Error) as error:
            self._left.close()
            raise ConfigurationError(
                f"{self._directory} cannot hold files and batches: {error}; give a directory that "
                "can be written and that no other endpoint uses"
            ) from None
        known = {each for (each,) in database.execute("SELECT id FROM files")}
        for path in (self._directory / "files").iterdir():
            if path.name not in known:
                path.unlink()
        return database
