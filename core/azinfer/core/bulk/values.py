"""The values of bulk work: a result for each item, the progress, and an estimate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

from azinfer.core.arguments import refuse
from azinfer.core.errors import ConfigurationError, InferenceError

Item = TypeVar("Item")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class BulkResult(Generic[Item, Value]):
    """The result of one item.

    Attributes:
        index: The item's position in the input, from 0.
        item: The item itself: a text, or a request.
        value: Its vector or its completion; None if there is an error.
        error: Why there is no value. It is not raised, so that the other items continue.
    """

    index: int
    item: Item
    value: Value | None
    error: InferenceError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkProgress:
    """The progress of bulk work.

    Attributes:
        total: The number of items; None if it is unknown before the end of the input.
        done: Items with a value, including those of the checkpoint.
        failed: Items with an error.
        resumed: Items whose values came from the checkpoint; they cost nothing.
        requests: Requests that were answered or refused, in this run.
        refused: How many of them exceeded a rate limit (429).
        in_flight: Requests that are under way.
        concurrency: The most requests at once that the service seems to accept now.
        tokens: Tokens that the answers of this run report.
        seconds: How long this run has taken.
        failure: The last error of the service, such as a refused connection or a rate limit, if
            no request has succeeded since.
        wait: Seconds until the next request, if all have to wait.
    """

    total: int | None
    done: int
    failed: int
    resumed: int
    requests: int
    refused: int
    in_flight: int
    concurrency: int
    tokens: int
    seconds: float
    failure: InferenceError | None = None
    wait: float = 0.0

    @property
    def rate(self) -> float:
        """Items per second, without those of the checkpoint."""
        return (self.done + self.failed - self.resumed) / self.seconds if self.seconds else 0.0

    @property
    def token_rate(self) -> float:
        """Tokens per second."""
        return self.tokens / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """How long the rest will take at this rate; None if that is unknown."""
        if self.total is None or not self.rate:
            return None
        return max(0.0, (self.total - self.done - self.failed) / self.rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkEstimate:
    """An estimate of bulk work, made without sending anything.

    Attributes:
        items: The number of items.
        requests: The number of requests, unless a limit of tokens makes them smaller.
        input_tokens: Tokens of the items, as the service estimates them: a quarter of the
            characters.
        answer_tokens: The most tokens of all answers whose requests limit them.
        unlimited: How many requests do not limit their answer.
    """

    items: int
    requests: int
    input_tokens: int
    answer_tokens: int = 0
    unlimited: int = 0


OnProgress: TypeAlias = Callable[[BulkProgress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkOptions:
    """How bulk work is done.

    Attributes:
        ordered: Whether results come in the order of the input; otherwise as they are ready.
        concurrency: The number of requests at once; None if it is to be found.
        checkpoint: A file that stores finished requests.
        on_progress: Called after each request.
        total: The number of items, if the input does not have a length.
        batch_size: The most texts in one request, if that is less than the model accepts.
        patience: Seconds without any success after which the run ends, if the service fails or
            refuses because of its limits.
    """

    ordered: bool = True
    concurrency: int | None = None
    checkpoint: str | Path | None = None
    on_progress: OnProgress | None = None
    total: int | None = None
    batch_size: int | None = None
    patience: float = 600.0

    def __post_init__(self) -> None:
        for name, kinds in _NUMBERS.items():
            value = getattr(self, name)
            if value is None:
                continue
            if not isinstance(value, kinds) or isinstance(value, bool):
                refuse(name, value, "a number")
            if not value > 0:  # also for a value that is not a number
                raise ConfigurationError(f"{name} must be above 0, not {value!r}", param=name)
        if self.checkpoint is not None and not isinstance(self.checkpoint, str | Path):
            refuse("checkpoint", self.checkpoint, "the path of a file")
        if self.on_progress is not None and not callable(self.on_progress):
            refuse("on_progress", self.on_progress, "a function that takes a BulkProgress")


_NUMBERS: Mapping[str, Any] = {"concurrency": int, "batch_size": int, "patience": (int, float)}
