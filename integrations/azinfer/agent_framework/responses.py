"""Translation from the wire: answers and chunks to responses, updates and contents."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from agent_framework import ChatResponse, ChatResponseUpdate, Content, Message, UsageDetails

from azinfer import core
from azinfer.agent_framework.messages import STATE

Json = dict[str, Any]
# The ids of a stream's tool calls, by choice and index: the framework's and the model's.
Calls = dict[tuple[int, int], tuple[str, str]]
_REFUSAL = {"core": {"model_output_kind": "refusal"}}  # the framework's mark for such texts


def from_completion(answer: core.ChatCompletion, response_format: Any) -> ChatResponse[Any]:
    """Return an answer as a response with one message for each choice."""
    messages = [
        Message("assistant", list(_contents(each)), raw_representation=each)
        for each in answer.choices
    ]
    return ChatResponse(
        messages=messages,
        usage_details=from_usage(answer.usage),
        response_format=response_format,
        **_facts(answer),
    )


class StreamedChoices:
    """Turns a stream's chunks into updates.

    The framework adds each update to the newest message, so only the first choice is passed on as
    it comes. Further choices (`n` above 1) follow at the end, each as a message of its own.
    """

    def __init__(self) -> None:
        self._calls: Calls = {}
        self._further: dict[int, list[Content]] = {}

    def from_chunk(self, chunk: core.ChatCompletionChunk) -> ChatResponseUpdate | None:
        """Return the update of a chunk, or None if it adds no content to the first choice.

        Usage, metadata and the finish reason come with the last update: see `last_updates`.
        """
        contents: list[Content] = []
        for each in chunk.choices:
            added = _delta_contents(each, self._calls)
            if each.index:
                self._further.setdefault(each.index, []).extend(added)
            else:
                contents.extend(added)
        if not contents:
            return None
        name = chunk.id or None
        return ChatResponseUpdate(
            contents=contents, role="assistant", message_id=name, raw_representation=chunk
        )

    def last_updates(self, answer: core.ChatCompletion) -> Iterator[ChatResponseUpdate]:
        """Return the updates that end a stream: further choices, usage and metadata.

        Args:
            answer: The whole answer.
        """
        contents: list[Content] = []
        name, index = answer.id or None, 0
        for each in answer.choices:
            if each.index != index:
                if contents:
                    yield ChatResponseUpdate(contents=contents, role="assistant", message_id=name)
                contents = self._further.get(each.index, [])
                name, index = f"{answer.id or 'choice'}-{each.index}", each.index
            contents += _final_contents(each, self._calls)
        if usage := from_usage(answer.usage):
            contents.append(Content.from_usage(usage, merge_mode="replace"))
        yield ChatResponseUpdate(
            contents=contents, role="assistant", message_id=name, **_facts(answer)
        )


def from_usage(usage: core.Usage | None) -> UsageDetails | None:
    """Return token counts under the framework's names."""
    if usage is None:
        return None
    return UsageDetails(
        input_token_count=usage.prompt_tokens,
        output_token_count=usage.completion_tokens,
        total_token_count=usage.total_tokens,
        cache_read_input_token_count=usage.cached_tokens,
        reasoning_output_token_count=usage.reasoning_tokens,
    )


class _TextPart(Content):
    """The text of one chunk. Copies and pickles of it are plain Content.

    A Content has 50 attributes. Here all but three belong to the class, because a dictionary of 50
    entries takes longer to create than the rest of an update.
    """

    def __init__(self, text: str) -> None:
        self.type, self.text, self.additional_properties = "text", text, {}

    def __deepcopy__(self, memo: Json) -> Content:  # type: ignore[override]
        return Content.from_dict(self.to_dict())

    def __reduce__(self) -> Any:
        return Content.from_dict, (self.to_dict(),)


for _name, _value in vars(Content.from_text("", merge_mode="append")).items():
    setattr(_TextPart, _name, _value)


# What stands under `azinfer` in the properties of a response, and beside it.
_OURS = (
    *("deployment", "surface", "request_id", "adapted", "routing"),
    *("content_filter_results", "prompt_filter_results"),
)
_THEIRS = ("logprobs", "system_fingerprint")


def _facts(answer: core.ChatCompletion) -> Json:
    """Return the facts about an answer besides its contents; azinfer's own are under `azinfer`."""
    known, routing = core.details_of(answer), answer.routing
    properties = {name: known[name] for name in _THEIRS if name in known}
    if ours := {name: known[name] for name in _OURS if name in known}:
        properties["azinfer"] = ours
    time = answer.created and datetime.fromtimestamp(answer.created, UTC).isoformat()
    return {
        "response_id": answer.id,
        "conversation_id": answer.conversation_id,
        "model": answer.model or (routing and (routing.model_id or routing.deployment)),
        "created_at": time or None,
        "finish_reason": answer.finish_reason,
        "additional_properties": properties,
        "raw_representation": answer,
    }


def _contents(choice: core.Choice) -> Iterator[Content]:
    message, cut = choice.message, choice.incomplete_tool_calls
    if message.reasoning:
        yield Content.from_text_reasoning(text=message.reasoning)
    if message.content:
        yield Content.from_text(message.content, annotations=_annotations(message))
    if message.refusal:
        yield Content.from_text(message.refusal, additional_properties=_REFUSAL)
    for call in message.tool_calls:
        yield _call(call, call.function.arguments, informational_only=call in cut)
    yield from _late(choice)


def _call(call: core.ToolCall, arguments: str, **more: Any) -> Content:
    """Return a call; one that was cut off is for information only, so that it never runs."""
    name = call.function.name
    return Content("function_call", call_id=call.id, name=name, arguments=arguments, **more)


def _final_contents(choice: core.Choice, calls: Calls) -> Iterator[Content]:
    """Return what the end of a stream adds to a choice: sources, late contents, cut calls."""
    if notes := _annotations(choice.message):
        yield Content.from_text("", merge_mode="append", annotations=notes)
    yield from _late(choice)
    for call in choice.incomplete_tool_calls:
        place = (choice.index, choice.message.tool_calls.index(call))
        content = _call(call, "", merge_mode="append", informational_only=True)
        content.id = calls[place][0] if place in calls else None
        yield content


def _late(choice: core.Choice) -> Iterator[Content]:
    """Return what is complete only at the end of a stream: audio, and state for the model."""
    message = choice.message
    if message.audio and (data := message.audio.get("data")):
        kind = f"audio/{message.audio.get('format') or 'wav'}"
        yield Content.from_uri(f"data:{kind};base64,{data}", media_type=kind)
    if message.state:
        yield Content.from_text_reasoning(additional_properties={STATE: message.state})


def _delta_contents(choice: core.ChunkChoice, calls: Calls) -> Iterator[Content]:
    delta = choice.delta
    if delta.reasoning:
        yield Content.from_text_reasoning(text=delta.reasoning, merge_mode="append")
    if delta.content:
        yield _TextPart(delta.content)
    if delta.refusal:
        yield Content.from_text(delta.refusal, merge_mode="append", additional_properties=_REFUSAL)
    for call in delta.tool_calls:
        # Parts of parallel calls may alternate; the framework distinguishes them by these ids.
        place = (choice.index, call.index)
        own, theirs = calls.setdefault(place, (f"af-{uuid4().hex}", call.id or ""))
        content = Content.from_function_call(
            theirs, call.name or "", arguments=call.arguments, merge_mode="append"
        )
        content.id = own
        yield content


def _annotations(message: core.Message) -> list[Any] | None:
    """Return the sources that a message names; None if it names no source."""
    notes: list[Any] = []
    for each in message.citations:
        region = {"type": "text_span", "start_index": each.start, "end_index": each.end}
        fields = {
            "type": "citation",
            "title": each.title,
            "url": each.url,
            "snippet": each.text,
            "file_id": each.file_id,
            "annotated_regions": [] if each.start is None else [region],
        }
        notes.append({name: value for name, value in fields.items() if value})
    return notes or None
