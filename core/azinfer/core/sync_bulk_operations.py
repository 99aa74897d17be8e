"""Bulk operations of the sync client; the package `bulk` does the work, and is loaded at first use.

Its twin is `async_bulk_operations.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from azinfer.core import lazy
from azinfer.core.completions import ChatCompletion
from azinfer.core.many_signatures import ChatBulkCall, EmbeddingBulkCall
from azinfer.core.messages import ChatMessage
from azinfer.core.operations import CallOptions, Kind
from azinfer.core.option_signatures import parameters_of
from azinfer.core.retries import Timeout
from azinfer.core.sync_operations import SyncOperations

Conversation: TypeAlias = Sequence[ChatMessage] | Mapping[str, Any]
Texts: TypeAlias = Iterable[str]
Requests: TypeAlias = Iterable[Conversation]


class SyncBulkOperations(SyncOperations):
    """The bulk operations of `InferenceClient`."""

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
    ) -> lazy.BulkResults[str, lazy.Vector]:
        """Return an iterator over the vectors of any number of texts, in bounded memory.

        Args:
            texts: Any iterable, also a generator; it is read as results are taken.
            model: The deployment's name, in any case; by default that of the client.
            model_id: The model behind it, which decides the size of a request.
            kind: What the vectors are for, as in `embed`.
            timeout: Seconds for each attempt, or a Timeout; for each request.
            headers: Sent with each request, besides those of the client.
            ordered: Whether results come in the order of the texts; else as they are ready.
            concurrency: The number of requests at once. By default it follows from what
                the service accepts: from its refusals (429) and its `x-ratelimit-*` headers.
            checkpoint: A file that the first run creates and that stores every finished request.
                The same call continues from it, and pays for nothing twice.
            on_progress: Called with a BulkProgress after each request.
            total: The number of texts, for the progress, if the input has no length.
            patience: Seconds without a successful request, of failures or refusals, after which
                the run ends with the last error. A checkpoint continues it.
            batch_size: The most texts in one request, if that is less than the model accepts.
            **options: dimensions, input_type, encoding_format, …, sent as they are.

        Returns:
            An iterator over a BulkResult for each text. An error of one text is its `error`; the
            iterator raises only errors that end the work, which a checkpoint can continue.

        Raises:
            ConfigurationError: The checkpoint belongs to another input, model or options, or is
                in use.

        Example:
            ```
            for result in client.embed_many(lines, model="embed", checkpoint="lines.sqlite"):
                save(result.index, result.value)
            ```
        """
        from azinfer.core.bulk import BulkOptions, EmbeddingJob, begin  # loaded only by bulk work

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
        return begin(client, job, texts, bulk)

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
    ) -> lazy.BulkResults[Any, ChatCompletion]:
        """Return an iterator over the completions of any number of conversations.

        Args:
            requests: Any iterable of conversations: each is a list of messages, or a mapping with
                `messages` and options of its own, as for `batches.create`.
            model: The deployment, if a request does not name one.
            model_id: The model behind it.
            timeout: Seconds for each attempt, or a Timeout; for each request.
            headers: Sent with each request, besides those of the client.
            ordered: Whether results come in the order of the requests; else as they are ready.
            concurrency: The number of requests at once; by default it is found as in `embed_many`.
            checkpoint: A file that stores every finished request, as in `embed_many`.
            on_progress: Called with a BulkProgress after each request.
            total: The number of requests, for the progress, if the input has no length.
            patience: Seconds without success after which the run ends, as in `embed_many`.
            **options: Parameters of `complete`; those of a request win.

        Returns:
            An iterator over a BulkResult for each request, as for `embed_many`.

        Raises:
            ConfigurationError: The checkpoint belongs to another input, model or options, or is
                in use.

        Example:
            ```
            questions = ([UserMessage(f"Summarise: {text}")] for text in texts)
            for result in client.complete_many(questions, model="chat", max_tokens=100):
                print(result.error or result.value.text)
            ```
        """
        from azinfer.core.bulk import BulkOptions, CompletionJob, begin  # loaded only by bulk work

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
        return begin(client, job, requests, bulk)
