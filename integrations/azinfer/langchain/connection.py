"""What ChatAzInfer and AzInferEmbeddings share: a deployment and its core client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_serializer,
    model_validator,
)
from pydantic.fields import FieldInfo
from typing_extensions import override

from azinfer.core import (
    AsyncInferenceClient,
    InferenceClient,
    Timeout,
    adapter_client,
    check_option_names,
    hidden,
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


class DeploymentConnection(BaseModel):
    """A deployment of an endpoint, with the arguments of `azinfer.core.InferenceClient`."""

    model_config = ConfigDict(
        arbitrary_types_allowed=True,
        extra="forbid",
        protected_namespaces=(),
        hide_input_in_errors=True,  # the input contains the key
    )

    endpoint: str | None = None
    """Any URL that a portal or a sample shows; by default the client's or the environment's.

    Keys in its query are never shown, so an object that is created from a dump needs them again:
    `model_copy(update={"endpoint": …})`.
    """
    credential: Any = Field(
        default=None,
        validation_alias=AliasChoices("credential", "api_key"),
        repr=False,
        exclude=True,
    )
    """A key, a credential of azure-identity, or a function that returns a token."""
    model: str | None = None
    """The deployment's name, in any case; a call may name another: `model="other"`."""
    model_id: str | None = None
    """The model behind the deployment, for example `"gpt-4.1"`, if its name does not say so.

    If `model` is a configurable field, make this a configurable field too.
    """
    timeout: float | Timeout | None = None
    """Seconds for each attempt, or a Timeout; None for its defaults."""
    max_retries: int = 2
    """How often a call is sent again after a temporary failure."""
    headers: dict[str, str] | None = Field(
        default=None,
        validation_alias=AliasChoices("headers", "default_headers"),
        repr=False,
        exclude=True,
    )
    """Sent with every request; not shown, since gateways take their keys in headers."""
    surface: str | None = None
    """The way to address deployments, if the URL does not say so."""
    api_version: str | None = None
    """Sent instead of the surface's default."""
    client: InferenceClient | AsyncInferenceClient | None = Field(default=None, exclude=True)
    """A ready client, instead of the fields above except `model` and `model_id`."""
    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further options of every call, sent as they are."""

    _ready: InferenceClient | AsyncInferenceClient = PrivateAttr()

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, values: Any) -> Any:
        if isinstance(values, dict):
            known = {alias for field in cls.model_fields.values() for alias in _aliases_of(field)}
            check_option_names(cls.__name__, values, known | cls.model_fields.keys())
        return values

    @model_validator(mode="after")
    def _validate_connection(self) -> Self:
        self._connect()
        return self

    def _connect(self) -> None:
        if isinstance(self.credential, str):
            self.credential = SecretStr(self.credential)
        options: dict[str, Any] = {name: getattr(self, name) for name in _CLIENT_OPTIONS}
        ready = self._ready = adapter_client(
            self.client, user_agent=user_agent("langchain-core"), **options
        )
        # Caches, traces and dumps distinguish deployments by these fields.
        if self.client is not None:
            self.endpoint, self.surface = ready.endpoint.url, ready.endpoint.surface.name
        self.model = self.model or ready.model
        if _same(self.model, ready.model):
            self.model_id = self.model_id or ready.model_id

    @field_serializer("endpoint")
    def _shown_endpoint(self, endpoint: str | None) -> str | None:
        return endpoint and without_secrets(endpoint)

    @override
    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, self._shown_endpoint(value) if name == "endpoint" else value

    @property
    def core_client(self) -> InferenceClient | AsyncInferenceClient:
        """The core client, for operations without the network."""
        # As `_ready`, which pydantic looks for in Python with each call, and 8 times as fast.
        ready: InferenceClient | AsyncInferenceClient = (self.__pydantic_private__ or {})["_ready"]
        return ready

    @property
    def sync_client(self) -> InferenceClient:
        """The core client of sync methods."""
        return self.core_client.to_sync()

    @property
    def async_client(self) -> AsyncInferenceClient:
        """The core client of async methods."""
        return self.core_client.to_async()

    @override
    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy; if the update names a deployment, the copy calls that deployment."""
        options = dict(update or {})
        if not _same(options.get("model", self.model), self.model):
            options.setdefault("model_id", None)
        copied = super().model_copy(update=options, deep=deep)
        copied._connect()
        return copied

    @override
    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        # Credentials contain locks, and copies share their tokens.
        return super().__deepcopy__({**(memo or {}), id(self.credential): self.credential})

    def _target(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the deployment of a call, and the model behind it if it is known."""
        model = options.get("model") or self.model
        own = self.model_id if model is self.model or _same(model, self.model) else None
        return {"model": model, "model_id": options.get("model_id") or own}


def _same(deployment: str | None, other: str | None) -> bool:
    return (deployment or "").casefold() == (other or "").casefold()


def _aliases_of(field: FieldInfo) -> list[str]:
    """Return the other names of a field."""
    choices = field.validation_alias
    aliases = choices.choices if isinstance(choices, AliasChoices) else [choices]
    return [alias for alias in (*aliases, field.alias) if isinstance(alias, str)]
