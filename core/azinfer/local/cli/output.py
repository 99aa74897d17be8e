"""What commands print: JSON for programs, and tables that fit the terminal for people."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

_GAP = 2
_PRIVATE = frozenset({"raw", "headers", "sources"})


def write(text: str = "") -> None:
    """Print a line to the standard output."""
    print(text)  # noqa: T201


def write_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a value as JSON: dataclasses as objects, without their raw bodies.

    Args:
        value: Dataclasses, mappings, sequences and plain values.
        indent: Spaces for each level; None for one line.
    """
    write(json.dumps(_plain(value), ensure_ascii=False, indent=indent))


def width() -> int:
    """Return the width of the terminal in columns; 80 where the output is not a terminal."""
    return shutil.get_terminal_size().columns


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Lay out rows as a table, or as one block each if a table would have to break words.

    Args:
        columns: The headings.
        rows: One text for each column, not empty.
        width: The number of columns of the terminal.

    Returns:
        The lines, none longer than `width` unless a single word is.
    """
    cells = [list(columns), *map(list, rows)]
    widths = _widths(cells, width - _GAP * (len(columns) - 1))
    if widths is None:
        return [line for row in rows for line in _block(columns, row, width)]
    head, *body = (_lines(row, widths) for row in cells)
    rule = "  ".join("-" * each for each in widths)
    return [*head, rule, *(line for row in body for line in row)]


def wrap_text(text: str, width: int, indent: str = "") -> list[str]:
    """Break a text into lines between words, each with an indent."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [indent]


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        names = [each.name for each in fields(value) if each.name not in _PRIVATE]
        return {name: _plain(getattr(value, name)) for name in names if name[0] != "_"}
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return value


def _widths(cells: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """Return a width for each column, or None where they do not fit without breaking words."""
    columns = list(zip(*cells, strict=True))
    widths = [max(map(len, column)) for column in columns]
    least = [
        max(len(word) for cell in column for word in cell.split() or [""]) for column in columns
    ]
    while sum(widths) > room:
        slack = [full - word for full, word in zip(widths, least, strict=True)]
        if not any(slack):
            return None
        widths[slack.index(max(slack))] -= 1
    return widths


def _lines(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    wrapped_cells = [wrap_text(cell, width) for cell, width in zip(row, widths, strict=True)]
    height = max(map(len, wrapped_cells))
    padded = [cell + [""] * (height - len(cell)) for cell in wrapped_cells]
    return [
        "  ".join(part.ljust(width) for part, width in zip(line, widths, strict=True)).rstrip()
        for line in zip(*padded, strict=True)
    ]


def _block(columns: Sequence[str], row: Sequence[str], width: int) -> list[str]:
    lines = [row[0]]
    for column, cell in zip(columns[1:], row[1:], strict=True):
        lines += wrap_text(f"{column}: {cell}", width, "  ")
    return lines


def say(text: str) -> None:
    """Print a message about the work itself, apart from its output."""
    print(f"azinfer: {text}", file=sys.stderr)  # noqa: T201
