"""Clients that hold on to their streams, so that none is closed because nobody has it any more."""

from __future__ import annotations

from typing import Any

from azinfer.core import AsyncChatStream, AsyncInferenceClient, ChatStream, InferenceClient


class Keeping(InferenceClient):
    """A client for sync code."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.kept: list[ChatStream] = []

    def stream(self, *args: Any, **named: Any) -> ChatStream:
        """A stream that is kept."""
        self.kept.append(super().stream(*args, **named))
        return self.kept[-1]


class AsyncKeeping(AsyncInferenceClient):
    """A client for async code."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.kept: list[AsyncChatStream] = []

    def stream(self, *args: Any, **named: Any) -> AsyncChatStream:
        """A stream that is kept."""
        self.kept.append(super().stream(*args, **named))
        return self.kept[-1]
