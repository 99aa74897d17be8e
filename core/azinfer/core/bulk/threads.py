"""The shell of bulk work for sync code, which only sends, waits and returns results.

Its twin is `tasks.py`. The decisions of both are in `run.py`.
"""

from __future__ import annotations

import contextvars
import math
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Generic, Self

from azinfer.core.attempts import CallAttempts
from azinfer.core.bulk.parts import Part, Parts, Planner
from azinfer.core.bulk.run import Run
from azinfer.core.bulk.values import (
    BulkProgress,
    BulkResult,
    Item,
    OnProgress,
    Value,
)
from azinfer.core.clock import Clock
from azinfer.core.errors import InferenceError
from azinfer.core.waits import LONGEST_WAIT

_LONGEST_SLEEP = 1.0  # seconds, so that threads of a closed run end soon


class BulkResults(Iterator[BulkResult[Item, Value]], Generic[Item, Value]):
    """The results of bulk work, one for each item, as they become ready.

    The first `next` begins to send. Requests continue while the caller works on a result, as far
    as memory allows. Leaving the `with` block, or `close`, ends the work; answers that are still
    under way are stored in the checkpoint.

    Attributes:
        progress: The progress of the work.
    """

    def __init__(
        self,
        work: Work[Item, Value],
        planner: Planner[Item, Value],
        items: Iterable[Item],
        on_progress: OnProgress | None,
    ) -> None:
        self._work, self._planner, self._on_progress = work, planner, on_progress
        self._input = iter(items)
        self._read_all = False
        self._current: Iterator[BulkResult[Item, Value]] = iter(())
        self._end = weakref.finalize(self, work.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> BulkResult[Item, Value]:
        for result in self._current:
            return result
        self._current = iter(self._next_results())
        return next(self._current)

    @property
    def progress(self) -> BulkProgress:
        """The progress of the work."""
        return self._work.progress()

    def close(self) -> None:
        """Send nothing more; it can be called twice."""
        self._end()

    def _next_results(self) -> list[BulkResult[Item, Value]]:
        """Return the results of the next request; an empty list at the end."""
        try:
            while True:
                self._plan()
                results, progress, over = self._work.take()
                if progress is not None and self._on_progress is not None:
                    self._on_progress(progress)
                if results is not None:
                    return results
                if over:
                    break
        except BaseException:
            self.close()
            raise
        self.close()
        if self._work.run.error is not None:
            raise self._work.run.error
        return []

    def _plan(self) -> None:
        while not self._read_all and (best_tokens := self._work.room()):
            parts, total = self._next_parts(best_tokens)
            self._work.add(parts, total)

    def _next_parts(self, best_tokens: float) -> Parts[Item, Value]:
        """Return the next parts of the input, and the number of its items if it has ended."""
        for item in self._input:
            if parts := self._planner.add(item, best_tokens):
                return parts, None
        self._read_all = True
        parts = self._planner.end()
        return parts, self._planner.position


class Work(Generic[Item, Value]):
    """A run with its threads.

    Args:
        run: The run.
        ask: Returns the answer to a call.
        clock: The clock by which the run waits.
    """

    def __init__(
        self, run: Run[Item, Value], ask: Callable[[CallAttempts[Any]], Any], clock: Clock
    ) -> None:
        self.run = run
        self._ask, self._clock = ask, clock
        self._changed = threading.Condition()
        self._news = self._wakes = False

    def room(self) -> float:
        """Return the most tokens of the next part; 0 if there is no room for one."""
        with self._changed:
            return self.run.best_tokens if self.run.has_room else 0.0

    def add(self, parts: list[Part[Item, Value]], total: int | None) -> None:
        """Take the next parts of the input, and the number of its items if it has ended."""
        with self._changed:
            for part in parts:
                self.run.add(part)
            if total is not None:
                self.run.end_input(total)
            self._start()

    def take(self) -> tuple[list[BulkResult[Item, Value]] | None, BulkProgress | None, bool]:
        """Wait for results or other news; return both, and whether the run is over."""
        with self._changed:
            results = self.run.take()
            while results is None and not self.run.over and not self._news:
                self._changed.wait(LONGEST_WAIT)
                results = self.run.take()
            progress = self.run.progress() if self._news else None
            self._news = False
            return results, progress, self.run.over

    def progress(self) -> BulkProgress:
        """Return the progress of the run."""
        with self._changed:
            return self.run.progress()

    def close(self) -> None:
        """Send nothing more."""
        with self._changed:
            self.run.close()
            self._changed.notify_all()

    def _start(self) -> None:
        """Send everything that may be sent now, each part in a thread; wake when more may be."""
        step: Part[Item, Value] | float = math.inf
        try:
            while isinstance(step := self.run.next(), Part):
                self._spawn(self._send_each, step)
            if math.isfinite(step) and not self._wakes:
                self._spawn(self._wake, min(step, _LONGEST_SLEEP))
                self._wakes = True
        except RuntimeError as error:  # the system starts no further thread
            self.run.postpone(step, error)
            self._changed.notify_all()

    def _spawn(self, work: Callable[[Any], None], argument: Any) -> None:
        context = contextvars.copy_context()
        threading.Thread(
            target=context.run, args=(work, argument), name="azinfer-bulk", daemon=True
        ).start()

    def _wake(self, seconds: float) -> None:
        self._clock.sleep(seconds)
        with self._changed:
            self._wakes = False
            self._start()

    def _send_each(self, part: Part[Item, Value]) -> None:
        """Send a part, and then whatever comes next."""
        step: Part[Item, Value] | float = part
        while isinstance(step, Part):
            report = self._send(step)
            with self._changed:
                try:
                    report()
                except BaseException as error:  # the checkpoint cannot be written
                    self.run.error = error
                self._news = True
                self._changed.notify_all()
                step = self.run.next()
                self._start()

    def _send(self, part: Part[Item, Value]) -> Callable[[], None]:
        """Send a part; return what reports the outcome to the run."""
        run = self.run
        try:
            answer = self._ask(run.job.attempts(part.items))
        except InferenceError as error:
            failure = error
            return lambda: run.fail(part, failure)
        except BaseException as error:  # whatever it is: the caller waits for this request
            unexpected = error
            return lambda: run.stop(part, unexpected)
        try:
            values = run.job.values(answer)
        except BaseException as error:
            changed = error
            return lambda: run.stop(part, changed)
        return lambda: run.succeed(part, answer, values)
