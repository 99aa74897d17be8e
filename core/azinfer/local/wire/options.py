"""Settings: tables from files and requests, read field by field, each mistake named."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from azinfer.core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Options:
    """A table of settings.

    Attributes:
        values: The fields.
        where: What errors call the table; empty for none.
    """

    values: Mapping[str, Any]
    where: str = ""

    @classmethod
    def of(cls, told: Any, where: str, known: Sequence[str]) -> Options:
        """Read a table that may have some fields and no others.

        Raises:
            ConfigurationError: It is no table, or has a field that is not known.
        """
        settings = cls(told if isinstance(told, Mapping) else {}, where)
        if not isinstance(told, Mapping):
            raise ConfigurationError(f"{where or 'this'} must be a table, not {told!r}")
        for name in told:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
                raise settings.wrong(str(name), f"is not known; {hint}")
        return settings

    def wrong(self, name: str, reason: str) -> ConfigurationError:
        """The error for one field."""
        return ConfigurationError(f"{self.where}{'.' if self.where else ''}{name} {reason}")

    def number(
        self, name: str, low: float | None = None, high: float | None = None
    ) -> float | None:
        """A number within bounds, or None where there is none."""
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(name, f"must be a number, not {value!r}")
        if (low is not None and not value >= low) or (high is not None and not value <= high):
            bounds = f"at least {low:g}" if high is None else f"between {low:g} and {high:g}"
            raise self.wrong(name, f"must be {bounds}, not {value!r}")
        return value

    def whole(self, name: str, low: int, high: int | None = None) -> int | None:
        """An integer within bounds, or None where there is none."""
        value = self.number(name, low, high)
        if value is not None and not isinstance(value, int):
            raise self.wrong(name, f"must be a whole number, not {value!r}")
        return value

    def text(self, name: str) -> str | None:
        """A text, or None where there is none."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, str):
            raise self.wrong(name, f"must be a text, not {value!r}")
        return value

    def table(self, name: str) -> Mapping[str, Any] | None:
        """A table, or None where there is none."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, Mapping):
            raise self.wrong(name, f"must be a table, not {value!r}")
        return value

    def list(self, name: str) -> Sequence[Any]:
        """A list; empty where there is none."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, list | tuple):
            raise self.wrong(name, f"must be a list, not {value!r}")
        return value or ()
