"""The operations of the async client, which only opens, sends, waits and reads.

The twin of `sync_operations.py`, whose docstrings say what each operation does.
"""

from __future__ import annotations

from collections.abc import (
    Callable,
    Coroutine,
    Mapping,
    Sequence,
)
from typing import TYPE_CHECKING, Any, TypeVar

from azinfer.core import lazy
from azinfer.core.attempts import CallAttempts
from azinfer.core.completions import ChatCompletion, ModelInfo
from azinfer.core.credentials import Keys, Secret
from azinfer.core.deadline import Deadline
from azinfer.core.deployments import Deployments
from azinfer.core.errors import APITimeoutError, AuthenticationError, InferenceError
from azinfer.core.messages import ChatMessage, Image, ImageInput, image_inputs
from azinfer.core.network import AsyncTransport, Request
from azinfer.core.observation import new_whole
from azinfer.core.operations import CallOptions, Kind, Operations, T
from azinfer.core.option_signatures import chat_call, embedding_call, parameters_of
from azinfer.core.retries import Timeout

if TYPE_CHECKING:
    from azinfer.core.streams import OpenStream

U = TypeVar("U")


class AsyncOperations(Operations):
    """The operations of `AsyncInferenceClient`."""

    _transport: AsyncTransport

    @parameters_of(chat_call)
    async def complete(
        self,
        messages: Sequence[ChatMessage],
        *,
        model: str | None = None,
        model_id: str | None = None,
        timeout: float | Timeout | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> ChatCompletion:
        """Return the next message of a conversation, written by the model of a deployment.

        The same as `InferenceClient.complete`, awaited.
        """
        call_options = CallOptions(model, model_id, timeout, headers, options)
        return await self._run(self._chat(messages, call_options, stream=False))

    @parameters_of(chat_call)
    def stream(
        self,
        messages: Sequence[ChatMessage],
        *,
        model: str | None = None,
        model_id: str | None = None,
        timeout: float | Timeout | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> lazy.AsyncChatStream:
        """Return the next message of a conversation as a stream, while the model writes it.

        The same as `InferenceClient.stream`, but sent when the stream is entered.
        """
        call_options = CallOptions(model, model_id, timeout, headers, options)
        attempts = self._chat(messages, call_options, stream=True)
        from azinfer.core.streams import AsyncChatStream  # loaded only by programs that stream

        return AsyncChatStream(lambda: self._run_hedged(self._open_stream, attempts))

    @parameters_of(embedding_call)
    async def embed(
        self,
        input: str | Sequence[str],
        *,
        model: str | None = None,
        model_id: str | None = None,
        kind: Kind | None = None,
        timeout: float | Timeout | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> lazy.Embeddings:
        """Return the vectors of any number of texts, sent in concurrent batches.

        The same as `InferenceClient.embed`, awaited.
        """
        # loaded only by programs that embed texts
        from azinfer.core.embedding_requests import embed_async
        from azinfer.core.embeddings import check_texts, is_size_error, merge_embeddings

        texts = check_texts(input)
        whole = new_whole()
        call_options = CallOptions(model, model_id, timeout, headers, options, kind, whole)

        async def embed(batch: list[str]) -> lazy.Embeddings:
            try:
                return await self._run(self._embedding(batch, call_options))
            except InferenceError as error:
                if len(batch) == 1 or not is_size_error(error):
                    raise
            middle = len(batch) // 2
            return merge_embeddings([await embed(batch[:middle]), await embed(batch[middle:])])

        return await embed_async(embed, self._batches(texts, call_options), whole)

    async def embed_images(
        self,
        images: Sequence[Image],
        *,
        model: str | None = None,
        model_id: str | None = None,
        kind: Kind | None = None,
        timeout: float | Timeout | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> lazy.Embeddings:
        """Return the vectors of images, each alone or with a text; one request for each.

        The same as `InferenceClient.embed_images`, awaited.
        """
        from azinfer.core.embedding_requests import embed_async

        whole = new_whole()
        call_options = CallOptions(model, model_id, timeout, headers, options, kind, whole)

        async def embed(image: ImageInput) -> lazy.Embeddings:
            return await self._run(self._image_embedding(image, call_options))

        return await embed_async(embed, image_inputs(images), whole)

    async def info(
        self,
        *,
        model: str | None = None,
        timeout: float | Timeout | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ModelInfo:
        """Return the model behind a deployment; only models, serverless and managed have this.

        The same as `InferenceClient.info`, awaited.
        """
        return await self._run(self._info(CallOptions(model, None, timeout, headers, {})))

    async def deployments(
        self, source: str | None = None, *, timeout: float | Timeout | None = None
    ) -> Deployments:
        """Return the deployments of the resource, from all pages of its list.

        The same as `InferenceClient.deployments`, awaited.
        """
        from azinfer.core.discovery import read_deployments, run_async

        client = self._at_default()
        reading = read_deployments(client, source)
        deployments: Deployments = await run_async(client, reading, timeout)
        return deployments

    async def rerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        model: str | None = None,
        top_n: int | None = None,
        timeout: float | Timeout | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> lazy.Reranking:
        """Rank documents by how well they answer a query.

        The same as `InferenceClient.rerank`, awaited.
        """
        call_options = CallOptions(model, None, timeout, headers, {"top_n": top_n, **options})
        return await self._run(self._reranking(query, documents, call_options))

    @property
    def files(self) -> lazy.AsyncFiles:
        """The files of the resource: upload, list, content and delete."""
        from azinfer.core.files import AsyncFiles  # loaded only by programs that use files

        return AsyncFiles(self._at_default())

    @property
    def batches(self) -> lazy.AsyncBatches:
        """The batches of the resource: create, wait and results."""
        from azinfer.core.batches import AsyncBatches  # loaded only by programs that use batches

        return AsyncBatches(self._at_default())

    async def _run(self, attempts: CallAttempts[T]) -> T:
        return await self._run_hedged(self._complete, attempts)

    async def _run_hedged(
        self, run: Callable[[CallAttempts[T]], Coroutine[Any, Any, U]], attempts: CallAttempts[T]
    ) -> U:
        if attempts.hedge is None:
            return await run(attempts)
        from azinfer.core.hedging import race_async  # only routes hedge

        return await race_async(run, attempts)

    async def _complete(self, attempts: CallAttempts[T]) -> T:
        try:
            while True:
                request, deadline = await self._next(attempts)
                try:
                    # No variable has the response, which tracebacks may show.
                    return attempts.value_of(*await self._transport.exchange(request, deadline))
                except InferenceError as error:
                    wait = attempts.wait_after(error)
                await self._clock.asleep(wait)
        finally:
            attempts.close()

    async def _open_stream(self, attempts: CallAttempts[Any]) -> OpenStream:
        from azinfer.core.streams import OpenStream

        try:
            while True:
                request, deadline = await self._next(attempts, stream=True)
                try:
                    response = await self._transport.open(request, deadline)
                    if response.status >= 300:
                        raise attempts.error_of(
                            response.status,
                            response.headers,
                            b"".join([part async for part in response.parts]),
                        )
                    reader = attempts.reader(response.status, response.headers, deadline)
                    stream = OpenStream(response, reader, attempts)
                    await stream.read_ahead()
                    return stream
                except InferenceError as error:
                    wait = attempts.wait_after(error)
                await self._clock.asleep(wait)
        except BaseException:
            attempts.close()
            raise

    async def _next(
        self, attempts: CallAttempts[Any], stream: bool = False
    ) -> tuple[Request, Deadline]:
        while True:
            while wait := attempts.ready():
                await self._clock.asleep(wait)
            try:
                secret = await _secret_in_time(attempts)
            except (AuthenticationError, APITimeoutError) as error:
                attempts.handle_failed_credential(error)
                continue
            if secret is not None:
                return attempts.request(secret, stream)
            attempts.handle_rejected_credential()

    def _connect(self) -> None:
        transport = AsyncTransport(self._http_client, self._environ)
        self._transport = self._transports.setdefault("async", transport)


async def _secret_in_time(attempts: CallAttempts[Any]) -> Secret | None:
    """Return the secret for the next request, within the time that the call has left."""
    credential = attempts.credential
    asking = credential.asecret(attempts.surface, attempts.scope, attempts.rejected)
    if isinstance(credential, Keys):
        return await asking  # which never waits
    import asyncio

    deadline = attempts.deadline(attempts.clock.monotonic())
    try:
        async with asyncio.timeout(deadline.remaining()) as limit:
            return await asking
    except TimeoutError:
        if not limit.expired():
            raise
    raise APITimeoutError(f"the credential returned no token within {deadline.seconds:g} seconds")
