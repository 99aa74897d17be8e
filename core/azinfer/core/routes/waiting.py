"""Waiting: calls that can go on only when another call ends, and how often they look whether.

Nothing wakes them, because the other call may end in the garbage collector, where no lock may be
taken. All calls that wait look equally often, and together a fixed number of times in a second: the
more they are, the sooner one of them finds what is free, for the same CPU time.
"""

from __future__ import annotations

SHORTEST = 0.002  # seconds between two looks of a call
_LOOKS = 1000  # a second, of all calls that wait


class Waiting:
    """The calls that wait; may be used from many threads, as each step is one of a set."""

    def __init__(self) -> None:
        self._all: set[int] = set()
        self._queues: dict[str, set[int]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(self, call: int, queue: str | None) -> None:
        """Count a call that waits.

        Args:
            call: Its id.
            queue: The name of the route behind whose calls others wait; None if the call may not
                go to some deployments of the route, so that others may pass it.
        """
        self._all.add(call)
        if queue is not None:
            self._queues.setdefault(queue, set()).add(call)

    def discard(self, call: int, queue: str) -> None:
        """Count a call no longer."""
        self._all.discard(call)
        if calls := self._queues.get(queue):
            calls.discard(call)

    def comes_after(self, call: int, queue: str) -> bool:
        """Return whether a new call waits, too, so that it takes nothing from those that do."""
        calls = self._queues.get(queue)
        return bool(calls) and call not in self._all

    def seconds(self, chance: float, left: float) -> float:
        """Return the seconds until a call looks again.

        Args:
            chance: A random number from 0 up to 1.
            left: The seconds that it has; a moment before their end, it looks for the last time.
        """
        seconds = max(SHORTEST, len(self._all) / _LOOKS) * (0.5 + chance)
        return max(SHORTEST / 2, min(seconds, left - SHORTEST))
