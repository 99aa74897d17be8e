"""Conversations: the responses that were stored, and what was said before each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from azinfer.local.wire.body import Json

_MOST = 1000


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """One response that was stored.

    Attributes:
        response: The answer as it was told.
        items: What was put in, each item with an id.
    """

    response: Json
    items: Sequence[Json]


class ResponseStore:
    """The newest responses that were stored; at most 1,000, older ones are forgotten."""

    def __init__(self) -> None:
        self._stored: dict[str, StoredResponse] = {}

    def keep(self, stored: StoredResponse) -> None:
        """Store one more."""
        self._stored[stored.response["id"]] = stored
        while len(self._stored) > _MOST:
            del self._stored[next(iter(self._stored))]

    def get(self, response_id: str) -> StoredResponse | None:
        """The response of an id."""
        return self._stored.get(response_id)

    def forget(self, response_id: str) -> bool:
        """Delete a response; whether it was there."""
        return self._stored.pop(response_id, None) is not None

    def clear(self) -> None:
        """Forget all."""
        self._stored.clear()

    def until(self, response_id: str) -> list[Json] | None:
        """All that was said up to a response and in it; None where a part is not stored."""
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
        """The item of an id, put in or written."""
        for stored in reversed(self._stored.values()):
            items: list[Json] = [*stored.response["output"], *stored.items]
            for item in items:
                if item["id"] == item_id:
                    return item
        return None
