"""Spans of others: whether one of a framework stands for the same call already."""

from __future__ import annotations

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, Context, get_value
from opentelemetry.trace import Span

# Operations of the GenAI conventions, and of Semantic Kernel, that are one call of a model.
_MODEL_CALLS = (
    *("chat", "chat.completions", "text_completion", "text_completions"),
    *("generate_content", "embeddings", "text.completions"),
)
# The same, by the names of OpenInference and of OpenLLMetry.
_OTHERS = {
    "openinference.span.kind": ("LLM", "EMBEDDING", "RERANKER"),
    "llm.request.type": ("chat", "completion", "embedding", "rerank"),
}


def is_model_call(span: Span) -> bool:
    """Return whether a span stands for a call of a model.

    It is that of a framework or of another instrumentation, inside which the client is called.
    """
    attributes = getattr(span, "attributes", None)
    if not span.is_recording() or not attributes:
        return False
    if attributes.get("gen_ai.operation.name") in _MODEL_CALLS:
        return True
    return any(attributes.get(name) in values for name, values in _OTHERS.items())


def is_suppressed(context: Context) -> bool:
    """Return whether the program suppresses telemetry here."""
    return bool(get_value(_SUPPRESS_INSTRUMENTATION_KEY, context))
