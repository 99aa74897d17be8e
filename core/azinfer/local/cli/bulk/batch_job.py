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
from azinfer.local.cli.file_writing import refuse_inputs, write_file
from azinfer.local.file_lock import lock_folder

NAMES = "ids.jsonl"  # the ids of the input
STATE, _RESULTS = "job.json", "results.sqlite"
# Values of the column "failed".
_NOT_FAILED, _FAILED, _FINAL = 0, 1, 2
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
        sources: The paths of the files that its prompts are from.
        outputs: The files with its results: their paths, sizes and times of change, in ns.
    """

    folder: Path
    model: str
    parts: list[Part] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    outputs: dict[str, list[int]] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path) -> BatchJob:
        """Return the job in a folder.

        Raises:
            ConfigurationError: The folder has no job.
        """
        try:
            facts = json.loads((folder / STATE).read_text("utf-8"))
            parts = [Part(**each) for each in facts["parts"]]
            known = {name: facts[name] for name in ("sources", "outputs") if name in facts}
            return cls(folder, facts["model"], parts, **known)
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
        facts = {
            "model": self.model,
            "parts": [asdict(part) for part in self.parts],
            "sources": self.sources,
            "outputs": self.outputs,
        }
        write_file(self.folder / STATE, json.dumps(facts, indent=2))

    def path_of(self, part: Part) -> Path:
        """Return the path of an input file."""
        return self.folder / part.name

    def check_output(self, output: Path, *, force: bool) -> None:
        """Check that the results may go to a file.

        Args:
            output: The file.
            force: Whether it may replace an existing one.

        Raises:
            ConfigurationError: It belongs to the input or to the job, or it exists and is not the
                output of an earlier `fetch`.
        """
        own = [part.name for part in self.parts] + [STATE, NAMES, _RESULTS]
        refuse_inputs(output, [*self.sources, *(str(self.folder / name) for name in own)], ".part")
        place = str(output.resolve())
        if output.exists() and not force and self.outputs.get(place) != _state_of(output):
            raise ConfigurationError(f"{output} exists: use another file, or pass --force")

    def add_output(self, output: Path) -> None:
        """Store that a file has the results of this job, so that `fetch` may write it again."""
        self.outputs[str(output.resolve())] = _state_of(output)
        self.save()

    @contextmanager
    def results(self) -> Iterator[Results]:
        """Open the results so far."""
        with closing(sqlite3.connect(self.folder / _RESULTS)) as database:
            database.execute(_TABLE)
            yield Results(database)


def _state_of(path: Path) -> list[int]:
    """Return the size of a file and the time of its last change."""
    state = path.stat()
    return [state.st_size, state.st_mtime_ns]


class Results:
    """Records by the position of their request in the input.

    Args:
        database: The database with the records.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def put(self, at: int, record: Mapping[str, Any]) -> None:
        """Store a record, in place of an earlier one; `commit` makes this permanent."""
        self._put(at, _NOT_FAILED, record)

    def put_error(self, at: int, error: str, *, is_final: bool) -> None:
        """Store the error of a request, and whether it would fail again."""
        self._put(at, _FINAL if is_final else _FAILED, {"error": error})

    def _put(self, at: int, state: int, record: Mapping[str, Any]) -> None:
        row = (at, state, encode_json(dict(record)))
        self._database.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?)", row)

    def commit(self) -> None:
        """Make all changes permanent."""
        self._database.commit()

    def add_missing(self, positions: Iterable[int], error: str) -> None:
        """Store an error for each of these requests that has no record."""
        record = encode_json({"error": error})
        rows = ((at, _FAILED, record) for at in positions)
        self._database.executemany("INSERT OR IGNORE INTO results VALUES (?, ?, ?)", rows)
        self.commit()

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield positions and records, in the order of the input."""
        query = "SELECT at, record FROM results ORDER BY at"
        for at, data in self._database.execute(query):
            yield at, msgspec.json.decode(data)

    def failed_positions(self) -> tuple[set[int], int]:
        """Return the positions of requests to send again, and how many others would fail again."""
        query = "SELECT at FROM results WHERE failed = ?"
        again = {at for (at,) in self._database.execute(query, (_FAILED,))}
        return again, sum(1 for _ in self._database.execute(query, (_FINAL,)))
