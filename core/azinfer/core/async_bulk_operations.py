"""Bulk operations of the async client, the twin of `sync_bulk_operations.py`."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from azinfer.core import lazy
from azinfer.core.async_operations import AsyncOperations
from azinfer.core.completions import ChatCompletion
from azinfer.core.many_signatures import ChatBulkCall, EmbeddingBulkCall
from azinfer.core.messages import ChatMessage
from azinfer.core.operations import CallOptions, Kind
from azinfer.core.option_signatures import parameters_of
from azinfer.core.retries import Timeout

Conversation: TypeAlias = Sequence[ChatMessage] | Mapping[str, Any]

Texts: TypeAlias = Iterable[str] | AsyncIterable[str]
Requests: TypeAlias = Iterable[Conversation] | AsyncIterable[Conversation]


class AsyncBulkOperations(AsyncOperations):
    """The bulk operations of `AsyncInferenceClient`."""

    @parameters_of(EmbeddingBulkCall[Texts]())
    def embed_many(
        self,
        texts: Texts,
        *,
        model: str | None = None,
        model_id: str | None = None,
        kind: Kind | None = None,
        timeout: float | Timeout | None = None,
        headers: Mapping[str, str] | None = None,
        ordered: bool = True,
        concurrency: int | None = None,
        checkpoint: str | Path | None = None,
        on_progress: lazy.OnProgress | None = None,
        total: int | None = None,
        patience: float = 600.0,
        batch_size: int | None = None,
        **options: Any,
    ) -> lazy.AsyncBulkResults[str, lazy.Vector]:
        """Return an async iterator over the vectors of any number of texts, in bounded memory.

        The same as `InferenceClient.embed_many`, for `async for`; the texts may come from an async
        iterable too.
        """
        from azinfer.core.bulk import BulkOptions, EmbeddingJob, begin_async

        client = self.with_options(max_retries=0)  # bulk work repeats requests itself
        job = EmbeddingJob(client, CallOptions(model, model_id, timeout, headers, options, kind))
        bulk = BulkOptions(
            ordered=ordered,
            concurrency=concurrency,
            checkpoint=checkpoint,
            on_progress=on_progress,
            total=total,
            patience=patience,
            batch_size=batch_size,
        )
        return begin_async(client, job, texts, bulk)

    @parameters_of(ChatBulkCall[Requests]())
    def complete_many(
        self,
        requests: Requests,
        *,
        model: str | None = None,
        model_id: str | None = None,
        timeout: float | Timeout | None = None,
        headers: Mapping[str, str] | None = None,
        ordered: bool = True,
        concurrency: int | None = None,
        checkpoint: str | Path | None = None,
        on_progress: lazy.OnProgress | None = None,
        total: int | None = None,
        patience: float = 600.0,
        **options: Any,
    ) -> lazy.AsyncBulkResults[Any, ChatCompletion]:
        """Return an async iterator over the completions of any number of conversations.

        The same as `InferenceClient.complete_many`, for `async for`; the requests may come from an
        async iterable too.
        """
        from azinfer.core.bulk import BulkOptions, CompletionJob, begin_async

        client = self.with_options(max_retries=0)
        job = CompletionJob(client, CallOptions(model, model_id, timeout, headers, options))
        bulk = BulkOptions(
            ordered=ordered,
            concurrency=concurrency,
            checkpoint=checkpoint,
            on_progress=on_progress,
            total=total,
            patience=patience,
        )
        return begin_async(client, job, requests, bulk)
