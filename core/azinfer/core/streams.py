"""Streamed responses as callers read them, sync and async."""

from __future__ import annotations

from collections.abc import (
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
)
from itertools import chain
from typing import Any, Self

from azinfer.core.attempts import CallAttempts
from azinfer.core.chunks import ChatCompletionChunk, Delta
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

_EMPTY = Delta()


class ChatStream:
    """A streamed response: iterate over its chunks, best in a `with` block.

    It is already open, and its first chunk has come: what failed before was sent again like any
    other request. It closes its connection at its end, when the block is left early and when it is
    garbage-collected. After an error in the middle nothing is sent again, and `partial` of the
    error has what came.
    """

    def __init__(
        self, response: OpenResponse, reader: StreamReader, attempts: CallAttempts[Any]
    ) -> None:
        self._response = response
        self._reader = reader
        self._attempts = attempts
        self._generator = _chunks(response, reader, attempts)
        self._chunks: Iterator[ChatCompletionChunk] = self._generator

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
        """The response as far as it has come; complete after the last chunk."""
        return self._reader.completion()

    @property
    def routing(self) -> Routing | None:
        """Where the request was sent."""
        return self._reader.routing

    def close(self) -> None:
        """Close the connection; chunks that were not read are lost."""
        self._chunks = iter(())
        self._generator.close()
        self._response.parts.close()
        self._attempts.close()

    def read_ahead(self) -> None:
        """Wait for the first chunk with content.

        If the stream breaks before it, another deployment can still answer the call.

        Raises:
            InferenceError: The stream broke.
        """
        first: list[ChatCompletionChunk] = []
        for chunk in self._generator:
            first.append(chunk)
            if _says_something(chunk):
                break
        self._chunks = chain(first, self._generator)


class AsyncChatStream:
    """A streamed response: iterate over its chunks in an `async with` block.

    It opens when the block is entered, or at its first chunk. It closes its connection at its
    end, when the block is left early or cancelled, and when it is garbage-collected. After an
    error in the middle nothing is sent again, and `partial` of the error has what came.
    """

    def __init__(self, opening: Callable[[], Awaitable[OpenStream]]) -> None:
        self._opening = opening
        self._stream: OpenStream | None = None

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ChatCompletionChunk:
        stream = self._stream or await self._open()
        try:
            while (chunk := next(stream.ready, None)) is None:
                stream.ready = iter(await stream.more())
            stream.response.deadline.remaining()  # one read may have brought many chunks
            return chunk
        except InferenceError as error:
            failure = stream.attempts.handle_interruption(_stream_error(error, stream.reader))
        await self.aclose()
        raise failure

    @property
    def completion(self) -> ChatCompletion:
        """The response as far as it has come; complete after the last chunk."""
        return self._reader.completion()

    @property
    def routing(self) -> Routing | None:
        """Where the request was sent."""
        return self._reader.routing

    async def aclose(self) -> None:
        """Close the connection; chunks that were not read are lost."""
        if self._stream is not None:
            await self._stream.aclose()

    @property
    def _reader(self) -> StreamReader:
        if self._stream is None:
            raise ConfigurationError("the stream is not open yet: use `async with`")
        return self._stream.reader

    async def _open(self) -> OpenStream:
        if self._stream is None:
            self._stream = await self._opening()
        return self._stream


class OpenStream:
    """An open stream of async code.

    Attributes:
        response: The response that it is read from.
        reader: The reader of its events.
        attempts: The attempts of the call.
        ready: Chunks that came and were not handed out yet.
    """

    def __init__(
        self, response: OpenResponse, reader: StreamReader, attempts: CallAttempts[Any]
    ) -> None:
        self.response = response
        self.reader = reader
        self.attempts = attempts
        self.ready: Iterator[ChatCompletionChunk] = iter(())
        self._ended = False

    async def read_ahead(self) -> None:
        """Wait for the first chunk with content.

        If the stream breaks before it, another deployment can still answer the call.

        Raises:
            InferenceError: The stream broke.
        """
        first: list[ChatCompletionChunk] = []
        try:
            while not (first and _says_something(first[-1])):
                if (chunk := next(self.ready, None)) is not None:
                    first.append(chunk)
                elif self._ended:
                    break
                else:
                    self.ready = iter(await self.more())
        except BaseException as error:
            await self.response.aclose()
            if isinstance(error, InferenceError):
                raise _stream_error(error, self.reader) from None
            raise
        self.ready = chain(first, self.ready)

    async def more(self) -> Iterable[ChatCompletionChunk]:
        """Return the chunks that the next part of the body brings, or its end.

        Raises:
            StopAsyncIteration: It has ended.
        """
        # Unlike sync code not a generator: asyncio would close it and that of the body at once.
        if self._ended:
            self.attempts.close()
            raise StopAsyncIteration
        if not self.reader.is_over and (part := await anext(self.response.parts, None)) is not None:
            return self.reader.feed(part)
        self._ended = True
        await self.response.afinish()
        return self.reader.finish()

    async def aclose(self) -> None:
        """Close the connection; chunks that were not read are lost."""
        self.ready, self._ended = iter(()), True
        await self.response.aclose()
        self.attempts.close()


def _chunks(
    response: OpenResponse, reader: StreamReader, attempts: CallAttempts[Any]
) -> Generator[ChatCompletionChunk]:
    failure = None
    try:
        for chunks in map(reader.feed, response.parts):
            for chunk in chunks:
                response.deadline.remaining()  # one read may have brought many chunks
                yield chunk
            if reader.is_over:
                response.finish()
                break
        yield from reader.finish()
    except InferenceError as error:
        failure = attempts.handle_interruption(_stream_error(error, reader))
    finally:
        response.parts.close()
        attempts.close()
    if failure is not None:  # outside the except block, whose error refers to the response
        raise failure


def _says_something(chunk: ChatCompletionChunk) -> bool:
    return any(choice.finish_reason or choice.delta != _EMPTY for choice in chunk.choices)


def _stream_error(error: InferenceError, reader: StreamReader) -> InferenceError:
    """Return the error for a failure in the middle of a stream, with what came before it."""
    if isinstance(error, APIConnectionError) and not isinstance(error, APITimeoutError):
        return reader.interruption(error.message)
    return reader.with_partial(error)
