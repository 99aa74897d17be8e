"""Exchanges: requests to an upstream and their responses, and which requests are equal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Parts = list[tuple[float, str]]
# Fields about the sender, not about the content; and how vectors are written, which is the
# choice of the client's library.
_IGNORED = frozenset(
    [
        *("user", "metadata", "store", "safety_identifier", "prompt_cache_key"),
        "encoding_format",
    ]
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request to an upstream and its response.

    Attributes:
        operation: The end of the path, for example `"chat/completions"`.
        body: The body of the request.
        status: The HTTP status of the response; 0 if there was none.
        headers: The headers of the response that are kept.
        parts: The parts of the body, each with the seconds from the request to its arrival.
        failed: How the connection failed after the last part; None if it did not.
    """

    operation: str
    body: Any
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    parts: Parts = field(default_factory=list)
    failed: str | None = None

    @property
    def key(self) -> str:
        """The key that equal requests have in common."""
        return key_of(self.operation, self.body)


def normal(body: Any) -> Any:
    """Return a body without fields that do not change the response."""
    if not isinstance(body, dict):
        return body
    return {
        name: value for name, value in body.items() if value is not None and name not in _IGNORED
    }


def key_of(operation: str, body: Any) -> str:
    """Return the key that equal requests have in common."""
    return json.dumps([operation, normal(body)], sort_keys=True)


def differences(recorded: Any, requested: Any, where: str = "") -> list[str]:
    """Return the fields in which two bodies differ, at most three of them."""
    if isinstance(recorded, dict) and isinstance(requested, dict):
        names = [*recorded, *(name for name in requested if name not in recorded)]
        pairs = [
            (f"{where}.{name}".strip("."), recorded.get(name), requested.get(name))
            for name in names
        ]
    elif (
        isinstance(recorded, list)
        and isinstance(requested, list)
        and len(recorded) == len(requested)
    ):
        both = zip(recorded, requested, strict=True)
        pairs = [(f"{where}[{at}]", *values) for at, values in enumerate(both)]
    else:
        if recorded == requested:
            return []
        return [f"{where}: recorded {_short(recorded)}, requested {_short(requested)}"]
    return [difference for at, old, new in pairs for difference in differences(old, new, at)][:3]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
