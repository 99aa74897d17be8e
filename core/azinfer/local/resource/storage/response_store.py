"""Stored responses, and the conversation before each of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from azinfer.local.wire.body import Json

_LARGEST = 64 * 1024 * 1024


class ResponseEvents:
    """The events of one streamed response, which may be followed again while it is written.

    Attributes:
        size: The bytes of all events.
    """

    def __init__(self) -> None:
        self._events: list[bytes] = []
        self._is_over = False
        self._changed = asyncio.Event()
        self.size = 0

    def __len__(self) -> int:
        return len(self._events)

    def add(self, event: bytes) -> None:
        """Add an event; its sequence number is that of events before it."""
        self._events.append(event)
        self.size += len(event)
        self._changed.set()

    def end(self) -> None:
        """Mark the stream as complete."""
        self._is_over = True
        self._changed.set()

    async def follow(self, after: int = -1) -> AsyncGenerator[bytes]:
        """Yield the events after a sequence number, and then those that are still to come."""
        at = after + 1
        while True:
            while at < len(self._events):
                yield self._events[at]
                at += 1
            if self._is_over:
                return
            self._changed.clear()
            await self._changed.wait()


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """One stored response.

    Attributes:
        response: The response as it was sent, or as far as it has been written.
        items: The input items, each with an id.
        events: Its events; None if it is not a stream.
        task: The task that writes it in the background; None otherwise.
    """

    response: Json
    items: Sequence[Json]
    events: ResponseEvents | None = None
    task: asyncio.Task[None] | None = None


class ResponseStore:
    """The newest responses; at most 64 MiB of JSON, older ones are deleted."""

    def __init__(self) -> None:
        self._stored: dict[str, StoredResponse] = {}
        self._sizes: dict[str, int] = {}
        self._size = 0

    def add(self, stored: StoredResponse) -> None:
        """Store a response, unless it alone is too large."""
        response_id = stored.response["id"]
        self.delete(response_id)
        # Objects take a few times the memory of their JSON.
        size = len(json.dumps([stored.response, stored.items])) + 1000
        size += stored.events.size if stored.events is not None else 0
        self._stored[response_id], self._sizes[response_id] = stored, size
        self._size += size
        while self._size > _LARGEST:
            self.delete(next(iter(self._stored)))

    def get(self, response_id: str) -> StoredResponse | None:
        """Return the response with an id."""
        return self._stored.get(response_id)

    def delete(self, response_id: str) -> bool:
        """Delete a response; return whether it existed."""
        self._size -= self._sizes.pop(response_id, 0)
        return self._stored.pop(response_id, None) is not None

    def clear(self) -> None:
        """Delete all responses."""
        self._stored.clear()
        self._sizes.clear()
        self._size = 0

    def conversation(self, response_id: str) -> list[Json] | None:
        """Return all items up to the end of a response; None if a part is not stored."""
        turns: list[StoredResponse] = []
        following: str | None = response_id
        while following is not None:
            stored = self._stored.get(following)
            if stored is None:
                return None
            turns.append(stored)
            following = stored.response["previous_response_id"]
        return [
            item for turn in reversed(turns) for item in (*turn.items, *turn.response["output"])
        ]

    def item(self, item_id: str) -> Json | None:
        """Return the input or output item with an id."""
        for stored in reversed(self._stored.values()):
            items: list[Json] = [*stored.response["output"], *stored.items]
            for item in items:
                if item["id"] == item_id:
                    return item
        return None
