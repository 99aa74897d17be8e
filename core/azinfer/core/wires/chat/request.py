"""A request in our schema as chat completions take it: the same, adapted to the model."""

from __future__ import annotations

from collections.abc import Sequence

from azinfer.core.completions import Json
from azinfer.core.errors import InferenceError
from azinfer.core.model_profiles import adapt, apply_correction, is_lossless
from azinfer.core.wires.chat.tool_media import with_text_results
from azinfer.core.wires.state import foreign_wire
from azinfer.core.wires.wire import Encoded, Mended, Situation

# Fields that only other wires have.
_ELSEWHERE = ("state", "is_error")
_OF_ANSWERS = frozenset({*_ELSEWHERE, "reasoning_content"})


def encode(body: Json, situation: Situation) -> Encoded:
    """Return a request as a model takes it on chat completions.

    Args:
        body: The request in our schema; it is not changed.
        situation: What is known about the model and the resource.
    """
    wants_reasoning = situation.send_reasoning
    if wants_reasoning is None:
        wants_reasoning = bool(situation.facts and situation.facts.reasoning_back)
    body = with_text_results(body)
    changes: dict[str, None] = {}
    thoughts: dict[int, str] = {}
    # Most conversations have none of this.
    if any(not _OF_ANSWERS.isdisjoint(message) for message in body["messages"]):
        changes = dict.fromkeys(_foreign(body["messages"]))
        thoughts = _thoughts(body["messages"]) if wants_reasoning else {}
        messages = [
            {
                key: value
                for key, value in message.items()
                if key not in _ELSEWHERE and not (at in thoughts and key == "reasoning_content")
            }
            for at, message in enumerate(body["messages"])
        ]
        body = {**body, "messages": messages}
    body, adapted = adapt(body, situation.profile)
    for at, thought in thoughts.items():
        body["messages"][at] = {**body["messages"][at], "reasoning_content": thought}
    for name, new_name in situation.learned.items():
        if new_name and is_lossless(body, name, new_name):
            body, change = apply_correction(body, name, new_name)
            adapted += (change,)
    ours: frozenset[str] = frozenset()
    if situation.stream:
        body["stream"] = True
        known = body.keys() | situation.learned.keys()
        if situation.counts_usage and "stream_options" not in known:
            body["stream_options"] = {"include_usage": True}
            ours = frozenset({"stream_options"})
    return Encoded(body, (*changes, *adapted), ours)


def mend(body: Json, error: InferenceError) -> Mended | None:
    """Return None: what chat completions refuse is learned field by field."""
    return None


def _thoughts(messages: Sequence[Json]) -> dict[int, str]:
    """Return the reasoning to send back, by the index of its message; only that of this wire."""
    return {
        at: message["reasoning_content"]
        for at, message in enumerate(messages)
        if message.get("reasoning_content") and foreign_wire(message, "chat") is None
    }


def _foreign(messages: Sequence[Json]) -> list[str]:
    wires = {wire for message in messages if (wire := foreign_wire(message, "chat"))}
    return [f"messages without the state of the {wire} wire" for wire in sorted(wires)]
