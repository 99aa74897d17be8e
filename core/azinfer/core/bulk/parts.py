"""Parts: the items of one request, and how the input is cut into them.

A part of a second run has the same boundaries as in the first, from the checkpoint: vectors of
quantised models depend on the other texts of a request.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeAlias

from azinfer.core.bulk.checkpoint import Checkpoint
from azinfer.core.bulk.jobs import Job
from azinfer.core.bulk.pace import Sent
from azinfer.core.bulk.values import BulkResult, Item, Value
from azinfer.core.errors import ConfigurationError


@dataclass(slots=True, eq=False)
class Part(Generic[Item, Value]):
    """The items of one request.

    Attributes:
        first: The position of its first item in the input.
        items: The items.
        tokens: How many tokens they are expected to use.
        digest: A hash by which the checkpoint recognises the items; empty without one.
        stored: Whether the checkpoint has the values.
        sent: The request that is under way.
        tries: How often it failed while others succeeded.
        results: The results of the items, once they are known.
    """

    first: int
    items: list[Item]
    tokens: float
    digest: bytes = b""
    stored: bool = False
    sent: Sent | None = None
    tries: int = 0
    results: list[BulkResult[Item, Value]] | None = field(default=None, repr=False)

    @property
    def end(self) -> int:
        """The position after its last item."""
        return self.first + len(self.items)


# Parts of the input, and the number of its items if they are the last.
Parts: TypeAlias = tuple[list[Part[Item, Value]], int | None]


class Planner(Generic[Item, Value]):
    """Cut the input into parts, item by item.

    Args:
        job: The work that is done with the items.
        checkpoint: The finished requests of an earlier run.
        most: The most items of a part.
    """

    def __init__(
        self, job: Job[Item, Value], checkpoint: Checkpoint | None, most: int | None = None
    ) -> None:
        self._job, self._checkpoint = job, checkpoint
        self._most = min(most or job.most_items, job.most_items)
        self._kept: list[Item] = []
        self._tokens = 0.0
        self._first = 0
        self._open()

    def add(self, item: Item, best_tokens: float) -> list[Part[Item, Value]]:
        """Take the next item of the input; return the parts that are complete now.

        Args:
            item: The item.
            best_tokens: The most tokens of a part, besides the model's own limit.

        Raises:
            ConfigurationError: The checkpoint was made for another input.
        """
        tokens = self._job.tokens_of(item)
        parts = []
        if not self._stored and self._kept and self._is_full(tokens, best_tokens):
            parts.append(self._close())
        self._kept.append(item)
        self._tokens += tokens
        if len(self._kept) == self._count:
            parts.append(self._close())
        return parts

    def end(self) -> list[Part[Item, Value]]:
        """Return the last part, at the end of the input.

        Raises:
            ConfigurationError: The checkpoint was made for a longer input.
        """
        end = self._first + len(self._kept)
        if self._checkpoint is not None and (known := self._checkpoint.end()) > end:
            raise ConfigurationError(
                f"{self._checkpoint.path} has results of {known:,} items, and the input has only "
                f"{end:,}: it was created for another input; use another file"
            )
        return [self._close()] if self._kept else []

    @property
    def position(self) -> int:
        """The number of items in all parts so far."""
        return self._first

    def _is_full(self, tokens: float, best_tokens: float) -> bool:
        return self._tokens + tokens > min(best_tokens, self._job.most_tokens)

    def _close(self) -> Part[Item, Value]:
        items, tokens, first = self._kept, self._tokens, self._first
        digest = self._job.digest(items) if self._checkpoint is not None else b""
        if self._stored and digest != self._stored:
            assert self._checkpoint is not None
            raise ConfigurationError(
                f"items {first:,} to {first + len(items) - 1:,} differ from those in "
                f"{self._checkpoint.path}: it was created for another input; use "
                "another file"
            )
        part: Part[Item, Value] = Part(first, items, tokens, digest, bool(self._stored))
        self._kept, self._tokens, self._first = [], 0.0, first + len(items)
        self._open()
        return part

    def _open(self) -> None:
        """Begin a part: find its number of items, and what an earlier run stored of them."""
        self._count, self._stored = self._most, b""
        if self._checkpoint is None or (row := self._checkpoint.next(self._first)) is None:
            return
        first, count, digest = row
        if first == self._first:
            self._count, self._stored = count, digest
        else:
            self._count = min(self._count, first - self._first)


def divide(
    part: Part[Item, Value], job: Job[Item, Value], checkpointed: bool, most_tokens: float
) -> list[Part[Item, Value]]:
    """Return a part divided into smaller ones, with fewer tokens and at most half the items."""
    most = (len(part.items) + 1) // 2
    groups: list[list[Item]] = []
    sizes: list[float] = []
    for item in part.items:
        tokens = job.tokens_of(item)
        if not groups or len(groups[-1]) == most or sizes[-1] + tokens > most_tokens:
            groups.append([])
            sizes.append(0.0)
        groups[-1].append(item)
        sizes[-1] += tokens
    parts: list[Part[Item, Value]] = []
    first = part.first
    for items, tokens in zip(groups, sizes, strict=True):
        digest = job.digest(items) if checkpointed else b""
        parts.append(Part(first, items, tokens, digest, tries=part.tries))
        first += len(items)
    return parts
