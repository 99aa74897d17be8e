"""Clients that leave before their response: the work for them stops."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from azinfer.local.api.context import RequestContext
from azinfer.local.wire.errors import client_left

# Where the ASGI scope has the `Departure` of the connection.
DEPARTURE = "azinfer.departure"
Result = TypeVar("Result")


class Departure:
    """Whether the client of a connection has left, and what stops then.

    Attributes:
        has_left: Whether it has left.
        tasks: The tasks that are cancelled when it leaves.
    """

    def __init__(self) -> None:
        self.has_left = False
        self.tasks: set[asyncio.Task[Any]] = set()

    def leave(self) -> None:
        """Cancel the work for the client."""
        self.has_left = True
        for task in self.tasks:
            task.cancel()


async def stop_when_client_leaves(
    context: RequestContext, work: Coroutine[Any, Any, Result]
) -> Result:
    """Return the result of some work, or cancel it when the client closes its connection.

    Streams need no such watcher: their sending fails.

    Raises:
        ErrorResponse: The client has left; nobody reads the error but the request log.
    """
    departure: Departure | None = context.http.scope.get("extensions", {}).get(DEPARTURE)
    task = asyncio.current_task()
    if not context.has_client or departure is None or task is None:
        return await work
    if departure.has_left:
        work.close()
        raise client_left()
    departure.tasks.add(task)
    try:
        return await work
    except asyncio.CancelledError:
        if not departure.has_left or task.uncancel() > 0:
            raise
        raise client_left() from None
    finally:
        departure.tasks.discard(task)
