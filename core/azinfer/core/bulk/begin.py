"""The beginning of bulk work: the job, its checkpoint, its run, and the iterator of its results."""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, Iterable, Mapping, Sized
from dataclasses import replace
from typing import Any

from azinfer.core.bulk.checkpoint import Checkpoint
from azinfer.core.bulk.jobs import Job
from azinfer.core.bulk.parts import Planner
from azinfer.core.bulk.run import Run
from azinfer.core.bulk.tasks import AsyncBulkResults, AsyncWork
from azinfer.core.bulk.threads import BulkResults, Work
from azinfer.core.bulk.values import BulkEstimate, BulkOptions, Item, Value
from azinfer.core.errors import ConfigurationError
from azinfer.core.routes.demand import USUAL_ANSWER


def begin(
    client: Any, job: Job[Item, Value], items: Iterable[Item], options: BulkOptions
) -> BulkResults[Item, Value]:
    """Return the results of bulk work by a sync client."""
    planner, run = _prepare(client, job, items, options)
    work = Work(run, client._run, client._clock)
    return BulkResults(work, planner, items, options.on_progress)


def begin_async(
    client: Any,
    job: Job[Item, Value],
    items: Iterable[Item] | AsyncIterable[Item],
    options: BulkOptions,
) -> AsyncBulkResults[Item, Value]:
    """Return the results of bulk work by an async client."""
    planner, run = _prepare(client, job, items, options)
    work = AsyncWork(run, client._run, client._clock)
    return AsyncBulkResults(work, planner, items, options.on_progress)


def estimate(
    job: Job[Item, Value], items: Iterable[Item], batch_size: int | None = None
) -> BulkEstimate:
    """Return what bulk work would send, without sending anything."""
    planner = Planner(job, None, batch_size)
    requests = answers = unlimited = 0
    tokens = 0.0
    for item in items:
        limit = job.answer_limit(item)
        unlimited += limit is None
        answers += limit or 0
        for part in planner.add(item, math.inf):
            requests, tokens = requests + 1, tokens + part.tokens
    for part in planner.end():
        requests, tokens = requests + 1, tokens + part.tokens
    return BulkEstimate(
        items=planner.position,
        requests=requests,
        input_tokens=round(tokens) - answers - unlimited * USUAL_ANSWER,
        answer_tokens=answers,
        unlimited=unlimited,
    )


def _prepare(
    client: Any, job: Job[Item, Value], items: Any, options: BulkOptions
) -> tuple[Planner[Item, Value], Run[Item, Value]]:
    if isinstance(items, str):  # else each of its letters would be an item
        raise ConfigurationError(f"pass a list of items, not one text: {items[:50]!r}")
    if isinstance(items, bytes | Mapping) or not isinstance(items, Iterable | AsyncIterable):
        raise ConfigurationError(
            f"pass a list of items, or another iterable, not a value of the type "
            f"{type(items).__name__}"
        )
    if options.total is None and isinstance(items, Sized):
        options = replace(options, total=len(items))
    checkpoint = None
    if options.checkpoint is not None:
        checkpoint = Checkpoint(options.checkpoint, job.work)
    run = Run(job, options, checkpoint, client._clock)
    return Planner(job, checkpoint, options.batch_size), run
