"""Affinity: calls that begin alike go to one deployment, whose prompt cache is warm for them."""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

_POINTS = 32  # places on the ring for each deployment of weight 1
_CACHED = 4096  # characters: a prompt cache begins at 1,024 tokens


class Ring:
    """Deployments on a ring, in places that stay the same when others come or go.

    Args:
        keys: The names of the deployments.
        weights: How much of the ring each has.
    """

    __slots__ = ("_count", "_owners", "_points")

    def __init__(self, keys: Sequence[str], weights: Sequence[float]) -> None:
        most = max(weights)
        points = sorted(
            (_hash(f"{key} {number}"), index)
            for index, key in enumerate(keys)
            for number in range(max(1, round(_POINTS * weights[index] / most)))
        )
        self._points = [point for point, _ in points]
        self._owners = [owner for _, owner in points]
        self._count = len(keys)

    def order(self, place: int, count: int) -> list[int]:
        """Return the indexes of the first deployments after a place."""
        at = bisect.bisect(self._points, place)
        order: list[int] = []
        while len(order) < min(count, self._count):
            owner = self._owners[at % len(self._owners)]
            if owner not in order:
                order.append(owner)
            at += 1
        return order


def affinity_of(
    mode: str, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
) -> int | None:
    """Return the place of a call on a ring, or None where it may go anywhere.

    Args:
        mode: `"key"`, `"prefix"` or `"off"`.
        messages: The conversation, in the wire form.
        options: The options of the call; its `prompt_cache_key` wins over its messages.
    """
    if mode == "off":
        return None
    if key := options.get("prompt_cache_key"):
        return _hash(str(key))
    if mode == "key" or not messages:
        return None
    return _hash(_prefix(messages))


def _prefix(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return what later calls of the same kind begin with, too.

    Instructions that are long enough to be cached decide alone; short ones with the first
    message after them, which stays the same while the conversation grows.
    """
    parts: list[str] = []
    size = 0
    for message in messages:
        instructs = message.get("role") in ("system", "developer")
        if not instructs and size >= _CACHED:
            break
        parts.append(f"{message.get('role')} {message.get('content')!r}")
        size += len(parts[-1])
        if not instructs:
            break
    return "\n".join(parts)


def _hash(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")
