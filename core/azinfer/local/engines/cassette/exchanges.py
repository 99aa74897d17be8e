"""Exchanges: requests to an upstream and their answers, and what makes two requests the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Parts = list[tuple[float, str]]
# Fields that say who asks, not what.
_IGNORED = frozenset(["user", "metadata", "store", "safety_identifier", "prompt_cache_key"])


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request to an upstream and its answer.

    Attributes:
        operation: The end of the path, for example `"chat/completions"`.
        body: The body of the request.
        status: The HTTP status of the answer; 0 where there was none.
        headers: Headers of the answer that are kept.
        parts: The parts of its body, each with the seconds after the request at which it came.
        failed: How the connection failed after the last part; None where it ended well.
    """

    operation: str
    body: Any
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    parts: Parts = field(default_factory=list)
    failed: str | None = None

    @property
    def key(self) -> str:
        """What requests that are the same have in common."""
        return key_of(self.operation, self.body)


def normal(body: Any) -> Any:
    """A body without what makes no difference to the answer."""
    if not isinstance(body, dict):
        return body
    return {
        name: value for name, value in body.items() if value is not None and name not in _IGNORED
    }


def key_of(operation: str, body: Any) -> str:
    """What requests that are the same have in common."""
    return json.dumps([operation, normal(body)], sort_keys=True)


def differences(recorded: Any, asked: Any, where: str = "") -> list[str]:
    """The fields in which two bodies differ, at most three of them."""
    if isinstance(recorded, dict) and isinstance(asked, dict):
        names = [*recorded, *(name for name in asked if name not in recorded)]
        pairs = [
            (f"{where}.{name}".strip("."), recorded.get(name), asked.get(name)) for name in names
        ]
    elif isinstance(recorded, list) and isinstance(asked, list) and len(recorded) == len(asked):
        pairs = [
            (f"{where}[{at}]", *both) for at, both in enumerate(zip(recorded, asked, strict=True))
        ]
    else:
        if recorded == asked:
            return []
        return [f"{where}: recorded {_short(recorded)}, asked {_short(asked)}"]
    return [found for at, old, new in pairs for found in differences(old, new, at)][:3]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
