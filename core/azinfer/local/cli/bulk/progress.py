"""The progress of bulk work, as a bar in a terminal; elsewhere nothing is shown."""

from __future__ import annotations

import sys
from typing import Any, Self

from azinfer.core.bulk import BulkProgress


class Bar:
    """A bar on the standard error, with rate, tokens and time left.

    Args:
        what: The name of the items, for example `"texts"`.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._live: Any = None
        self._task: Any = None

    @property
    def is_visible(self) -> bool:
        """Whether there is a terminal that shows it."""
        return self._live is not None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            share, facts = TextColumn("{task.percentage:>3.0f}%"), TextColumn("{task.description}")
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
        if self._live is not None:
            self._live.update(
                self._task,
                total=progress.total,
                completed=progress.done + progress.failed,
                description=describe(progress, self._what),
            )


def describe(progress: BulkProgress, what: str) -> str:
    """Return one line with items, rate, tokens and time left."""
    items = f"{progress.done + progress.failed:,}"
    if progress.total is not None:
        items += f" of {progress.total:,}"
    parts = [f"{items} {what}", f"{progress.rate:,.0f}/s", f"{progress.tokens:,} tokens"]
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if (left := progress.seconds_left) is not None:
        parts.append(f"{duration(left)} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Return a duration in the form `1:02:03`, or `2:03` below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
