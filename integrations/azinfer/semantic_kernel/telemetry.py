"""More attributes of spans: the deployment, the model that answers, and all options.

Semantic Kernel writes the model of its service, even if a request names another deployment, and
leaves out options that are zero or have other names in its own settings. The names are those of
OpenTelemetry's conventions for generative AI.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.trace import INVALID_SPAN, Span, get_current_span
from semantic_kernel.utils.telemetry.model_diagnostics.decorators import (
    are_model_diagnostics_enabled,
)

from azinfer.core import ChatCompletion
from azinfer.semantic_kernel.connection import PROVIDER

_OPTIONS = {
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "max_tokens": "gen_ai.request.max_tokens",
    "n": "gen_ai.request.choice.count",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
}


def annotate_span(operation: str, deployment: str, options: Mapping[str, Any]) -> Span:
    """Return Semantic Kernel's span of a request, after adding the request's options.

    It records nothing if Semantic Kernel's telemetry is off.

    Args:
        operation: The operation, by its name in the conventions.
        deployment: The deployment of the request.
        options: The options of the request, by their names on the wire.
    """
    # Without telemetry the current span is the caller's own.
    span = get_current_span() if are_model_diagnostics_enabled() else INVALID_SPAN
    span.update_name(f"{operation} {deployment}")
    span.set_attributes({"gen_ai.provider.name": PROVIDER, "gen_ai.request.model": deployment})
    if stop := options.get("stop"):
        texts = [stop] if isinstance(stop, str) else stop
        span.set_attribute("gen_ai.request.stop_sequences", texts)
    for name in _OPTIONS.keys() & options.keys():
        span.set_attribute(_OPTIONS[name], options[name])
    return span


def describe_answer(span: Span, answer: ChatCompletion) -> None:
    """Add to a span the model that answered, why the answers ended, and their usage."""
    routing, usage = answer.routing, answer.usage
    ends = [choice.finish_reason or "" for choice in answer.choices]
    attributes = {
        "gen_ai.response.model": answer.model or (routing and routing.model_id),
        "gen_ai.response.finish_reasons": ends,
        "gen_ai.usage.cache_read.input_tokens": usage and usage.cached_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage and usage.reasoning_tokens,
    }
    span.set_attributes({name: value for name, value in attributes.items() if value})
