"""Observation of calls. By default nothing observes them, which costs a call one comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias


class Subject(NamedTuple):
    """The request of a caller, for observers.

    Attributes:
        operation: The operation, for example `"chat/completions"`.
        model: The deployment, route or alias that it named.
        options: The options of the call.
        messages: The conversation; None without one.
    """

    operation: str
    model: str | None
    options: Mapping[str, Any]
    messages: Sequence[Any] | None


# An observer returns the attempts to use instead of those of a call.
Observer: TypeAlias = Callable[[Any, Subject], Any]

observers: list[Observer] = []


def apply_observers(attempts: Any, subject: Subject) -> Any:
    """Return the attempts of a call, with all observers applied."""
    for observer in observers:
        attempts = observer(attempts, subject)
    return attempts
