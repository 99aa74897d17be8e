"""Request bodies as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from azinfer.core.completions import Json
from azinfer.core.errors import (
    ConfigurationError,
)


def encode_json(body: Json) -> bytes:
    """Return a body as JSON.

    Raises:
        ConfigurationError: A field cannot be sent; the message names it.
    """
    try:
        return _to_json(body).encode()
    except (TypeError, ValueError) as error:
        names = ", ".join(name for name, value in body.items() if not _is_json(value))
        raise ConfigurationError(f"{names} cannot be sent as JSON: {error}") from None


def _is_json(value: Any) -> bool:
    try:
        return bool(_to_json(value).encode())
    except (TypeError, ValueError):
        return False


def _plain(value: Any) -> Json:
    """Return any other mapping, like the tools of azure-ai-inference, as a dict."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} has no JSON form")


# With json, since msgspec would silently send bytes as base64, and NaN as null.
_to_json = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
).encode
