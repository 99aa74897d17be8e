"""Options: tables from files and requests, read field by field; each error names its field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from azinfer.core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Options:
    """A table of options.

    Attributes:
        values: The fields.
        where: The name of the table in errors; empty for no name.
    """

    values: Mapping[str, Any]
    where: str = ""

    @classmethod
    def of(cls, value: Any, where: str, known: Sequence[str]) -> Options:
        """Read a table that may only have some fields.

        Raises:
            ConfigurationError: The value is not a table, or has an unknown field.
        """
        settings = cls(value if isinstance(value, Mapping) else {}, where)
        if not isinstance(value, Mapping):
            raise ConfigurationError(f"{where or 'this'} must be a table, not {value!r}")
        for name in value:
            if name not in known:
                import difflib  # needed only for mistakes

                near = difflib.get_close_matches(str(name), known, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(known)}"
                raise settings.error(str(name), f"is not known; {hint}")
        return settings

    def error(self, name: str, reason: str) -> ConfigurationError:
        """Return the error for one field."""
        return ConfigurationError(f"{self.where}{'.' if self.where else ''}{name} {reason}")

    def number(
        self, name: str, low: float | None = None, high: float | None = None
    ) -> float | None:
        """Return a number within bounds, or None if it is missing."""
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(name, f"must be a number, not {value!r}")
        if (low is not None and not value >= low) or (high is not None and not value <= high):
            bounds = f"at least {low:g}" if high is None else f"between {low:g} and {high:g}"
            raise self.error(name, f"must be {bounds}, not {value!r}")
        return value

    def whole(self, name: str, low: int, high: int | None = None) -> int | None:
        """Return an integer within bounds, or None if it is missing."""
        value = self.number(name, low, high)
        if value is not None and not isinstance(value, int):
            raise self.error(name, f"must be a whole number, not {value!r}")
        return value

    def text(self, name: str) -> str | None:
        """Return a text, or None if it is missing."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, str):
            raise self.error(name, f"must be a text, not {value!r}")
        return value

    def table(self, name: str) -> Mapping[str, Any] | None:
        """Return a table, or None if it is missing."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, Mapping):
            raise self.error(name, f"must be a table, not {value!r}")
        return value

    def list(self, name: str) -> Sequence[Any]:
        """Return a list; empty if it is missing."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, list | tuple):
            raise self.error(name, f"must be a list, not {value!r}")
        return value or ()
