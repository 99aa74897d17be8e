"""What models can do, by the model's name and not the deployment's.

Sources: "Foundry Models sold directly by Azure" and "Foundry Models from partners and
community", which list each model's tokens in and out, tool calling and response formats;
"Azure OpenAI reasoning models" for vision.
"""

from __future__ import annotations

import re

from langchain_core.language_models.model_profile import ModelProfile


def _profile(
    tokens_in: int,
    tokens_out: int | None = None,
    *,
    tools: bool = True,
    schema: bool = True,
    images: bool = False,
    reasoning: bool = False,
) -> ModelProfile:
    """A profile; `tokens_out` is None where the lists do not say it."""
    profile = ModelProfile(
        max_input_tokens=tokens_in,
        text_inputs=True,
        text_outputs=True,
        image_inputs=images,
        image_url_inputs=images,
        tool_calling=tools,
        tool_choice=tools,
        structured_output=schema,
        reasoning_output=reasoning,
    )
    if tokens_out is not None:
        profile["max_output_tokens"] = tokens_out
    return profile


def _text(tokens_in: int, tokens_out: int, **more: bool) -> ModelProfile:
    """The profile of a model that neither calls tools nor holds to schemas."""
    return _profile(tokens_in, tokens_out, tools=False, schema=False, **more)


# The first that matches the beginning of a name is right: the special before the general.
_PROFILES: tuple[tuple[str, ModelProfile], ...] = (
    (r"gpt-5-chat", _text(128_000, 16_384, images=True)),
    (r"gpt-5\.\d+-chat", _profile(111_616, 16_384, images=True, reasoning=True)),
    (r"gpt-5", _profile(272_000, 128_000, images=True, reasoning=True)),
    (r"gpt-oss", _profile(131_072, 131_072, reasoning=True)),
    (r"gpt-4\.1", _profile(1_047_576, 32_768, images=True)),
    (r"gpt-4o", _profile(128_000, 16_384, images=True)),
    (r"gpt-4-turbo", _profile(128_000, 4_096, schema=False, images=True)),
    (r"gpt-4-32k", _profile(32_768, 32_768, schema=False)),
    (r"gpt-4(?![\w.])", _profile(8_192, 8_192, schema=False)),
    (r"gpt-3\.?5-turbo", _profile(16_385, 4_096, schema=False)),
    (r"o1-mini", _text(128_000, 65_536, reasoning=True)),
    (r"o3-mini", _profile(200_000, 100_000, reasoning=True)),
    (r"o[134](?!\w)", _profile(200_000, 100_000, images=True, reasoning=True)),
    (r"model-router", _profile(200_000, images=True)),
    (r"mistral-medium", _profile(128_000, 128_000, images=True)),
    (r"mistral-large-3", _profile(128_000, images=True)),
    (r"mistral-small", _profile(32_768, 4_096)),
    (r"codestral", _text(262_144, 4_096)),
    (r"(?:mistralai-)?mixtral-8x22b", _text(64_000, 4_096)),
    (r"mistral|ministral", _profile(128_000, 4_096)),
    (r"deepseek-r1", _text(163_840, 163_840, reasoning=True)),
    (r"deepseek-v3\.1", _profile(131_072, 131_072, schema=False, reasoning=True)),
    (r"deepseek", _profile(131_072, 131_072, schema=False)),
    (r"llama-4-maverick", _profile(1_000_000, 1_000_000, schema=False, images=True)),
    (r"llama-4", _profile(128_000, 8_192, schema=False, images=True)),
    (r"llama-3\.2-\d+b-vision", _profile(128_000, 8_192, schema=False, images=True)),
    (r"(?:meta-)?llama", _profile(128_000, 8_192, schema=False)),
    (r"phi-4-multimodal", _text(131_072, 4_096, images=True)),
    (r"phi-4-mini-reasoning", _text(128_000, 128_000, reasoning=True)),
    (r"phi-4-reasoning", _text(32_768, 32_768, reasoning=True)),
    (r"phi-4-mini", _text(131_072, 4_096)),
    (r"phi-4", _text(16_384, 16_384)),
    (r"mai-ds-r1", _text(163_840, 163_840, reasoning=True)),
    (r"grok-4-fast-non", _profile(2_000_000, 2_000_000, schema=False, images=True)),
    (r"grok-4-fast", _profile(2_000_000, 2_000_000, schema=False, images=True, reasoning=True)),
    (r"grok-4|grok-code", _profile(256_000, 8_192, schema=False, reasoning=True)),
    (r"grok-3-mini", _profile(131_072, 131_072, schema=False, reasoning=True)),
    (r"grok", _profile(131_072, 131_072, schema=False)),
    (r"(?:cohere-)?command-a", _profile(131_072, 8_182, schema=False)),
    (r"(?:cohere-)?command", _profile(131_072, 4_096, schema=False)),
    (r"(?:ai21-)?jamba", _profile(262_144, 4_096)),
    (r"kimi-k2", _profile(262_144, 262_144, schema=False, reasoning=True)),
    (r"jais", _profile(8_192, 4_096, schema=False)),
    (r"tsuzumi", _text(8_192, 8_192)),
)


def profile_of_model(model: str | None) -> ModelProfile | None:
    """The profile of a model, for example `"gpt-4.1"` or `"openai/gpt-4.1"`; None if unknown."""
    name = (model or "").rpartition("/")[2]
    for start, profile in _PROFILES:
        if re.match(start, name, re.IGNORECASE):
            return ModelProfile(**profile)
    return None
