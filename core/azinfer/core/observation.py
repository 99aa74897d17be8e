"""Observation: who sees each call. By default nobody, which costs a call one comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Subject:
    """What a caller asks for.

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


# Returns the attempts that are used in place of those of a call.
Observer: TypeAlias = Callable[[Any, Subject], Any]

observers: list[Observer] = []


def observed(attempts: Any, subject: Subject) -> Any:
    """Return the attempts of a call as all observers see them."""
    for observer in observers:
        attempts = observer(attempts, subject)
    return attempts
