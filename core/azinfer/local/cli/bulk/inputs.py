"""The input of bulk commands: texts of arguments, of the standard input, or of files.

Types are not guessed: a text that looks like a date stays a text.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from azinfer.core import ConfigurationError, missing_extra
from azinfer.local.cli.file_writing import title
from azinfer.local.cli.option_errors import OptionError

FORMATS = ("text", "jsonl", "csv", "parquet")
_BY_SUFFIX = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
_ROWS = 1024  # rows of a Parquet file that are in memory


@dataclass(slots=True)
class Row:
    """One item of the input.

    Attributes:
        item: The text, or the object of a line of JSON.
        id: Its `id` in the input, of the same type; None if it has none.
        index: Its position in the input, from 0; lines and records without a text count, too.
    """

    item: Any
    id: Any = None
    index: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to send."""
        return self.item is None or (isinstance(self.item, str) and not self.item.strip())


@dataclass(slots=True)
class Tally:
    """Counts of an input that was read.

    Attributes:
        records: The lines, rows or objects so far.
        skipped: How many of them have no text, apart from empty lines at the end of a file.
        first: The position of the first of these.
        items: The items.
    """

    records: int = 0
    skipped: int = 0
    first: int | None = None
    items: int = 0

    def skip(self, at: int, count: int) -> None:
        """Count records without a text, from a position on."""
        if count and self.first is None:
            self.first = at
        self.skipped += count

    def __str__(self) -> str:
        return (
            f"{self.skipped:,} of {self.records:,} lines or records have no text and were skipped; "
            f"the first has the index {self.first:,}"
        )


@dataclass(frozen=True, slots=True)
class Input:
    """Where items come from.

    Attributes:
        texts: Texts of arguments.
        files: Files; `-` is the standard input.
        column: The column, or the field of an object, that has the text.
        format: The format of files; None if their names decide, and for the standard input its
            first line: a JSON object begins JSON lines.
        whole: A field whose objects are items as a whole, for example `messages`.
    """

    texts: Sequence[str] = ()
    files: Sequence[str] = ()
    column: str = "text"
    format: str | None = None
    whole: str | None = None

    def rows(self, tally: Tally | None = None) -> Iterator[Row]:
        """Yield the items, reading the input as they are taken.

        Args:
            tally: Counts them, and what has no text.

        Raises:
            ConfigurationError: A file cannot be read, or a line is not valid; the message has its
                number. Or there is no text at all.
        """
        tally = Tally() if tally is None else tally
        check_texts(self.texts)
        yield from _with_positions(map(Row, self.texts), tally)
        for name in self.files:
            try:
                yield from _with_positions(self._file_rows(name), tally)
            except UnicodeDecodeError as error:
                raise ConfigurationError(
                    f"{title(name)}{_undecodable_line(name)} is not UTF-8: {error}"
                ) from None
            except OSError as error:
                reason = error.strerror or error
                raise ConfigurationError(f"{title(name)} cannot be read: {reason}") from None
        if not tally.items:
            names = " and ".join(map(title, self.files))
            reason = f"none of its {tally.records:,} lines or records has one"
            raise ConfigurationError(
                f"{names} has no text to send: {reason if tally.records else 'it is empty'}"
            )

    def places(self) -> list[str]:
        """Return the full paths of the files, also of one that the shell redirects to here."""
        names = ["/dev/stdin" if name == "-" else name for name in self.files]
        paths = (os.path.realpath(name) for name in names)
        return [path for path in paths if not path.startswith(("/dev/", "/proc/"))]

    def _file_rows(self, name: str) -> Iterator[Row | None]:
        """Yield what a file has; None for an empty line."""
        kind = self.format or (None if name == "-" else _format_of(name))
        if kind == "parquet":
            yield from self._parquet_rows(name)
            return
        with ExitStack() as stack:
            lines: Iterable[str] = sys.stdin
            if kind is None:
                kind, lines = _format_of_lines(lines)
            if name != "-":
                # A form feed or a similar character inside a text does not end a line.
                lines = stack.enter_context(Path(name).open(encoding="utf-8-sig", newline=""))
            if kind == "csv":
                yield from self._csv_rows(name, lines)
            elif kind == "jsonl":
                yield from self._json_rows(name, lines)
            else:
                texts = (line.rstrip("\r\n") for line in lines)
                yield from (Row(text) if text.strip() else None for text in texts)

    def _json_rows(self, name: str, lines: Iterable[str]) -> Iterator[Row | None]:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                yield None
                continue
            place = f"{title(name)}, line {number}"
            try:
                value = msgspec.json.decode(line)
            except (msgspec.DecodeError, UnicodeError) as error:
                raise ConfigurationError(f"{place} is not JSON: {error}") from None
            yield self._row(value, place)

    def _csv_rows(self, name: str, lines: Iterable[str]) -> Iterator[Row | None]:
        csv.field_size_limit(sys.maxsize)
        reader = csv.reader(lines, strict=True)
        try:
            head = next(reader, [])
            if not head:
                return
            self._check_column(name, head)
            at, id_at = head.index(self.column), head.index("id") if "id" in head else None
            for cells in reader:
                if len(cells) > len(head):
                    raise ConfigurationError(
                        f"{title(name)}, line {reader.line_num} has {len(cells)} cells and the "
                        f"first line {len(head)}: put a text with commas in quotation marks"
                    )
                cells += [""] * (len(head) - len(cells)) if cells else []
                yield Row(cells[at], cells[id_at] if id_at is not None else None) if cells else None
        except csv.Error as error:
            raise ConfigurationError(
                f"{title(name)}, line {reader.line_num} cannot be read: {error}"
            ) from None

    def _parquet_rows(self, name: str) -> Iterator[Row]:
        try:
            from pyarrow import ArrowException, parquet  # type: ignore[import-untyped]
        except ModuleNotFoundError as error:
            raise missing_extra("parquet", error) from None
        try:
            yield from self._table_rows(name, parquet.ParquetFile)
        except ArrowException as error:
            raise ConfigurationError(f"{name} cannot be read: {error}") from None

    def _table_rows(self, name: str, opened: Any) -> Iterator[Row]:
        with opened(name) as file:
            columns = file.schema_arrow.names
            self._check_column(name, columns)
            wanted = [self.column, *(["id"] if "id" in columns and self.column != "id" else [])]
            for batch in file.iter_batches(batch_size=_ROWS, columns=wanted):
                ids = batch.column("id").to_pylist() if "id" in wanted else [None] * len(batch)
                for item, key in zip(batch.column(self.column).to_pylist(), ids, strict=True):
                    yield self._row(item, f"{name}, column {self.column}", _plain(key))

    def _row(self, value: Any, place: str, key: Any = None) -> Row:
        """Return the item of a JSON value; None is an empty one."""
        if value is None or isinstance(value, str):
            return Row(value, key)
        if isinstance(value, Mapping):
            key = value.get("id")
            if self.whole is not None and self.whole in value:
                return Row(value, key)
            text = value.get(self.column, 0)
            if text is None or isinstance(text, str):
                return Row(text, key)
            fields = ", ".join(map(repr, value)) or "none"
            raise ConfigurationError(
                f"{place} has no text in {self.column!r}; choose a field with --column, or pass "
                f"--format text; it has: {fields}"
            )
        raise ConfigurationError(f"{place} is not a text: {str(value)[:50]!r}")

    def _check_column(self, name: str, columns: Sequence[str]) -> None:
        if self.column not in columns:
            raise ConfigurationError(
                f"{title(name)} has no column {self.column!r}; choose one with --column: "
                f"{', '.join(columns)}"
            )


def check_format(format: str | None) -> None:
    """Raise if a format is unknown."""
    if format not in (None, *FORMATS):
        raise OptionError(f"--format {format!r} is unknown; choose from {', '.join(FORMATS)}")


def check_texts(texts: Sequence[str]) -> None:
    """Raise if a text of the command's arguments is empty, as an unset variable of a shell is."""
    for number, text in enumerate(texts, 1):
        if not text.strip():
            raise OptionError(f"TEXT number {number} is empty: {text!r}")


def open_input(source: Input) -> Input:
    """Return the input: arguments, files, or else the standard input.

    Raises:
        ConfigurationError: There is no input, or a file is missing.
    """
    for name in source.files:
        if name != "-" and not Path(name).exists():
            raise ConfigurationError(f"{name!r} does not exist; pass a file to --input, or -")
    if source.texts or source.files:
        return source
    if sys.stdin.isatty():
        raise ConfigurationError("there is no input: pass TEXT or --input FILE, or use a pipe")
    return replace(source, files=("-",))


def _format_of(name: str) -> str:
    return _BY_SUFFIX.get(Path(name).suffix.lower(), "text")


def _format_of_lines(lines: Iterable[str]) -> tuple[str, Iterable[str]]:
    """Return the format of lines from a pipe, by the first one that is not empty, and all lines."""
    remaining, empty = iter(lines), []
    for line in remaining:
        if not line.strip():
            empty.append(line)
            continue
        with suppress(msgspec.DecodeError, UnicodeError):
            if isinstance(msgspec.json.decode(line), dict):
                return "jsonl", chain(empty, (line,), remaining)
        return "text", chain((line,), remaining)
    return "text", ()


def _plain(value: Any) -> Any:
    """Return the id of a row as a value of JSON."""
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _with_positions(rows: Iterable[Row | None], tally: Tally) -> Iterator[Row]:
    """Yield the rows that have something to send, with their positions."""
    empty_lines = 0  # at the end of a file they are nothing to mention
    for row in rows:
        if row is None:
            empty_lines += 1
            continue
        tally.skip(tally.records, empty_lines)
        tally.records += empty_lines
        row.index, empty_lines = tally.records, 0
        tally.records += 1
        if row.is_empty:
            tally.skip(row.index, 1)
            continue
        tally.items += 1
        yield row
    tally.records += empty_lines


def _undecodable_line(name: str) -> str:
    """Return which line of a file is not UTF-8; nothing for the standard input."""
    with suppress(OSError):
        if name != "-":
            with Path(name).open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    try:
                        line.decode()
                    except UnicodeDecodeError:
                        return f", line {number}"
    return ""
