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
        self._calls: dict[int, tuple[str, ...]] = {}
        self._queues: dict[str, set[int]] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: int, keys: tuple[str, ...]) -> None:
        """Count a call that waits.

        Args:
            call: Its id.
            keys: The deployments that it waits for: new calls leave them to it.
        """
        if self._calls.get(call) == keys:
            return
        self.discard(call)
        self._calls[call] = keys
        for key in keys:
            self._queues.setdefault(key, set()).add(call)

    def discard(self, call: int) -> None:
        """Count a call no longer, if it was counted."""
        for key in self._calls.get(call, ()):
            self._queues[key].discard(call)
        self._calls.pop(call, None)

    def keys(self) -> frozenset[str]:
        """Return the deployments that calls wait for."""
        return frozenset(key for key, calls in list(self._queues.items()) if calls)

    def seconds(self, chance: float, left: float) -> float:
        """Return the seconds until a call looks again.

        Args:
            chance: A random number from 0 up to 1.
            left: The seconds that it has; a moment before their end, it looks for the last time.
        """
        seconds = max(SHORTEST, len(self._calls) / _LOOKS) * (0.5 + chance)
        return max(SHORTEST / 2, min(seconds, left - SHORTEST))
