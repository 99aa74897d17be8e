"""What models can do, by the model's name and not the deployment's.

Source: "Foundry Models sold directly by Azure" and "Foundry Models from partners and
community", which list each model's tokens in and out, tool calling and response formats.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a model can do.

    Attributes:
        context_window: Tokens in and out of one answer; None where unknown.
        tools: Whether it calls tools.
        json_schema: Whether it holds an answer to a JSON Schema.
    """

    context_window: int | None = None
    tools: bool = True
    json_schema: bool = True


_MODELS: tuple[tuple[str, Abilities], ...] = (
    (r"gpt-?5", Abilities(400_000)),
    (r"gpt-4\.1", Abilities(1_047_576)),
    (r"gpt-4o", Abilities(128_000)),
    (r"o[134](?!\w)", Abilities(200_000)),
    (r"mistral|ministral|codestral", Abilities(128_000)),
    (r"deepseek-r1", Abilities(163_840, tools=False, json_schema=False)),
    (r"deepseek", Abilities(131_072, json_schema=False)),
    (r"(?:meta-)?llama-4", Abilities(1_000_000, json_schema=False)),
    (r"(?:meta-)?llama", Abilities(128_000, json_schema=False)),
    (r"phi-4-multimodal", Abilities(131_072, tools=False, json_schema=False)),
    (r"phi-4", Abilities(16_384, tools=False, json_schema=False)),
    (r"grok-4", Abilities(256_000)),
    (r"grok", Abilities(131_072)),
    (r"(?:cohere-)?command", Abilities(131_072)),
)


@lru_cache(maxsize=256)
def abilities_of(model: str | None) -> Abilities:
    """What a model can do, for example `"gpt-4.1"` or `"openai/gpt-4.1"`; all, if unknown."""
    name = (model or "").rpartition("/")[2]
    for start, abilities in _MODELS:
        if re.match(start, name, re.IGNORECASE):
            return abilities
    return Abilities()
