"""Values of a streamed response: chunks and what each adds.

They are structs of msgspec rather than dataclasses, since a stream creates three for each token:
a third of the time of a chunk went into the three dataclasses.
"""

from __future__ import annotations

from typing import Any

import msgspec

from azinfer.core.completions import (
    Json,
    Usage,
)


class _Value(msgspec.Struct, frozen=True):
    """A value that models of pydantic may have as a field."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from azinfer.core.pydantic_schemas import schema_of_fields

        return schema_of_fields(cls, handler)


class ToolCallChunk(_Value, frozen=True):
    """A part of a tool call; the first part of each call has `id` and `name`.

    Attributes:
        index: The number of the call in the response.
        id: The id of the call.
        name: The name of the tool.
        arguments: What this part adds to the arguments' JSON.
        type: `"function"`, or `"custom"` for a tool that takes free text.
    """

    index: int
    id: str | None
    name: str | None
    arguments: str
    type: str = "function"


class Delta(_Value, frozen=True):
    """What one chunk adds to one choice; the attributes are those of Message."""

    content: str | None = None
    reasoning: str | None = None
    tool_calls: tuple[ToolCallChunk, ...] = ()
    refusal: str | None = None
    audio: Json | None = None


class ChunkChoice(_Value, frozen=True):
    """The part of a chunk for one choice; the attributes are those of Choice."""

    index: int
    delta: Delta
    finish_reason: str | None = None
    logprobs: Json | None = None
    content_filter_results: Json = msgspec.field(default_factory=dict)


_NOTHING = ChunkChoice(0, Delta())


class ChatCompletionChunk(_Value, frozen=True, eq=False):
    """One part of a streamed response.

    Attributes:
        choices: What it adds to each choice; empty on chunks with filter results or usage.
        usage: Token counts so far; usually only on the last chunk.
        raw: The event as the service sent it.
        id: The service's id of the completion; empty if it has not been sent yet.
        model: The name that the back end gives itself; None if it has not been sent yet.
    """

    choices: tuple[ChunkChoice, ...] = ()
    usage: Usage | None = None
    raw: Json = msgspec.field(default_factory=dict)
    id: str = ""
    model: str | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ChatCompletionChunk):
            return NotImplemented
        return self._content == other._content

    def __ne__(self, other: object) -> bool:  # that of structs compares what is the same object
        return not self == other

    def __hash__(self) -> int:
        return hash(self._content)

    def __repr__(self) -> str:
        return "ChatCompletionChunk(choices={!r}, usage={!r}, id={!r}, model={!r})".format(
            *self._content
        )

    @property
    def _content(self) -> tuple[object, ...]:
        """Everything but the event itself, which compares and prints as its content does."""
        return self.choices, self.usage, self.id, self.model

    @property
    def _first(self) -> ChunkChoice:
        return self.choices[0] if self.choices else _NOTHING

    @property
    def text(self) -> str:
        """The text that this chunk adds to the first choice; may be empty."""
        return self._first.delta.content or ""

    @property
    def reasoning(self) -> str:
        """The reasoning that this chunk adds to the first choice; may be empty."""
        return self._first.delta.reasoning or ""

    @property
    def tool_calls(self) -> tuple[ToolCallChunk, ...]:
        """The parts of tool calls that this chunk adds to the first choice."""
        return self._first.delta.tool_calls

    @property
    def finish_reason(self) -> str | None:
        """Why the first choice ended; only on its last chunk."""
        return self._first.finish_reason
