"""The part that the model and the embeddings share: a deployment and its core client."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Self

from llama_index.core.bridge.pydantic import (
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    field_serializer,
    model_validator,
)
from llama_index.core.schema import BaseComponent
from pydantic import AliasChoices, ValidationError
from pydantic.fields import FieldInfo
from pydantic.json_schema import SkipJsonSchema
from typing_extensions import override

from azinfer.core import (
    AsyncInferenceClient,
    Endpoint,
    InferenceClient,
    Timeout,
    adapter_client,
    check_option_names,
    hidden,
    is_secret_name,
    pickleable_credential,
    user_agent,
    without_secrets,
)

# The fields that are options of a core client.
_CLIENT_OPTIONS = (
    *("endpoint", "credential", "timeout", "max_retries", "headers"),
    *("surface", "api_version", "model", "model_id"),
)
_CREDENTIALS = frozenset({"credential", "api_key"})


class HiddenCredential:
    """The first base class of a component: a constructor that fails does not show its key."""

    def __init__(self, *args: Any, **values: Any) -> None:
        # Before pydantic has them: tracebacks may show the variables of its frames.
        for name in _CREDENTIALS & values.keys():
            if pickleable_credential(values[name]) is None:
                values[name] = hidden(values[name])
        if "endpoint" in values:
            values["endpoint"] = hidden(values["endpoint"])  # its query may have a key
        failure = None
        try:
            super().__init__(*args, **values)
        except ValidationError as error:
            failure = _without_input(error)
        if failure is not None:  # outside the block above, whose error has the input
            del self  # its URL may have a key, too
            raise failure


def _without_input(error: ValidationError) -> ValidationError:
    """Return a validation error without what was validated, which a pickle would contain."""
    lines: list[Any] = [
        {"input": None, **line} for line in error.errors(include_url=False, include_input=False)
    ]
    try:
        return ValidationError.from_exception_data(error.title, lines, hide_input=True)
    except (KeyError, TypeError):  # an error of a kind that is not pydantic's own
        return error


class DeploymentConnection(HiddenCredential, BaseComponent):
    """A component of LlamaIndex whose requests go through core clients.

    Its dict and its pickle contain no secrets; of credentials they have only the names `"entra"`
    and `"env:NAME"`. A component that is created from them takes any other credential from the
    environment. Otherwise pass it with `from_dict(data, credential=…)` or, after a pickle, set
    `credential`.
    """

    model_config = ConfigDict(
        arbitrary_types_allowed=True,
        extra="forbid",
        protected_namespaces=(),
        hide_input_in_errors=True,  # the input contains the key
    )

    endpoint: str | None = None
    """Any URL that a portal or a sample shows; by default the environment's.

    Keys in its query are left out of dicts and pickles; set the endpoint again afterwards.
    """
    credential: SkipJsonSchema[Any] = Field(
        default=None,
        validation_alias=AliasChoices("credential", "api_key"),
        repr=False,
        exclude=True,
    )
    """A key, `"env:NAME"`, `"entra"`, a credential of azure-identity, or a function for a token."""
    model: str | None = None
    """The deployment's name, in any case."""
    model_id: str | None = None
    """The model behind the deployment, for example `"gpt-4.1"`, if its name does not say so."""
    timeout: float | Timeout | None = None
    """Seconds for each attempt, or a Timeout."""
    max_retries: int = 2
    """How often a call is sent again after a temporary failure."""
    headers: dict[str, str] | None = Field(
        default=None,
        validation_alias=AliasChoices("headers", "default_headers"),
        repr=False,
    )
    """Sent with every request; secret headers are left out of dicts and pickles."""
    surface: str | None = None
    """The way to address deployments, if the URL does not say so."""
    api_version: str | None = None
    """Sent instead of the surface's default."""
    client: SkipJsonSchema[InferenceClient | AsyncInferenceClient | None] = Field(
        default=None, repr=False, exclude=True
    )
    """A ready client, instead of the fields above except `model` and `model_id`."""

    _ready: InferenceClient | AsyncInferenceClient | None = PrivateAttr(default=None)

    @classmethod
    def from_defaults(cls, **named: Any) -> Self:
        """Create a component; the same as the constructor."""
        return cls(**named)

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, values: Any) -> Any:
        if isinstance(values, dict):
            known = {alias for field in cls.model_fields.values() for alias in _aliases_of(field)}
            check_option_names(cls.__name__, values, known | cls.model_fields.keys())
        return values

    @model_validator(mode="after")
    def _validate_connection(self) -> Self:
        if isinstance(self.credential, str) and pickleable_credential(self.credential) is None:
            self.credential = SecretStr(self.credential)
        self._ready = self._connect()
        if self.client is not None:
            self._describe(self._ready)
        return self

    def _describe(self, client: InferenceClient | AsyncInferenceClient) -> None:
        """Copy from a ready client the fields that a dict of this component needs."""
        if self.endpoint is None:
            self.endpoint = client.endpoint.url
            self.surface = client.endpoint.surface.name
            self.api_version = client.endpoint.api_version
            self.timeout = client.timeout
            self.max_retries = client.max_retries
        if self.model is None:
            self.model, self.model_id = client.model, self.model_id or client.model_id

    def _connect(self) -> InferenceClient | AsyncInferenceClient:
        options: dict[str, Any] = {name: getattr(self, name) for name in _CLIENT_OPTIONS}
        return adapter_client(self.client, user_agent=user_agent("llama-index-core"), **options)

    @property
    def core_client(self) -> InferenceClient | AsyncInferenceClient:
        """The existing core client; after unpickling, a new one."""
        ready = self._existing_client
        if ready is None:
            ready = self._ready = self._connect()
        return ready

    @property
    def _existing_client(self) -> InferenceClient | AsyncInferenceClient | None:
        # As `_ready`, which pydantic looks for in Python with each call, and 8 times as fast.
        return (self.__pydantic_private__ or {}).get("_ready")

    @property
    def sync_client(self) -> InferenceClient:
        """The core client of sync methods."""
        return self.core_client.to_sync()

    @property
    def async_client(self) -> AsyncInferenceClient:
        """The core client of async methods."""
        return self.core_client.to_async()

    @override
    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """Return the fields from which the component can be created again, without secrets."""
        named = {"credential": self.credential} if _is_name(self.credential) else {}
        # Caches compare components by their dicts, so the endpoint of the environment is in it.
        found = {} if self.endpoint is not None else _address(self.core_client.endpoint)
        return {**super().to_dict(**kwargs), **found, **named}

    @field_serializer("endpoint")
    def _shown_endpoint(self, endpoint: str | None) -> str | None:
        return endpoint and without_secrets(endpoint)

    @override
    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, self._shown_endpoint(value) if name == "endpoint" else value

    @field_serializer("headers")
    def _open_headers(self, headers: dict[str, str] | None) -> dict[str, str] | None:
        return _without_secrets(headers)

    @override
    def __getstate__(self) -> dict[str, Any]:
        # Use a copy, because the inherited method removes what cannot be pickled from the object.
        copied = self.__copy__()
        copied.client = copied._ready = None
        copied.credential = pickleable_credential(self.credential)
        copied.endpoint = self._shown_endpoint(self.endpoint)
        copied.headers = _without_secrets(self.headers)
        return super(DeploymentConnection, copied).__getstate__()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        # Clients, credentials, callbacks and limiters are meant to be shared; options are not.
        copied = self.__copy__()
        for name, value in self.__dict__.items():
            if isinstance(value, dict | list):
                copied.__dict__[name] = copy.deepcopy(value, memo)
        return copied


def _address(endpoint: Endpoint) -> dict[str, str | None]:
    """Return the fields that lead to an endpoint, without secrets."""
    return {
        "endpoint": without_secrets(endpoint.url),
        "surface": endpoint.surface.name,
        "api_version": endpoint.api_version,
    }


def _is_name(credential: Any) -> bool:
    """Return True if a credential is only the name of its source."""
    return isinstance(credential, str) and pickleable_credential(credential) is not None


def _without_secrets(headers: dict[str, str] | None) -> dict[str, str] | None:
    if headers is None:
        return None
    return {name: value for name, value in headers.items() if not is_secret_name(name)}


def _aliases_of(field: FieldInfo) -> list[str]:
    """Return the other names of a field."""
    choices = field.validation_alias
    aliases = choices.choices if isinstance(choices, AliasChoices) else [choices]
    return [alias for alias in (*aliases, field.alias) if isinstance(alias, str)]
