"""Threads of Messages: conversations that the service stores by the ids of its answers."""

from __future__ import annotations

from azinfer.local.wire.body import Json

_MOST = 1000


class ThreadStore:
    """The newest turns of threads; at most 1,000, older ones are forgotten."""

    def __init__(self) -> None:
        self._turns: dict[str, Json] = {}

    def keep(self, message_id: str, body: Json, content: list[Json]) -> None:
        """Store a request, with all messages so far, and its answer."""
        answer = {"role": "assistant", "content": content}
        self._turns[message_id] = {**body, "messages": [*body["messages"], answer]}
        while len(self._turns) > _MOST:
            del self._turns[next(iter(self._turns))]

    def get(self, message_id: object) -> Json | None:
        """Return the request of an answer, with the answer among its messages."""
        return self._turns.get(message_id) if isinstance(message_id, str) else None

    def clear(self) -> None:
        """Forget all."""
        self._turns.clear()
