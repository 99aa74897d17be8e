"""The two clients: one for sync code, one for async code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from azinfer.core.async_bulk_operations import AsyncBulkOperations
from azinfer.core.base_client import MAX_RETRIES, ClientT
from azinfer.core.deployments import Deployments
from azinfer.core.errors import ConfigurationError
from azinfer.core.redaction import hidden
from azinfer.core.retries import Timeout
from azinfer.core.sync_bulk_operations import SyncBulkOperations


class InferenceClient(SyncBulkOperations):
    """One client for every deployment behind an endpoint, for sync code.

    It can be used from many threads and after a fork, and all clients of a process share their
    connections. The constructor does not touch the network. A client can be pickled if its
    credential is a name: a variable of the environment, `"entra"` or a function of a module.

    Args:
        endpoint: Any URL that a portal or a sample shows: a resource, `…/models`,
            `…/openai/v1`, the URL of a deployment, or a project (requests go to its resource,
            which accepts keys; only its list of deployments needs a token). By default the
            variable AZURE_INFERENCE_ENDPOINT, AZURE_AI_ENDPOINT or AZURE_OPENAI_ENDPOINT.
        credential: A key, an object with `key` (AzureKeyCredential) or `get_token`
            (azure-identity), or a function that returns a token; `"env:NAME"` is the key in
            that variable, `"entra"` is azure-identity's default credential. By default the key
            in the environment. A function runs in the thread of the call, which waits for it
            however long it takes; an async one, for async clients, is stopped at the time limit.
        model: The deployment's name, in any case, for calls that do not pass one.
        model_id: The model behind that deployment, for example `"gpt-4.1"`, if its name does
            not say so.
        surface: The way to address deployments, if the URL does not say so: `"models"`, `"v1"`,
            `"deployments"`, `"serverless"` or `"managed"`.
        api_version: Sent instead of the surface's default.
        wire: The form of conversations: `"chat"`, `"responses"` or `"messages"`. Left out, it is
            learned from the service's refusals and known for many models.
        timeout: Seconds for each attempt, or a Timeout; None is its defaults.
        max_retries: How often a call is sent again after a temporary failure; on a route,
            `attempts` of its policy counts instead.
        headers: Sent with every request; they replace headers of the client itself.
        http_client: An `httpx.Client` (or one of httpx2) to send with; the caller closes it.
        allow_http: Send the credential over plain HTTP to another machine.
        clock: Time and chance; for tests.
        environ: The environment; for tests.

    Raises:
        ConfigurationError: The endpoint is not valid, or there is no credential.

    Example:
        >>> from azinfer.core import InferenceClient, UserMessage
        >>> client = InferenceClient("https://contoso.services.ai.azure.com", "a-key")
        >>> client.endpoint.url
        'https://contoso.services.ai.azure.com/openai/v1'
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The client can be used again."""
        self._transport.close()

    def discover(
        self, *, max_age: float = 3600.0, timeout: float | Timeout | None = None
    ) -> dict[str, Deployments]:
        """Return the deployments of each endpoint that has `discover` in `azinfer.toml`.

        They are listed and remembered for all clients of this process: names resolve to them, and
        routes use their facts, each with its source. An endpoint whose list cannot be read keeps
        what was known, with a warning in the log.

        Args:
            max_age: Seconds for which a list is not read again.
            timeout: Seconds for each attempt, or a Timeout, for each page.
        """
        from azinfer.core.discovery import discover  # only programs that list load it

        return discover(self, max_age, timeout)

    def to_sync(self) -> InferenceClient:
        """Return the same client for sync code: always the same object, or this client itself.

        Raises:
            ConfigurationError: This is an async client with an `http_client` of the caller.
        """
        return self._convert(InferenceClient)

    def to_async(self) -> AsyncInferenceClient:
        """Return the same client for async code: always the same object, or this client itself.

        Raises:
            ConfigurationError: This is a sync client with an `http_client` of the caller.
        """
        return self._convert(AsyncInferenceClient)


class AsyncInferenceClient(AsyncBulkOperations):
    """One client for every deployment behind an endpoint, for async code.

    It can be used in several event loops, one after the other. All clients of a loop share their
    connections, which close with it. Arguments and errors are those of InferenceClient;
    `http_client` is an `httpx.AsyncClient`, and credentials may be async.

    Example:
        `async with client.stream([UserMessage("Hello")], model="mistral-large") as chunks:`
    """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections of this event loop. The client can be used again."""
        await self._transport.close()

    async def discover(
        self, *, max_age: float = 3600.0, timeout: float | Timeout | None = None
    ) -> dict[str, Deployments]:
        """Return the deployments of each endpoint that has `discover` in `azinfer.toml`.

        The same as `InferenceClient.discover`, awaited.
        """
        from azinfer.core.discovery import discover_async  # only programs that list load it

        return await discover_async(self, max_age, timeout)

    def to_sync(self) -> InferenceClient:
        """Return the same client for sync code: always the same object, or this client itself.

        Raises:
            ConfigurationError: This is an async client with an `http_client` of the caller.
        """
        return self._convert(InferenceClient)

    def to_async(self) -> AsyncInferenceClient:
        """Return the same client for async code: always the same object, or this client itself.

        Raises:
            ConfigurationError: This is a sync client with an `http_client` of the caller.
        """
        return self._convert(AsyncInferenceClient)


def adapter_client(
    client: InferenceClient | AsyncInferenceClient | None,
    *,
    user_agent: str,
    environ: Mapping[str, str] | None = None,
    **options: Any,
) -> InferenceClient | AsyncInferenceClient:
    """Return the client of an adapter: a new one, or the given one with the adapter's options.

    Args:
        client: A ready client, or None for a new InferenceClient.
        user_agent: The adapter's User-Agent; a header of the caller's own wins.
        environ: The environment of a new client.
        **options: The options of a client; None means not set.

    Raises:
        ConfigurationError: The client cannot be created, or an option conflicts with the client.
    """
    for name in ("credential", "endpoint"):  # tracebacks may show variables
        options[name] = hidden(options.get(name))
    if client is not None:
        return ready_client(client, user_agent=user_agent, **options)
    own = {name.lower(): value for name, value in (options.pop("headers", None) or {}).items()}
    headers = {"user-agent": user_agent, **own}
    return InferenceClient(headers=headers, environ=environ, **options)


def ready_client(client: ClientT, *, user_agent: str | None = None, **options: Any) -> ClientT:
    """Return the ready client of an adapter, with the adapter's options.

    Args:
        client: The client.
        user_agent: The adapter's User-Agent, for a client without one of its own.
        **options: The adapter's own options: endpoint, credential, and those of
            `with_options`. None, the default max_retries, and values that the client has
            already count as left out.

    Raises:
        ConfigurationError: The options include an endpoint or a credential, but the client has
            its own.
    """
    own = {
        "endpoint": client.endpoint.url,
        "surface": client.endpoint.surface.name,
        "api_version": client.endpoint.api_version,
        "model": client.model,
        "timeout": client.timeout,
        "max_retries": client.max_retries,
    }
    if options.get("timeout") is not None:
        options["timeout"] = Timeout.of(options["timeout"])
    if options.get("max_retries") == MAX_RETRIES:
        options["max_retries"] = None
    if user_agent and not any(name.lower() == "user-agent" for name in client._headers):
        options["headers"] = {"user-agent": user_agent, **(options.get("headers") or {})}
    changes = {
        name: value for name, value in options.items() if value not in (None, {}, own.get(name))
    }
    if twice := [name for name in ("endpoint", "credential") if name in changes]:
        raise ConfigurationError(
            f"client= has its own {' and '.join(twice)}: leave out one or the other"
        )
    return client.with_options(**changes) if changes else client
