"""Families of models: what some refuse that others take, and tell that others do not.

A deployment behaves as the model that it says it is. Source: "Azure OpenAI reasoning models" and
"Embeddings" (which models take `dimensions`); the refusals as quoted in cline/cline#1700,
holoviz/lumen#1070 and gabrii/Cursor-Azure-GPT-5#33.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.wire.body import Json
from azinfer.local.wire.errors import bad_request, unsupported_parameter, unsupported_value
from azinfer.local.wire.surfaces import MODELS, SERVERLESS

_REASONING = re.compile(r"(?:o\d|gpt-5(?!.*-chat))", re.IGNORECASE)
_ONE_LENGTH = re.compile(
    r"text-embedding-ada-002|(?:cohere-)?embed-(?:v-?3|(?:english|multilingual)-v3)|"
    r"cohere-embed-v3",
    re.IGNORECASE,
)
# "Tutorial: Get started with DeepSeek-R1 reasoning model" and the recordings of
# azure-ai-inference's tests: what a stream costs is on the chunk that ends it, and with vLLM
# behind it on each.
_TELLS_AT_END = re.compile(r"mistral|ministral|codestral|pixtral|deepseek-r1", re.IGNORECASE)
_TELLS_ON_EACH = re.compile(r"phi-?\d", re.IGNORECASE)
_ONLY_DEFAULT: dict[str, float] = {
    "temperature": 1,
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
}


def reasons(model_name: str) -> bool:
    """Whether a model is one of the o-series or gpt-5, that think before they answer."""
    return _REASONING.match(model_name) is not None


def reports_usage(deployment: LocalDeployment, surface: str) -> Literal["each", "last"] | None:
    """On which chunks of a stream what the answer cost is told though nobody asked.

    Args:
        deployment: Of which deployment.
        surface: Through which surface.

    Returns:
        `"each"` of them, `"last"` of a choice, or None.
    """
    # What an engine that passes answers on has counted may only come after that chunk.
    if (
        surface not in (MODELS, SERVERLESS)
        or deployment.engine_capabilities.passes_requests_through
    ):
        return None
    if _TELLS_ON_EACH.match(deployment.model_name):
        return "each"
    return "last" if _TELLS_AT_END.match(deployment.model_name) else None


def check_chat(body: Json, deployment: LocalDeployment, surface: str) -> None:
    """Refuse what the model behind a deployment does not take in a chat.

    Raises:
        ErrorResponse: The answer names the field.
    """
    # An engine that passes the whole request on knows better what stands behind it.
    if body.get("logprobs") and not deployment.engine_capabilities.passes_requests_through:
        raise unsupported_parameter(surface, "logprobs", body["logprobs"])
    if not reasons(deployment.model_name):
        return
    if "max_tokens" in body:
        instead = "max_completion_tokens"
        raise unsupported_parameter(surface, "max_tokens", body["max_tokens"], instead)
    for name, default in _ONLY_DEFAULT.items():
        if body.get(name, default) != default:
            raise unsupported_value(name, body[name], default)


def check_response(body: Json, deployment: LocalDeployment, surface: str) -> None:
    """Refuse what the model behind a deployment does not take in a response.

    Raises:
        ErrorResponse: The answer names the field.
    """
    for name in ("temperature", "top_p") if reasons(deployment.model_name) else ():
        if name in body:
            raise unsupported_parameter(surface, name, body[name])


def check_embedding(
    body: Json, deployment: LocalDeployment, surface: str, length: Any = None
) -> None:
    """Refuse lengths that the model behind a deployment cannot give.

    Args:
        body: What was asked.
        deployment: Of whom.
        surface: Through which surface.
        length: How long its vectors are, once one is there.

    Raises:
        ErrorResponse: The answer names the field.
    """
    wanted = body.get("dimensions")
    if wanted is None:
        return
    if _ONE_LENGTH.match(deployment.model_name):
        raise unsupported_parameter(surface, "dimensions", wanted)
    if length is not None and wanted > length:
        message = (
            f"Invalid value for 'dimensions' = {wanted}. Must be less than or equal to {length}."
        )
        raise bad_request(surface, message, "dimensions")
