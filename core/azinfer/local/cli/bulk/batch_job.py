"""The folder of a batch job: its input files, the ids of its batches, and the results so far.

Every step is stored before the next begins, so that each command can be run again after it was
killed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from azinfer.core import ConfigurationError
from azinfer.core.json_body import encode_json
from azinfer.local.file_lock import lock_folder

_TABLE = "CREATE TABLE IF NOT EXISTS results (at INTEGER PRIMARY KEY, failed INTEGER, record BLOB)"


@dataclass
class Part:
    """One input file, and its state.

    Attributes:
        name: The file, in the folder.
        requests: How many requests it has.
        operation: The operation of its requests.
        file_id: The service's id of the uploaded file.
        batch_id: The id of its batch.
        fetched: Whether all its results were fetched.
    """

    name: str
    requests: int
    operation: str
    file_id: str | None = None
    batch_id: str | None = None
    fetched: bool = False


@dataclass
class BatchJob:
    """A folder with a job.

    Attributes:
        folder: The folder.
        model: The deployment.
        parts: Its input files.
    """

    folder: Path
    model: str
    parts: list[Part] = field(default_factory=list)

    @classmethod
    def open(cls, folder: Path) -> BatchJob:
        """Return the job in a folder.

        Raises:
            ConfigurationError: The folder has no job.
        """
        try:
            facts = json.loads((folder / "job.json").read_text("utf-8"))
            return cls(folder, facts["model"], [Part(**each) for each in facts["parts"]])
        except FileNotFoundError:
            reason = "`azinfer batch prepare` creates one"
        except (OSError, ValueError, TypeError, KeyError) as error:
            reason = f"its job.json cannot be read: {error}"
        raise ConfigurationError(f"{folder} is not the folder of a batch job: {reason}")

    @classmethod
    @contextmanager
    def lock(cls, folder: Path) -> Iterator[BatchJob]:
        """Wait until no other command changes the job in a folder, and open it.

        Raises:
            ConfigurationError: The folder has no job.
        """
        cls.open(folder)
        with lock_folder(folder):
            yield cls.open(folder)

    def save(self) -> None:
        """Store the state of the job; the file is always complete."""
        facts = {"model": self.model, "parts": [asdict(part) for part in self.parts]}
        new = self.folder / "job.json.part"
        new.write_text(json.dumps(facts, indent=2), "utf-8")
        new.replace(self.folder / "job.json")

    def path_of(self, part: Part) -> Path:
        """Return the path of an input file."""
        return self.folder / part.name

    @contextmanager
    def results(self) -> Iterator[Results]:
        """Open the results so far."""
        with closing(sqlite3.connect(self.folder / "results.sqlite")) as database:
            database.execute(_TABLE)
            yield Results(database)


class Results:
    """Records by the position of their request in the input.

    Args:
        database: The database with the records.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def put(self, at: int, record: Mapping[str, Any]) -> None:
        """Store a record, in place of an earlier one; `commit` makes this permanent."""
        row = (at, "error" in record, encode_json(dict(record)))
        self._database.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?)", row)

    def commit(self) -> None:
        """Make all changes permanent."""
        self._database.commit()

    def add_missing(self, positions: Iterable[int], error: str) -> None:
        """Store an error for each of these requests that has no record."""
        record = encode_json({"error": error})
        rows = ((at, True, record) for at in positions)
        self._database.executemany("INSERT OR IGNORE INTO results VALUES (?, ?, ?)", rows)
        self.commit()

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield positions and records, in the order of the input."""
        query = "SELECT at, record FROM results ORDER BY at"
        for at, data in self._database.execute(query):
            yield at, msgspec.json.decode(data)

    def failed_positions(self) -> set[int]:
        """Return the positions of requests without an answer."""
        query = "SELECT at FROM results WHERE failed"
        return {at for (at,) in self._database.execute(query)}
