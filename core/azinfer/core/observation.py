"""Observation of calls. By default nothing observes them, which costs a call one comparison."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self, TypeAlias


class Whole:
    """One call of a caller that is sent as several requests, each with attempts of its own.

    Attributes:
        observed: What observers keep for the call; each uses a key of its own.
        ends: Functions that observers add. Each is called once, with the value of the call, or
            None and the error that ended it.
        lock: For observers: the requests may be sent from several threads.
        value: The value of the call, once it is known.
    """

    def __init__(self) -> None:
        self.observed: dict[object, Any] = {}
        self.ends: list[Callable[[Any, BaseException | None], None]] = []
        self.lock = threading.Lock()
        self.value: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        for end in self.ends:
            end(self.value, error)


class Subject(NamedTuple):
    """The request of a caller, for observers.

    Attributes:
        operation: The operation, for example `"chat/completions"`.
        model: The deployment, route or alias that it named.
        options: The options of the call.
        messages: The conversation; None without one.
        whole: The call that this request is a part of; None if it is the call itself.
    """

    operation: str
    model: str | None
    options: Mapping[str, Any]
    messages: Sequence[Any] | None
    whole: Whole | None = None


# An observer returns the attempts to use instead of those of a call.
Observer: TypeAlias = Callable[[Any, Subject], Any]

observers: list[Observer] = []


def apply_observers(attempts: Any, subject: Subject) -> Any:
    """Return the attempts of a call, with all observers applied."""
    for observer in observers:
        attempts = observer(attempts, subject)
    return attempts


def new_whole() -> Whole | None:
    """Return a call of several requests for the observers, or None if nothing observes."""
    return Whole() if observers else None
