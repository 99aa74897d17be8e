"""Clients that leave before their response: the work for them stops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from azinfer.local.api.context import RequestContext
from azinfer.local.wire.errors import client_left

# Quick work needs no watcher: after so many seconds it begins to watch.
_PATIENCE = 0.02
Result = TypeVar("Result")


async def stop_when_client_leaves(context: RequestContext, work: Awaitable[Result]) -> Result:
    """Return the result of some work, or cancel it when the client closes its connection.

    Streams need no such watcher: their sending fails.

    Raises:
        ErrorResponse: The client has left; nobody reads the error but the request log.
    """
    if not context.has_client:
        return await work
    task = asyncio.current_task()
    watcher: list[asyncio.Task[None]] = []
    has_left = False

    async def watch() -> None:
        nonlocal has_left
        while (await context.http.receive())["type"] != "http.disconnect":
            pass
        has_left = True
        if task is not None:
            task.cancel()

    loop = asyncio.get_running_loop()
    timer = loop.call_later(_PATIENCE, lambda: watcher.append(loop.create_task(watch())))
    try:
        return await work
    except asyncio.CancelledError:
        if not has_left or task is None or task.uncancel() > 0:
            raise
        raise client_left() from None
    finally:
        timer.cancel()
        for each in watcher:
            each.cancel()
