"""Concurrent embedding requests, sync and async."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from azinfer.core.embeddings import Embeddings, merge_embeddings
from azinfer.core.observation import Whole
from azinfer.core.waits import take_next

if TYPE_CHECKING:
    from queue import SimpleQueue

_AT_ONCE = 8


def embed_in_threads(
    embed: Callable[[Any], Embeddings], parts: Sequence[Any], whole: Whole | None
) -> Embeddings:
    """Return the embeddings of all parts together, with concurrent requests.

    Args:
        embed: Sends one request.
        parts: The texts, or the image, of each request.
        whole: The call for observers; None if nothing observes.
    """
    if whole is None:
        return _embed_in_threads(embed, parts)
    with whole:
        whole.value = answer = _embed_in_threads(embed, parts)
    return answer


def _embed_in_threads(embed: Callable[[Any], Embeddings], parts: Sequence[Any]) -> Embeddings:
    """Send the requests.

    The first error, or an interrupt, ends the whole call at once: requests under way continue in
    daemon threads until they end, and their answers are dropped.
    """
    if len(parts) < 2:
        return merge_embeddings([embed(part) for part in parts])
    import contextvars
    import queue
    import threading

    left: SimpleQueue[Any] = queue.SimpleQueue()
    ended: SimpleQueue[Any] = queue.SimpleQueue()
    for each in enumerate(parts):
        left.put(each)
    for number in range(min(_AT_ONCE, len(parts))):
        context, name = contextvars.copy_context(), f"azinfer-embed-{number}"
        work = (_embed_each, embed, left, ended)
        threading.Thread(target=context.run, args=work, name=name, daemon=True).start()
    answers: dict[int, Embeddings] = {}
    try:
        while len(answers) < len(parts):
            at, answer, error = take_next(ended)
            if error is not None:
                raise error
            answers[at] = answer
    finally:
        deque(_take_rest(left), 0)  # nothing further is sent
    return merge_embeddings([answers[at] for at in range(len(parts))])


def _embed_each(
    embed: Callable[[Any], Embeddings], left: SimpleQueue[Any], ended: SimpleQueue[Any]
) -> None:
    """Embed the parts that are left, one after the other."""
    for at, part in _take_rest(left):
        try:
            ended.put((at, embed(part), None))
        except BaseException as error:
            ended.put((at, None, error))


def _take_rest(left: SimpleQueue[Any]) -> Iterator[Any]:
    """Yield what is left in a queue, and remove it."""
    while not left.empty():
        try:
            item = left.get_nowait()
        except Exception:  # another thread took the last one  # pragma: no cover
            return
        yield item


async def embed_async(
    embed: Callable[[Any], Awaitable[Embeddings]], parts: Sequence[Any], whole: Whole | None
) -> Embeddings:
    """Do the same in one event loop."""
    if whole is None:
        return await _embed_async(embed, parts)
    with whole:
        whole.value = answer = await _embed_async(embed, parts)
    return answer


async def _embed_async(
    embed: Callable[[Any], Awaitable[Embeddings]], parts: Sequence[Any]
) -> Embeddings:
    import asyncio

    free = asyncio.Semaphore(_AT_ONCE)

    async def one(part: Any) -> Embeddings:
        async with free:
            return await embed(part)

    work = [asyncio.ensure_future(one(part)) for part in parts]
    try:
        return merge_embeddings(await asyncio.gather(*work))
    finally:
        for each in work:
            each.cancel()
        await asyncio.gather(*work, return_exceptions=True)
