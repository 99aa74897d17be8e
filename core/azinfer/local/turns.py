"""Turns: long work in the event loop, such as hundreds of streams, leaves room for others.

`asyncio.sleep(0)` gives way to everything that is ready, which is also all the other streams: with
500 of them a short request would wait for 500 slices of work each time that the loop turns.
"""

from __future__ import annotations

import asyncio
from collections import deque
from weakref import WeakKeyDictionary

# How many slices of work run each time that the event loop turns.
_AT_ONCE = 8


class _Turns:
    """Those who wait for their turn in one event loop, first come, first served."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self) -> None:
        turn = self._loop.create_future()
        if not self._waiting:
            self._loop.call_soon(self._grant)
        self._waiting.append(turn)
        await turn

    def _grant(self) -> None:
        for _ in range(min(_AT_ONCE, len(self._waiting))):
            turn = self._waiting.popleft()
            if not turn.done():  # its task may be cancelled
                turn.set_result(None)
        if self._waiting:
            self._loop.call_soon(self._grant)


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, _Turns] = WeakKeyDictionary()


async def take_turn() -> None:
    """Wait until this task may do another slice of work in the event loop."""
    loop = asyncio.get_running_loop()
    turns = _turns.get(loop)
    if turns is None:
        turns = _turns[loop] = _Turns(loop)
    await turns.take()
