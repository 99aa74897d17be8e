"""Reports: how much of a limit one process has used, and how much more it wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from azinfer.core.routes.budget import Window
from azinfer.core.routes.lease import Lease
from azinfer.core.routes.state import State

KINDS = ("requests", "tokens")


@dataclass(slots=True)
class Demand:
    """The demand of calls to one deployment that found no lease.

    Attributes:
        requests: The number of the calls.
        tokens: The tokens that they may use together.
    """

    requests: float = 0.0
    tokens: float = 0.0

    def miss(self, tokens: int) -> None:
        """Count a call that found no lease."""
        self.requests += 1
        self.tokens += tokens

    def wanted(self, kind: str, lease: Lease | None, state: State) -> float:
        """Return how much of a limit is wanted until the next exchange.

        It is the missing amount, and twice the amount that was used since the last exchange.

        Args:
            kind: `"requests"` or `"tokens"`.
            lease: The last lease.
            state: The state of the deployment.
        """
        missing: float = getattr(self, kind)
        granted, left = getattr(lease, kind, None), getattr(state.budget.lease, kind, None)
        used = 0.0 if granted is None or left is None else max(0.0, granted - left)
        return missing + max(1.0, 2 * used)


def left_of(state: State, kind: str, now: float) -> float:
    """Return what is left of a lease."""
    lease = state.budget.lease
    if lease is None or now >= lease.until:
        return 0.0
    return max(0.0, getattr(lease, kind) or 0.0)


def arguments(window: Window, process: str, left: float, wanted: float, now: float) -> list[Any]:
    """Return the arguments of the script that gives a lease.

    Args:
        window: What this process has used.
        process: Its id.
        left: The part of the last lease that it keeps.
        wanted: How much more it wants.
        now: The clock's seconds.
    """
    width = window.period / 10
    uses = [
        (max(0.0, now - (number + 0.5) * width), amount)
        for number, amount in window.slices
        if amount > 0
    ]
    uses.append((0.0, left))
    pairs = [text for age, amount in uses for text in (f"{age:.6f}", f"{amount:.6f}")]
    return [process, window.period, window.limit, min(wanted, window.limit), *pairs]


def windows_of(states: Mapping[str, State]) -> list[tuple[str, str, Window]]:
    """Return every limit: the deployment's key, the kind, and the used amount."""
    return [
        (key, kind, window)
        for key, state in states.items()
        for kind in KINDS
        if (window := getattr(state.budget, kind)) is not None
    ]
