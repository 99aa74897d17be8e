"""Streamed answers as callers read them, sync and async."""

from __future__ import annotations

from collections.abc import (
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
)
from typing import Any, NamedTuple, Self

from azinfer.core.attempts import CallAttempts
from azinfer.core.chunks import ChatCompletionChunk
from azinfer.core.completions import ChatCompletion
from azinfer.core.errors import (
    APIConnectionError,
    APITimeoutError,
    ConfigurationError,
    InferenceError,
)
from azinfer.core.network import OpenResponse
from azinfer.core.routing import Routing
from azinfer.core.stream_reader import StreamReader


class ChatStream:
    """A streamed answer: iterate over its chunks, best in a `with` block.

    It is open when it is returned, and closes its connection at its end, when left early and
    when dropped. After an error in the middle nothing is sent again; the error's `partial` has
    what came.
    """

    def __init__(
        self, response: OpenResponse, reader: StreamReader, attempts: CallAttempts[Any]
    ) -> None:
        self._response = response
        self._reader = reader
        self._chunks = _chunks(response, reader, attempts)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[ChatCompletionChunk]:
        return self._chunks

    def __next__(self) -> ChatCompletionChunk:
        return next(self._chunks)

    @property
    def completion(self) -> ChatCompletion:
        """The answer as far as it came; whole once the last chunk was read."""
        return self._reader.completion()

    @property
    def routing(self) -> Routing | None:
        """Where the request went."""
        return self._reader.routing

    def close(self) -> None:
        """Close the connection; what was not read yet is lost."""
        self._chunks.close()
        self._response.parts.close()


class AsyncChatStream:
    """A streamed answer: iterate over its chunks in an `async with` block.

    It opens on entering the block (or at its first chunk), and closes its connection at its
    end, when left early, when cancelled and when dropped. After an error in the middle nothing
    is sent again; the error's `partial` has what came.
    """

    def __init__(self, opening: Callable[[], Awaitable[OpenStream]]) -> None:
        self._opening = opening
        self._reading: OpenStream | None = None
        self._ready: Iterator[ChatCompletionChunk] = iter(())
        self._ended = False

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ChatCompletionChunk:
        response, reader, attempts = self._reading or await self._open()
        try:
            while (chunk := next(self._ready, None)) is None:
                self._ready = iter(await self._more(response, reader))
            return chunk
        except InferenceError as error:
            await self.aclose()
            raise attempts.with_context(_stream_error(error, reader)) from None

    @property
    def completion(self) -> ChatCompletion:
        """The answer as far as it came; whole once the last chunk was read."""
        return self._reader.completion()

    @property
    def routing(self) -> Routing | None:
        """Where the request went."""
        return self._reader.routing

    async def aclose(self) -> None:
        """Close the connection; what was not read yet is lost."""
        if self._reading is not None:
            self._ready, self._ended = iter(()), True
            await self._reading.response.aclose()

    @property
    def _reader(self) -> StreamReader:
        if self._reading is None:
            raise ConfigurationError("the stream is not open yet: enter it with `async with`")
        return self._reading.reader

    async def _open(self) -> OpenStream:
        if self._reading is None:
            self._reading = await self._opening()
        return self._reading

    async def _more(
        self, response: OpenResponse, reader: StreamReader
    ) -> Iterable[ChatCompletionChunk]:
        """The chunks that the next part of the body brings, or its end."""
        # No generator, as in sync code: asyncio would close it and that of the body at once.
        if self._ended:
            raise StopAsyncIteration
        if not reader.done and (part := await anext(response.parts, None)) is not None:
            return reader.feed(part)
        self._ended = True
        await response.afinish()
        return reader.finish()


class OpenStream(NamedTuple):
    """An open stream of async code."""

    response: OpenResponse
    reader: StreamReader
    attempts: CallAttempts[Any]


def _chunks(
    response: OpenResponse, reader: StreamReader, attempts: CallAttempts[Any]
) -> Generator[ChatCompletionChunk]:
    try:
        for part in response.parts:
            yield from reader.feed(part)
            if reader.done:
                response.finish()
                break
        yield from reader.finish()
    except InferenceError as error:
        raise attempts.with_context(_stream_error(error, reader)) from None
    finally:
        response.parts.close()


def _stream_error(error: InferenceError, reader: StreamReader) -> InferenceError:
    """What went wrong in the middle of a stream, with what came before it."""
    if isinstance(error, APIConnectionError) and not isinstance(error, APITimeoutError):
        return reader.interruption(error.message)
    return reader.with_partial(error)
