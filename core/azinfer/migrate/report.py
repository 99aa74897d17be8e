"""The report of a migration: the new text of a program, and the lines to change by hand."""

from __future__ import annotations

import difflib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that could not be rewritten, or that may print something else.

    Attributes:
        line: Its line in the program as it was, from 1.
        text: The problem, and what to do about it.
    """

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Migration:
    """The result for one program.

    Attributes:
        before: The text of the program.
        after: The rewritten text; the same if there was nothing to rewrite.
        problems: The parts that could not be rewritten, by line.
        notes: The parts that run but may print something else than before, by line.
    """

    before: str
    after: str
    problems: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()

    @property
    def is_changed(self) -> bool:
        """Whether anything was rewritten."""
        return self.before != self.after

    def diff(self, name: str = "program.py") -> str:
        """Return the changes as a unified diff.

        Args:
            name: The name of the file, for the head of the diff.
        """
        return "".join(
            difflib.unified_diff(
                self.before.splitlines(keepends=True),
                self.after.splitlines(keepends=True),
                f"a/{name}",
                f"b/{name}",
            )
        )
