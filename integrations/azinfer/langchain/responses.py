"""Answers of core as messages of LangChain."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    InvalidToolCall,
    ToolCall,
    ToolCallChunk,
)
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.messages.tool import invalid_tool_call, tool_call
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from azinfer.core import (
    ChatCompletion,
    ChatCompletionChunk,
    Choice,
    Usage,
)
from azinfer.langchain.messages import Json


def from_completion(answer: ChatCompletion) -> ChatResult:
    """An answer as LangChain has it, one generation a choice."""
    usage = from_usage(answer.usage)
    generations = [
        ChatGeneration(
            message=_from_choice(answer, choice, usage if at == 0 else None),
            generation_info={"finish_reason": choice.finish_reason},
        )
        for at, choice in enumerate(answer.choices)
    ]
    counts = answer.usage.raw if answer.usage else None
    output = {"token_usage": counts, "model_name": answer.model}
    return ChatResult(generations=generations, llm_output=output)


def from_chunk(chunk: ChatCompletionChunk, calls_from: int = 0) -> ChatGenerationChunk | None:
    """What a chunk adds to the first choice, or None where it adds nothing.

    Usage and metadata come with the last chunk: see `last_chunk`.

    Args:
        chunk: A chunk of the core client's stream.
        calls_from: The number of the first tool call.
    """
    if not chunk.choices:
        return None
    choice = chunk.choices[0]
    delta = choice.delta
    if delta.content and not (
        delta.reasoning or delta.refusal or delta.tool_calls or choice.logprobs
    ):
        return ChatGenerationChunk(message=AIMessageChunk(content=delta.content))
    more = {"reasoning_content": delta.reasoning, "refusal": delta.refusal}
    message = AIMessageChunk(
        content=delta.content or "",
        additional_kwargs={name: value for name, value in more.items() if value},
        tool_call_chunks=[
            ToolCallChunk(
                name=call.name,
                args=call.arguments,
                id=call.id,
                index=calls_from + call.index,
                type="tool_call_chunk",
            )
            for call in delta.tool_calls
        ],
    )
    info = {"logprobs": choice.logprobs} if choice.logprobs else None
    return ChatGenerationChunk(message=message, generation_info=info)


def last_chunk(answer: ChatCompletion) -> ChatGenerationChunk:
    """What is known at the end of a stream: usage once, and why it ended.

    Log probabilities came with their tokens, and what comes twice adds up; sound comes whole.
    """
    sound = answer.choices[0].message.audio
    message = AIMessageChunk(
        content="",
        additional_kwargs={"audio": sound} if sound else {},
        usage_metadata=from_usage(answer.usage),
        response_metadata=_metadata(answer, replace(answer.choices[0], logprobs=None)),
        chunk_position="last",
    )
    info = {"finish_reason": answer.finish_reason}
    return ChatGenerationChunk(message=message, generation_info=info)


def from_usage(usage: Usage | None) -> UsageMetadata | None:
    """Token counts as LangChain has them."""
    if usage is None:
        return None
    read = InputTokenDetails(cache_read=usage.cached_tokens)
    if heard := (usage.raw.get("prompt_tokens_details") or {}).get("audio_tokens"):
        read["audio"] = heard
    written = OutputTokenDetails(reasoning=usage.reasoning_tokens)
    if spoken := (usage.raw.get("completion_tokens_details") or {}).get("audio_tokens"):
        written["audio"] = spoken
    return UsageMetadata(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        input_token_details=read,
        output_token_details=written,
    )


def _from_choice(answer: ChatCompletion, choice: Choice, usage: UsageMetadata | None) -> AIMessage:
    message = choice.message
    more = {
        "reasoning_content": message.reasoning,
        "refusal": message.refusal,
        "audio": message.audio,
    }
    calls, invalid = _from_calls(message.tool_calls)
    return AIMessage(
        content=message.content or "",
        additional_kwargs={name: value for name, value in more.items() if value},
        tool_calls=calls,
        invalid_tool_calls=invalid,
        usage_metadata=usage,
        response_metadata=_metadata(answer, choice),
    )


def _from_calls(calls: Iterable[Any]) -> tuple[list[ToolCall], list[InvalidToolCall]]:
    parsed: list[ToolCall] = []
    invalid: list[InvalidToolCall] = []
    for call in calls:
        name, text = call.function.name, call.function.arguments
        try:
            parsed.append(tool_call(name=name, args=parse_arguments(name, text), id=call.id))
        except OutputParserException as error:
            invalid.append(invalid_tool_call(name=name, args=text, id=call.id, error=str(error)))
    return parsed, invalid


def parse_arguments(name: str | None, text: str | None) -> Json:
    """The arguments of a call, which are `text` on the wire.

    Raises:
        OutputParserException: They are no JSON object.
    """
    found: Any = None
    with suppress(ValueError, RecursionError):
        found = json.loads(text or "{}", strict=False)
    if not isinstance(found, dict):
        told = f"the arguments of {name} are no JSON object: {text}"
        raise OutputParserException(told, llm_output=text)
    return found


def _metadata(answer: ChatCompletion, choice: Choice) -> Json:
    routing = answer.routing
    attempt = routing.attempts[-1] if routing and routing.attempts else None
    found = {
        "id": answer.id,
        # Counters of usage go by this name, and skip answers without one.
        "model_name": answer.model or (routing and (routing.model_id or routing.deployment)),
        "deployment": routing and routing.deployment,
        "finish_reason": choice.finish_reason,
        "logprobs": choice.logprobs,
        "content_filter_results": choice.content_filter_results,
        "prompt_filter_results": list(answer.prompt_filter_results),
        "request_id": attempt and attempt.request_id,
        "adapted": list(routing.adapted) if routing else None,
    }
    kept = {name: value for name, value in found.items() if value}
    return {"model_provider": "azinfer", **kept}
