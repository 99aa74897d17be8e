"""Wrong credentials: logged, and refused more slowly the more of them there are."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

_log = logging.getLogger("azinfer.local")
# The number of wrong credentials, within some seconds, that are refused at once; after that each
# refusal waits twice as long, up to a limit. Right credentials never wait.
_FREE, _WINDOW = 10, 60.0
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 1.0


class FailedAttempts:
    """The wrong credentials of the last minute.

    Args:
        clock: Returns monotonic seconds.
        sleep: Waits for a number of seconds.
    """

    def __init__(
        self, clock: Callable[[], float], sleep: Callable[[float], Awaitable[Any]]
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._times: deque[float] = deque(maxlen=_FREE + 10)

    async def add(self, client: str, method: str, path: str) -> None:
        """Log a wrong credential, and wait before its refusal.

        Args:
            client: The address of the client.
            method: The method of the request.
            path: Its path.
        """
        now = self._clock()
        while self._times and self._times[0] <= now - _WINDOW:
            self._times.popleft()
        self._times.append(now)
        shown = path[:200].encode("unicode_escape").decode("ascii")
        _log.warning("wrong key from %s: %s %s", client, method, shown)
        if (beyond := len(self._times) - _FREE) > 0:
            await self._sleep(min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (beyond - 1)))

    def clear(self) -> None:
        """Forget all of them."""
        self._times.clear()
