"""Bulk work: any number of texts or requests, with the results as an iterator.

`client.embed_many` and `client.complete_many` begin it. The number of requests at once follows
from what the service accepts, failures are returned with their items, memory is bounded, and a
checkpoint continues interrupted work.

`run.py` decides everything by a clock; `threads.py` and `tasks.py` only send and wait.
"""

from azinfer.core.bulk.begin import begin, begin_async, estimate
from azinfer.core.bulk.jobs import CompletionJob, EmbeddingJob, Job
from azinfer.core.bulk.tasks import AsyncBulkResults
from azinfer.core.bulk.threads import BulkResults
from azinfer.core.bulk.values import BulkEstimate, BulkOptions, BulkProgress, BulkResult

__all__ = [
    "AsyncBulkResults",
    "BulkEstimate",
    "BulkOptions",
    "BulkProgress",
    "BulkResult",
    "BulkResults",
    "CompletionJob",
    "EmbeddingJob",
    "Job",
    "begin",
    "begin_async",
    "estimate",
]
