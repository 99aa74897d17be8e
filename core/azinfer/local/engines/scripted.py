"""Scripts: the exact answers of a deployment, in order or chosen by the newest message."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import Any

from azinfer.local.engines.base import EngineCapabilities, EngineError, Piece, Prompt, last_text
from azinfer.local.engines.synthetic import count_prompt_tokens, split
from azinfer.local.wire.options import Options


@dataclass(frozen=True, slots=True)
class ScriptedCall:
    """A tool call of a script.

    Attributes:
        name: The tool.
        arguments: The arguments, or a text that is sent unchanged, even if it is not JSON.
        id: The id of the call; by default a new one.

    Example:
        >>> Scripted(tool_calls=(ScriptedCall("weather", {"city": "Oslo"}),)).tool_calls[0].name
        'weather'
    """

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)
    id: str | None = None

    @classmethod
    def from_wire(cls, value: Any, where: str = "tool_call") -> ScriptedCall:
        """Make a call from `{"name": …, "arguments": …, "id": …}`.

        Raises:
            ConfigurationError: There is an unknown or invalid field.
        """
        settings = Options.of(value, where, ("name", "arguments", "id"))
        name, arguments = settings.text("name"), settings.values.get("arguments")
        if not name:
            raise settings.error("name", "must be the name of a tool")
        if not isinstance(arguments, str):
            arguments = settings.table("arguments") or {}
        return cls(name, arguments, settings.text("id"))

    def to_wire(self) -> dict[str, Any]:
        """Return the table that `from_wire` reads."""
        fields_set = {"name": self.name, "arguments": self.arguments, "id": self.id}
        return {name: value for name, value in fields_set.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Scripted:
    """One answer of a script.

    Attributes:
        text: The text of the answer.
        tool_calls: The tool calls.
        reasoning: The reasoning before the answer.
        service_items: What tools of the service did before the text, as items of the Responses
            API: `{"type": "web_search_call", "action": {…}}`. The other wires leave them out.
        finish_reason: The finish reason; by default `"tool_calls"` if there are any, else `"stop"`.
        prompt_tokens: The reported tokens of the prompt; by default they are counted.
        completion_tokens: The reported tokens of the answer; by default they are counted.
        contains: Answer only if the newest message contains this text, in any case.
        matches: Answer only if this regular expression is found in the newest message.
        times: How often to answer; by default once, or always with `contains` or
            `matches`.

    Raises:
        ConfigurationError: A field has an invalid value.

    Example:
        >>> from azinfer.core import InferenceClient
        >>> from azinfer.local import LocalDeployment, LocalEndpoint
        >>> chat = LocalDeployment("chat", script=(Scripted("Paris."),))
        >>> with LocalEndpoint([chat]) as endpoint:
        ...     client = InferenceClient(endpoint.url, endpoint.key, model="chat")
        ...     client.complete([{"role": "user", "content": "Capital?"}]).text
        'Paris.'
    """

    text: str = ""
    tool_calls: tuple[ScriptedCall, ...] = ()
    _: KW_ONLY
    reasoning: str = ""
    service_items: tuple[Mapping[str, Any], ...] = ()
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    contains: str | None = None
    matches: str | None = None
    times: int | None = None

    def __post_init__(self) -> None:
        _check(Options({each.name: getattr(self, each.name) for each in fields(self)}))

    @classmethod
    def from_wire(cls, value: Any, where: str = "script") -> Scripted:
        """Make an answer from a text, or from a table of the attributes.

        Args:
            value: `"Hello"`, or `{"text": "Hello", "contains": "hi"}`.
            where: Its name in errors.

        Raises:
            ConfigurationError: There is an unknown or invalid field.
        """
        table = {"text": value} if isinstance(value, str) else value
        settings = Options.of(table, where, [each.name for each in fields(cls)])
        _check(settings)
        calls = tuple(
            each
            if isinstance(each, ScriptedCall)
            else ScriptedCall.from_wire(each, f"{where}.tool_calls[{at}]")
            for at, each in enumerate(settings.list("tool_calls"))
        )
        value = {name: value for name, value in settings.values.items() if value is not None}
        items = tuple(settings.list("service_items"))
        return cls(**{**value, "tool_calls": calls, "service_items": items})

    def to_wire(self) -> dict[str, Any]:
        """Return the table that `from_wire` reads, without defaults."""
        fields_set = {each.name: getattr(self, each.name) for each in fields(self)}
        fields_set["tool_calls"] = [each.to_wire() for each in self.tool_calls]
        fields_set["service_items"] = [dict(each) for each in self.service_items]
        return {name: value for name, value in fields_set.items() if value not in (None, "", [])}

    @property
    def chooses(self) -> bool:
        """Whether it only answers some messages."""
        return self.contains is not None or self.matches is not None

    def answers(self, text: str) -> bool:
        """Return whether it answers a newest message with this text."""
        if self.contains is not None and self.contains.casefold() not in text.casefold():
            return False
        return self.matches is None or re.search(self.matches, text) is not None


def _check(settings: Options) -> None:
    for name in ("text", "reasoning", "finish_reason", "contains", "matches"):
        settings.text(name)
    for name in ("prompt_tokens", "completion_tokens", "times"):
        settings.whole(name, 0)
    settings.list("tool_calls")
    for at, item in enumerate(settings.list("service_items")):
        if not isinstance(item, Mapping) or not isinstance(item.get("type"), str):
            raise settings.error(f"service_items[{at}]", "must be a table with a type")
    try:
        re.compile(settings.text("matches") or "")
    except re.error as error:
        raise settings.error("matches", f"is not a valid regular expression: {error}") from None


class Script:
    """The script of one deployment, and which answers are left.

    Answers with `contains` or `matches` come before the others, which come in their order.
    """

    def __init__(self, deployment: str, answers: Sequence[Scripted] = ()) -> None:
        self._deployment = deployment
        self._answers = [_Counted(each) for each in answers]

    def __bool__(self) -> bool:
        return bool(self._answers)

    def next(self, messages: Sequence[Mapping[str, Any]]) -> Scripted:
        """Return the answer to a conversation.

        Raises:
            EngineError: The script has no answer left for the conversation.
        """
        text = last_text(messages)
        left = [each for each in self._answers if each.uses_left and each.scripted.answers(text)]
        chosen = [each for each in left if each.scripted.chooses] or left
        if not chosen:
            raise EngineError(
                f"the script of deployment {self._deployment!r} has no answer to {text[:200]!r}: "
                f"{self._describe_rest()}; add one, or clear the script",
                "script_exhausted",
            )
        return chosen[0].use()

    def to_wire(self) -> list[dict[str, Any]]:
        """Return the answers, and how often each was used."""
        return [{**each.scripted.to_wire(), "given": each.count} for each in self._answers]

    def _describe_rest(self) -> str:
        use = sum(not each.uses_left for each in self._answers)
        waiting = len(self._answers) - use
        return f"{use} of its {len(self._answers)} are used up" + (
            f" and {waiting} answer other messages" if waiting else ""
        )


class _Counted:
    def __init__(self, scripted: Scripted) -> None:
        self.scripted = scripted
        self.count = 0
        once = None if scripted.chooses else 1
        self._times = once if scripted.times is None else scripted.times

    @property
    def uses_left(self) -> bool:
        return self._times is None or self.count < self._times

    def use(self) -> Scripted:
        self.count += 1
        return self.scripted


class ScriptedEngine:
    """Gives one answer: that of a script.

    Args:
        scripted: The answer.
    """

    capabilities = EngineCapabilities(chat=True, passes_requests_through=True)

    def __init__(self, scripted: Scripted) -> None:
        self._scripted = scripted

    async def chat(self, prompt: Prompt) -> AsyncIterator[Piece]:
        """Write the answer token by token; `max_tokens` and `stop` have no effect."""
        answer = self._scripted
        count = 0
        for piece in _pieces(answer):
            count += piece.tokens
            yield piece
        prompt_tokens = (
            count_prompt_tokens(prompt) if answer.prompt_tokens is None else answer.prompt_tokens
        )
        completion_tokens = count if answer.completion_tokens is None else answer.completion_tokens
        usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
        usage["total_tokens"] = prompt_tokens + completion_tokens
        reason = answer.finish_reason or ("tool_calls" if answer.tool_calls else "stop")
        yield Piece("", 0, reason, prompt_tokens, usage=usage)

    async def aclose(self) -> None:
        """Do nothing: there is nothing to free."""


def _pieces(answer: Scripted) -> Iterator[Piece]:
    for token in split(answer.reasoning):
        yield Piece(reasoning=token)
    for item in answer.service_items:
        yield Piece("", 0, service_items=[item])
    for token in split(answer.text):
        yield Piece(token)
    for index, call in enumerate(answer.tool_calls):
        arguments = call.arguments
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments)
        call_id = call.id or f"call_{uuid.uuid4().hex[:24]}"
        function = {"name": call.name, "arguments": ""}
        yield Piece("", 1, calls=[{"index": index, "id": call_id, "function": function}])
        for token in split(arguments):
            yield Piece("", 1, calls=[{"index": index, "function": {"arguments": token}}])
