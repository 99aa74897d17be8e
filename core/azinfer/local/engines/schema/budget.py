"""Budgets: how much work a caller's JSON Schema may cost.

A schema of a few lines can describe a value of a billion items, or checks that double with each
definition. So each piece of work counts its steps, and stops when they are used up.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar

from azinfer.local.worker_threads import run_in_worker

# About a second of work; OpenAI's largest schemas take a hundredth of it.
_STEPS, _SECONDS = 100_000, 5.0
# The clock is read each time after so many steps.
_CLOCK_STEPS = 500
Result = TypeVar("Result")


class OverBudgetError(Exception):
    """The work would take more steps or time than it may."""


class Budget:
    """The steps and the time that are left for one piece of work.

    Args:
        steps: How many steps it may take.
        seconds: How long it may take.
        clock: Returns monotonic seconds.
    """

    def __init__(
        self,
        steps: int = _STEPS,
        seconds: float = _SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._left, self._next = steps, steps - _CLOCK_STEPS
        self._clock, self._late = clock, clock() + seconds

    def spend(self, steps: int = 1) -> None:
        """Use up some steps.

        Raises:
            OverBudgetError: There are no more steps, or there is no more time.
        """
        self._left -= steps
        if self._left < 0:
            raise OverBudgetError
        if self._left <= self._next:
            self._next = self._left - _CLOCK_STEPS
            if self._clock() > self._late:
                raise OverBudgetError


# The budget of the present work of this thread.
current: ContextVar[Budget] = ContextVar("budget")


def spend(steps: int = 1) -> None:
    """Use up steps of the current budget; without one, any number is free.

    Raises:
        OverBudgetError: There are no more steps, or there is no more time.
    """
    if (budget := current.get(None)) is not None:
        budget.spend(steps)


async def run_in_thread(function: Callable[..., Result], *args: object) -> Result:
    """Call a function with a budget, outside the event loop, and return its result."""
    return await run_in_worker(_run, function, *args)


def _run(function: Callable[..., Result], *args: object) -> Result:
    token = current.set(Budget())
    try:
        return function(*args)
    finally:
        current.reset(token)
