"""Concurrent embedding requests, sync and async."""

from __future__ import annotations

from collections.abc import (
    Awaitable,
    Callable,
    Sequence,
)
from typing import Any

from azinfer.core.embeddings import Embeddings

_AT_ONCE = 8


def map_in_threads(embed: Callable[[Any], Embeddings], parts: Sequence[Any]) -> list[Embeddings]:
    """Return the embeddings of each part, with concurrent requests; the first error ends all."""
    if len(parts) < 2:
        return [embed(part) for part in parts]
    import contextvars
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(_AT_ONCE, len(parts)), "azinfer-embed") as threads:
        work = [threads.submit(contextvars.copy_context().run, embed, part) for part in parts]
        try:
            return [each.result() for each in work]
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise


async def map_async(
    embed: Callable[[Any], Awaitable[Embeddings]], parts: Sequence[Any]
) -> list[Embeddings]:
    """Do the same in one event loop."""
    import asyncio

    free = asyncio.Semaphore(_AT_ONCE)

    async def one(part: Any) -> Embeddings:
        async with free:
            return await embed(part)

    work = [asyncio.ensure_future(one(part)) for part in parts]
    try:
        return list(await asyncio.gather(*work))
    finally:
        for each in work:
            each.cancel()
        await asyncio.gather(*work, return_exceptions=True)
