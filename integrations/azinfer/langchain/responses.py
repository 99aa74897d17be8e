"""Translation from the wire: answers and chunks to LangChain messages."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    InvalidToolCall,
    ToolCall,
    ToolCallChunk,
)
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.messages.block_translators import register_translator
from langchain_core.messages.content import ContentBlock
from langchain_core.messages.tool import invalid_tool_call, tool_call
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.utils.json import parse_partial_json

from azinfer.core import (
    ChatCompletion,
    ChatCompletionChunk,
    Choice,
    Delta,
    Function,
    Message,
    Usage,
    details_of,
)
from azinfer.langchain.messages import STATE, Json, mark_invalid, without_mark

# How LangChain finds what reads our messages.
PROVIDER = "azinfer"
# Where an AIMessage keeps the sources that it names.
CITATIONS = "citations"
# Details that a message of LangChain has in other places, or under another name.
_ELSEWHERE = ("created", "model", "refusal", "surface", "system_fingerprint")


def from_completion(answer: ChatCompletion) -> ChatResult:
    """Return an answer in the form of LangChain, with one generation for each choice."""
    usage = from_usage(answer.usage)
    generations = [
        ChatGeneration(
            message=_from_choice(answer, choice, usage if position == 0 else None),
            generation_info={"finish_reason": choice.finish_reason},
        )
        for position, choice in enumerate(answer.choices)
    ]
    counts = answer.usage.raw if answer.usage else None
    output = {"token_usage": counts, "model_name": answer.model}
    return ChatResult(generations=generations, llm_output=output)


class ResponseAccumulator:
    """Translates the chunks of one streamed answer.

    Args:
        first_index: The index of the first tool call.
    """

    def __init__(self, first_index: int = 0) -> None:
        self._first_index = first_index
        self._arguments: dict[int, str] = {}

    def add(self, chunk: ChatCompletionChunk) -> ChatGenerationChunk | None:
        """Return what a chunk adds to the first choice, or None if it adds nothing.

        Usage, metadata and refusals come with the last chunk: see `last`.
        """
        if not chunk.choices:
            return None
        choice = chunk.choices[0]
        delta = choice.delta
        extras = delta.reasoning or delta.refusal or delta.tool_calls or choice.logprobs
        if not extras:
            return _text_chunk(delta.content) if delta.content else None
        kwargs = {"reasoning_content": delta.reasoning, "refusal": delta.refusal}
        message = AIMessageChunk(
            # LangChain would keep an empty text besides the block of a refusal.
            content=delta.content or ([] if delta.refusal else ""),
            additional_kwargs={name: value for name, value in kwargs.items() if value},
            tool_call_chunks=self._tool_call_chunks(delta),
        )
        info = {"logprobs": choice.logprobs} if choice.logprobs else None
        return ChatGenerationChunk(message=message, generation_info=info)

    def last(self, answer: ChatCompletion) -> ChatGenerationChunk:
        """Return the end of a stream: its usage, why it ended, and a refusal as a block.

        Log probabilities are left out, since they came with their tokens; audio is sent complete.
        """
        choice = answer.choices[0]
        sound, refusal = choice.message.audio, choice.message.refusal
        message = AIMessageChunk(
            content=[{"type": "refusal", "refusal": refusal}] if refusal else "",
            additional_kwargs={
                **({"audio": sound} if sound else {}),
                **({STATE: choice.message.state} if choice.message.state else {}),
                **({CITATIONS: notes} if (notes := _citations(choice.message)) else {}),
            },
            tool_call_chunks=self._invalid_call_chunks(choice),
            usage_metadata=from_usage(answer.usage),
            response_metadata=_metadata(answer, replace(choice, logprobs=None)),
            chunk_position="last",
        )
        info = {"finish_reason": answer.finish_reason}
        return ChatGenerationChunk(message=message, generation_info=info)

    def _tool_call_chunks(self, delta: Delta) -> list[ToolCallChunk]:
        for call in delta.tool_calls:
            self._arguments[call.index] = self._arguments.get(call.index, "") + call.arguments
        return [
            _tool_call_chunk(self._first_index + call.index, call.arguments, call.name, call.id)
            for call in delta.tool_calls
        ]

    def _invalid_call_chunks(self, choice: Choice) -> list[ToolCallChunk]:
        """Return chunks that make calls with incomplete arguments invalid.

        LangChain completes streamed arguments by itself, so an agent would run a tool with half
        of its arguments. A closing bracket without an opening one prevents that.
        """
        calls = choice.message.tool_calls
        incomplete = {call.id for call in choice.incomplete_tool_calls}
        return [
            _tool_call_chunk(self._first_index + index, mark_invalid(_bracket_for(text)))
            for call, (index, text) in zip(calls, sorted(self._arguments.items()), strict=True)
            if call.id in incomplete or (_is_completed(text) and not _is_object(call.function))
        ]


def parse_arguments(name: str | None, text: str | None) -> Json:
    """Return the arguments of a call, which are `text` on the wire.

    Raises:
        OutputParserException: They are not a JSON object.
    """
    text = without_mark(text or "{}")
    try:
        return Function(name or "", text).parse_arguments()
    except ValueError as error:
        raise OutputParserException(str(error), llm_output=text) from None


def from_usage(usage: Usage | None) -> UsageMetadata | None:
    """Return token counts in the form of LangChain."""
    if usage is None:
        return None
    inputs = InputTokenDetails(cache_read=usage.cached_tokens)
    if usage.cache_write_tokens:
        inputs["cache_creation"] = usage.cache_write_tokens
    if audio := (usage.raw.get("prompt_tokens_details") or {}).get("audio_tokens"):
        inputs["audio"] = audio
    outputs = OutputTokenDetails(reasoning=usage.reasoning_tokens)
    if audio := (usage.raw.get("completion_tokens_details") or {}).get("audio_tokens"):
        outputs["audio"] = audio
    return UsageMetadata(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        input_token_details=inputs,
        output_token_details=outputs,
    )


def _text_chunk(text: str) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(content=text))


def _tool_call_chunk(
    index: int, arguments: str, name: str | None = None, call_id: str | None = None
) -> ToolCallChunk:
    return ToolCallChunk(name=name, args=arguments, id=call_id, index=index, type="tool_call_chunk")


def _is_completed(text: str) -> bool:
    """Return whether LangChain completes streamed arguments to an object."""
    return not text or isinstance(_partial(text), dict)


def _is_object(function: Function) -> bool:
    try:
        function.parse_arguments()
    except ValueError:
        return False
    return True


def _bracket_for(text: str) -> str:
    """Return the bracket that stops LangChain from completing streamed arguments."""
    brackets = ("]", "}", '"]', '"}', '""]', '""}')
    return next(each for each in brackets if not isinstance(_partial(text + each), dict))


def _partial(text: str) -> object:
    try:
        return parse_partial_json(text)
    except (ValueError, RecursionError):
        return None


def _from_choice(answer: ChatCompletion, choice: Choice, usage: UsageMetadata | None) -> AIMessage:
    message = choice.message
    kwargs = {
        "reasoning_content": message.reasoning,
        "refusal": message.refusal,
        "audio": message.audio,
        STATE: message.state,
        CITATIONS: _citations(message),
    }
    calls: Json = {}
    if message.tool_calls:
        valid, invalid = _from_calls(choice)
        calls = {"tool_calls": valid, "invalid_tool_calls": invalid}
    return AIMessage(
        content=_content(message.content or "", message.refusal),
        additional_kwargs={name: value for name, value in kwargs.items() if value},
        usage_metadata=usage,
        response_metadata=_metadata(answer, choice),
        **calls,
    )


def _citations(message: Message) -> list[Json]:
    """Return the sources that a message names, as LangChain has them."""
    notes: list[Json] = []
    for each in message.citations:
        note = {
            "type": "citation",
            "title": each.title,
            "url": each.url,
            "cited_text": each.text,
            "start_index": each.start,
            "end_index": each.end,
            "extras": {"file_id": each.file_id} if each.file_id else None,
        }
        notes.append({name: value for name, value in note.items() if value is not None})
    return notes


def _cited_blocks(message: AIMessage) -> list[ContentBlock]:
    """Return the blocks of a message, whose first text has the sources as annotations.

    They are kept beside the content, which stays a plain text that way.
    """
    if not (notes := message.additional_kwargs.get(CITATIONS)):
        raise NotImplementedError  # LangChain reads all other messages by itself
    blocks = message.model_copy(update={"response_metadata": {}}).content_blocks
    place = next((at for at, block in enumerate(blocks) if block["type"] == "text"), None)
    if place is not None:
        blocks[place] = cast(ContentBlock, {**blocks[place], "annotations": notes})
    return blocks


register_translator(PROVIDER, _cited_blocks, _cited_blocks)


def _content(text: str, refusal: str | None) -> str | list[str | Json]:
    """Return the content of a message: a refusal is a block, so that LangChain sees it."""
    if not refusal:
        return text
    blocks: list[str | Json] = [{"type": "text", "text": text}] if text else []
    return [*blocks, {"type": "refusal", "refusal": refusal}]


def _from_calls(choice: Choice) -> tuple[list[ToolCall], list[InvalidToolCall]]:
    calls: list[ToolCall] = []
    invalid_calls: list[InvalidToolCall] = []
    incomplete = choice.incomplete_tool_calls
    for call in choice.message.tool_calls:
        name, text = call.function.name, call.function.arguments
        try:
            arguments = parse_arguments(name, text)
            error = f"the call was cut off ({choice.finish_reason})" if call in incomplete else None
        except OutputParserException as cause:
            arguments, error = {}, str(cause)
        if error is None:
            calls.append(tool_call(name=name, args=arguments, id=call.id))
        else:
            invalid_calls.append(invalid_tool_call(name=name, args=text, id=call.id, error=error))
    return calls, invalid_calls


def _metadata(answer: ChatCompletion, choice: Choice) -> Json:
    routing = answer.routing
    details = {"model_provider": PROVIDER, **details_of(answer, choice)}
    # Counters of usage group answers by this name, and skip answers without one.
    if name := answer.model or (routing and (routing.model_id or routing.deployment)):
        details["model_name"] = name
    return {name: value for name, value in details.items() if name not in _ELSEWHERE}
