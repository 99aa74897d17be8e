"""Hedging: the same request to a second deployment while the first is silent; one answer wins."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from azinfer.core.waits import take_next

T = TypeVar("T")


def race(run: Callable[[Any], T], attempts: Any) -> T:
    """Return the first answer to a call and its hedge, in sync code.

    The request that loses continues in its thread until its connection ends, and its answer is
    dropped.

    Args:
        run: Runs attempts to their end.
        attempts: The attempts of the call: a RoutedAttempts.

    Raises:
        InferenceError: Neither was answered; this is the error of the call itself.
    """
    ended: queue.SimpleQueue[_Runner[T]] = queue.SimpleQueue()
    first = _Runner(run, attempts, ended)
    try:
        return ended.get(timeout=attempts.hedge).result()
    except queue.Empty:
        twin = attempts.twin()
    if twin is None:
        return take_next(ended).result()
    second = _Runner(run, twin, ended)
    winner = take_next(ended)
    if winner.error is not None:
        other = take_next(ended)
        return (first if other.error is not None else other).result()
    (second if winner is first else first).lose()
    return winner.result()


class _Runner(Generic[T]):
    """CallAttempts that run in a thread of their own."""

    def __init__(
        self, run: Callable[[Any], T], attempts: Any, ended: queue.SimpleQueue[_Runner[T]]
    ) -> None:
        self.error: BaseException | None = None
        self._value: T | None = None
        self._run, self._attempts, self._ended = run, attempts, ended
        self._lock = threading.Lock()
        self._lost = False
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._work,), daemon=True).start()

    def _work(self) -> None:
        try:
            self._value = self._run(self._attempts)
        except BaseException as error:
            self.error = error
        with self._lock:
            if self._lost:
                self._drop()
        self._ended.put(self)

    def result(self) -> T:
        """Return the answer, or raise the error."""
        if self.error is not None:
            raise self.error
        value, self._value = self._value, None
        return value  # type: ignore[return-value]

    def lose(self) -> None:
        """Drop the answer, whenever it comes."""
        with self._lock:
            self._lost = True
            self._attempts.lose()
            self._drop()

    def _drop(self) -> None:
        value: Any = self._value
        self._value = None
        if hasattr(value, "close"):
            value.close()


async def race_async(run: Callable[[Any], Coroutine[Any, Any, T]], attempts: Any) -> T:
    """Return the first answer to a call and its hedge, in async code.

    Args:
        run: Runs attempts to their end.
        attempts: The attempts of the call: a RoutedAttempts.

    Raises:
        InferenceError: Neither was answered; this is the error of the call itself.
    """
    import asyncio  # slow to import, and sync code does not need it

    first = asyncio.create_task(run(attempts))
    tasks = {first: attempts}
    winner = None
    try:
        await asyncio.wait(tasks, timeout=attempts.hedge)
        if not first.done() and (twin := attempts.twin()) is not None:
            tasks[asyncio.create_task(run(twin))] = twin
        while pending := [task for task in tasks if not task.done()]:
            if any(task.done() and not task.exception() for task in tasks):
                break
            await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        winner = next((task for task in tasks if task.done() and not task.exception()), first)
        return winner.result()
    finally:
        losers = [task for task in tasks if not task.done()]
        for task in losers:
            if winner is not None:  # otherwise the caller cancelled the call
                tasks[task].lose()
            task.cancel()
        if losers:
            await asyncio.wait(losers)
