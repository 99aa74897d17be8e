"""Bodies of requests: the fields that operations accept, and how each is read and refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from azinfer.local.wire.errors import ErrorResponse, bad_request, extra_parameters
from azinfer.local.wire.surfaces import DEPLOYMENTS, SERVERLESS, V1

Json = dict[str, Any]

# "Get chat completions" and "Get embeddings" of the model inference API.
_DEFINED = frozenset(
    [
        "messages",
        "model",
        "stream",
        "temperature",
        "top_p",
        "frequency_penalty",
        "presence_penalty",
        "max_tokens",
        "stop",
        "seed",
        "tools",
        "tool_choice",
        "response_format",
        "modalities",
        "user_security_context",
    ]
)
# Beyond them, what the models route accepts without the header `extra-parameters`.
_KNOWN_EXTRAS = frozenset(
    [
        "stream_options",
        "n",
        "logprobs",
        "top_logprobs",
        "logit_bias",
        "user",
        "parallel_tool_calls",
        "max_completion_tokens",
        "reasoning_effort",
        "store",
        "metadata",
        "service_tier",
        "prediction",
    ]
)
CHAT = _DEFINED | _KNOWN_EXTRAS
# What OpenAI's own routes accept beyond them, and what else they accept but has no effect here.
OPENAI_CHAT = CHAT | frozenset(
    ["prompt_cache_key", "prompt_cache_retention", "safety_identifier", "verbosity"]
)
WITHOUT_EFFECT = frozenset(
    ["audio", "data_sources", "function_call", "functions", "web_search_options"]
)
EMBEDDINGS = frozenset(["input", "model", "dimensions", "encoding_format", "input_type", "user"])


class BodyReader:
    """Reads the fields of a body; a wrong field is an error in the dialect of the surface."""

    def __init__(self, body: Json, surface: str) -> None:
        self.body = body
        self.surface = surface

    @property
    def openai(self) -> bool:
        """Whether the surface is OpenAI's own API, and not the API of all models."""
        return self.surface in (V1, DEPLOYMENTS)

    def error(self, param: str, message: str, code: str = "") -> ErrorResponse:
        """Return the error for one field."""
        return bad_request(self.surface, message, param, code)

    def number(self, name: str, low: float, high: float, default: float) -> float:
        """Return a number within bounds, or the default."""
        value = self.body.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(name, f"Invalid type for '{name}': expected a number.", "invalid_type")
        if not low <= value <= high:
            raise self.error(
                name,
                f"Invalid '{name}': expected a value between {plain(low)} and {plain(high)}, got "
                f"{plain(value)}.",
            )
        return value

    def whole(self, name: str, low: int, high: int) -> int | None:
        """Return an integer within bounds, or None."""
        value = self.body.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(
                name, f"Invalid type for '{name}': expected an integer.", "invalid_type"
            )
        return int(self.number(name, low, high, 0))

    def boolean(self, name: str, default: bool = False) -> bool:
        """Return a boolean, or the default."""
        value = self.body.get(name)
        if value is not None and not isinstance(value, bool):
            raise self.error(
                name, f"Invalid type for '{name}': expected a boolean.", "invalid_type"
            )
        return default if value is None else value

    def text(self, name: str) -> str | None:
        """Return a text, or None."""
        value = self.body.get(name)
        if value is not None and not isinstance(value, str):
            message = f"Invalid type for '{name}': expected a string."
            raise self.error(name, message, "invalid_type")
        return value

    def table(self, name: str) -> Json:
        """Return an object; empty if it is missing."""
        value = self.body.get(name)
        if value is not None and not isinstance(value, dict):
            message = f"Invalid type for '{name}': expected an object."
            raise self.error(name, message, "invalid_type")
        return value or {}

    def choice(self, name: str, values: Sequence[str]) -> None:
        """Raise if a value is not one of those that exist."""
        value = self.text(name)
        if value is not None and value not in values:
            raise self.unsupported(name, value, values)

    def unsupported(self, name: str, value: Any, values: Sequence[str]) -> ErrorResponse:
        """Return the error for a value that does not exist."""
        known = ", ".join(f"'{each}'" for each in values)
        return self.error(name, f"Invalid value: {value!r}. Supported values are: {known}.")


def check_extras(
    body: Json, surface: str, header: str | None, strict: bool, known: frozenset[str]
) -> Json:
    """Return the body without unknown fields, or raise if the surface refuses them.

    Args:
        body: The body of the request.
        surface: Where it was sent.
        header: The value of the header `extra-parameters`.
        strict: Whether unknown fields are refused without the header, as the service does.
        known: The fields that the operation accepts.
    """
    if surface in (V1, DEPLOYMENTS):
        header = None
    if header not in (None, "error", "drop", "pass-through"):
        message = f"extra-parameters must be error, drop or pass-through, not '{header}'."
        raise bad_request(surface, message)
    # The API defines fewer fields than models accept; serverless endpoints enforce the definition.
    if header in ("error", "drop") or (strict and surface == SERVERLESS):
        known = known - _KNOWN_EXTRAS
    if header == "drop":
        return {name: value for name, value in body.items() if name in known}
    extras = sorted(name for name in body if name not in known)
    if extras and (header == "error" if header else strict):
        raise extra_parameters(surface, extras)
    return body


def plain(number: float) -> str:
    """Return a number as people write it: 1000000 and not 1e+06."""
    return f"{number:.0f}" if number % 1 == 0 and abs(number) < 1e15 else f"{number:g}"
