"""The clients: one sync, one async, which only open, send, wait and read."""

from __future__ import annotations

from collections.abc import (
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from typing import Any, Literal, Self, TypeAlias

from azinfer.core import calls
from azinfer.core.base_client import T, _Client
from azinfer.core.batching import _amap, _map
from azinfer.core.calls import Call
from azinfer.core.completions import ChatCompletion, Json, ModelInfo
from azinfer.core.deadline import Deadline
from azinfer.core.deployment_lists import next_page
from azinfer.core.deployments import Deployments
from azinfer.core.embeddings import Embeddings, batches, check_texts, joined, too_big
from azinfer.core.errors import (
    InferenceError,
)
from azinfer.core.messages import ChatMessage, Image, ImageInput, _images
from azinfer.core.network.request import Request
from azinfer.core.network.transport import AsyncConnections, Connections, Opened
from azinfer.core.retries import Timeout
from azinfer.core.streams import AsyncChatStream, ChatStream, _Reading
from azinfer.core.surfaces import CHAT, EMBEDDINGS, IMAGES, INFO

Kind: TypeAlias = Literal["query", "document"]


class InferenceClient(_Client):
    """One client for every deployment behind an endpoint, for sync code.

    May be used from many threads and after a fork; connections are shared by all clients of a
    process. The constructor does not touch the network. A pickle holds its credential by name
    (the environment's variable, `"entra"`, a module's function) and is refused for any other.

    Args:
        endpoint: Any URL that a portal or a sample shows: a resource, `…/models`,
            `…/openai/v1`, a deployment's own, a project (its resource is asked, which takes
            keys; its list of deployments takes tokens alone). Left out: the environment's
            AZURE_INFERENCE_ENDPOINT, AZURE_AI_ENDPOINT or AZURE_OPENAI_ENDPOINT.
        credential: A key, an object with `key` (AzureKeyCredential) or `get_token`
            (azure-identity), or a function that returns a token; `"env:NAME"` is the key in
            that variable, `"entra"` azure-identity's default. Left out: the environment.
        model: The deployment's name (any case) that calls go to when they name none.
        model_id: The model behind that deployment, for example `"gpt-4.1"`, where its name
            does not say.
        surface: The way to address deployments where the URL does not say: `"models"`, `"v1"`,
            `"deployments"`, `"serverless"`, `"managed"` or `"github"`.
        api_version: Sent instead of the surface's default.
        timeout: Seconds for each attempt, or a Timeout; None is its defaults.
        max_retries: How often a call is sent again after it failed in passing.
        headers: Sent with every request; they win over the client's own.
        http_client: An `httpx.Client` (or httpx2's) to send with; it stays yours to close.
        allow_http: Send the credential over plain HTTP to another machine.
        clock: Time and chance; for tests.
        environ: The environment; for tests.

    Raises:
        ConfigurationError: The endpoint is not understood, or there is no credential.

    Example:
        >>> from azinfer.core import InferenceClient, UserMessage
        >>> client = InferenceClient("https://contoso.services.ai.azure.com", "a-key")
        >>> client.endpoint.url
        'https://contoso.services.ai.azure.com/openai/v1'
    """

    _connections: Connections

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections; a later call opens new ones."""
        self._connections.close()

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
        """Ask one deployment for the next message of a conversation.

        Args:
            messages: The conversation so far, oldest first: typed messages or mappings of the
                wire form, mixed.
            model: The deployment's name, in any case; the client's own when left out.
            model_id: The model behind it, where neither its name nor the client says.
            timeout: Seconds for each attempt, or a Timeout, for this call.
            headers: Sent with this call besides the client's.
            **options: Anything the deployment understands, sent as it is (None is left out):
                temperature, max_tokens, tools, tool_choice (also a tool's name),
                response_format (also a JsonSchema, a pydantic model or a dataclass), …

        Raises:
            DeploymentNotFoundError: No deployment has this name.
            RateLimitError: Its rate limit is used up, and so are the retries.
            ContentFilterError: A content filter refused the prompt.
            APITimeoutError: No whole answer came in time.
            InferenceError: Everything else; the tree is at the top of `errors.py`.

        Example:
            `client.complete([UserMessage("Hello")], model="mistral-large").text`
        """
        return self._run(
            self._chat(messages, model, model_id, headers, options, stream=False), timeout
        )

    def stream(
        self,
        messages: Sequence[ChatMessage],
        *,
        model: str | None = None,
        model_id: str | None = None,
        timeout: float | Timeout | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> ChatStream:
        """Ask for the next message of a conversation and get it while it is written.

        Takes and raises what `complete` does; usage is asked for wherever the model takes that.
        While chunks are read, StreamInterruptedError says that the answer is not whole.
        """
        call = self._chat(messages, model, model_id, headers, options, stream=True)
        attempts = self._attempts(call, timeout)
        while True:
            secret = self._credential.secret(attempts.surface, attempts.scope, attempts.rejected)
            request, deadline = attempts.request(secret, stream=True)
            try:
                opened = self._connections.open(request, deadline)
                if opened.status >= 300:
                    body = b"".join(opened.parts)
                    raise attempts.refused(opened.status, opened.headers, body)
                reader = attempts.reader(opened.status, opened.headers, deadline)
                return ChatStream(opened, reader, attempts)
            except InferenceError as error:
                wait = attempts.after(error)
            self._clock.sleep(wait)

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
    ) -> Embeddings:
        """Turn texts into vectors, however many; they are sent in batches, several at once.

        Args:
            input: One text, or any number of them; none at all is no request.
            model: The deployment's name, in any case; the client's own when left out.
            model_id: The model behind it; it decides the size of a batch.
            kind: What the vectors are for: `"query"` or `"document"`. It is sent as `input_type`
                where both the model and the surface have that field, and left out elsewhere.
            timeout: Seconds for each attempt, or a Timeout, for each request.
            headers: Sent with each request besides the client's.
            **options: dimensions, input_type, encoding_format, …, sent as they are.

        Returns:
            Vectors of shape `(len(input), dimensions)`, in the order of `input`.

        Raises:
            InferenceError: Any request failed; nothing partial is returned.
        """
        texts = check_texts(input)
        target = self._target(EMBEDDINGS, model, model_id, headers)
        learned = self._learned_of(target)

        def embed(batch: list[str]) -> Embeddings:
            call = calls.embeddings(target, batch, options, learned, kind)
            try:
                return self._run(call, timeout)
            except InferenceError as error:
                if len(batch) == 1 or not too_big(error):
                    raise
            middle = len(batch) // 2
            return joined([embed(batch[:middle]), embed(batch[middle:])])

        return joined(_map(embed, batches(texts, target.profile)))

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
    ) -> Embeddings:
        """Turn images, each alone or with a text, into vectors; one request an image.

        Args:
            images: Bytes, paths or URLs, pairs of one of these and a text, or ImageInput.
            model: The deployment's name, in any case; the client's own when left out.
            model_id: The model behind it.
            kind: What the vectors are for: `"query"` or `"document"`. It is sent as `input_type`
                where both the model and the surface have that field, and left out elsewhere.
            timeout: Seconds for each attempt, or a Timeout, for each request.
            headers: Sent with each request besides the client's.
            **options: dimensions, input_type, encoding_format, …, sent as they are.

        Returns:
            Vectors of shape `(len(images), dimensions)`, in the order of `images`.

        Raises:
            ConfigurationError: The resource has no surface with this operation.
            InferenceError: Any request failed; nothing partial is returned.
        """
        target = self._target(IMAGES, model, model_id, headers)
        learned = self._learned_of(target)

        def embed(image: ImageInput) -> Embeddings:
            call = calls.image_embeddings(target, image, options, learned, kind)
            return self._run(call, timeout)

        return joined(_map(embed, _images(images)))

    def info(
        self,
        *,
        model: str | None = None,
        timeout: float | Timeout | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ModelInfo:
        """Ask which model answers, on the surfaces that say: models, serverless, managed.

        Args:
            model: The deployment's name, in any case; the client's own when left out.
            timeout: Seconds for each attempt, or a Timeout, for this call.
            headers: Sent with this call besides the client's.

        Raises:
            ConfigurationError: The resource has no surface with this operation.
        """
        return self._run(calls.info(self._target(INFO, model, None, headers)), timeout)

    def deployments(
        self, source: str | None = None, *, timeout: float | Timeout | None = None
    ) -> Deployments:
        """List the deployments of the resource, all pages of them.

        They are remembered: errors about a wrong name suggest from them, and requests are
        adapted to the models they name.

        Args:
            source: The URL of a Foundry project, or of an account in Azure Resource Manager
                (`https://management.azure.com/subscriptions/…/accounts/…`). Left out: the
                endpoint's project, else the resource's own list, which Azure no longer has
                everywhere.
            timeout: Seconds for each attempt, or a Timeout, for each page.

        Raises:
            ConfigurationError: There is no list to ask, or a key would go to another host.
            AuthenticationError: It is the list of a project, and the credential a key.
        """
        url: str | None
        url, scope = self._listing(source)
        pages: list[Json] = []
        while url:
            call = calls.listing(self._target(CHAT, None, None, None), url, scope)
            pages.append(self._run(call, timeout))
            url = next_page(pages, url)
        return self._listed(pages)

    def _run(self, call: Call[T], timeout: float | Timeout | None) -> T:
        attempts = self._attempts(call, timeout)
        while True:
            secret = self._credential.secret(attempts.surface, attempts.scope, attempts.rejected)
            request, deadline = attempts.request(secret)
            try:
                opened = self._connections.open(request, deadline)
                return attempts.answered(opened.status, opened.headers, b"".join(opened.parts))
            except InferenceError as error:
                wait = attempts.after(error)
            self._clock.sleep(wait)

    def _connect(self) -> None:
        transport = Connections(self._http_client, self._environ)
        self._connections = self._transports.setdefault("sync", transport)


class AsyncInferenceClient(_Client):
    """One client for every deployment behind an endpoint, for async code.

    May be used from several event loops one after another; connections are shared by all
    clients of a loop and close with it. Arguments and errors are those of InferenceClient;
    `http_client` is an `httpx.AsyncClient`, and credentials may be async.

    Example:
        `async with client.stream([UserMessage("Hello")], model="mistral-large") as chunks:`
    """

    _connections: AsyncConnections

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of the connections of this loop; a later call opens new ones."""
        await self._connections.close()

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
        """Ask one deployment for the next message of a conversation.

        The same as `InferenceClient.complete`, awaited.
        """
        return await self._run(
            self._chat(messages, model, model_id, headers, options, stream=False), timeout
        )

    def stream(
        self,
        messages: Sequence[ChatMessage],
        *,
        model: str | None = None,
        model_id: str | None = None,
        timeout: float | Timeout | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> AsyncChatStream:
        """Ask for the next message of a conversation and get it while it is written.

        The same as `InferenceClient.stream`, but sent when the stream is entered.
        """
        call = self._chat(messages, model, model_id, headers, options, stream=True)
        return AsyncChatStream(lambda: self._opened(call, timeout))

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
    ) -> Embeddings:
        """Turn texts into vectors, however many; they are sent in batches, several at once.

        The same as `InferenceClient.embed`, awaited.
        """
        texts = check_texts(input)
        target = self._target(EMBEDDINGS, model, model_id, headers)
        learned = self._learned_of(target)

        async def embed(batch: list[str]) -> Embeddings:
            call = calls.embeddings(target, batch, options, learned, kind)
            try:
                return await self._run(call, timeout)
            except InferenceError as error:
                if len(batch) == 1 or not too_big(error):
                    raise
            middle = len(batch) // 2
            return joined([await embed(batch[:middle]), await embed(batch[middle:])])

        return joined(await _amap(embed, batches(texts, target.profile)))

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
    ) -> Embeddings:
        """Turn images, each alone or with a text, into vectors; one request an image.

        The same as `InferenceClient.embed_images`, awaited.
        """
        target = self._target(IMAGES, model, model_id, headers)
        learned = self._learned_of(target)

        async def embed(image: ImageInput) -> Embeddings:
            return await self._run(
                calls.image_embeddings(target, image, options, learned, kind), timeout
            )

        return joined(await _amap(embed, _images(images)))

    async def info(
        self,
        *,
        model: str | None = None,
        timeout: float | Timeout | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ModelInfo:
        """Ask which model answers, on the surfaces that say: models, serverless, managed.

        The same as `InferenceClient.info`, awaited.
        """
        return await self._run(calls.info(self._target(INFO, model, None, headers)), timeout)

    async def deployments(
        self, source: str | None = None, *, timeout: float | Timeout | None = None
    ) -> Deployments:
        """List the deployments of the resource, all pages of them.

        The same as `InferenceClient.deployments`, awaited.
        """
        url: str | None
        url, scope = self._listing(source)
        pages: list[Json] = []
        while url:
            call = calls.listing(self._target(CHAT, None, None, None), url, scope)
            pages.append(await self._run(call, timeout))
            url = next_page(pages, url)
        return self._listed(pages)

    async def _run(self, call: Call[T], timeout: float | Timeout | None) -> T:
        attempts = self._attempts(call, timeout)
        while True:
            secret = await self._credential.asecret(
                attempts.surface, attempts.scope, attempts.rejected
            )
            request, deadline = attempts.request(secret)
            try:
                opened, body = await _in_time(self._exchanged, request, deadline)
                return attempts.answered(opened.status, opened.headers, body)
            except InferenceError as error:
                wait = attempts.after(error)
            await self._clock.asleep(wait)

    async def _exchanged(self, request: Request, deadline: Deadline) -> tuple[Opened, bytes]:
        opened = await self._connections.open(request, deadline)
        return opened, b"".join([part async for part in opened.parts])

    async def _opened(self, call: Call[Any], timeout: float | Timeout | None) -> _Reading:
        attempts = self._attempts(call, timeout)
        while True:
            secret = await self._credential.asecret(
                attempts.surface, attempts.scope, attempts.rejected
            )
            request, deadline = attempts.request(secret, stream=True)
            try:
                opened = await _in_time(self._connections.open, request, deadline)
                if opened.status >= 300:
                    body = b"".join([part async for part in opened.parts])
                    raise attempts.refused(opened.status, opened.headers, body)
                reader = attempts.reader(opened.status, opened.headers, deadline)
                return _Reading(opened, reader, attempts)
            except InferenceError as error:
                wait = attempts.after(error)
            await self._clock.asleep(wait)

    def _connect(self) -> None:
        transport = AsyncConnections(self._http_client, self._environ)
        self._connections = self._transports.setdefault("async", transport)


async def _in_time(
    work: Callable[[Request, Deadline], Awaitable[T]], request: Request, deadline: Deadline
) -> T:
    import asyncio

    try:
        async with asyncio.timeout(deadline.left()):
            return await work(request, deadline)
    except TimeoutError:
        pass
    raise deadline.passed()
