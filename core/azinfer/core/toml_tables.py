"""`azinfer.toml`, read so that what is wrong is told with file, line, field and reason."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from azinfer.core.errors import ConfigurationError

T = TypeVar("T")

_BARE = re.compile("[A-Za-z0-9_-]+")
_TYPES: dict[type, str] = {
    str: "a text in quotes",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a table",
}


def read(path: str | Path) -> Table:
    """The whole file as its outermost table.

    Raises:
        ConfigurationError: It cannot be read, or is no TOML.
    """
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(f"{path} cannot be read: {reason}") from None
    try:
        return Table(_File(str(path), text), (), tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is no TOML: {error}") from None


class Table:
    """One table of the file, asked field by field and then closed, so that no field is ignored."""

    def __init__(self, file: _File, where: tuple[str, ...], values: Mapping[str, Any]) -> None:
        self._file = file
        self._where = where
        self._values = values
        self._read_names: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def get(self, name: str, kind: type[T]) -> T | None:
        """A field, or None where it is not there.

        Args:
            name: The field.
            kind: `str`, `int`, `float` (also of a whole number), `bool`, `list` or `dict`.

        Raises:
            ConfigurationError: It is of another type.
        """
        self._read_names.add(name)
        value = self._values.get(name)
        if kind is float and type(value) is int:
            value = float(value)
        if value is None or type(value) is kind:
            return value
        raise self.wrong(f"give {_TYPES[kind]}", name)

    def value(self, name: str) -> Any:
        """A field of any type, or None where it is not there."""
        self._read_names.add(name)
        return self._values.get(name)

    def require(self, name: str, kind: type[T]) -> T:
        """A field that must be there.

        Raises:
            ConfigurationError: It is missing or of another type.
        """
        value = self.get(name, kind)
        if value is None:
            raise self.wrong(f"is missing; give {_TYPES[kind]}", name)
        return value

    def table(self, name: str) -> Table:
        """The table of a name; an empty one where it is not there."""
        return Table(self._file, (*self._where, name), self.get(name, dict) or {})

    def tables(self, name: str | None = None) -> dict[str, Table]:
        """All tables under a name, or under this table itself, each by its own name."""
        outer = self if name is None else self.table(name)
        return {each: outer.table(each) for each in outer._values}

    def texts(self) -> dict[str, str]:
        """All fields of a table of texts."""
        return {name: self.require(name, str) for name in self._values}

    def close(self) -> None:
        """Refuse what nobody asked for: it is a mistake in spelling, or does nothing.

        Raises:
            ConfigurationError: There is such a field.
        """
        for name in self._values:
            if name not in self._read_names:
                close = difflib.get_close_matches(name, self._read_names - self._values.keys(), n=1)
                meant = f"did you mean {close[0]!r}? " if close else ""
                known = ", ".join(sorted(self._read_names)) or "nothing"
                raise self.wrong(f"is unknown; {meant}here may stand {known}", name)

    def wrong(self, reason: str, name: str | None = None) -> ConfigurationError:
        """The error that a field, or the table itself, has something wrong."""
        where = self._where if name is None else (*self._where, name)
        field = ".".join(part if _BARE.fullmatch(part) else f'"{part}"' for part in where)
        line = self._file.line_of(where)
        return ConfigurationError(f"{self._file.path}, line {line}: {field}: {reason}")


@dataclass(frozen=True, slots=True)
class _File:
    """Where the text of a table stands."""

    path: str
    text: str

    def line_of(self, where: tuple[str, ...]) -> int:
        """The line on which a field begins, or else the table that it would stand in.

        The parser of the standard library keeps no positions, but any beginning of a file that
        it takes is a whole number of fields: the first that has the field ends with it.
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
