"""A model's facts in the form of LangChain's model profiles."""

from __future__ import annotations

from typing import Any, cast

from langchain_core.language_models.model_profile import ModelProfile

from azinfer.core import ModelFacts


def to_model_profile(facts: ModelFacts) -> ModelProfile | None:
    """Return the profile of a model, with known facts only; None if the model is unknown."""
    if not facts.name:
        return None
    images = "image" in facts.inputs if facts.inputs else None
    profile: dict[str, Any] = {
        "max_input_tokens": facts.max_input or facts.context_window,
        "max_output_tokens": facts.max_output,
        "text_inputs": True,
        "text_outputs": "text" in facts.outputs if facts.outputs else None,
        "image_inputs": images,
        "image_url_inputs": images,
        "audio_inputs": "audio" in facts.inputs if facts.inputs else None,
        "audio_outputs": "audio" in facts.outputs if facts.outputs else None,
        "tool_calling": facts.tools,
        "tool_choice": facts.tools,
        "structured_output": facts.json_schema,
        "reasoning_output": facts.reasoning,
    }
    known = {name: value for name, value in profile.items() if value is not None}
    return cast("ModelProfile", known)
