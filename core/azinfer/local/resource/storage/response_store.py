"""Conversations: the responses that were stored, and what was said before each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from azinfer.local.wire.body import Json

_MOST_RESPONSES = 1000


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """One stored response.

    Attributes:
        response: The response as it was sent.
        items: The input items, each with an id.
    """

    response: Json
    items: Sequence[Json]


class ResponseStore:
    """The newest responses; at most 1,000, older ones are deleted."""

    def __init__(self) -> None:
        self._stored: dict[str, StoredResponse] = {}

    def add(self, stored: StoredResponse) -> None:
        """Store a response."""
        self._stored[stored.response["id"]] = stored
        while len(self._stored) > _MOST_RESPONSES:
            del self._stored[next(iter(self._stored))]

    def get(self, response_id: str) -> StoredResponse | None:
        """Return the response with an id."""
        return self._stored.get(response_id)

    def delete(self, response_id: str) -> bool:
        """Delete a response; whether it was there."""
        return self._stored.pop(response_id, None) is not None

    def clear(self) -> None:
        """Delete all responses."""
        self._stored.clear()

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
