"""AzInferConfig: every chat deployment of an endpoint as the model of AG2's agents."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from typing import Any, Self, SupportsIndex

from ag2.config import ModelConfig, ModelProvider
from ag2.files.protocol import FilesClient
from pydantic import SecretStr
from typing_extensions import override

from azinfer.ag2.chat import AzInferClient
from azinfer.ag2.connection import reveal
from azinfer.core import (
    AsyncInferenceClient,
    ConfigurationError,
    InferenceClient,
    Timeout,
    adapter_client,
    check_option_names,
    hidden,
    is_secret_name,
    user_agent,
    without_secrets,
)

_CLIENT_OPTIONS = ("endpoint", "credential", "surface", "api_version", "max_retries")
_OPTIONS = (
    *("model", "model_id", "timeout", "headers", "temperature", "max_tokens", "top_p", "stop"),
    *("seed", "frequency_penalty", "presence_penalty", "tool_choice", "parallel_tool_calls"),
    *("reasoning_effort", "max_completion_tokens", "logprobs", "top_logprobs", "logit_bias"),
    *("user", "metadata", "modalities", "prediction", "store", "service_tier"),
    *("prompt_cache_key", "safety_identifier", "verbosity"),
)


@dataclass(frozen=True, slots=True)
class AzInferConfig(ModelConfig):
    """The model of an agent, on any Azure AI endpoint: one class for every surface.

    Pass it an `endpoint` and a `credential` as for `azinfer.core.InferenceClient`, or such a client
    as `client`. All agents of a configuration, and of its copies for the same endpoint, share one
    client: its connections, its retries and what it learned.

    Attributes:
        endpoint: Any URL that a portal or a sample shows; by default the environment's. With a
            secret in its query it becomes a SecretStr.
        credential: A key, a credential of azure-identity, or a function that returns a token.
        model: The deployment's name, in any case.
        model_id: The model behind it, for example `"gpt-4.1"`, if its name does not say so;
            reports of usage name it.
        timeout: Seconds for each attempt, or a Timeout.
        max_retries: How often a call is sent again after a temporary failure.
        headers: Sent with every request; secrets among them become SecretStr, like credentials.
        surface: The way to address deployments, if the URL does not say so.
        api_version: Sent instead of the surface's default.
        client: A ready client, instead of endpoint, credential, surface, api_version and
            max_retries.
        streaming: Whether answers come in parts, each a ModelMessageChunk.
        temperature: The randomness of an answer.
        max_tokens: The most tokens to write; sent as `max_completion_tokens` where the model
            needs that.
        top_p: The share of probability that is sampled from.
        stop: Texts that end an answer.
        seed: The same seed gives, as far as the service can, the same answer.
        frequency_penalty: How much less likely tokens become that were used often.
        presence_penalty: How much less likely tokens become that were used at all.
        tool_choice: `"auto"`, `"none"`, `"required"` or a tool's name; sent only with tools.
        parallel_tool_calls: Whether several calls may come in one answer.
        reasoning_effort: How long reasoning models may think.
        max_completion_tokens: The most tokens to write, reasoning included.
        logprobs: Whether to return the log probabilities of tokens.
        top_logprobs: How many of the likeliest tokens to return at each position.
        logit_bias: Numbers to add to the likelihood of tokens, by their ids.
        user: The end user, for the service's detection of abuse.
        metadata: Labels for answers that the service stores.
        modalities: The kinds of output, for example `["text", "audio"]`.
        prediction: Text of which the answer will repeat a large part.
        store: Whether the service may store the answer.
        service_tier: The tier of processing, for example `"priority"`.
        prompt_cache_key: The same text for requests that begin alike, for the service's cache.
        safety_identifier: The end user, in an anonymous form.
        verbosity: How long answers are: `"low"`, `"medium"` or `"high"`.
        default_headers: Another name of headers, which AG2's own configurations have.
        extra_body: Further options, sent as they are.

    Raises:
        ConfigurationError: The endpoint is not valid, the credential is missing, an option is
            unknown, or `client` is combined with an endpoint or a credential.

    Example:
        >>> from azinfer.ag2 import AzInferConfig
        >>> config = AzInferConfig(
        ...     endpoint="https://contoso.services.ai.azure.com",
        ...     credential="a-key",
        ...     model="mistral-large",
        ... )
        >>> config.copy(model="gpt-4.1").model
        'gpt-4.1'
    """

    endpoint: str | SecretStr | None = None
    credential: Any = field(default=None, repr=False)
    model: str = ""
    _: KW_ONLY
    model_id: str | None = None
    timeout: float | Timeout | None = None
    max_retries: int = 2
    headers: Mapping[str, str | SecretStr] | None = field(default=None, repr=False, hash=False)
    surface: str | None = None
    api_version: str | None = None
    client: AsyncInferenceClient | InferenceClient | None = field(default=None, repr=False)
    streaming: bool = False
    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    stop: str | Sequence[str] | None = field(default=None, hash=False)
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    tool_choice: str | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: Mapping[str, int] | None = field(default=None, hash=False)
    user: str | None = None
    metadata: Mapping[str, str] | None = field(default=None, hash=False)
    modalities: Sequence[str] | None = field(default=None, hash=False)
    prediction: Mapping[str, Any] | None = field(default=None, hash=False)
    store: bool | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    verbosity: str | None = None
    default_headers: Mapping[str, str] | None = field(default=None, repr=False, hash=False)
    extra_body: Mapping[str, Any] | None = field(default=None, hash=False)
    _client: AsyncInferenceClient = field(init=False, repr=False, compare=False)

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Check the names of options, before the constructor raises a bare TypeError."""
        options = dict.fromkeys(options)  # without values, which tracebacks may show
        del args
        check_option_names(cls.__name__, options, (each.name for each in fields(cls) if each.init))
        return object.__new__(cls)

    def __post_init__(self) -> None:
        if self.default_headers is not None:
            if self.headers is not None:
                raise ConfigurationError("headers and default_headers are the same: pass only one")
            object.__setattr__(self, "headers", self.default_headers)
            object.__setattr__(self, "default_headers", None)
        client = self._connect()
        keyed = any(is_secret_name(name) for name, _ in client.endpoint.query)
        headers = self.headers and _hide_argument("headers", self.headers)
        object.__setattr__(self, "endpoint", hide(self.endpoint, keyed))
        object.__setattr__(self, "credential", hide(self.credential, True))
        object.__setattr__(self, "headers", headers)
        object.__setattr__(self, "model", self.model or client.model or "")
        object.__setattr__(self, "_client", client)

    def _connect(self) -> AsyncInferenceClient:
        options = {name: getattr(self, name) for name in _CLIENT_OPTIONS}
        if self.endpoint is not None:
            options["endpoint"] = hidden(reveal(self.endpoint))
        options["credential"] = hidden(self.credential)  # tracebacks may show variables
        options["model"] = self.model or None
        return adapter_client(self.client, user_agent=user_agent("ag2"), **options).to_async()

    def __copy__(self) -> Self:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.copy(extra_body=copy.deepcopy(self.extra_body, memo))

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        # The client checks its own secrets; these headers are sent with each call instead.
        if names := [name for name in self.headers or () if is_secret_name(name)]:
            raise ConfigurationError(
                f"a configuration with the header {names[0]!r}, which looks like a secret, cannot "
                "be pickled: add it after unpickling, with copy(headers=…)"
            )
        return object.__reduce_ex__(self, protocol)

    @property
    @override
    def provider(self) -> ModelProvider:
        """No value: AG2's closed list of providers does not contain Azure.

        AG2 takes the error as "unknown"; answers and reports of usage say `"azure"`.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("ag2.config.ModelProvider has no member for Azure")

    @override
    def create_files_client(self) -> FilesClient[Any]:
        """Raise: files are sent with the message, as `DocumentInput(data=…)`.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(
            "azinfer does not upload files: send them with the message, as DocumentInput(data=…)"
        )

    @override
    def copy(self, /, **overrides: Any) -> Self:
        """Return the configuration with changes, for example `copy(model="gpt-4.1")`.

        For another deployment, the model behind it counts as unknown unless `model_id` is passed.

        Raises:
            ConfigurationError: As for the class.
        """
        overrides = {name: _hide_argument(name, value) for name, value in overrides.items()}
        named = overrides.get("model") or self.model
        if named.casefold() != self.model.casefold():
            overrides = {"model_id": None, **overrides}
        copied = replace(self, **overrides)
        if not overrides.keys() & {*_CLIENT_OPTIONS, "client"}:
            object.__setattr__(copied, "_client", self._client)
        return copied

    @override
    def create(self) -> AzInferClient:
        """Return the client for one turn; AG2 asks for a new one each time."""
        own = {name: getattr(self, name) for name in _OPTIONS}
        options = {name: value for name, value in own.items() if value not in (None, "")}
        options.update(self.extra_body or {})
        return AzInferClient(self._client, streaming=self.streaming, **options)


def _hide_arguments(init: Callable[..., None]) -> Callable[..., None]:
    """Return a constructor in whose arguments, which tracebacks may show, secrets are hidden."""

    @functools.wraps(init)
    def constructor(
        config: AzInferConfig,
        endpoint: Any = None,
        credential: Any = None,
        model: str = "",
        **named: Any,
    ) -> None:
        endpoint = _hide_argument("endpoint", endpoint)
        credential = _hide_argument("credential", credential)
        named = {name: _hide_argument(name, value) for name, value in named.items()}
        init(config, endpoint, credential, model, **named)

    return constructor


def _hide_argument(name: str, value: Any) -> Any:
    if name in ("headers", "default_headers") and isinstance(value, Mapping):
        return {each: hide(text, is_secret_name(each)) for each, text in value.items()}
    if name == "endpoint" and isinstance(value, str):
        return hide(value, without_secrets(value) != value)
    return hide(value, name == "credential")


def hide(value: Any, secret: bool) -> Any:
    """Return a secret as SecretStr, which `repr` and `dataclasses.asdict` do not show."""
    return SecretStr(value) if secret and isinstance(value, str) else value


setattr(AzInferConfig, "__init__", _hide_arguments(AzInferConfig.__init__))  # noqa: B010 - typed
