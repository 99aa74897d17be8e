"""Translation from the wire: answers and chunks to LlamaIndex responses."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields

from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    ContentBlock,
    LogProb,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.llms.utils import parse_partial_json

from azinfer.core import (
    ChatCompletion,
    ChatCompletionChunk,
    Delta,
    Function,
    InvalidResponseError,
    Message,
    ToolCall,
    Usage,
    details_of,
)
from azinfer.llama_index.messages import STATE, Json

# The key under which a response names the tool calls that were cut off.
INCOMPLETE = "incomplete_tool_calls"
_COUNTS = tuple(each.name for each in fields(Usage) if each.name != "raw")
# Details that a response has in other places, or under another name.
_ELSEWHERE = ("id", "created", "model", "refusal", "surface", "system_fingerprint", "logprobs")


def from_completion(answer: ChatCompletion, one_call: bool = False) -> ChatResponse:
    """Return an answer in the form of LlamaIndex.

    Args:
        answer: The answer.
        one_call: Whether to keep only the first of several tool calls.
    """
    return ChatResponse(
        message=_message(answer.choices[0].message, one_call, answer.usage),
        raw=_raw(answer),
        logprobs=_logprobs(answer.choices[0].logprobs),
        additional_kwargs=_metadata(answer),
    )


class ResponseAccumulator:
    """A streamed answer so far.

    Args:
        one_call: Whether to keep only the first of several tool calls.
    """

    def __init__(self, one_call: bool = False) -> None:
        self._one_call = one_call
        self._text = self._thought = self._refusal = ""
        self._calls: dict[int, ToolCall] = {}

    def add(self, chunk: ChatCompletionChunk) -> ChatResponse | None:
        """Return the answer so far, with a chunk's part as its delta; None if it adds nothing.

        Usage and metadata come at the end: see `last`.
        """
        if not chunk.choices:
            return None
        choice = chunk.choices[0]
        added = choice.delta
        if not (added.content or added.reasoning or added.refusal or added.tool_calls):
            return None
        self._text += added.content or ""
        self._thought += added.reasoning or ""
        self._refusal += added.refusal or ""
        return ChatResponse(
            message=self._so_far(added),
            delta=(added.content or "") + (added.refusal or ""),
            raw=chunk.raw,
            logprobs=_logprobs(choice.logprobs),
            additional_kwargs={"thinking_delta": added.reasoning} if added.reasoning else {},
        )

    def _so_far(self, added: Delta) -> ChatMessage:
        """Return the message so far, to which a chunk adds calls."""
        for part in added.tool_calls:
            before = self._calls.get(part.index) or ToolCall("", Function("", ""))
            self._calls[part.index] = ToolCall(
                part.id or before.id,
                Function(
                    part.name or before.function.name, before.function.arguments + part.arguments
                ),
            )
        if not (self._calls or self._thought or self._refusal):  # as nearly all chunks
            return ChatMessage(role=MessageRole.ASSISTANT, blocks=[TextBlock(text=self._text)])
        calls = tuple(self._calls[index] for index in sorted(self._calls))
        so_far = Message(
            self._text,
            reasoning=self._thought,
            tool_calls=calls,
            refusal=self._refusal or None,
        )
        return _message(so_far, self._one_call)

    def last(self, answer: ChatCompletion) -> ChatResponse:
        """Return the complete answer, its usage, and why it ended."""
        whole = from_completion(answer, self._one_call)
        whole.delta = ""
        return whole


def to_completion(response: ChatResponse) -> CompletionResponse:
    """Return a chat response as the completion of a prompt."""
    return CompletionResponse(
        text=response.message.content or "",
        additional_kwargs={**response.message.additional_kwargs, **response.additional_kwargs},
        raw=response.raw,
        logprobs=response.logprobs,
        delta=response.delta,
    )


def to_selections(response: ChatResponse) -> list[ToolSelection]:
    """Return the tool calls of a response.

    While a response is streamed, arguments are as complete as they have arrived. Arguments that are
    not a JSON object count as empty.

    Raises:
        InvalidResponseError: A token limit or a content filter cut a call off.
    """
    message, details = response.message, response.additional_kwargs
    if name := details.get(INCOMPLETE):
        raise InvalidResponseError(
            f"the call of {name} was cut off (finish_reason {details['finish_reason']!r}), so it "
            "must not run: raise max_tokens"
        )
    parse = _whole_arguments if "finish_reason" in details else _partial_arguments
    return [
        ToolSelection(
            tool_id=block.tool_call_id or "",
            tool_name=block.tool_name,
            tool_kwargs=(
                parse(block.tool_kwargs)
                if isinstance(block.tool_kwargs, str)
                else block.tool_kwargs
            ),
        )
        for block in message.blocks
        if isinstance(block, ToolCallBlock)
    ]


def _whole_arguments(text: str) -> Json:
    with suppress(ValueError):
        return Function("", text).parse_arguments()
    return {}


def _partial_arguments(text: str) -> Json:
    with suppress(ValueError, TypeError):  # not JSON, or JSON but not an object
        return dict(parse_partial_json(text))
    return {}


def _message(message: Message, one_call: bool, usage: Usage | None = None) -> ChatMessage:
    blocks: list[ContentBlock] = []
    more: Json = {}
    if message.reasoning:
        tokens = usage.reasoning_tokens if usage else 0
        blocks.append(ThinkingBlock(content=message.reasoning, num_tokens=tokens or None))
    text = message.content
    if message.audio:
        text = text or message.audio.get("transcript")
        more["reference_audio_id"] = message.audio.get("id")
        blocks.append(_sound(message.audio))
    if message.refusal:
        # LlamaIndex has no field for it, and an empty answer would hide it.
        text = (text or "") + message.refusal
        more["refusal"] = message.refusal
    if message.state:
        more[STATE] = message.state
    if message.citations:
        more["citations"] = [each.to_dict() for each in message.citations]
    calls = message.tool_calls[:1] if one_call else message.tool_calls
    if text or not (blocks or calls):
        blocks.append(TextBlock(text=text or ""))
    blocks += [_call(call) for call in calls]
    if calls:
        # LlamaIndex's programs look for calls here, in whatever form.
        more["tool_calls"] = [call.to_wire() for call in calls]
    return ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks, additional_kwargs=more)


def _call(call: ToolCall) -> ToolCallBlock:
    return ToolCallBlock(
        tool_call_id=call.id, tool_name=call.function.name, tool_kwargs=call.function.arguments
    )


def _sound(audio: Json) -> AudioBlock:
    return AudioBlock(audio=str(audio.get("data") or "").encode(), format=audio.get("format"))


def _raw(answer: ChatCompletion) -> Json:
    """Return the answer's body, always with its usage: LlamaIndex counts tokens there."""
    return {**answer.raw, "usage": _counts(answer.usage)}


def _counts(usage: Usage | None) -> Json:
    """Return the service's counts and those of our schema, which handlers read on every wire."""
    if usage is None:
        return {}
    if not usage.raw:
        return {name: getattr(usage, name) for name in _COUNTS}
    return {
        **usage.raw,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def _metadata(answer: ChatCompletion) -> Json:
    choice, usage = answer.choices[0], answer.usage
    known = {
        **details_of(answer),
        "model_name": answer.model,
        INCOMPLETE: ", ".join(call.function.name for call in choice.incomplete_tool_calls),
        "cached_tokens": usage and usage.cached_tokens,
        "reasoning_tokens": usage and usage.reasoning_tokens,
    }
    details = {n: value for n, value in known.items() if value and n not in _ELSEWHERE}
    if usage:
        details["prompt_tokens"] = usage.prompt_tokens
        details["completion_tokens"] = usage.completion_tokens
        details["total_tokens"] = usage.total_tokens
    return details


def _logprobs(logprobs: Json | None) -> list[list[LogProb]] | None:
    """Return for each token its own log probability first, then those of the likeliest others."""
    tokens: Sequence[Json] = (logprobs or {}).get("content") or ()
    if not tokens:
        return None
    return [
        [
            _logprob(token),
            *(
                _logprob(other)
                for other in token.get("top_logprobs") or ()
                if other.get("token") != token.get("token")
            ),
        ]
        for token in tokens
    ]


def _logprob(token: Json) -> LogProb:
    return LogProb(
        token=token.get("token") or "",
        logprob=token.get("logprob") or 0.0,
        bytes=token.get("bytes") or [],
    )
