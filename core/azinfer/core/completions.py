"""Answers: frozen values, and how each is read from its wire form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

import msgspec

from azinfer.core import reasoning
from azinfer.core.error_responses import from_answer
from azinfer.core.errors import InvalidResponseError
from azinfer.core.routing import Routing
from azinfer.core.structured_output import adapter_of

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Function:
    """What a model calls: the tool's name, and its arguments as a JSON string."""

    name: str
    arguments: str = "{}"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call that a model asks for; answer it with a ToolMessage that bears its `id`."""

    id: str
    function: Function
    type: Literal["function"] = "function"

    def to_wire(self) -> Json:
        """The call as it is sent back in the conversation."""
        function = {"name": self.function.name, "arguments": self.function.arguments}
        return {"id": self.id, "type": "function", "function": function}

    @classmethod
    def from_wire(cls, raw: Any, made_id: str) -> ToolCall:
        """Read one call; `made_id` stands in where the model gave none."""
        function = raw.get("function") if isinstance(raw, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            refuse("a tool call without a function name", raw)
        call_id = raw.get("id")
        return cls(
            call_id if isinstance(call_id, str) and call_id else made_id,
            Function(function["name"], arguments_of(function.get("arguments")) or "{}"),
        )


@dataclass(frozen=True, slots=True)
class Message:
    """What a model answered; can stand in the next request's messages as it is.

    Attributes:
        content: The text, without reasoning; None where there is none.
        reasoning: What the model thought aloud, however it sent that.
        tool_calls: The tools it wants called.
        refusal: Why it will not answer, from models that say so.
        audio: The sound, as the service sent it.
        raw: The message as the service sent it.
    """

    content: str | None = None
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: str | None = None
    audio: Json | None = None
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @property
    def role(self) -> str:
        """Always `"assistant"`."""
        return "assistant"

    @classmethod
    def from_wire(cls, raw: Any, made_id: str) -> Message:
        """Read one message."""
        if not isinstance(raw, dict) or not _MESSAGE_KEYS.intersection(raw):
            refuse("a choice without a message", raw)
        thought, content = text_of(raw.get("content"))
        if content and thought is None:
            thought, content = reasoning.split(content)
        told = raw.get("reasoning_content") or raw.get("reasoning")
        return cls(
            content,
            told if isinstance(told, str) else thought,
            tuple(
                ToolCall.from_wire(call, f"{made_id}{position}")
                for position, call in enumerate(listed(raw, "tool_calls"))
            ),
            raw.get("refusal"),
            raw.get("audio"),
            raw,
        )


_MESSAGE_KEYS = frozenset(
    {"role", "content", "tool_calls", "reasoning_content", "refusal", "audio"}
)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the answers to one request.

    Attributes:
        index: Its position among `n`.
        message: The answer.
        finish_reason: Why it ended: `"stop"`, `"length"`, `"tool_calls"`, `"content_filter"`,
            or what else the model says.
        logprobs: Log probabilities of the tokens, as the service sent them.
        content_filter_results: What the content filter found: category to result.
    """

    index: int
    message: Message
    finish_reason: str | None = None
    logprobs: Json | None = None
    content_filter_results: Json = field(default_factory=dict)

    @classmethod
    def from_wire(cls, raw: Any, position: int, made_id: str) -> Choice:
        """Read one choice; one whose output was filtered may have no message."""
        if not isinstance(raw, dict):
            refuse("a choice that is no object", raw)
        reason = raw.get("finish_reason")
        if reason is not None and not isinstance(reason, str):
            refuse("a finish reason that is no text", reason)
        if reason == "content_filter" and not raw.get("message"):
            message = Message()
        else:
            message = Message.from_wire(raw.get("message"), f"{made_id}{position}")
        if message.tool_calls and reason == "stop":
            reason = "tool_calls"
        index = raw.get("index")
        return cls(
            index if isinstance(index, int) else position,
            message,
            reason,
            raw.get("logprobs"),
            raw.get("content_filter_results") or {},
        )


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that one answer cost.

    Attributes:
        prompt_tokens: Tokens read.
        completion_tokens: Tokens written, reasoning included.
        total_tokens: Both.
        cached_tokens: Of the tokens read, how many came from a cache.
        reasoning_tokens: Of the tokens written, how many were reasoning.
        raw: The counts as the service sent them.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_wire(cls, raw: Json) -> Usage:
        """Read the counts, wherever this model puts them."""
        read, written = _count(raw, "prompt_tokens"), _count(raw, "completion_tokens")
        details = raw.get("completion_tokens_details")
        thought = _count(details, "reasoning_tokens") or _count(raw, "reasoning_tokens")
        return cls(
            read,
            written,
            _count(raw, "total_tokens") or read + written,
            _count(raw.get("prompt_tokens_details"), "cached_tokens"),
            thought,
            raw,
        )

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> Usage | None:
        """Counts that serverless endpoints and Cohere models send as headers instead."""
        for read, written in _COUNT_HEADERS:
            if headers.get(read, "").isdecimal():
                tokens = headers.get(written, "")
                prompt, completion = int(headers[read]), int(tokens) if tokens.isdecimal() else 0
                return cls(prompt, completion, prompt + completion)
        return None

    def __add__(self, other: Usage) -> Usage:
        """Counts of several requests together."""
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.total_tokens + other.total_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


_COUNT_HEADERS = (
    ("prompt_token_len", "sampling_token_len"),
    ("prompt-token-len", "sampling-token-len"),
    ("num-tokens", "sampling-token-len"),
)


@dataclass(frozen=True, slots=True)
class ChatCompletion:
    """The answer to one request; shape of "Create chat completion" in the REST reference.

    Attributes:
        id: The service's id of the answer.
        model: What the back end calls itself; for display, never for routing.
        created: Seconds since 1970.
        choices: The answers, `n` of them.
        usage: Tokens used; None where the service does not say.
        prompt_filter_results: What the content filter found in the prompt.
        routing: Where the request went, and what was done to it on the way.
        raw: The body as the service sent it.
    """

    id: str
    model: str | None
    created: int
    choices: tuple[Choice, ...]
    usage: Usage | None = None
    prompt_filter_results: Sequence[Json] = ()
    routing: Routing | None = field(default=None, compare=False)
    raw: Json = field(default_factory=dict, repr=False, compare=False)
    _wanted: Any = field(default=None, repr=False, compare=False)

    @property
    def text(self) -> str:
        """The text of the first choice; empty where there is none."""
        return self.choices[0].message.content or ""

    @property
    def reasoning(self) -> str | None:
        """What the model of the first choice thought aloud."""
        return self.choices[0].message.reasoning

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tools that the first choice wants called."""
        return self.choices[0].message.tool_calls

    @property
    def finish_reason(self) -> str | None:
        """Why the first choice ended."""
        return self.choices[0].finish_reason

    @property
    def parsed(self) -> Any:
        """The first choice as a value of the type that was given as `response_format`.

        None where no type was given.

        Raises:
            InvalidResponseError: The text is no such value; the text says why, for example
                that the model refused or ran out of tokens.
        """
        if not isinstance(self._wanted, type):
            return None
        if refusal := self.choices[0].message.refusal:
            raise InvalidResponseError(f"the model refused: {refusal}")
        try:
            return adapter_of(self._wanted).validate_json(self.text)
        except ValueError as error:
            cut = "; it ran out of tokens (raise max_tokens)" * (self.finish_reason == "length")
            raise InvalidResponseError(
                f"the answer is no {self._wanted.__name__}{cut}: {error}"
            ) from error

    @classmethod
    def from_wire(
        cls,
        raw: Any,
        headers: Mapping[str, str],
        routing: Routing | None = None,
        made_id: str = "call_",
        wanted: Any = None,
    ) -> ChatCompletion:
        """Read an answer.

        Args:
            raw: The body, parsed.
            headers: The answer's headers, for counts that the body lacks.
            routing: Where the request went.
            made_id: Start of the ids of tool calls that the model gave none.
            wanted: The type given as `response_format`, for `parsed`.

        Raises:
            InvalidResponseError: This is no chat completion.
        """
        choices = raw.get("choices") if isinstance(raw, dict) else None
        if not isinstance(choices, list) or not choices:
            refuse("no choices", raw)
        counts = raw.get("usage")
        created = raw.get("created")
        return cls(
            str(raw.get("id") or ""),
            raw.get("model"),
            created if isinstance(created, int) else 0,
            tuple(Choice.from_wire(each, at, made_id) for at, each in enumerate(choices)),
            Usage.from_wire(counts) if isinstance(counts, dict) else Usage.from_headers(headers),
            raw.get("prompt_filter_results") or (),
            routing,
            raw,
            wanted,
        )


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The model behind an endpoint or deployment; shape of "Get info" in the REST reference.

    Attributes:
        model_name: Its name, possibly one for display ("Cohere Embed v3 - English").
        model_type: `"chat_completion"`, `"embedding"`, `"image_embedding"`, …
        provider: Who made it.
        raw: The body as the service sent it.
    """

    model_name: str
    model_type: str
    provider: str
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_wire(cls, raw: Any) -> ModelInfo:
        """Read an answer; the types' many spellings become one.

        Raises:
            InvalidResponseError: This is no model info.
        """
        if not isinstance(raw, dict) or not isinstance(raw.get("model_name"), str):
            refuse("no model_name", raw)
        kind = str(raw.get("model_type") or "").lower().replace("-", "_").replace(" ", "_")
        kind = kind.replace("(s)", "").removesuffix("s")
        kind = {"text_embedding": "embedding", "chat": "chat_completion"}.get(kind, kind)
        return cls(raw["model_name"], kind, str(raw.get("model_provider_name") or ""), raw)


def parsed(body: bytes, headers: Mapping[str, str], what: str = "the answer") -> Any:
    """A body as JSON, whatever its content type says.

    Raises:
        APIStatusError: It is an error that came under the status 200.
        InvalidResponseError: It is no JSON; the text shows how it begins.
    """
    try:
        raw = msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:
        start = body[:200].decode(errors="replace")
        raise InvalidResponseError(
            f"{what} is no JSON ({error}): {start!r}" if body else f"{what} is empty",
            raw=body[:10_000],
        ) from None
    if isinstance(raw, dict) and raw.get("error"):
        raise from_answer(200, headers, body)
    return raw


def text_of(content: Any) -> tuple[str | None, str | None]:
    """Reasoning and text of a message's content: a string, null, or a list of parts."""
    if content is None or isinstance(content, str):
        return None, content
    if not isinstance(content, list):
        refuse("content that is neither text nor parts", content)
    thoughts: list[str] = []
    texts: list[str] = []
    for part in content:
        if not isinstance(part, dict):
            refuse("a content part that is no object", part)
        # Mistral's reasoning models nest: {"type": "thinking", "thinking": [{"text": …}]}.
        if isinstance(inner := part.get("thinking"), str | list):
            thoughts.append(inner if isinstance(inner, str) else text_of(inner)[1] or "")
        elif isinstance(part.get("text"), str):
            texts.append(part["text"])
    return ("".join(thoughts) if thoughts else None), "".join(texts)


def arguments_of(value: Any) -> str:
    """A tool call's arguments as a JSON string; some models send the object itself."""
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()


def listed(raw: Json, key: str) -> list[Any]:
    """A field that is a list, null or absent."""
    value = raw.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        refuse(f"{key} that is no list", value)
    return value


def refuse(what: str, raw: Any) -> NoReturn:
    """Raise for an answer that is not what the protocol says."""
    raise InvalidResponseError(f"the answer has {what}: {str(raw)[:200]}")


def _count(counts: Any, name: str) -> int:
    value = counts.get(name) if isinstance(counts, dict) else None
    return int(value) if isinstance(value, int | float) else 0
