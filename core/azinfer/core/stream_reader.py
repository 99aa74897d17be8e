"""A streamed answer as bytes: server-sent events, or one JSON object in their place.

What the events mean is the wire's to know: its reader fills in the hooks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from azinfer.core.chunks import ChatCompletionChunk
from azinfer.core.completions import ChatCompletion
from azinfer.core.decoding import decode_json
from azinfer.core.errors import InferenceError, InvalidResponseError, StreamInterruptedError
from azinfer.core.routing import Routing
from azinfer.core.sse import BOM, EventDecoder


class StreamReader(ABC):
    """Reads one streamed answer from its bytes, sans I/O.

    A wire's reader overrides what begins with an underscore.

    Args:
        headers: The answer's headers.
        routing: Where the request went.
        seed: What makes the ids of tool calls that come without one unique.
        response_format: What the caller passed as `response_format`.

    Attributes:
        routing: Where the request went.
        done: Whether the answer is whole, so that nothing more is to be read.
    """

    def __init__(
        self,
        headers: Mapping[str, str],
        routing: Routing | None = None,
        seed: str = "",
        response_format: Any = None,
    ) -> None:
        self._headers = headers
        self.routing = routing
        self._seed = seed
        self._response_format = response_format
        self._decoder = EventDecoder()
        self._start = bytearray()
        self._json: list[bytes] | None = None
        self._has_begun = False
        self.done = False

    def feed(self, data: bytes) -> Iterable[ChatCompletionChunk]:
        """Return the chunks that further bytes complete, one by one.

        Each counts once it was taken.

        Raises:
            APIStatusError: The service reports an error inside the stream.
            InvalidResponseError: These events do not belong to an answer of this wire.
        """
        if not self._has_begun:
            data = self._begin(data)
        if self._json is not None:
            self._json.append(data)
            return ()
        events = self._decoder.feed(data)
        if len(events) != 1:
            return self._chunks(events)
        chunk = self._read(*events[0])
        return () if chunk is None else (chunk,)

    def finish(self) -> list[ChatCompletionChunk]:
        """Return what the end of the bytes still brings.

        Raises:
            StreamInterruptedError: The answer is not whole; `partial` has what came.
            InvalidResponseError: There was no answer at all.
            APIStatusError: The service failed and gave no other reason.
        """
        if self._json is not None:
            raw = decode_json(b"".join(self._json).removeprefix(BOM), self._headers, "the stream")
            chunks = self._whole(raw)
            self.done = True
            return chunks
        chunks = []
        if not self.done:
            try:
                chunks += self._chunks(self._decoder.finish())
            except InvalidResponseError:
                raise self.interruption("The stream ended inside an event") from None
        chunks += self._rest_chunks()
        if not self._has_answer():
            raise InvalidResponseError(
                f"the stream has no answer in it; it begins {bytes(self._start)!r}",
                raw=bytes(self._start),
            )
        if not self.done and not self._is_complete():
            raise self.interruption("The stream ended before the answer did")
        return chunks

    def interruption(self, why: str) -> StreamInterruptedError:
        """Return the error of a stream that ended early, with what came before."""
        message = f"{why}; the partial answer is in .partial"
        return StreamInterruptedError(message).with_partial(self.completion())

    def with_partial(self, error: InferenceError) -> InferenceError:
        """Return an error with what came of the answer before it."""
        if error.partial or not self._has_answer():
            return error
        return error.with_partial(self.completion())

    @abstractmethod
    def completion(self) -> ChatCompletion:
        """Return the answer as far as it came."""

    @abstractmethod
    def _read(self, name: bytes, data: bytes) -> ChatCompletionChunk | None:
        """Return the chunk that an event stands for, if any."""

    @abstractmethod
    def _whole(self, raw: Any) -> list[ChatCompletionChunk]:
        """Return the chunks of one JSON answer to a request for a stream, as proxies give it."""

    @abstractmethod
    def _has_answer(self) -> bool:
        """Return whether anything of an answer came."""

    def _rest_chunks(self) -> list[ChatCompletionChunk]:
        """Return the chunks of what could not be told apart before the end.

        Raises:
            APIStatusError: What came last was a failure.
        """
        return []

    def _is_complete(self) -> bool:
        """Return whether the answer is whole although nothing message that the stream ends."""
        return False

    def _begin(self, data: bytes) -> bytes:
        """Look at the first byte that says anything: a stream, or one JSON object."""
        self._start += data[: 200 - len(self._start)]
        first = data.removeprefix(BOM).lstrip()[:1]
        if first:
            self._has_begun = True
            self._json = [] if first in b"{[" else None
        return data

    def _chunks(self, events: list[tuple[bytes, bytes]]) -> Iterator[ChatCompletionChunk]:
        for event in events:
            chunk = self._read(*event)
            if chunk is not None:
                yield chunk
            if self.done:
                return
