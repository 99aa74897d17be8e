"""Conversations of the Responses API: items that are kept until they are deleted."""

from __future__ import annotations

from dataclasses import dataclass, field

from azinfer.local.wire.body import Json

_MOST_CONVERSATIONS = 1000


@dataclass(slots=True)
class Conversation:
    """One conversation.

    Attributes:
        id: Its id.
        created_at: When it was created, in seconds since 1970.
        metadata: The metadata that the client attached to it.
        items: Its items, oldest first, each with an id.
    """

    id: str
    created_at: int
    metadata: Json = field(default_factory=dict)
    items: list[Json] = field(default_factory=list)

    def to_wire(self) -> Json:
        """Return the conversation as it is sent, without its items."""
        head = {"id": self.id, "object": "conversation", "created_at": self.created_at}
        return {**head, "metadata": self.metadata}


class ConversationStore:
    """The newest conversations; at most 1,000, older ones are deleted."""

    def __init__(self) -> None:
        self._stored: dict[str, Conversation] = {}

    def add(self, conversation: Conversation) -> None:
        """Store a conversation."""
        self._stored[conversation.id] = conversation
        while len(self._stored) > _MOST_CONVERSATIONS:
            del self._stored[next(iter(self._stored))]

    def get(self, conversation_id: object) -> Conversation | None:
        """Return the conversation with an id."""
        return self._stored.get(conversation_id) if isinstance(conversation_id, str) else None

    def delete(self, conversation_id: str) -> None:
        """Delete a conversation."""
        self._stored.pop(conversation_id, None)

    def clear(self) -> None:
        """Delete all conversations."""
        self._stored.clear()
