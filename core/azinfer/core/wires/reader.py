"""What readers of the newer wires share: an answer has a head, and then its parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from azinfer.core.chunks import ChatCompletionChunk, ChunkChoice, Delta
from azinfer.core.completions import ChatCompletion, Json, Usage
from azinfer.core.decoding import invalid_response
from azinfer.core.json_fields import as_text
from azinfer.core.routing import Routing
from azinfer.core.stream_reader import StreamReader


def model_of(raw: Json, routing: Routing | None) -> str | None:
    """Return the model that answered, which Azure names in a header where the body does not."""
    return (routing.served_model if routing else None) or as_text(raw.get("model")) or None


def object_in(raw: Json, key: str) -> Json:
    """Return an object in an event.

    Raises:
        InvalidResponseError: It is missing.
    """
    if not isinstance(value := raw.get(key), dict):
        raise invalid_response(f"an event without its {key}", raw)
    return value


class WireReader(StreamReader):
    """Reads a streamed answer, sans I/O.

    A wire sets `_decode_whole`, and calls `_set_head`.
    """

    _decode_whole: ClassVar[Callable[..., ChatCompletion]]

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._set_head({})

    def _set_head(self, head: Json) -> None:
        """Keep what an answer has besides its parts; its chunks repeat its id and its model."""
        self._head = head
        self._id, self._model = as_text(head.get("id")), model_of(head, self.routing)

    def _decode(self, raw: Any) -> ChatCompletion:
        return type(self)._decode_whole(
            raw, self._headers, self.routing, f"call_{self._seed}", self._response_format
        )

    def _chunk(
        self,
        raw: Json,
        delta: Delta | None = None,
        finish: str | None = None,
        *,
        usage: Usage | None = None,
        filters: Json | None = None,
    ) -> ChatCompletionChunk:
        """Return a chunk that adds something, ends the answer, or has its event alone."""
        choices: tuple[ChunkChoice, ...] = ()
        if delta is not None:
            choices = (ChunkChoice(0, delta, finish, None, filters or {}),)
        return ChatCompletionChunk(choices, usage, raw, self._id, self._model)
