"""Answers of core as responses of AG2."""

from __future__ import annotations

import base64
from typing import Any

from ag2.events import (
    BinaryResult,
    ModelMessage,
    ModelResponse,
    ToolCallEvent,
    ToolCallsEvent,
    Usage,
)

from azinfer import core
from azinfer.core import ChatCompletion, details_of

PROVIDER = "azure"
# The key of an answer's metadata for what goes back to models that need it.
STATE, REASONING = "azinfer_state", "azinfer_reasoning"
# Details that a response of AG2 has in other places.
_ELSEWHERE = ("id", "created", "model", "finish_reason", "surface", "system_fingerprint")


def from_completion(answer: ChatCompletion) -> ModelResponse:
    """Return an answer in the form of AG2."""
    message = answer.choices[0].message
    sound = message.audio or {}
    kept = message.state or message.reasoning
    text = message.content or message.refusal or sound.get("transcript")
    return ModelResponse(
        ModelMessage(text or "", metadata=_metadata(answer)) if text or kept else None,
        tool_calls=ToolCallsEvent(
            [
                ToolCallEvent(each.function.name, id=each.id, arguments=each.function.arguments)
                for each in message.tool_calls
            ]
        ),
        usage=from_usage(answer.usage),
        files=[BinaryResult(base64.b64decode(sound["data"]))] if sound.get("data") else [],
        model=_model_of(answer),
        provider=PROVIDER,
        finish_reason=answer.finish_reason,
        response_id=answer.id or None,
    )


def from_usage(usage: core.Usage | None) -> Usage:
    """Return token counts in the form of AG2."""
    if usage is None:
        return Usage()
    return Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        cache_read_input_tokens=usage.cached_tokens or None,
        thinking_tokens=usage.reasoning_tokens or None,
    )


def _model_of(answer: ChatCompletion) -> str | None:
    """Return the model for reports of usage: as declared, as served, or the deployment."""
    routing = answer.routing
    if routing and routing.model_id_source == "declared":
        return routing.model_id
    return answer.model or (routing.deployment if routing else None)


def _metadata(answer: ChatCompletion) -> dict[str, Any]:
    message = answer.choices[0].message
    metadata = {
        **details_of(answer),
        "citations": [each.to_dict() for each in message.citations],
        STATE: message.state,
        REASONING: message.reasoning,
    }
    return {name: value for name, value in metadata.items() if value and name not in _ELSEWHERE}
