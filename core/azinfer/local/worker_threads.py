"""Worker threads: long computations outside the event loop, few at a time.

With only two threads, the event loop keeps its share of the interpreter, however many requests
wait.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


async def run_in_worker(function: Callable[..., Result], *args: object) -> Result:
    """Call a function in a worker thread and return its result."""
    work = functools.partial(function, *args)
    return await asyncio.get_running_loop().run_in_executor(_threads(), work)


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2, "azinfer-worker")
