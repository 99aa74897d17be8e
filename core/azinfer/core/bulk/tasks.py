"""The shell of bulk work for async code; the twin of `threads.py`, whose docstrings say more."""

from __future__ import annotations

import asyncio
import math
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
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


class AsyncBulkResults(AsyncIterator[BulkResult[Item, Value]], Generic[Item, Value]):
    """The results of bulk work, one for each item, as they become ready.

    The same as BulkResults for `async for` and `async with`; the end drops answers that are still
    under way.

    Attributes:
        progress: The progress of the work.
    """

    def __init__(
        self,
        work: AsyncWork[Item, Value],
        planner: Planner[Item, Value],
        items: Iterable[Item] | AsyncIterable[Item],
        on_progress: OnProgress | None,
    ) -> None:
        self._work, self._planner, self._on_progress = work, planner, on_progress
        self._input = aiter(items) if isinstance(items, AsyncIterable) else iter(items)
        self._read_all = False
        self._current: Iterator[BulkResult[Item, Value]] = iter(())
        self._end = weakref.finalize(self, work.run.close, at_once=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> BulkResult[Item, Value]:
        for result in self._current:
            return result
        self._current = iter(await self._next_results())
        for result in self._current:
            return result
        raise StopAsyncIteration

    @property
    def progress(self) -> BulkProgress:
        """The progress of the work."""
        return self._work.run.progress()

    async def aclose(self) -> None:
        """Send nothing more; it can be called twice."""
        self._end()
        await self._work.close()

    async def _next_results(self) -> list[BulkResult[Item, Value]]:
        """Return the results of the next request; an empty list at the end."""
        run = self._work.run
        try:
            while True:
                await self._plan()
                results, progress, over = await self._work.take()
                if progress is not None and self._on_progress is not None:
                    self._on_progress(progress)
                if results is not None:
                    return results
                if over:
                    break
        except BaseException:
            await self.aclose()
            raise
        await self.aclose()
        if run.error is not None:
            raise run.error
        return []

    async def _plan(self) -> None:
        run = self._work.run
        while not self._read_all and run.has_room:
            parts, total = await self._next_parts(run.best_tokens)
            self._work.add(parts, total)

    async def _next_parts(self, best_tokens: float) -> Parts[Item, Value]:
        """Return the next parts of the input, and the number of its items if it has ended."""
        if isinstance(self._input, AsyncIterator):
            async for item in self._input:
                if parts := self._planner.add(item, best_tokens):
                    return parts, None
        else:
            for item in self._input:
                if parts := self._planner.add(item, best_tokens):
                    return parts, None
        self._read_all = True
        parts = self._planner.end()
        return parts, self._planner.position


class AsyncWork(Generic[Item, Value]):
    """A run with its tasks.

    Args:
        run: The run.
        ask: Returns the answer to a call.
        clock: The clock by which the run waits.
    """

    def __init__(
        self,
        run: Run[Item, Value],
        ask: Callable[[CallAttempts[Any]], Awaitable[Any]],
        clock: Clock,
    ) -> None:
        self.run = run
        self._ask, self._clock = ask, clock
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._wakes = False

    def add(self, parts: list[Part[Item, Value]], total: int | None) -> None:
        """Take the next parts of the input, and the number of its items if it has ended."""
        for part in parts:
            self.run.add(part)
        if total is not None:
            self.run.end_input(total)
        self._start()

    async def take(self) -> tuple[list[BulkResult[Item, Value]] | None, BulkProgress | None, bool]:
        """Wait for results or other news; return both, and whether the run is over."""
        results = self.run.take()
        if results is None and not self.run.over:
            await self._changed.wait()
            results = self.run.take()
        progress = self.run.progress() if self._changed.is_set() else None
        self._changed.clear()
        return results, progress, self.run.over

    async def close(self) -> None:
        """Send nothing more, and drop what is under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self) -> None:
        """Send everything that may be sent now, each part in a task; wake when more may be."""
        while isinstance(step := self.run.next(), Part):
            self._spawn(self._send_each(step))
        if math.isfinite(step) and not self._wakes:
            self._wakes = True
            self._spawn(self._wake(step))

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _wake(self, seconds: float) -> None:
        await self._clock.asleep(min(seconds, 1.0))
        self._wakes = False
        self._start()

    async def _send_each(self, part: Part[Item, Value]) -> None:
        """Send a part, and then whatever comes next."""
        step: Part[Item, Value] | float = part
        while isinstance(step, Part):
            report = await self._send(step)
            try:
                report()
            except BaseException as error:  # the checkpoint cannot be written
                self.run.error = error
            self._changed.set()
            step = self.run.next()
            self._start()

    async def _send(self, part: Part[Item, Value]) -> Callable[[], None]:
        """Send a part; return what reports the outcome to the run."""
        run = self.run
        try:
            answer = await self._ask(run.job.attempts(part.items))
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
