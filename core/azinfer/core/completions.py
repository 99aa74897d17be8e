"""Values of responses: completions with their choices, messages, tool calls and token counts.

Only values: `decoding.py` reads them from the wire form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal

from azinfer.core import lazy
from azinfer.core.json_fields import as_object, as_text
from azinfer.core.routing import Routing

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Function:
    """What a model calls: the tool's name, and its arguments as a JSON string."""

    name: str
    arguments: str = "{}"

    def parse_arguments(self) -> Json:
        """Return the arguments as a dictionary; line breaks inside strings are accepted.

        Raises:
            ValueError: They are not a JSON object.
        """
        value: Any = None
        with suppress(ValueError, RecursionError):
            value = json.loads(self.arguments, strict=False)
        if not isinstance(value, dict):
            raise ValueError(
                f"the arguments of {self.name} are not a JSON object: {self.arguments}"
            )
        return value


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call that a model asks for; answer it with a ToolMessage that has its `id`.

    Attributes:
        id: The call's id.
        function: The tool's name and its arguments; of a custom tool, the free text for it.
        type: `"function"`, or `"custom"` for a tool that takes free text.
    """

    id: str
    function: Function
    type: Literal["function", "custom"] = "function"

    def to_wire(self) -> Json:
        """Return the call as it is sent back in the conversation."""
        name, text = self.function.name, self.function.arguments
        if self.type == "custom":
            return {"id": self.id, "type": "custom", "custom": {"name": name, "input": text}}
        return {"id": self.id, "type": "function", "function": {"name": name, "arguments": text}}


@dataclass(frozen=True, slots=True)
class Message:
    """The message that a model wrote; it can be used in the next request as it is.

    Attributes:
        content: The text, without reasoning; None if there is no text.
        reasoning: The reasoning that the model showed, in whatever form it sent it.
        tool_calls: The tools that the model calls.
        refusal: Why the model refuses to answer; only some models say so.
        audio: The audio, as the service sent it.
        raw: The message as the service sent it; of a stream, the fields that nothing else has.
        state: What the model wants back in the next request besides, such as encrypted
            reasoning, signatures and calls of service-side tools: JSON that only the service
            reads. It is sent with this message when the next request contains the message.
    """

    content: str | None = None
    _: KW_ONLY
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: str | None = None
    audio: Json | None = None
    raw: Json = field(default_factory=dict, repr=False, compare=False)
    state: Json | None = field(default=None, repr=False, compare=False)

    @property
    def role(self) -> str:
        """Always `"assistant"`."""
        return "assistant"

    @property
    def citations(self) -> tuple[lazy.Citation, ...]:
        """The sources that the message names, of a search, a file or Azure's "on your data"."""
        raw = self.raw
        if (
            raw.get("content").__class__ is str
            and "annotations" not in raw
            and "context" not in raw
        ):
            return ()  # as nearly all messages of chat completions
        from azinfer.core.citations import citations_of

        return citations_of(raw, self.content or "")


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the `n` messages that a request asks for.

    Attributes:
        index: Its position among `n`.
        message: The message.
        finish_reason: Why the message ended: `"stop"`, `"length"`, `"tool_calls"`,
            `"content_filter"`, or another value of the model.
        logprobs: Log probabilities of the tokens, as the service sent them.
        content_filter_results: The results of the content filter, by category.
    """

    index: int
    message: Message
    finish_reason: str | None = None
    logprobs: Json | None = None
    content_filter_results: Json = field(default_factory=dict)

    @property
    def incomplete_tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls that were cut off: do not run them.

        A token limit, a content filter or the end of a connection cuts. These are the calls whose
        arguments are not a JSON object, and after the first two also the last call if it has no
        arguments at all, since the answer may have ended before them.
        """
        calls = self.message.tool_calls
        if self.finish_reason is None:  # of the partial answer of a stream that broke off
            return tuple(call for call in calls if _is_cut(call, False))
        if self.finish_reason not in ("length", "content_filter"):
            return ()
        return tuple(call for call in calls if _is_cut(call, call is calls[-1]))


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one request, or of several together.

    Attributes:
        prompt_tokens: Tokens of the request.
        completion_tokens: Tokens of the response, including reasoning.
        total_tokens: The sum of both.
        cached_tokens: The part of `prompt_tokens` that came from a cache.
        reasoning_tokens: The part of `completion_tokens` that was reasoning.
        raw: The counts as the service sent them.
        cache_write_tokens: The part of `prompt_tokens` that was written to a cache, which some
            services bill at a higher price.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    raw: Json = field(default_factory=dict, repr=False, compare=False)
    cache_write_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        """Return the counts of several requests together."""
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.total_tokens + other.total_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatCompletion:
    """The response to one chat request; fields as in "Create chat completion", REST reference.

    Attributes:
        id: The service's id of the completion.
        model: The name that the back end gives itself; for display, never for routing.
        created: Seconds since 1970.
        choices: The messages, `n` of them.
        usage: Token counts; None if the service does not report them.
        prompt_filter_results: The results of the content filter for the prompt.
        routing: Where the request was sent, and how it was adapted.
        raw: The body as the service sent it.
    """

    id: str
    model: str | None
    created: int
    choices: tuple[Choice, ...]
    usage: Usage | None = None
    prompt_filter_results: tuple[Json, ...] = ()
    routing: Routing | None = field(default=None, compare=False)
    raw: Json = field(default_factory=dict, repr=False, compare=False)
    _parse: Callable[[ChatCompletion], Any] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from azinfer.core.pydantic_schemas import schema_of_fields

        return schema_of_fields(cls, handler)

    @property
    def text(self) -> str:
        """The text of the first choice; empty if it has no text."""
        return self.choices[0].message.content or ""

    @property
    def reasoning(self) -> str | None:
        """The reasoning of the first choice."""
        return self.choices[0].message.reasoning

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls of the first choice."""
        return self.choices[0].message.tool_calls

    @property
    def citations(self) -> tuple[lazy.Citation, ...]:
        """The sources that the first choice names."""
        return self.choices[0].message.citations

    @property
    def finish_reason(self) -> str | None:
        """Why the first choice ended."""
        return self.choices[0].finish_reason

    @property
    def conversation_id(self) -> str | None:
        """The id under which the service keeps this conversation, if it does.

        Only Responses with `store=True` keeps one. `continuation` makes options of it.
        """
        if "output" not in self.raw or self.raw.get("store") is not True:
            return None
        conversation = as_object(self.raw.get("conversation"))
        return as_text(conversation.get("id")) or self.id or None

    @property
    def parsed(self) -> Any:
        """The first choice as a value of the type that was passed as `response_format`.

        None if no type was passed.

        Raises:
            InvalidResponseError: The text is not such a value; the message says why, for
                example that the model refused or ran out of tokens.
        """
        return self._parse(self) if self._parse else None


def continuation(conversation_id: str) -> Json:
    """Return the options of a call that goes on with what the service keeps.

    Args:
        conversation_id: The `conversation_id` of an answer. Any other text has no options, since
            other wires keep nothing.

    Example:
        >>> continuation("resp_1")
        {'store': True, 'previous_response_id': 'resp_1'}
    """
    if not (match := re.match(r"\w*(resp|conv)_", conversation_id)):
        return {}
    name = "conversation" if match[1] == "conv" else "previous_response_id"
    return {"store": True, name: conversation_id}


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The model behind an endpoint or deployment; fields as in "Get info", REST reference.

    Attributes:
        model_name: Its name, possibly a display name ("Cohere Embed v3 - English").
        model_type: `"chat_completion"`, `"embedding"`, `"image_embedding"`, …
        provider: The maker of the model.
        raw: The body as the service sent it.
    """

    model_name: str
    model_type: str
    provider: str
    raw: Json = field(default_factory=dict, repr=False, compare=False)


def _is_cut(call: ToolCall, is_last: bool) -> bool:
    if call.type == "custom":
        return is_last
    try:
        return not call.function.parse_arguments() and is_last
    except ValueError:
        return True
