"""The output of bulk commands: JSONL, Parquet or .npy, written as results come.

A file is complete or does not exist: it is written under another name and renamed at the end.
"""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from azinfer.core import ConfigurationError, missing_extra
from azinfer.local.cli.option_errors import OptionError

try:
    import fcntl
except ImportError:  # pragma: no cover  # on Windows, where open files cannot be replaced
    fcntl = None  # type: ignore[assignment]

_BINARY = getattr(os, "O_BINARY", 0)  # of Windows
_ROWS = 2048  # rows of a Parquet file that are in memory
_NPY_TYPES = {"f": "<f4", "b": "|i1", "B": "|u1"}
_NPY_HEAD = 128  # bytes of the head, which is written again when the number of rows is known


class Output(ABC):
    """A file or stream that takes one record for each item."""

    @abstractmethod
    def write(self, record: Mapping[str, Any]) -> None:
        """Write a record; `vector` is an array."""

    @abstractmethod
    def finish(self) -> None:
        """Write the rest, and give the file its name."""

    @abstractmethod
    def abandon(self) -> None:
        """Remove the incomplete file."""


class Lines(Output):
    """JSON lines, in a file or on the standard output.

    Args:
        path: The file; None for the standard output.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: BinaryIO = sys.stdout.buffer if path is None else _open_part(path)

    def write(self, record: Mapping[str, Any]) -> None:
        """Write a record as a line."""
        self._file.write(msgspec.json.encode(record, enc_hook=_plain) + b"\n")
        if self._path is None:
            self._file.flush()

    def finish(self) -> None:
        """Give the file its name."""
        if self._path is not None:
            _complete(self._file, self._path)

    def abandon(self) -> None:
        """Remove the incomplete file."""
        if self._path is not None:
            _remove(self._file, self._path)


class Numbers(Output):
    """An array of NumPy, one row for each item; the row of an item is at its index.

    Rows of items that failed or have no text are NaN, or zeros.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _open_part(path)
        self._file.write(bytes(_NPY_HEAD))
        self._rows, self._missing = 0, 0
        self._type, self._length = "f", 0

    def write(self, record: Mapping[str, Any]) -> None:
        """Write a vector as a row."""
        while self._rows < record.get("index", 0):  # the input has no text there
            self._add(None)
        self._add(record.get("vector"))

    def _add(self, vector: Any) -> None:
        self._rows += 1
        if vector is None and not self._length:
            self._missing += 1
            return
        if vector is not None and not self._length:
            self._type, self._length = vector.typecode, len(vector)
            self._file.write(self._empty() * self._missing)
        self._file.write(self._empty() if vector is None else vector.tobytes())

    def finish(self) -> None:
        """Write the head, and give the file its name."""
        shape = (self._rows, self._length)
        fields = {"descr": _NPY_TYPES[self._type], "fortran_order": False, "shape": shape}
        text = repr(fields).ljust(_NPY_HEAD - 11) + "\n"
        self._file.seek(0)
        # Source: "The NPY format" of NumPy, version 1.0.
        self._file.write(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode())
        _complete(self._file, self._path)

    def abandon(self) -> None:
        """Remove the incomplete file."""
        _remove(self._file, self._path)

    def _empty(self) -> bytes:
        return (b"\x00\x00\xc0\x7f" if self._type == "f" else b"\x00") * self._length


class Table(Output):
    """A Parquet file.

    Args:
        path: The file.
        kind: `"embed"` or `"complete"`, which decides its columns.

    Raises:
        ModuleNotFoundError: The extra `parquet` is not installed.
    """

    def __init__(self, path: Path, kind: str) -> None:
        try:
            import pyarrow  # type: ignore[import-untyped]
            from pyarrow import parquet
        except ModuleNotFoundError as error:
            raise missing_extra("parquet", error) from None
        self._arrow, self._path, self._has_names = pyarrow, path, False
        text = pyarrow.string()
        columns = [("index", pyarrow.int64()), ("id", pyarrow.int64())]
        if kind == "embed":
            columns += [("vector", pyarrow.list_(pyarrow.float32()))]
        else:
            columns += [("text", text), ("finish_reason", text), ("tokens", pyarrow.int64())]
            columns += [("tool_calls", text)]  # as JSON
        self._schema = pyarrow.schema([*columns, ("error", text)])
        self._file = _open_part(path)
        self._parquet, self._writer = parquet, parquet.ParquetWriter(self._file, self._schema)
        self._records: list[Mapping[str, Any]] = []

    def write(self, record: Mapping[str, Any]) -> None:
        """Write a record, together with others."""
        self._records.append(record)
        if len(self._records) == _ROWS:
            self._flush()

    def finish(self) -> None:
        """Write the last records, and give the file its name."""
        self._flush()
        self._writer.close()
        _complete(self._file, self._path)

    def abandon(self) -> None:
        """Remove the incomplete file."""
        self._writer.close()
        _remove(self._file, self._path)

    def _flush(self) -> None:
        if not (self._has_names or all(map(_has_number, self._records))):
            self._use_names()
        columns = [self._column(field) for field in self._schema]
        self._writer.write_batch(self._arrow.record_batch(columns, schema=self._schema))
        self._records.clear()

    def _use_names(self) -> None:
        """Make ids texts, also those in the file, as one is not a whole number."""
        self._has_names = True
        at = self._schema.get_field_index("id")
        self._schema = self._schema.set(at, self._arrow.field("id", self._arrow.string()))
        self._writer.close()
        self._file.close()
        part, numbers = _part(self._path), self._path.with_name(f"{self._path.name}.numbers")
        part.replace(numbers)
        try:
            self._file = _open_part(self._path)
            self._writer = self._parquet.ParquetWriter(self._file, self._schema)
            with self._parquet.ParquetFile(numbers) as file:
                for at in range(file.num_row_groups):
                    self._writer.write_table(file.read_row_group(at).cast(self._schema))
        finally:
            numbers.unlink()

    def _column(self, field: Any) -> Any:
        values = [record.get(field.name) for record in self._records]
        if field.name == "tool_calls":
            values = [calls and msgspec.json.encode(calls).decode() for calls in values]
        if field.name == "id" and self._has_names:
            values = [None if value is None else _name(value) for value in values]
        if field.name != "vector":
            return self._arrow.array(values, field.type)
        offsets, numbers = [0], bytearray()
        for vector in values:
            if vector is not None:
                numbers += vector.tobytes() if vector.typecode == "f" else _as_floats(vector)
            offsets.append(len(numbers) // 4)
        buffer = self._arrow.py_buffer(bytes(numbers))
        flat = self._arrow.Array.from_buffers(self._arrow.float32(), offsets[-1], [None, buffer])
        return self._arrow.ListArray.from_arrays(
            self._arrow.array(offsets, self._arrow.int32()),
            flat,
            mask=self._arrow.array([vector is None for vector in values]),
        )


def check_ending(path: Path, kind: str) -> None:
    """Check that the name of a file says what to write.

    Args:
        path: The file.
        kind: `"embed"` or `"complete"`.

    Raises:
        OptionError: Its ending is unknown.
    """
    endings = (".jsonl", ".parquet", *([".npy"] if kind == "embed" else []))
    if path.suffix not in endings:
        raise OptionError(
            f"--output {str(path)!r} has an unknown ending; choose from {', '.join(endings)}"
        )


def open_output(path: Path | None, kind: str) -> Output:
    """Return the output for a file, by its name.

    Args:
        path: The file; None for lines on the standard output.
        kind: `"embed"` or `"complete"`.

    Raises:
        ConfigurationError: The name has an unknown ending, or the file cannot be written.
        ModuleNotFoundError: The extra `parquet` is not installed.
    """
    try:
        return _open_output(path, kind)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None


def _open_output(path: Path | None, kind: str) -> Output:
    if path is None:
        return Lines(None)
    check_ending(path, kind)
    target = Path(os.path.realpath(path))  # a link to a file stays a link
    if path.suffix == ".parquet":
        return Table(target, kind)
    return Lines(target) if path.suffix == ".jsonl" else Numbers(target)


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _open_part(path: Path) -> BinaryIO:
    """Open the file that becomes the output, for this run alone.

    Raises:
        ConfigurationError: Another run writes it.
    """
    part = _part(path)
    # Not truncated before it is locked: another run may be writing it.
    file = os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT | _BINARY, 0o666), "r+b")
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(file.fileno()), part.stat()):
            raise FileNotFoundError  # the other run has just renamed it
    except (BlockingIOError, FileNotFoundError):
        file.close()
        raise ConfigurationError(
            f"{path} is being written by another run: wait for its end, or use another file"
        ) from None
    file.truncate()
    return file


def _complete(file: BinaryIO, path: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    if os.name == "nt":  # where an open file cannot be renamed
        file.close()
    _part(path).replace(path)
    file.close()  # not before, as this unlocks it


def _remove(file: BinaryIO, path: Path) -> None:
    file.close()
    _part(path).unlink(missing_ok=True)


def _has_number(record: Mapping[str, Any]) -> bool:
    """Return whether the id of a record fits a column of whole numbers."""
    value = record.get("id")
    return value is None or (type(value) is int and -(2**63) <= value < 2**63)


def _name(value: Any) -> str:
    """Return an id as a text."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _plain(value: Any) -> Any:
    return value.tolist()


def _as_floats(vector: Any) -> bytes:
    from array import array

    return array("f", vector).tobytes()
