"""What models can do, by the model's name and not the deployment's.

Source: "Foundry Models sold directly by Azure" and "Foundry Models from partners and
community", which list each model's tokens in and out, tool calling and response formats.
"""

from __future__ import annotations

import re

from langchain_core.language_models.model_profile import ModelProfile


def _profile(
    tokens_in: int,
    tokens_out: int,
    *,
    tools: bool = True,
    schema: bool = True,
    images: bool = False,
    reasoning: bool = False,
) -> ModelProfile:
    return ModelProfile(
        max_input_tokens=tokens_in,
        max_output_tokens=tokens_out,
        text_inputs=True,
        text_outputs=True,
        image_inputs=images,
        image_url_inputs=images,
        tool_calling=tools,
        tool_choice=tools,
        structured_output=schema,
        reasoning_output=reasoning,
    )


_PROFILES: tuple[tuple[str, ModelProfile], ...] = (
    (r"gpt-?5", _profile(272_000, 128_000, images=True, reasoning=True)),
    (r"gpt-4\.1", _profile(1_047_576, 32_768, images=True)),
    (r"gpt-4o", _profile(128_000, 16_384, images=True)),
    (r"o[134](?!\w)", _profile(200_000, 100_000, images=True, reasoning=True)),
    (r"mistral-(?:small|medium)", _profile(128_000, 4_096, images=True)),
    (r"mistral|ministral|codestral", _profile(128_000, 4_096)),
    (r"deepseek-r1", _profile(163_840, 163_840, tools=False, schema=False, reasoning=True)),
    (r"deepseek", _profile(131_072, 131_072, schema=False)),
    (r"(?:meta-)?llama-4", _profile(1_000_000, 8_192, schema=False, images=True)),
    (r"(?:meta-)?llama-3\.2-\d+b-vision", _profile(128_000, 8_192, schema=False, images=True)),
    (r"(?:meta-)?llama", _profile(128_000, 8_192, schema=False)),
    (r"phi-4-multimodal", _profile(131_072, 4_096, tools=False, schema=False, images=True)),
    (r"phi-4", _profile(16_384, 16_384, tools=False, schema=False)),
    (r"grok-4", _profile(256_000, 128_000, images=True, reasoning=True)),
    (r"grok", _profile(131_072, 131_072)),
    (r"(?:cohere-)?command", _profile(131_072, 4_096)),
)


def profile_of_model(model: str | None) -> ModelProfile | None:
    """The profile of a model, for example `"gpt-4.1"` or `"openai/gpt-4.1"`; None if unknown."""
    name = (model or "").rpartition("/")[2]
    for start, profile in _PROFILES:
        if re.match(start, name, re.IGNORECASE):
            return ModelProfile(**profile)
    return None
