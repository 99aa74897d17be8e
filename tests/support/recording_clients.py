"""Clients that record their streams, so that garbage collection does not close one."""

from __future__ import annotations

from typing import Any

from azinfer.core import AsyncChatStream, AsyncInferenceClient, ChatStream, InferenceClient


class RecordingClient(InferenceClient):
    """A recording client for sync code."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.streams: list[ChatStream] = []

    def stream(self, *args: Any, **named: Any) -> ChatStream:
        """Return a stream, and record it."""
        self.streams.append(super().stream(*args, **named))
        return self.streams[-1]


class AsyncRecordingClient(AsyncInferenceClient):
    """A recording client for async code."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.streams: list[AsyncChatStream] = []

    def stream(self, *args: Any, **named: Any) -> AsyncChatStream:
        """Return a stream, and record it."""
        self.streams.append(super().stream(*args, **named))
        return self.streams[-1]
