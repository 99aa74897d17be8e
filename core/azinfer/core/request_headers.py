"""Headers that a request has besides those of the caller and of the credential."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from azinfer.core.calls import Target
from azinfer.core.completions import Json
from azinfer.core.surfaces import MANAGED
from azinfer.core.version import __version__

# The fields that the model inference API defines; others are extra parameters.
# Source: "Get chat completions", "Get embeddings", request body.
_DEFINED = frozenset(
    {
        *("messages", "model", "stream", "temperature", "top_p", "frequency_penalty"),
        *("presence_penalty", "max_tokens", "stop", "seed", "tools", "tool_choice"),
        *("response_format", "modalities", "user_security_context"),
        *("input", "dimensions", "encoding_format", "input_type"),
    }
)

# Extra parameters that the models surface accepts without the header.
_KNOWN_EXTRAS = frozenset({"stream_options"})

_STANDING = (
    ("accept", "application/json"),
    ("accept-encoding", "gzip, deflate"),
    ("user-agent", f"azinfer/{__version__} Python/{sys.version.split()[0]}"),
)

# Lets the model see the fields that the API does not define.
PASS_THROUGH = ("extra-parameters", "pass-through")
_PASS_THROUGH_MISSING = "when extra-parameters is not set"


def standing_headers(
    target: Target, body: Json | None, corrections: Mapping[str, str], *, stream: bool
) -> dict[str, str]:
    """Return the headers of a request that follow from what is sent and where.

    Args:
        target: Where it is sent.
        body: The body; None for a GET.
        corrections: What the model refused before.
        stream: Whether the response is to come as a stream.
    """
    headers = dict(_STANDING)
    if stream:
        headers["accept"] = "text/event-stream, application/json"
    if body is None:
        return headers
    headers["content-type"] = "application/json"
    surface = target.endpoint.surface
    if surface.extra_parameters and (extras := body.keys() - _DEFINED):
        name, value = PASS_THROUGH
        if name in corrections or extras - _KNOWN_EXTRAS:
            headers[name] = value
    if surface.name == MANAGED.name and target.model:
        headers["azureml-model-deployment"] = target.model
    return headers


def may_pass_through(target: Target, message: str) -> bool:
    """Return True if a refusal asks for the header that passes extra parameters through.

    A header of the caller counts: `drop` and `error` say what to do with such parameters.
    """
    name, _ = PASS_THROUGH
    is_set = any(header.lower() == name for header in target.headers)
    return (
        target.endpoint.surface.extra_parameters and not is_set and _PASS_THROUGH_MISSING in message
    )
