"""The clients: one sync, one async, which only open, send, wait and read."""

from __future__ import annotations

from collections.abc import (
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeAlias, TypeVar, cast

from azinfer.core import calls
from azinfer.core.calls import Attempts, Call, Target
from azinfer.core.clock import SYSTEM, Clock
from azinfer.core.completions import ChatCompletion, Json, ModelInfo
from azinfer.core.credentials import (
    Credential,
    Tokens,
    endpoint_from,
    refuse_to_pickle_secrets,
    source_of,
)
from azinfer.core.deployment_lists import from_pages, list_url, next_page, origin
from azinfer.core.deployments import Deployments
from azinfer.core.embeddings import Embeddings, batches, check_texts, joined, too_big
from azinfer.core.endpoints import Endpoint, is_loopback
from azinfer.core.errors import (
    APIConnectionError,
    APITimeoutError,
    ConfigurationError,
    InferenceError,
)
from azinfer.core.messages import ChatMessage, ImageInput, Source
from azinfer.core.model_profiles import profile_of
from azinfer.core.network.request import Deadline, Request
from azinfer.core.network.transport import AsyncConnections, Connections, Opened
from azinfer.core.retries import RetryBudget, Timeout
from azinfer.core.routing import Routing
from azinfer.core.streaming import ChatCompletionChunk, ChatReader
from azinfer.core.surfaces import CHAT, EMBEDDINGS, IMAGES, INFO, Surface

T = TypeVar("T")
Twin = TypeVar("Twin", bound="_Client")
_MAX_RETRIES = 2
Image: TypeAlias = Source | tuple[Source, str] | ImageInput

_AT_ONCE = 8


class _Client:
    """What both clients are made of; nothing here touches the network."""

    def __init__(
        self,
        endpoint: str | None = None,
        credential: Credential | None = None,
        model: str | None = None,
        *,
        model_id: str | None = None,
        surface: str | Surface | None = None,
        api_version: str | None = None,
        timeout: float | Timeout | None = None,
        max_retries: int = _MAX_RETRIES,
        headers: Mapping[str, str] | None = None,
        http_client: Any = None,
        allow_http: bool = False,
        clock: Clock = SYSTEM,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        url = endpoint or endpoint_from(environ)
        self.endpoint = Endpoint.parse(url, surface, api_version)
        self.model = model or self.endpoint.deployment
        self.model_id = model_id
        self.timeout = Timeout.of(timeout)
        self.max_retries = max_retries
        if self.endpoint.url.startswith("http:") and not (
            allow_http or is_loopback(self.endpoint.url)
        ):
            raise ConfigurationError(
                f"{self.endpoint.url} is not https, so the credential would travel in clear "
                "text; use https, or allow_http=True if the network is yours"
            )
        self._credential = source_of(credential, self.endpoint.url, environ, clock)
        self._headers = dict(headers or {})
        self._http_client = http_client
        self._clock = clock
        self._environ = environ
        self._declared = self._known = Deployments()
        self._learned: dict[tuple[str, str], dict[str, str]] = {}
        self._targets: dict[tuple[str, str | None, str | None], Target] = {}
        self._open_up()

    @classmethod
    def from_config(
        cls, path: str | Path = "azinfer.toml", *, endpoint: str | None = None, **named: Any
    ) -> Self:
        """A client for an endpoint of a configuration file, knowing what it says of deployments.

        Args:
            path: The file; its tables are `[endpoints.<name>]` (url, credential, surface,
                api_version, headers) and `[deployments."<name>@<endpoint>"]` (model_id,
                model_version, model_format, capacity_type, capacity, content_filter).
            endpoint: Which endpoint; left out, the file's `default`, or the only one.
            **named: What the constructor takes besides; it wins over the file.

        Raises:
            ConfigurationError: Something is wrong; the text has file, line, field and reason.
        """
        from azinfer.core.client_config import settings_from

        found = settings_from(path).endpoint(endpoint)
        given = ("credential", "surface", "api_version", "headers")
        client = cls(found.url, **{**{name: getattr(found, name) for name in given}, **named})
        client._declared = client._known = found.deployments
        return client

    def _open_up(self) -> None:
        self._budget = RetryBudget()
        self._twin: Any = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.endpoint.url!r}, model={self.model!r})"

    def __getstate__(self) -> dict[str, Any]:
        if self._http_client is not None:
            raise ConfigurationError("a client with an http_client of yours cannot be pickled")
        refuse_to_pickle_secrets([*self._headers, *(name for name, _ in self.endpoint.query)])
        return {
            **self.__dict__,
            "_connections": None,
            "_budget": None,
            "_environ": None,
            "_twin": None,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open_up()

    def __copy__(self) -> Self:
        copied = type(self).__new__(type(self))
        copied.__dict__.update(self.__dict__)
        copied._open_up()
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Everything inside is either never written to or meant to be shared.
        return self.__copy__()

    def _as(self, kind: type[Twin]) -> Twin:
        if isinstance(self, kind):
            return self
        if self._http_client is not None:
            raise ConfigurationError(
                f"this client sends with an http_client of yours, which {kind.__name__} cannot; "
                f"make a {kind.__name__} with one of its own"
            )
        if self._twin is None:
            twin = kind.__new__(kind)
            twin.__dict__.update(self.__dict__)
            twin._open_up()
            self._twin = twin
        return cast("Twin", self._twin)

    def to_sync(self) -> InferenceClient:
        """The same client for sync code, always the same one; itself, if it is that.

        Raises:
            ConfigurationError: It is another, and sends with an `http_client` of the caller.
        """
        return self._as(InferenceClient)

    def to_async(self) -> AsyncInferenceClient:
        """The same client for async code, always the same one; itself, if it is that.

        Raises:
            ConfigurationError: It is another, and sends with an `http_client` of the caller.
        """
        return self._as(AsyncInferenceClient)

    def explain(
        self, operation: str = CHAT, *, model: str | None = None, model_id: str | None = None
    ) -> Routing:
        """Tell where a request would go and why, and send nothing.

        Args:
            operation: `"chat/completions"`, `"embeddings"`, `"images/embeddings"` or `"info"`.
            model: The deployment's name; the client's own when left out.
            model_id: The model behind it.

        Raises:
            ConfigurationError: It would go nowhere.
        """
        target = self._target(operation, model, model_id, None)
        return target.routing(target.url(self._learned_of(target)))

    def _target(
        self,
        operation: str,
        model: str | None,
        model_id: str | None,
        headers: Mapping[str, str] | None,
    ) -> Target:
        key = (operation, model, model_id)
        target = self._targets.get(key)
        if target is None:
            name = model or self.model
            known, source = self._model_id_of(name, model_id)
            endpoint = self.endpoint.serving(operation)
            target = Target(
                endpoint, operation, name, profile_of(known), known, source, self._headers
            )
            self._targets[key] = target
        return replace(target, headers={**self._headers, **headers}) if headers else target

    def _model_id_of(self, name: str | None, model_id: str | None) -> tuple[str | None, str | None]:
        """The model behind a deployment, and how that is known."""
        same = (name or "").casefold() == (self.model or "").casefold()
        if declared := model_id or (self.model_id if same else None):
            return declared, "declared"
        if name and name in self._declared and (told := self._declared[name].model_name):
            return told, "declared"
        if name and name in self._known and (listed := self._known[name].model_name):
            return listed, "listed"
        return (name, "guessed") if profile_of(name).family else (None, None)

    def _attempts(self, call: Call[T], timeout: float | Timeout | None) -> Attempts[T]:
        return Attempts(
            call,
            self.timeout if timeout is None else Timeout.of(timeout),
            self.max_retries,
            self._budget,
            self._clock,
            self._known,
            self._learned_of(call.target),
        )

    def _learned_of(self, target: Target) -> dict[str, str]:
        key = (target.endpoint.surface.name, (target.model or "").casefold())
        return self._learned.setdefault(key, {})

    def _chat(
        self,
        messages: Sequence[ChatMessage],
        model: str | None,
        model_id: str | None,
        headers: Mapping[str, str] | None,
        options: Mapping[str, Any],
        *,
        stream: bool,
    ) -> Call[ChatCompletion]:
        if "stream" in options:
            raise ConfigurationError("stream= is no option: call client.stream(…) for a stream")
        target = self._target(CHAT, model, model_id, headers)
        return calls.chat(target, messages, options, self._learned_of(target), stream=stream)

    def _listing(self, source: str | None) -> tuple[str, str | None]:
        """The URL of a list of deployments, and the scope of a token for it."""
        url, scope = list_url(self.endpoint, source)
        if origin(url) != origin(self.endpoint.url) and not isinstance(self._credential, Tokens):
            raise ConfigurationError(
                f"{origin(url)} is another host than the endpoint's, and a key goes to no other; "
                "pass a credential of azure-identity to the client to list deployments there"
            )
        return url, scope

    def _listed(self, pages: list[Json]) -> Deployments:
        self._known = self._declared.over(from_pages(pages))
        self._targets.clear()
        return self._known


def ready_client(client: Twin, **given: Any) -> Twin:
    """A client that an adapter was given ready, once nothing stands beside it that it has itself.

    Args:
        client: The client.
        **given: What the adapter was given besides: endpoint, credential, timeout, max_retries,
            headers, surface, api_version. None, the usual max_retries, and what the client
            says itself count as left out.

    Raises:
        ConfigurationError: Something is given twice, so that one of the two would be ignored.
    """
    endpoint = client.endpoint
    own = {
        "endpoint": endpoint.url,
        "surface": endpoint.surface.name,
        "api_version": endpoint.api_version,
        "timeout": client.timeout,
        "max_retries": client.max_retries,
    }
    if given.get("timeout") is not None:
        given["timeout"] = Timeout.of(given["timeout"])
    if given.get("max_retries") == _MAX_RETRIES:
        given["max_retries"] = None
    twice = [name for name, value in given.items() if value not in (None, own.get(name))]
    if twice:
        raise ConfigurationError(f"client= has its own {', '.join(twice)}; give one or the other")
    return client


class ChatStream:
    """A streamed answer: iterate over its chunks, best in a `with` block.

    It is open when it is returned, and closes its connection at its end, when left early and
    when dropped. After an error in the middle nothing is sent again; the error's `partial` has
    what came.
    """

    def __init__(self, opened: Opened, reader: ChatReader, attempts: Attempts[Any]) -> None:
        self._opened = opened
        self._reader = reader
        self._chunks = _chunks(opened, reader, attempts)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[ChatCompletionChunk]:
        return self._chunks

    def __next__(self) -> ChatCompletionChunk:
        return next(self._chunks)

    @property
    def completion(self) -> ChatCompletion:
        """The answer as far as it came; whole once the last chunk was read."""
        return self._reader.completion()

    @property
    def routing(self) -> Routing | None:
        """Where the request went."""
        return self._reader.routing

    def close(self) -> None:
        """Close the connection; what was not read yet is lost."""
        self._chunks.close()
        self._opened.parts.close()


class AsyncChatStream:
    """A streamed answer: iterate over its chunks in an `async with` block.

    It opens on entering the block (or at its first chunk), and closes its connection at its
    end, when left early, when cancelled and when dropped. After an error in the middle nothing
    is sent again; the error's `partial` has what came.
    """

    def __init__(self, opening: Callable[[], Awaitable[_Reading]]) -> None:
        self._opening = opening
        self._reading: _Reading | None = None
        self._ready: Iterator[ChatCompletionChunk] = iter(())
        self._ended = False

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ChatCompletionChunk:
        opened, reader, attempts = self._reading or await self._open()
        try:
            while (chunk := next(self._ready, None)) is None:
                self._ready = iter(await self._more(opened, reader))
            return chunk
        except InferenceError as error:
            await self.aclose()
            raise attempts.described(_interrupted(error, reader)) from None

    @property
    def completion(self) -> ChatCompletion:
        """The answer as far as it came; whole once the last chunk was read."""
        return self._reader.completion()

    @property
    def routing(self) -> Routing | None:
        """Where the request went."""
        return self._reader.routing

    async def aclose(self) -> None:
        """Close the connection; what was not read yet is lost."""
        if self._reading is not None:
            self._ready, self._ended = iter(()), True
            await self._reading.opened.aclose()

    @property
    def _reader(self) -> ChatReader:
        if self._reading is None:
            raise ConfigurationError("the stream is not open yet: enter it with `async with`")
        return self._reading.reader

    async def _open(self) -> _Reading:
        if self._reading is None:
            self._reading = await self._opening()
        return self._reading

    async def _more(self, opened: Opened, reader: ChatReader) -> Iterable[ChatCompletionChunk]:
        """The chunks that the next part of the body brings, or its end."""
        # No generator, as in sync code: asyncio would close it and that of the body at once.
        if self._ended:
            raise StopAsyncIteration
        if not reader.done and (part := await anext(opened.parts, None)) is not None:
            return reader.feed(part)
        self._ended = True
        await opened.afinish()
        return reader.finish()


class _Reading(NamedTuple):
    """An open stream of async code."""

    opened: Opened
    reader: ChatReader
    attempts: Attempts[Any]


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
        timeout: float | Timeout | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Embeddings:
        """Turn texts into vectors, however many; they are sent in batches, several at once.

        Args:
            input: One text, or any number of them; none at all is no request.
            model: The deployment's name, in any case; the client's own when left out.
            model_id: The model behind it; it decides the size of a batch.
            timeout: Seconds for each attempt, or a Timeout, for each request.
            headers: Sent with each request besides the client's.
            **options: dimensions, input_type (`"query"`, `"document"`), encoding_format, …,
                sent as they are.

        Returns:
            Vectors of shape `(len(input), dimensions)`, in the order of `input`.

        Raises:
            InferenceError: Any request failed; nothing partial is returned.
        """
        texts = check_texts(input)
        target = self._target(EMBEDDINGS, model, model_id, headers)

        def embed(batch: list[str]) -> Embeddings:
            call = calls.embeddings(target, batch, options, self._learned_of(target))
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
        timeout: float | Timeout | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Embeddings:
        """Turn images, each alone or with a text, into vectors; one request an image.

        Args:
            images: Bytes, paths or URLs, pairs of one of these and a text, or ImageInput.
            model: The deployment's name, in any case; the client's own when left out.
            model_id: The model behind it.
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

        def embed(image: ImageInput) -> Embeddings:
            return self._run(calls.image_embeddings(target, image, options), timeout)

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

    def _open_up(self) -> None:
        super()._open_up()
        self._connections = Connections(self._http_client, self._environ)


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
        timeout: float | Timeout | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Embeddings:
        """Turn texts into vectors, however many; they are sent in batches, several at once.

        The same as `InferenceClient.embed`, awaited.
        """
        texts = check_texts(input)
        target = self._target(EMBEDDINGS, model, model_id, headers)

        async def embed(batch: list[str]) -> Embeddings:
            call = calls.embeddings(target, batch, options, self._learned_of(target))
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
        timeout: float | Timeout | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Embeddings:
        """Turn images, each alone or with a text, into vectors; one request an image.

        The same as `InferenceClient.embed_images`, awaited.
        """
        target = self._target(IMAGES, model, model_id, headers)

        async def embed(image: ImageInput) -> Embeddings:
            return await self._run(calls.image_embeddings(target, image, options), timeout)

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

    def _open_up(self) -> None:
        super()._open_up()
        self._connections = AsyncConnections(self._http_client, self._environ)


def _chunks(
    opened: Opened, reader: ChatReader, attempts: Attempts[Any]
) -> Generator[ChatCompletionChunk]:
    try:
        for part in opened.parts:
            yield from reader.feed(part)
            if reader.done:
                opened.finish()
                break
        yield from reader.finish()
    except InferenceError as error:
        raise attempts.described(_interrupted(error, reader)) from None
    finally:
        opened.parts.close()


def _interrupted(error: InferenceError, reader: ChatReader) -> InferenceError:
    """What went wrong in the middle of a stream, with what came before it."""
    if isinstance(error, APIConnectionError) and not isinstance(error, APITimeoutError):
        return reader.interrupted(error.message)
    return reader.failed(error)


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


def _map(embed: Callable[[Any], Embeddings], parts: Sequence[Any]) -> list[Embeddings]:
    """Each part's embeddings, several requests at once; the first error ends all."""
    if len(parts) < 2:
        return [embed(part) for part in parts]
    import contextvars
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(_AT_ONCE, len(parts)), "azinfer-embed") as threads:
        work = [threads.submit(contextvars.copy_context().run, embed, part) for part in parts]
        try:
            return [each.result() for each in work]
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise


async def _amap(
    embed: Callable[[Any], Awaitable[Embeddings]], parts: Sequence[Any]
) -> list[Embeddings]:
    """The same in one event loop."""
    import asyncio

    free = asyncio.Semaphore(_AT_ONCE)

    async def one(part: Any) -> Embeddings:
        async with free:
            return await embed(part)

    work = [asyncio.ensure_future(one(part)) for part in parts]
    try:
        return list(await asyncio.gather(*work))
    finally:
        for each in work:
            each.cancel()
        await asyncio.gather(*work, return_exceptions=True)


def _images(images: Sequence[Image]) -> list[ImageInput]:
    if isinstance(images, str | bytes | Path | ImageInput):
        raise ConfigurationError("images is one image; give a list, like [Path('cat.png')]")
    return [_image(image) for image in images]


def _image(image: Image) -> ImageInput:
    if isinstance(image, ImageInput):
        return image
    return ImageInput(*image) if isinstance(image, tuple) else ImageInput(image)
