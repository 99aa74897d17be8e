"""Bulk work of a sync or an async client, and a server that answers it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from azinfer.core.bulk import BulkResult
from client_driver import ClientDriver
from raw_server import chat, reply, vectors


def echo(request: Any) -> Any:
    """Each text is a number; its vector is that number."""
    return reply(vectors(*([float(text), 1.0] for text in request.json["input"])))


def echo_chat(request: Any) -> Any:
    """The answer is the question."""
    return reply(chat(request.json["messages"][-1]["content"]))


def results_of(
    driver: ClientDriver, method: str, items: Any, most: int | None = None, **named: Any
) -> list[BulkResult[Any, Any]]:
    """Return all results, or the first ones."""
    many = getattr(driver.client, method)(items, **named)
    if driver.kind == "sync":
        with many:
            return list(itertools.islice(many, most))

    async def collect() -> list[BulkResult[Any, Any]]:
        results = []
        async with many:
            async for result in many:
                results.append(result)
                if len(results) == most:
                    break
        return results

    collected: list[BulkResult[Any, Any]] = driver.run(collect())
    return collected


def numbers(results: Iterable[BulkResult[Any, Any]]) -> list[Any]:
    """Return the first number of each vector."""
    return [result.value and result.value[0] for result in results]


def texts_of(results: Iterable[BulkResult[Any, Any]]) -> list[Any]:
    """Return the text of each completion."""
    return [result.value and result.value.text for result in results]
