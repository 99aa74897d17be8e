"""Scripts: exactly what a deployment answers, one answer after another or by what was said."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from azinfer.local.engines.base import EngineCapabilities, EngineError, Piece, Prompt, last_text
from azinfer.local.engines.synthetic import read, split
from azinfer.local.wire.options import Options


@dataclass(frozen=True, slots=True)
class ScriptedCall:
    """A call of a tool that a script makes.

    Attributes:
        name: The tool.
        arguments: Its arguments, or a text that is sent as they are, be it JSON or not.
        id: The call's id; left out, one is made.
    """

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)
    id: str | None = None

    @classmethod
    def from_wire(cls, told: Any, where: str = "tool_call") -> ScriptedCall:
        """Make one of `{"name": …, "arguments": …, "id": …}`.

        Raises:
            ConfigurationError: It has another field, or a wrong one.
        """
        settings = Options.of(told, where, ("name", "arguments", "id"))
        name, arguments = settings.text("name"), settings.values.get("arguments")
        if not name:
            raise settings.wrong("name", "must be the name of a tool")
        if not isinstance(arguments, str):
            arguments = settings.table("arguments") or {}
        return cls(name, arguments, settings.text("id"))

    def to_wire(self) -> dict[str, Any]:
        """The table that `from_wire` reads."""
        told = {"name": self.name, "arguments": self.arguments, "id": self.id}
        return {name: value for name, value in told.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Scripted:
    """One answer of a script.

    Attributes:
        text: What is answered.
        tool_calls: The tools that are called.
        reasoning: What is thought before.
        finish_reason: Why it ends; left out, `"tool_calls"` where there are any, else `"stop"`.
        prompt_tokens: How many tokens the prompt is said to be; left out, they are counted.
        completion_tokens: How many tokens the answer is said to be; left out, they are counted.
        contains: It answers only a newest message that has this in it, in any case.
        matches: It answers only a newest message in which this regular expression is found.
        times: How often it answers; left out, once, or for ever where it has `contains` or
            `matches`.

    Raises:
        ConfigurationError: A field is not what it can be.
    """

    text: str = ""
    tool_calls: tuple[ScriptedCall, ...] = ()
    reasoning: str = ""
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    contains: str | None = None
    matches: str | None = None
    times: int | None = None

    def __post_init__(self) -> None:
        _check(Options({each.name: getattr(self, each.name) for each in fields(self)}))

    @classmethod
    def from_wire(cls, told: Any, where: str = "script") -> Scripted:
        """Make one of a text, or of a table of the attributes.

        Args:
            told: `"Hello"`, or `{"text": "Hello", "contains": "hi"}`.
            where: What errors call it.

        Raises:
            ConfigurationError: It has another field, or a wrong one.
        """
        given = {"text": told} if isinstance(told, str) else told
        settings = Options.of(given, where, [each.name for each in fields(cls)])
        _check(settings)
        calls = tuple(
            each
            if isinstance(each, ScriptedCall)
            else ScriptedCall.from_wire(each, f"{where}.tool_calls[{at}]")
            for at, each in enumerate(settings.list("tool_calls"))
        )
        told = {name: value for name, value in settings.values.items() if value is not None}
        return cls(**{**told, "tool_calls": calls})

    def to_wire(self) -> dict[str, Any]:
        """The table that `from_wire` reads, without what is left as it is."""
        told = {each.name: getattr(self, each.name) for each in fields(self)}
        told["tool_calls"] = [each.to_wire() for each in self.tool_calls]
        return {name: value for name, value in told.items() if value not in (None, "", [])}

    @property
    def chooses(self) -> bool:
        """Whether it answers some messages alone."""
        return self.contains is not None or self.matches is not None

    def answers(self, text: str) -> bool:
        """Whether it answers a newest message with this text."""
        if self.contains is not None and self.contains.casefold() not in text.casefold():
            return False
        return self.matches is None or re.search(self.matches, text) is not None


def _check(settings: Options) -> None:
    for name in ("text", "reasoning", "finish_reason", "contains", "matches"):
        settings.text(name)
    for name in ("prompt_tokens", "completion_tokens", "times"):
        settings.whole(name, 0)
    settings.list("tool_calls")
    try:
        re.compile(settings.text("matches") or "")
    except re.error as error:
        raise settings.wrong("matches", f"is no regular expression: {error}") from None


class Script:
    """The script of one deployment: what it still has to answer.

    An answer that chooses its messages goes before the others, which come in their order.
    """

    def __init__(self, deployment: str, answers: Sequence[Scripted] = ()) -> None:
        self._deployment = deployment
        self._answers = [_Counted(each) for each in answers]

    def __bool__(self) -> bool:
        return bool(self._answers)

    def next(self, messages: Sequence[Mapping[str, Any]]) -> Scripted:
        """The answer to a conversation.

        Raises:
            EngineError: The script has none left for it.
        """
        text = last_text(messages)
        left = [each for each in self._answers if each.left and each.scripted.answers(text)]
        chosen = [each for each in left if each.scripted.chooses] or left
        if not chosen:
            raise EngineError(
                f"the script of deployment {self._deployment!r} has no answer to {text[:200]!r}: "
                f"{self._told()}; add one, or clear the script",
                "script_exhausted",
            )
        return chosen[0].used()

    def to_wire(self) -> list[dict[str, Any]]:
        """The answers, and how often each was given."""
        return [{**each.scripted.to_wire(), "given": each.given} for each in self._answers]

    def _told(self) -> str:
        used = sum(not each.left for each in self._answers)
        waiting = len(self._answers) - used
        return f"{used} of its {len(self._answers)} are used up" + (
            f" and {waiting} answer other messages" if waiting else ""
        )


class _Counted:
    def __init__(self, scripted: Scripted) -> None:
        self.scripted = scripted
        self.given = 0
        once = None if scripted.chooses else 1
        self._times = once if scripted.times is None else scripted.times

    @property
    def left(self) -> bool:
        return self._times is None or self.given < self._times

    def used(self) -> Scripted:
        self.given += 1
        return self.scripted


class ScriptedEngine:
    """Answers once, with what a script says.

    Args:
        scripted: The answer.
    """

    capabilities = EngineCapabilities(chat=True, passes_requests_through=True)

    def __init__(self, scripted: Scripted) -> None:
        self._scripted = scripted

    async def chat(self, prompt: Prompt) -> AsyncIterator[Piece]:
        """Say it, token by token; `max_tokens` and `stop` change nothing."""
        said = self._scripted
        wrote = 0
        for piece in _pieces(said):
            wrote += piece.tokens
            yield piece
        asked = read(prompt) if said.prompt_tokens is None else said.prompt_tokens
        answered = wrote if said.completion_tokens is None else said.completion_tokens
        usage = {"prompt_tokens": asked, "completion_tokens": answered}
        usage["total_tokens"] = asked + answered
        reason = said.finish_reason or ("tool_calls" if said.tool_calls else "stop")
        yield Piece("", 0, reason, asked, usage=usage)

    async def aclose(self) -> None:
        """There is nothing to give back."""


def _pieces(said: Scripted) -> Iterator[Piece]:
    for token in split(said.reasoning):
        yield Piece(reasoning=token)
    for token in split(said.text):
        yield Piece(token)
    for index, call in enumerate(said.tool_calls):
        arguments = call.arguments
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments)
        call_id = call.id or f"call_{uuid.uuid4().hex[:24]}"
        function = {"name": call.name, "arguments": ""}
        yield Piece("", 1, calls=[{"index": index, "id": call_id, "function": function}])
        for token in split(arguments):
            yield Piece("", 1, calls=[{"index": index, "function": {"arguments": token}}])
