"""Options that chats and responses share on OpenAI's surfaces: their types, values and limits.

Source: "Create chat completion", "Create response" and "Metadata" of the Azure OpenAI v1 API. The
codes of the errors are those that programs quote in public, for example
`string_above_max_length` for a `prompt_cache_key` of more than 64 characters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from azinfer.local.wire.body import BodyReader, Json

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
VERBOSITIES = ("low", "medium", "high")
_VALUES = {
    "reasoning_effort": EFFORTS,
    "verbosity": VERBOSITIES,
    "service_tier": ("auto", "default", "flex", "scale", "priority"),
    "prompt_cache_retention": ("in_memory", "in-memory", "24h"),
    "truncation": ("auto", "disabled"),
}
_LONGEST = {"prompt_cache_key": 64, "safety_identifier": 64}
_BOOLEANS = ("store", "background")
_OBJECTS = ("metadata", "logit_bias", "stream_options", "prediction", "reasoning", "text")
_CHECKED = frozenset([*_VALUES, *_LONGEST, *_BOOLEANS, *_OBJECTS, "user", "modalities"])
_MOST_PAIRS, _LONGEST_KEY, _LONGEST_VALUE = 16, 64, 512
_HIGHEST_BIAS = 100


def check_shared_options(body: Json, surface: str) -> None:
    """Raise if the service refuses an option whatever the model.

    Raises:
        ErrorResponse: An option is not valid; the error names it.
    """
    fields = BodyReader(body, surface)
    if not fields.openai or _CHECKED.isdisjoint(body):
        return
    for name, values in _VALUES.items():
        fields.choice(name, values)
    for name, longest in _LONGEST.items():
        _check_length(fields, name, fields.text(name) or "", longest)
    fields.text("user")
    for name in _BOOLEANS:
        fields.boolean(name)
    for name in _OBJECTS:
        fields.table(name)
    _check_metadata(fields)
    _check_biases(fields)
    _check_stream_options(fields)
    _check_modalities(fields)


def check_nested(
    body: Json, surface: str, name: str, values: Mapping[str, tuple[str, ...]]
) -> None:
    """Raise if a field of a nested object has a value that does not exist.

    Args:
        body: The body of the request.
        surface: Where it was sent.
        name: The field that has the object.
        values: The values that exist, by the names of the object's fields.

    Raises:
        ErrorResponse: A value does not exist; the error names its field.
    """
    fields = BodyReader(body, surface)
    nested = fields.table(name)
    for key, known in values.items():
        if (value := nested.get(key)) is not None and value not in known:
            raise fields.unsupported(f"{name}.{key}", value, known)


def _check_length(fields: BodyReader, name: str, text: str, longest: int) -> None:
    if len(text) > longest:
        message = (
            f"Invalid '{name}': string too long. Expected a string with maximum length {longest}, "
            f"but got a string with length {len(text)} instead."
        )
        raise fields.error(name, message, "string_above_max_length")


def _check_metadata(fields: BodyReader) -> None:
    pairs = fields.table("metadata")
    if len(pairs) > _MOST_PAIRS:
        message = (
            f"Invalid 'metadata': too many properties. Expected an object with at most "
            f"{_MOST_PAIRS} properties, but got an object with {len(pairs)} properties instead."
        )
        raise fields.error("metadata", message, "object_above_max_properties")
    for key, value in pairs.items():
        _check_length(fields, "metadata", key, _LONGEST_KEY)
        place = f"metadata.{key}"
        if not isinstance(value, str):
            message = f"Invalid type for '{place}': expected a string."
            raise fields.error(place, message, "invalid_type")
        _check_length(fields, place, value, _LONGEST_VALUE)


def _check_biases(fields: BodyReader) -> None:
    for token, bias in fields.table("logit_bias").items():
        place = f"logit_bias.{token}"
        if not token.isdecimal():
            message = "Invalid key in 'logit_bias': expected the id of a token."
            raise fields.error("logit_bias", message, "invalid_type")
        if isinstance(bias, bool) or not isinstance(bias, int | float):
            message = f"Invalid type for '{place}': expected a number."
            raise fields.error(place, message, "invalid_type")
        if not -_HIGHEST_BIAS <= bias <= _HIGHEST_BIAS:
            above = bias > 0
            message = (
                f"Invalid '{place}': decimal {'above maximum' if above else 'below minimum'} "
                f"value. Expected a value {'<= ' if above else '>= -'}{_HIGHEST_BIAS}, but got "
                f"{bias} instead."
            )
            code = "decimal_above_max_value" if above else "decimal_below_min_value"
            raise fields.error(place, message, code)


def _check_stream_options(fields: BodyReader) -> None:
    for name, value in fields.table("stream_options").items():
        place = f"stream_options.{name}"
        if name not in ("include_usage", "include_obfuscation"):
            raise fields.error(place, f"Unknown parameter: '{place}'.", "unknown_parameter")
        if not isinstance(value, bool | None):
            message = f"Invalid type for '{place}': expected a boolean."
            raise fields.error(place, message, "invalid_type")


def _check_modalities(fields: BodyReader) -> None:
    wanted: Any = fields.body.get("modalities")
    if not isinstance(wanted, list | None):
        message = "Invalid type for 'modalities': expected an array of strings."
        raise fields.error("modalities", message, "invalid_type")
    for at, each in enumerate(wanted or ()):
        if each not in ("text", "audio"):
            raise fields.unsupported(f"modalities.{at}", each, ("text", "audio"))
