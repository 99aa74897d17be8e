"""The headers of requests: azinfer's own, and those of the caller and of the credential."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, TypeAlias

from azinfer.core.calls import Call, Target
from azinfer.core.completions import Json
from azinfer.core.credentials import Secret
from azinfer.core.network import SharedHeaders
from azinfer.core.surfaces import MANAGED
from azinfer.core.version import __version__

Pairs: TypeAlias = tuple[tuple[str, str], ...]

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

_GET: Pairs = (
    ("accept", "application/json"),
    ("accept-encoding", "gzip, deflate"),
    ("user-agent", f"azinfer/{__version__} Python/{sys.version.split()[0]}"),
)
_POST: Pairs = (*_GET, ("content-type", "application/json"))
_STREAM: Pairs = (("accept", "text/event-stream, application/json"), *_POST[1:])
_MOST_SHARED = 16  # sets of headers that are kept for a secret

# Lets the model see the fields that the API does not define.
PASS_THROUGH = ("extra-parameters", "pass-through")
_PASS_THROUGH_MISSING = "when extra-parameters is not set"


def shared_headers(
    call: Call[Any], body: Json | None, corrections: Mapping[str, str], secret: Secret, stream: bool
) -> SharedHeaders:
    """Return the headers of a request that other requests have too: all but its id.

    Args:
        call: What is sent, and where.
        body: The body as it was adapted; None for a GET.
        corrections: What the model refused before.
        secret: The secret of the request.
        stream: Whether the response is to come as a stream.
    """
    standing = _standing_headers(call.target, body, corrections, stream)
    of_wire: Pairs = call.wire.headers if call.wire else ()
    of_form: Pairs = (("content-type", call.upload.content_type),) if call.upload else ()
    of_caller = tuple(call.target.headers.items())
    key = (standing, of_wire, of_caller, of_form)
    shared: SharedHeaders | None = secret.shared.get(key)
    if shared is None:
        lower = ((name.lower(), value) for name, value in of_caller)
        pairs = dict((*standing, *secret.headers, *of_wire, *lower, *of_form))
        shared = SharedHeaders(pairs.items())
        if len(secret.shared) >= _MOST_SHARED:
            secret.shared.clear()
        secret.shared[key] = shared
    return shared


def _standing_headers(
    target: Target, body: Json | None, corrections: Mapping[str, str], stream: bool
) -> Pairs:
    """Return the headers that follow from what is sent and where."""
    if body is None:
        return _GET
    headers = _STREAM if stream else _POST
    surface = target.endpoint.surface
    if surface.extra_parameters and (extras := body.keys() - _DEFINED):
        name, _ = PASS_THROUGH
        if name in corrections or extras - _KNOWN_EXTRAS:
            headers = (*headers, PASS_THROUGH)
    if surface.name == MANAGED.name and target.model:
        headers = (*headers, ("azureml-model-deployment", target.model))
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
