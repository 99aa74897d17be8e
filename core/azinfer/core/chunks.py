"""The parts of a streamed answer."""

from __future__ import annotations

from dataclasses import dataclass, field

from azinfer.core.completions import (
    Json,
    Usage,
)


@dataclass(frozen=True, slots=True)
class ToolCallChunk:
    """A part of a tool call; `id` and `name` stand in the first part of each call.

    Attributes:
        index: Which call of the answer this is a part of.
        id: The call's id.
        name: The tool's name.
        arguments: What this part adds to the arguments' JSON.
        type: `"function"`, or `"custom"` for a tool that takes free text.
    """

    index: int
    id: str | None
    name: str | None
    arguments: str
    type: str = "function"


@dataclass(frozen=True, slots=True)
class Delta:
    """What one chunk adds to one choice; attributes as in Message."""

    content: str | None = None
    reasoning: str | None = None
    tool_calls: tuple[ToolCallChunk, ...] = ()
    refusal: str | None = None
    audio: Json | None = None


@dataclass(frozen=True, slots=True)
class ChunkChoice:
    """One choice's part of a chunk; attributes as in Choice, `delta` is what it adds."""

    index: int
    delta: Delta
    finish_reason: str | None = None
    logprobs: Json | None = None
    content_filter_results: Json = field(default_factory=dict)


_NOTHING = ChunkChoice(0, Delta())


@dataclass(frozen=True, slots=True)
class ChatCompletionChunk:
    """One streamed part of an answer.

    Attributes:
        choices: What it adds to each choice; empty on chunks with filter results or usage.
        usage: Tokens used so far; usually on the last chunk alone.
        raw: The event as the service sent it.
    """

    choices: tuple[ChunkChoice, ...] = ()
    usage: Usage | None = None
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @property
    def _first(self) -> ChunkChoice:
        return self.choices[0] if self.choices else _NOTHING

    @property
    def text(self) -> str:
        """The text that this chunk adds to the first choice; empty where it adds none."""
        return self._first.delta.content or ""

    @property
    def reasoning(self) -> str:
        """The reasoning that this chunk adds to the first choice."""
        return self._first.delta.reasoning or ""

    @property
    def tool_calls(self) -> tuple[ToolCallChunk, ...]:
        """The parts of tool calls that this chunk adds to the first choice."""
        return self._first.delta.tool_calls

    @property
    def finish_reason(self) -> str | None:
        """Why the first choice ended, on its last chunk."""
        return self._first.finish_reason
