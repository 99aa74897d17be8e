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

FORMATS = ("text", "jsonl", "csv", "parquet")
_BY_SUFFIX = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
_ROWS = 1024  # rows of a Parquet file that are in memory


@dataclass(frozen=True, slots=True)
class Row:
    """One item of the input.

    Attributes:
        item: The text, or the object of a line of JSON.
        id: Its `id` in the input; None if it has none.
    """

    item: Any
    id: str | None = None


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

    def rows(self) -> Iterator[Row]:
        """Yield the items, reading the input as they are taken.

        Raises:
            ConfigurationError: A file cannot be read, or a line is not valid; the message has its
                number.
        """
        for text in self.texts:
            yield Row(text)
        for name in self.files:
            try:
                yield from self._file_rows(name)
            except (OSError, UnicodeDecodeError, csv.Error) as error:
                raise ConfigurationError(f"{title(name)} cannot be read: {error}") from None

    def places(self) -> list[str]:
        """Return the full paths of the files, also of one that the shell redirects to here."""
        names = ["/dev/stdin" if name == "-" else name for name in self.files]
        paths = (os.path.realpath(name) for name in names)
        return [path for path in paths if not path.startswith(("/dev/", "/proc/"))]

    def _file_rows(self, name: str) -> Iterator[Row]:
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
                yield from (Row(text) for line in lines if (text := line.rstrip("\r\n")).strip())

    def _json_rows(self, name: str, lines: Iterable[str]) -> Iterator[Row]:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            place = f"{title(name)}, line {number}"
            try:
                value = msgspec.json.decode(line)
            except (msgspec.DecodeError, UnicodeError) as error:
                raise ConfigurationError(f"{place} is not JSON: {error}") from None
            yield self._row(value, place)

    def _csv_rows(self, name: str, lines: Iterable[str]) -> Iterator[Row]:
        csv.field_size_limit(sys.maxsize)
        reader = csv.DictReader(lines)
        self._check_column(name, reader.fieldnames or ())
        for row in reader:
            yield Row(row[self.column] or "", row.get("id"))

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
                    yield self._row(item, f"{name}, column {self.column}", _text(key))

    def _row(self, value: Any, place: str, key: str | None = None) -> Row:
        """Return the item of a JSON value."""
        if isinstance(value, str):
            return Row(value, key)
        if isinstance(value, Mapping):
            key = _text(value.get("id"))
            if self.whole is not None and self.whole in value:
                return Row(value, key)
            if isinstance(text := value.get(self.column), str):
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


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
