"""Wrong options: errors with an exit code of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from azinfer.core.errors import ConfigurationError

ERROR, WRONG_OPTIONS = 1, 2


class OptionError(ConfigurationError):
    """An option has a value that is never valid, or it lacks another one: exit code 2."""


@contextmanager
def values_of_options() -> Iterator[None]:
    """Raise an OptionError for each ConfigurationError of the block, whose values are options."""
    try:
        yield
    except ConfigurationError as error:
        raise OptionError(str(error)) from None


def exit_code(error: Exception) -> int:
    """Return the exit code of a command that ended with an error."""
    return WRONG_OPTIONS if isinstance(error, OptionError) else ERROR
