"""Streamed responses as bytes: server-sent events, or one JSON object instead of them.

What the events mean is different on each wire: its reader overrides the hooks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from azinfer.core.chunks import ChatCompletionChunk
from azinfer.core.completions import ChatCompletion
from azinfer.core.decoding import decode_json
from azinfer.core.errors import InferenceError, InvalidResponseError, StreamInterruptedError
from azinfer.core.json_text import BOM, json_text
from azinfer.core.routing import Routing
from azinfer.core.sse import EventDecoder

_EVENT_STARTS = (b"data:", b"event:", b"id:", b"retry:", b":")


class StreamReader(ABC):
    """Reads one streamed response from its bytes; it does no I/O itself.

    The reader of a wire overrides the methods that begin with an underscore.

    Args:
        headers: The headers of the response.
        routing: Where the request went.
        seed: Text that makes generated ids of tool calls unique.
        response_format: What the caller passed as `response_format`.

    Attributes:
        routing: Where the request went.
        done: Whether the response is complete.
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
        self.done = self._is_ended = False

    @property
    def is_over(self) -> bool:
        """Whether reading can stop: the response is complete, or `[DONE]` came before its end."""
        return self.done or self._is_ended

    def feed(self, data: bytes) -> Iterable[ChatCompletionChunk]:
        """Return the chunks that further bytes complete.

        A chunk counts as received once the caller has taken it.

        Raises:
            APIStatusError: The service reports an error inside the stream.
            InvalidResponseError: The events are not those of this wire.
        """
        if not self._has_begun:
            data = self._begin(data)
        if self._json is not None:
            self._json.append(data)
            return ()
        event = self._decoder.whole_event(data)
        if event is None:
            return self._chunks(self._decoder.feed(data))
        chunk = self._read(*event)
        return () if chunk is None else (chunk,)

    def finish(self) -> list[ChatCompletionChunk]:
        """Return the chunks that the end of the bytes completes.

        Raises:
            StreamInterruptedError: The response is not complete; `partial` has what came.
            InvalidResponseError: There was no response at all.
            APIStatusError: The service failed and gave no other reason.
        """
        if self._json is not None:
            raw = decode_json(b"".join(self._json), self._headers, "the stream")
            chunks = self._whole(raw)
            self.done = True
            return chunks
        chunks = []
        if not self.is_over:
            try:
                chunks += self._chunks(self._decoder.finish())
            except InvalidResponseError:
                raise self.interruption("the stream ended inside an event") from None
        chunks += self._rest_chunks()
        if not self._has_answer():
            if not self.is_over and self._is_cut():
                raise StreamInterruptedError("the stream ended before its first chunk")
            raise InvalidResponseError(
                f"the stream has no response in it; it begins with {bytes(self._start)!r}",
                raw=bytes(self._start),
            )
        if not self.done and not self._is_complete():
            raise self.interruption("the stream ended before the response was complete")
        return chunks

    def interruption(self, why: str) -> StreamInterruptedError:
        """Return the error for a stream that ended early, with the part that came before."""
        message = f"{why}; what came is in .partial"
        return StreamInterruptedError(message).with_partial(self.completion())

    def with_partial(self, error: InferenceError) -> InferenceError:
        """Return an error with the part of the response that came before it."""
        if error.partial or not self._has_answer():
            return error
        return error.with_partial(self.completion())

    @abstractmethod
    def completion(self) -> ChatCompletion:
        """Return the response as far as it has come."""

    @abstractmethod
    def _read(self, name: bytes, data: bytes) -> ChatCompletionChunk | None:
        """Return the chunk of an event, if it has one."""

    @abstractmethod
    def _whole(self, raw: Any) -> list[ChatCompletionChunk]:
        """Return the chunks of one JSON response, which some proxies send instead of a stream."""

    @abstractmethod
    def _has_answer(self) -> bool:
        """Return True if any part of a response came."""

    def _rest_chunks(self) -> list[ChatCompletionChunk]:
        """Return the chunks that could only be completed at the end.

        Raises:
            APIStatusError: The last event was a failure.
        """
        return []

    def _is_complete(self) -> bool:
        """Return whether the answer is complete although no event marks its end."""
        return False

    def _begin(self, data: bytes) -> bytes:
        """Look at the first byte: does a stream begin, or one JSON object?"""
        before = bytes(self._start)
        self._start += data[: 200 - len(before)]
        first = json_text(before + data)
        if first and not BOM.startswith(first):
            self._has_begun = True
            self._json = [before] if first[:1] in b"{[" else None
        return data

    def _is_cut(self) -> bool:
        """Return True if a stream ended early in which no part of a response came.

        A body without any event is only complete if the connection said where it ends.
        """
        if start := bytes(self._start).strip():
            return any(start.startswith(each) or each.startswith(start) for each in _EVENT_STARTS)
        is_framed = self._headers.keys() & {"content-length", "transfer-encoding"}
        kind = self._headers.get("content-type", "")
        return kind.startswith("text/event-stream") and not is_framed

    def _chunks(self, events: list[tuple[bytes, bytes]]) -> Iterator[ChatCompletionChunk]:
        for event in events:
            chunk = self._read(*event)
            if chunk is not None:
                yield chunk
            if self.is_over:
                return
