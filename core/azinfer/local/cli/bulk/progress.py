"""The progress of bulk work, as a bar in a terminal; elsewhere nothing is shown."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Self

from azinfer.core import RateLimitError
from azinfer.core.bulk import BulkProgress

_LONG = 10.0  # seconds without news after which the bar says so


class Bar:
    """A bar on the standard error, with rate, tokens and time left.

    Args:
        what: The name of the items, for example `"texts"`.
        clock: Returns the present time in seconds.
    """

    def __init__(self, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._what, self._clock = what, clock
        self._live: Any = None
        self._task: Any = None
        self._progress: BulkProgress | None = None
        self._shown = clock()

    @property
    def is_visible(self) -> bool:
        """Whether there is a terminal that shows it."""
        return self._live is not None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            bar = self

            class Facts(TextColumn):
                """A line that counts down while nothing happens."""

                def render(self, task: Any) -> Any:
                    """Return the line."""
                    task.description = bar.text()
                    return super().render(task)

            share, facts = TextColumn("{task.percentage:>3.0f}%"), Facts("{task.description}")
            console = Console(stderr=True)
            self._live = Progress(share, BarColumn(12), facts, console=console, transient=True)
            self._live.start()
            self._task = self._live.add_task(self._what, total=None)
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, progress: BulkProgress) -> None:
        """Show the present progress."""
        self._progress, self._shown = progress, self._clock()
        if self._live is not None:
            done = progress.done + progress.failed
            self._live.update(self._task, total=progress.total, completed=done)

    def text(self) -> str:
        """Return the line beside the bar now."""
        silence = self._clock() - self._shown
        if self._progress is None:
            return self._what if silence < _LONG else f"{self._what}, {_no_answer(silence)}"
        return describe(self._progress, self._what, silence)


def describe(progress: BulkProgress, what: str, silence: float = 0.0) -> str:
    """Return one line with items, and either the trouble or rate, tokens and time left.

    Args:
        progress: The progress.
        what: The name of the items.
        silence: Seconds since it was reported.
    """
    items = f"{progress.done + progress.failed:,}"
    if progress.total is not None:
        items += f" of {progress.total:,}"
    parts = [f"{items} {what}"]
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if trouble := _describe_trouble(progress, silence):
        return ", ".join([*parts, trouble])
    parts += [f"{progress.rate:,.0f}/s", f"{progress.tokens:,} tokens"]
    if (left := progress.seconds_left) is not None:
        parts.append(f"{duration(left)} left")
    return ", ".join(parts)


def _describe_trouble(progress: BulkProgress, silence: float) -> str:
    """Return why nothing happens, and until when; empty if the work goes on."""
    wait = progress.wait - silence
    error = progress.failure
    if error is None or (isinstance(error, RateLimitError) and wait <= 0 and silence < _LONG):
        return "" if silence < _LONG else _no_answer(silence)
    if isinstance(error, RateLimitError):
        reason = "rate limit"
    elif error.status is not None:
        reason = f"the service fails ({error.status})"
    else:
        reason = "the service does not answer"
    return f"{reason}; next try {f'in {duration(wait)}' if wait > 0 else 'now'}"


def _no_answer(seconds: float) -> str:
    return f"no answer for {duration(seconds)}"


def duration(seconds: float) -> str:
    """Return a duration in the form `1:02:03`, or `2:03` below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
