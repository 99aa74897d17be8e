"""The operations of the sync client, which only opens, sends, waits and reads.

Its twin is `async_operations.py`: each operation of one is in the other too. What they share is
in `operations.py`, `calls.py` and `attempts.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from azinfer.core import lazy
from azinfer.core.attempts import CallAttempts
from azinfer.core.completions import ChatCompletion, ModelInfo
from azinfer.core.deadline import Deadline
from azinfer.core.deployments import Deployments
from azinfer.core.errors import APITimeoutError, AuthenticationError, InferenceError
from azinfer.core.messages import ChatMessage, Image, ImageInput, image_inputs
from azinfer.core.network import Request, Transport
from azinfer.core.observation import new_whole
from azinfer.core.operations import CallOptions, Kind, Operations, T
from azinfer.core.option_signatures import chat_call, embedding_call, parameters_of
from azinfer.core.retries import Timeout

U = TypeVar("U")


class SyncOperations(Operations):
    """The operations of `InferenceClient`."""

    _transport: Transport

    @parameters_of(chat_call)
    def complete(
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

        Args:
            messages: The conversation so far, oldest first: typed messages, mappings of the wire
                form, or both.
            model: The deployment's name, in any case; by default that of the client.
            model_id: The model behind it, if neither its name nor the client says so.
            timeout: Seconds for each attempt, or a Timeout; for this call.
            headers: Sent with this call, besides those of the client.
            **options: Any parameters of the deployment, sent as they are (None is left out):
                temperature, max_tokens, tools, tool_choice (also the name of a tool),
                response_format (also a JsonSchema, a pydantic model or a dataclass), …
                wire= and send_reasoning= are read here: the form of the conversation, and
                whether a model gets its earlier reasoning back on chat completions.

        Raises:
            DeploymentNotFoundError: No deployment has this name.
            RateLimitError: Its rate limit is used up, and so are all retries.
            ContentFilterError: A content filter refused the prompt.
            APITimeoutError: No complete response came in time.
            InferenceError: Any other error; the tree is at the top of `errors.py`.

        Example:
            `client.complete([UserMessage("Hello")], model="mistral-large").text`
        """
        call_options = CallOptions(model, model_id, timeout, headers, options)
        return self._run(self._chat(messages, call_options, stream=False))

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
    ) -> lazy.ChatStream:
        """Return the next message of a conversation as a stream, while the model writes it.

        Arguments and errors are those of `complete`. Usage is requested where the model
        supports it. Reading raises StreamInterruptedError if the response breaks off.
        """
        call_options = CallOptions(model, model_id, timeout, headers, options)
        return self._run_hedged(self._open_stream, self._chat(messages, call_options, stream=True))

    @parameters_of(embedding_call)
    def embed(
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

        Args:
            input: One text, or any number of them; an empty list sends no request.
            model: The deployment's name, in any case; by default that of the client.
            model_id: The model behind it, which decides the size of a batch.
            kind: What the vectors are for: `"query"` or `"document"`. It is sent as `input_type`
                where both the model and the surface have that field, and left out elsewhere.
            timeout: Seconds for each attempt, or a Timeout; for each request.
            headers: Sent with each request, besides those of the client.
            **options: dimensions, input_type, encoding_format, …, sent as they are.

        Returns:
            Vectors of shape `(len(input), dimensions)`, in the order of `input`.

        Raises:
            InferenceError: A request failed; no partial result is returned.
        """
        # loaded only by programs that embed texts
        from azinfer.core.embedding_requests import embed_in_threads
        from azinfer.core.embeddings import check_texts, is_size_error, merge_embeddings

        texts = check_texts(input)
        whole = new_whole()
        call_options = CallOptions(model, model_id, timeout, headers, options, kind, whole)

        def embed(batch: list[str]) -> lazy.Embeddings:
            try:
                return self._run(self._embedding(batch, call_options))
            except InferenceError as error:
                if len(batch) == 1 or not is_size_error(error):
                    raise
            middle = len(batch) // 2
            return merge_embeddings([embed(batch[:middle]), embed(batch[middle:])])

        return embed_in_threads(embed, self._batches(texts, call_options), whole)

    def embed_images(
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

        They come from Cohere's route of the resource, or from `/models` if that is missing.

        Args:
            images: Bytes, paths or URLs, pairs of one of these and a text, or ImageInput.
            model: The deployment's name, in any case; by default that of the client.
            model_id: The model behind it.
            kind: What the vectors are for: `"query"` or `"document"`. It is sent as `input_type`
                where both the model and the surface have that field, and left out elsewhere.
            timeout: Seconds for each attempt, or a Timeout; for each request.
            headers: Sent with each request, besides those of the client.
            **options: dimensions, input_type, encoding_format, …, sent as they are.

        Returns:
            Vectors of shape `(len(images), dimensions)`, in the order of `images`.

        Raises:
            ConfigurationError: The resource has no surface with this operation.
            InferenceError: A request failed; no partial result is returned.
        """
        from azinfer.core.embedding_requests import embed_in_threads

        whole = new_whole()
        call_options = CallOptions(model, model_id, timeout, headers, options, kind, whole)

        def embed(image: ImageInput) -> lazy.Embeddings:
            return self._run(self._image_embedding(image, call_options))

        return embed_in_threads(embed, image_inputs(images), whole)

    def info(
        self,
        *,
        model: str | None = None,
        timeout: float | Timeout | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ModelInfo:
        """Return the model behind a deployment; only models, serverless and managed have this.

        Args:
            model: The deployment's name, in any case; by default that of the client.
            timeout: Seconds for each attempt, or a Timeout; for this call.
            headers: Sent with this call, besides those of the client.

        Raises:
            ConfigurationError: The resource has no surface with this operation.
        """
        return self._run(self._info(CallOptions(model, None, timeout, headers, {})))

    def deployments(
        self, source: str | None = None, *, timeout: float | Timeout | None = None
    ) -> Deployments:
        """Return the deployments of the resource, from all pages of its list.

        They are remembered: errors about a wrong name suggest the nearest one, and requests
        are adapted to their models.

        Args:
            source: The URL of a Foundry project, or of an account in Azure Resource Manager
                (`https://management.azure.com/subscriptions/…/accounts/…`), or `"azure"` to
                find this account by the endpoint's host. By default the endpoint's project
                (`"project"`), else the resource's own list (`"classic"`), which Azure no longer has
                everywhere. Of an account, the list of models adds the days of retirement.
            timeout: Seconds for each attempt, or a Timeout, for each page.

        Raises:
            ConfigurationError: The endpoint has no list, or a key would be sent to another host.
            AuthenticationError: The list is that of a project, and the credential is a key.
        """
        from azinfer.core.discovery import read_deployments, run

        client = self._at_default()
        reading = read_deployments(client, source)
        deployments: Deployments = run(client, reading, timeout)
        return deployments

    def rerank(
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

        Args:
            query: The question.
            documents: The texts to rank.
            model: The deployment of a rerank model; by default that of the client.
            top_n: How many of the best to return; by default all.
            timeout: Seconds for each attempt, or a Timeout, for this call.
            headers: Sent with this call, besides those of the client.
            **options: max_tokens_per_doc, …, sent as they are.

        Raises:
            ConfigurationError: There are no documents, or the resource has no such route.
        """
        call_options = CallOptions(model, None, timeout, headers, {"top_n": top_n, **options})
        return self._run(self._reranking(query, documents, call_options))

    @property
    def files(self) -> lazy.Files:
        """The files of the resource: upload, list, content and delete."""
        from azinfer.core.files import Files  # loaded only by programs that use files

        return Files(self._at_default())

    @property
    def batches(self) -> lazy.Batches:
        """The batches of the resource: create, wait and results."""
        from azinfer.core.batches import Batches  # loaded only by programs that use batches

        return Batches(self._at_default())

    def _run(self, attempts: CallAttempts[T]) -> T:
        return self._run_hedged(self._complete, attempts)

    def _run_hedged(self, run: Callable[[CallAttempts[T]], U], attempts: CallAttempts[T]) -> U:
        if attempts.hedge is None:
            return run(attempts)
        from azinfer.core.hedging import race  # only routes hedge

        return race(run, attempts)

    def _complete(self, attempts: CallAttempts[T]) -> T:
        try:
            while True:
                request, deadline = self._next(attempts)
                try:
                    # No variable has the response, which tracebacks may show.
                    return attempts.value_of(*self._transport.exchange(request, deadline))
                except InferenceError as error:
                    wait = attempts.wait_after(error)
                self._clock.sleep(wait)
        finally:
            attempts.close()

    def _open_stream(self, attempts: CallAttempts[Any]) -> lazy.ChatStream:
        from azinfer.core.streams import ChatStream  # loaded only by programs that stream

        try:
            while True:
                request, deadline = self._next(attempts, stream=True)
                try:
                    head = self._transport.open(request, deadline)
                    if head.status >= 300:
                        raise attempts.error_of(head.status, head.headers, b"".join(head.parts))
                    reader = attempts.reader(head.status, head.headers, deadline)
                    stream = ChatStream(head, reader, attempts)
                    stream.read_ahead()
                    return stream
                except InferenceError as error:
                    wait = attempts.wait_after(error)
                self._clock.sleep(wait)
        except BaseException:
            attempts.close()
            raise

    def _next(self, attempts: CallAttempts[Any], stream: bool = False) -> tuple[Request, Deadline]:
        while True:
            while wait := attempts.ready():
                self._clock.sleep(wait)
            try:
                secret = attempts.credential.secret(
                    attempts.surface, attempts.scope, attempts.rejected
                )
            except (AuthenticationError, APITimeoutError) as error:
                attempts.handle_failed_credential(error)
                continue
            if secret is not None:
                return attempts.request(secret, stream)
            attempts.handle_rejected_credential()

    def _connect(self) -> None:
        transport = Transport(self._http_client, self._environ)
        self._transport = self._transports.setdefault("sync", transport)
