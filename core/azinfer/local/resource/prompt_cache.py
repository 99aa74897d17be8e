"""The prompt cache of Messages: which beginnings of prompts were sent before.

Source: "Prompt caching" of Anthropic's documentation: up to four breakpoints, five minutes or an
hour, and three numbers of the usage that add up to the prompt.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Prefix:
    """The beginning of a prompt up to a breakpoint.

    Attributes:
        key: A hash of its content.
        tokens: Its length.
        seconds: How long it stays in the cache after each use.
    """

    key: str
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class CacheUse:
    """How much of a prompt the cache had.

    Attributes:
        read: Tokens that were cached before.
        written: Tokens that are cached from now on.
        long_written: The part of `written` that stays for an hour.
    """

    read: int = 0
    written: int = 0
    long_written: int = 0


class PromptCache:
    """The beginnings of prompts that were sent recently.

    Args:
        clock: Returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}

    def use(self, prefixes: Sequence[Prefix]) -> CacheUse:
        """Look up the beginnings of one prompt, shortest first, and cache those that are new."""
        now = self._clock()
        cached = max((each.tokens for each in prefixes if self._has(each, now)), default=0)
        for each in prefixes:
            self._until.pop(each.key, None)
            self._until[each.key] = now + each.seconds
        while len(self._until) > _MOST:
            del self._until[next(iter(self._until))]
        if not prefixes:
            return CacheUse()
        written = prefixes[-1].tokens - cached
        return CacheUse(cached, written, written if prefixes[-1].seconds > 300 else 0)

    def clear(self) -> None:
        """Forget everything."""
        self._until.clear()

    def _has(self, prefix: Prefix, now: float) -> bool:
        return self._until.get(prefix.key, now) > now


def prefix_key(*parts: Any) -> str:
    """Return the key of the beginning of a prompt."""
    text = json.dumps(parts, sort_keys=True)
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=16).hexdigest()
