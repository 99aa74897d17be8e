"""The file store: files, batches and their results in one directory, safe if the process dies.

Everything in the database is complete. The content of a file gets its name only when all of it
is written, and its row after that.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from azinfer.core.errors import ConfigurationError
from azinfer.local.wire.body import Json

if TYPE_CHECKING:
    import sqlite3

UNFINISHED = ("validating", "in_progress", "finalizing", "cancelling")
_TABLES = """
CREATE TABLE IF NOT EXISTS files (number INTEGER PRIMARY KEY, id TEXT UNIQUE, record TEXT);
CREATE TABLE IF NOT EXISTS batches (number INTEGER PRIMARY KEY, id TEXT UNIQUE, record TEXT);
CREATE TABLE IF NOT EXISTS results (
    batch TEXT, line INTEGER, failed INTEGER, record TEXT, PRIMARY KEY (batch, line)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS expiry ON files (json_extract(record, '$.expires_at'));
"""
_KEEP_BATCH = """
INSERT INTO batches (id, record) VALUES (?, ?)
ON CONFLICT (id) DO UPDATE SET record = excluded.record
"""
# No other process may open it; data outlives the process, and the file survives a power cut.
_EXCLUSIVE = (
    "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
)
# All files of an endpoint together, in bytes, unless it says otherwise.
LARGEST_STORE = 4 * 1024**3


class FileStore:
    """Files and batches in a directory; used from one thread at a time.

    Only the user of this process may read the directory.

    Args:
        directory: The directory; None for a temporary one.
        now: Returns seconds since 1970.
        most_bytes: The most bytes of all uploads together.

    Attributes:
        most_bytes: The most bytes of all uploads together.
        lasting: Whether its data outlives it, and it may have earlier data.
    """

    def __init__(
        self,
        directory: Path | None,
        now: Callable[[], float] = time.time,
        most_bytes: int = LARGEST_STORE,
    ) -> None:
        self.now, self.most_bytes = now, most_bytes
        self._directory = directory
        self.lasting = directory is not None
        self._open: sqlite3.Connection | None = None
        self._left = contextlib.ExitStack()

    def open(self) -> None:
        """Open the store before its first use, so that errors are raised at once.

        Raises:
            ConfigurationError: Another endpoint uses the directory, or it cannot be written.
        """
        self._database()

    def close(self) -> None:
        """Close the store; delete a temporary directory."""
        self._left.close()
        self._open = None

    def clear(self) -> None:
        """Delete all files and batches."""
        if self._open is None:
            return
        rows = self._database().execute("SELECT id FROM files").fetchall()
        with self._database() as database:
            database.execute("DELETE FROM files")
            database.execute("DELETE FROM batches")
            database.execute("DELETE FROM results")
        for (file_id,) in rows:
            self.path(file_id).unlink(missing_ok=True)

    def has_room(self, size: int) -> bool:
        """Return whether a file of so many bytes may be stored beside the others."""
        query = "SELECT TOTAL(json_extract(record, '$.bytes')) FROM files"
        return bool(self._database().execute(query).fetchone()[0] + size <= self.most_bytes)

    def begin_file(self) -> tuple[str, Path]:
        """Return the id of a new file, and the path for its content until `end_file`."""
        self._database()
        file_id = f"file-{uuid.uuid4().hex}"
        return file_id, self.path(file_id).with_suffix(".part")

    def end_file(self, file_id: str, facts: Json) -> Json:
        """Store a file whose content was written.

        Args:
            file_id: The id of the file.
            facts: Other fields of the file; `expires_after` in seconds becomes a time.
        """
        whole = self._place_file(file_id, facts)
        self._write("INSERT INTO files (id, record) VALUES (?, ?)", file_id, json.dumps(whole))
        return whole

    def file(self, file_id: str) -> Json | None:
        """Return a file; None if it does not exist or has expired."""
        self._remove_expired()
        return next(iter(self._select("files", file_id)), None)

    def files_page(
        self,
        after: str | None,
        limit: int,
        *,
        oldest_first: bool = False,
        purpose: str | None = None,
    ) -> list[Json]:
        """Return some of the files, newest first.

        Args:
            after: The id of the file before the first of them; None to begin.
            limit: The most files to return.
            oldest_first: Whether to return the oldest first instead.
            purpose: The purpose of the files; None for any.

        Raises:
            LookupError: No file has the id `after`.
        """
        self._remove_expired()
        order, before = ("ASC", ">") if oldest_first else ("DESC", "<")
        values: dict[str, object] = {}
        if after is not None:
            values[f"number {before} ?"] = self._number("files", after)
        if purpose is not None:
            values["json_extract(record, '$.purpose') = ?"] = purpose
        where = " AND ".join(values) or "TRUE"
        query = f"SELECT record FROM files WHERE {where} ORDER BY number {order} LIMIT ?"
        rows = self._database().execute(query, (*values.values(), limit))
        return [json.loads(text) for (text,) in rows]

    def _number(self, table: str, row_id: str) -> int:
        query = f"SELECT number FROM {table} WHERE id = ?"
        row = self._database().execute(query, (row_id,)).fetchone() if row_id.isascii() else None
        if row is None:
            raise LookupError(row_id)
        return int(row[0])

    def path(self, file_id: str) -> Path:
        """Return the path of a file's content."""
        assert self._directory is not None
        return self._directory / "files" / file_id

    def remove_file(self, file_id: str) -> None:
        """Delete a file."""
        self._write("DELETE FROM files WHERE id = ?", file_id)
        self.path(file_id).unlink(missing_ok=True)

    def store_batch(self, batch: Json) -> None:
        """Store a new or changed batch."""
        self._write(_KEEP_BATCH, batch["id"], json.dumps(batch))

    def batch(self, batch_id: str) -> Json | None:
        """Return a batch; None if it does not exist."""
        return next(iter(self._select("batches", batch_id)), None)

    def batches(self) -> list[Json]:
        """Return all batches, newest first."""
        return self._select("batches")

    def add_result(self, batch_id: str, line: int, failed: bool, result: Json) -> None:
        """Store the result of one line of a batch."""
        values = (batch_id, line, failed, json.dumps(result, separators=(",", ":")))
        self._write("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?)", *values)

    def finished_lines(self, batch_id: str) -> set[int]:
        """Return the lines of a batch that have a result."""
        rows = self._database().execute("SELECT line FROM results WHERE batch = ?", (batch_id,))
        return {line for (line,) in rows}

    def counts(self, batch_id: str) -> tuple[int, int]:
        """Return the numbers of a batch's lines that succeeded and that failed."""
        query = "SELECT failed, COUNT(*) FROM results WHERE batch = ? GROUP BY failed"
        counts = dict(self._database().execute(query, (batch_id,)).fetchall())
        return counts.get(0, 0), counts.get(1, 0)

    def results(self, batch_id: str, failed: bool) -> Iterable[str]:
        """Return the results of a batch that succeeded or failed, in the order of their lines."""
        query = "SELECT record FROM results WHERE batch = ? AND failed = ? ORDER BY line"
        return (result for (result,) in self._database().execute(query, (batch_id, failed)))

    def end_batch(self, batch: Json, files: Mapping[str, Json]) -> None:
        """Store how a batch ended, and its results as files, in one transaction.

        Args:
            batch: The batch.
            files: The fields of files whose content was written, by their ids.
        """
        rows = [(name, json.dumps(self._place_file(name, each))) for name, each in files.items()]
        with self._database() as database:
            database.executemany("INSERT INTO files (id, record) VALUES (?, ?)", rows)
            database.execute(_KEEP_BATCH, (batch["id"], json.dumps(batch)))
            database.execute("DELETE FROM results WHERE batch = ?", (batch["id"],))

    def _place_file(self, file_id: str, facts: Json) -> Json:
        """Rename a file's content to its final name, and return the file."""
        part = self.path(file_id).with_suffix(".part")
        size, created = part.stat().st_size, int(self.now())
        part.replace(self.path(file_id))
        whole = {"id": file_id, "object": "file", "bytes": size, "created_at": created, **facts}
        if seconds := whole.pop("expires_after", None):
            whole["expires_at"] = created + seconds
        return whole

    def user_of(self, file_id: str) -> str | None:
        """Return the id of an unfinished batch that needs a file, or None."""
        using = (each for each in self.batches() if each["status"] in UNFINISHED)
        return next((each["id"] for each in using if each["input_file_id"] == file_id), None)

    def _remove_expired(self) -> None:
        query = "SELECT id FROM files WHERE json_extract(record, '$.expires_at') <= ?"
        for (file_id,) in self._database().execute(query, (self.now(),)).fetchall():
            self.remove_file(file_id)

    def _select(self, table: str, row_id: str | None = None) -> list[Json]:
        if row_id is not None and not row_id.isascii():
            return []
        which, values = ("WHERE id = ?", (row_id,)) if row_id is not None else ("", ())
        query = f"SELECT record FROM {table} {which} ORDER BY number DESC"
        return [json.loads(text) for (text,) in self._database().execute(query, values)]

    def _write(self, statement: str, *values: object) -> None:
        with self._database() as database:
            database.execute(statement, values)

    def _database(self) -> sqlite3.Connection:
        if self._open is None:
            self._open = self._connect()
        return self._open

    def _connect(self) -> sqlite3.Connection:
        """Return the database after deleting incomplete files."""
        import sqlite3  # most endpoints store no files

        if self._directory is None:
            folder = self._left.enter_context(tempfile.TemporaryDirectory(prefix="azinfer-"))
            self._left.callback(setattr, self, "_directory", None)
            self._directory = Path(folder)
        try:
            path = self._directory / "store.sqlite"
            _make_private(self._directory, path.exists())
            (self._directory / "files").mkdir(exist_ok=True, mode=0o700)
            path.touch(mode=0o600)
            database = sqlite3.connect(path, timeout=0, check_same_thread=False)
            self._left.callback(database.close)
            database.executescript(f"{_EXCLUSIVE} BEGIN IMMEDIATE;")
            _rename_old_columns(database)
            for statement in _TABLES.split(";"):
                database.execute(statement)
            database.commit()
        except (OSError, sqlite3.Error) as error:
            self._left.close()
            raise ConfigurationError(
                f"{self._directory} cannot store files and batches: {error}; choose a writable "
                "directory that no other endpoint uses"
            ) from None
        known = {each for (each,) in database.execute("SELECT id FROM files")}
        for path in (self._directory / "files").iterdir():
            if path.name not in known:
                path.unlink()
        return database


def _rename_old_columns(database: sqlite3.Connection) -> None:
    """Give the tables of azinfer 0.1 the present names of their columns."""
    for table in ("files", "batches", "results"):
        columns = database.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall()
        if ("told",) in columns:
            database.execute(f"ALTER TABLE {table} RENAME COLUMN told TO record")


def _make_private(directory: Path, is_store: bool) -> None:
    """Create a directory for its owner alone; an existing one stays as it is unless it is ours."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
        is_store = True
    if is_store:
        directory.chmod(0o700)
