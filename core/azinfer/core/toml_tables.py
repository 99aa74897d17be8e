"""Reading `azinfer.toml`: every error names file, line, field and reason."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from azinfer.core.errors import ConfigurationError

T = TypeVar("T")

_BARE = re.compile("[A-Za-z0-9_-]+")
_TYPES: dict[type, str] = {
    str: "text in quotes",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a table",
}

# What Python code may write for a list or a table.
_LIKE: dict[type, type] = {list: Sequence, dict: Mapping}


def read(path: str | Path) -> Table:
    """Return the outermost table of a file.

    Raises:
        ConfigurationError: The file cannot be read, or is not valid TOML.
    """
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(f"{path} cannot be read: {reason}") from None
    try:
        return Table(_File(str(path), text), (), tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from None


def table_of(values: Mapping[str, Any]) -> Table:
    """Return a mapping in the form of a file as its outermost table."""
    return Table(_Document("config"), (), values)


class Table:
    """One table of the file: read each field, then call `close`, so that no field is ignored."""

    def __init__(self, file: _Document, where: tuple[str, ...], values: Mapping[str, Any]) -> None:
        self._file = file
        self._where = where
        self._values = values
        self._read_names: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._values

    @property
    def path(self) -> str:
        """The file; for a mapping, the name that errors use."""
        return self._file.path

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of its fields."""
        return tuple(self._values)

    def get(self, name: str, kind: type[T]) -> T | None:
        """Return a field, or None if it is not there.

        Args:
            name: The field.
            kind: `str`, `int`, `float` (also of a whole number), `bool`, `list` or `dict`.

        Raises:
            ConfigurationError: The field has another type.
        """
        self._read_names.add(name)
        value = self._values.get(name)
        if kind is float and type(value) is int:
            value = float(value)
        if value is None or type(value) is kind:
            return value
        if kind in (list, dict) and isinstance(value, _LIKE[kind]) and not isinstance(value, str):
            return cast("T", cast("Any", kind)(value))
        raise self.wrong(f"must be {_TYPES[kind]}", name)

    def value(self, name: str) -> Any:
        """Return a field of any type, or None if it is not there."""
        self._read_names.add(name)
        return self._values.get(name)

    def require(self, name: str, kind: type[T]) -> T:
        """Return a field that must be there.

        Raises:
            ConfigurationError: The field is missing or has another type.
        """
        value = self.get(name, kind)
        if value is None:
            unread = [each for each in self._values if each not in self._read_names]
            close = difflib.get_close_matches(name, unread, n=1)
            hint = f", but there is an unknown field {close[0]!r}" if close else ""
            raise self.wrong(f"is missing{hint}; it must be {_TYPES[kind]}", name)
        return value

    def table(self, name: str) -> Table:
        """Return the table with a name, or an empty one if it is not there."""
        return Table(self._file, (*self._where, name), self.get(name, dict) or {})

    def tables(self, name: str | None = None) -> dict[str, Table]:
        """Return the tables inside the table with a name, or inside this one, by their names."""
        outer = self if name is None else self.table(name)
        return {each: outer.table(each) for each in outer._values}

    def texts(self) -> dict[str, str]:
        """Return all fields, each of which must be text."""
        return {name: self.require(name, str) for name in self._values}

    def close(self) -> None:
        """Refuse fields that were not read: they are misspelt, or have no effect.

        Raises:
            ConfigurationError: There is such a field.
        """
        for name in self._values:
            if name not in self._read_names:
                close = difflib.get_close_matches(name, self._read_names - self._values.keys(), n=1)
                meant = f"did you mean {close[0]!r}? " if close else ""
                known = ", ".join(sorted(self._read_names)) or "nothing"
                raise self.wrong(f"is unknown; {meant}known here: {known}", name)

    def wrong(self, reason: str, name: str | None = None) -> ConfigurationError:
        """Return the error for a field, or for the table itself.

        Args:
            reason: What is wrong, after the field's name and a colon.
            name: The field; None for the table.
        """
        where = self._where if name is None else (*self._where, name)
        field = ".".join(part if _BARE.fullmatch(part) else f'"{part}"' for part in where)
        return ConfigurationError(f"{self._file.place_of(where)}: {field}: {reason}")


@dataclass(frozen=True, slots=True)
class _Document:
    """A configuration that is not in a file."""

    path: str

    def place_of(self, where: tuple[str, ...]) -> str:
        """Return where a field is."""
        return self.path


@dataclass(frozen=True, slots=True)
class _File(_Document):
    """The file in which the text of a table is."""

    text: str

    def place_of(self, where: tuple[str, ...]) -> str:
        """Return the file and the line on which a field begins."""
        return f"{self.path}, line {self.line_of(where)}"

    def line_of(self, where: tuple[str, ...]) -> int:
        """Return the line on which a field begins, or else that of the table it belongs to.

        The standard library's parser does not keep positions. But if it accepts the first lines
        of a file, these are complete fields: the shortest such part that has the field ends
        with it.
        """
        lines = self.text.splitlines(keepends=True)
        begins = 1
        for count in range(1, len(lines) + 1):
            try:
                document: Any = tomllib.loads("".join(lines[:count]))
            except tomllib.TOMLDecodeError:
                continue  # in the middle of a value
            if _contains(document, where):
                return begins
            begins = count + 1
        return self.line_of(where[:-1]) if where else 1


def _contains(document: Any, where: tuple[str, ...]) -> bool:
    for part in where:
        if not isinstance(document, dict) or part not in document:
            return False
        document = document[part]
    return True
