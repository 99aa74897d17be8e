"""The prompt execution settings: the options of a request besides its messages or texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, SupportsIndex

from pydantic import BaseModel, Field, SecretStr, field_validator
from semantic_kernel.connectors.ai.function_choice_type import FunctionChoiceType
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.schema.kernel_json_schema_builder import KernelJsonSchemaBuilder
from typing_extensions import override

from azinfer.core import ConfigurationError, JsonSchema, Timeout, is_secret_name

# Names on the wire, and the names of other services' settings for the same.
_MEANT = {
    "model": "ai_model_id",
    "n": "number_of_responses",
    "extra_body": "extra_parameters",
    "extra_headers": "headers",
}
# Fields that other services add to their settings, without the caller's request.
_WRITTEN_BY_SERVICES = frozenset(
    {"input", "messages", "prompt", "stream", "structured_json_response"}
)


class AzInferPromptExecutionSettings(PromptExecutionSettings):
    """The fields that settings of chats and of embeddings have in common.

    Keys of `extension_data` that are not fields are sent as they are. Settings of other services
    are copied field by field.
    """

    ai_model_id: Annotated[str | None, Field(serialization_alias="model")] = None
    """The deployment's name (in any case) if it is not the service's own; also `model`."""
    model_id: str | None = None
    """The model behind that deployment, for example `"gpt-4.1"`, if its name does not say so."""
    user: str | None = None
    """The end user, for the service's detection of abuse."""
    timeout: float | Timeout | None = None
    """Seconds for each attempt, or a Timeout."""
    headers: dict[str, str | SecretStr] | None = None
    """Sent with this request besides the service's; secrets among them are not shown."""
    extra_parameters: dict[str, Any] | None = None
    """Further parameters, sent as they are; also `extra_body`."""

    _FRAMEWORK: ClassVar[frozenset[str]] = frozenset(PromptExecutionSettings.model_fields)

    @field_validator("headers", mode="before")
    @classmethod
    def _hide_secrets(cls, headers: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        return headers and {
            name: SecretStr(value) if is_secret_name(name) and isinstance(value, str) else value
            for name, value in headers.items()
        }

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        for name, value in (self.headers or {}).items():
            if isinstance(value, SecretStr):
                raise ConfigurationError(
                    f"settings with the header {name!r}, which looks like a secret, cannot be "
                    "pickled: pass it to the service, or set it after unpickling"
                )
        return super().__reduce_ex__(protocol)

    @override
    def unpack_extension_data(self) -> None:
        self.extension_data = {
            _MEANT.get(key, key): value for key, value in self.extension_data.items()
        }
        super().unpack_extension_data()
        if "headers" in self.extension_data:
            self.extension_data["headers"] = self.headers

    @override
    def prepare_settings_dict(self, **kwargs: Any) -> dict[str, Any]:
        """Return all options that were set, by their names on the wire.

        Args:
            **kwargs: Options that win over those of the settings.
        """
        fields = type(self).model_fields
        values = {
            field.serialization_alias or name: getattr(self, name)
            for name, field in fields.items()
            if name not in self._FRAMEWORK and name != "extra_parameters"
        }
        further = {
            key: value
            for key, value in self.extension_data.items()
            if key not in fields and key not in _WRITTEN_BY_SERVICES
        }
        wanted = {**further, **(self.extra_parameters or {}), **_set(values), **kwargs}
        if headers := wanted.get("headers"):
            wanted["headers"] = {name: _reveal(value) for name, value in headers.items()}
        return _set(wanted)


class AzInferChatPromptExecutionSettings(AzInferPromptExecutionSettings):
    """Options of a chat completion; the service decides what is left out.

    Values are sent as they are: the deployment decides which are allowed.

    Example:
        >>> from azinfer.semantic_kernel import AzInferChatPromptExecutionSettings
        >>> settings = AzInferChatPromptExecutionSettings(temperature=0, safe_prompt=True)
        >>> settings.prepare_settings_dict()
        {'safe_prompt': True, 'temperature': 0.0}
    """

    temperature: float | None = None
    """The randomness of an answer."""
    top_p: float | None = None
    """The share of probability that is sampled from."""
    max_tokens: int | None = None
    """The most tokens to write; sent as `max_completion_tokens` where the model needs that."""
    max_completion_tokens: int | None = None
    """The most tokens to write, including reasoning."""
    reasoning_effort: str | None = None
    """How much to think: `"low"`, `"medium"`, `"high"`, or another value of the model."""
    frequency_penalty: float | None = None
    """How much to avoid tokens by how often they occurred."""
    presence_penalty: float | None = None
    """How much to avoid tokens that occurred."""
    stop: str | list[str] | None = None
    """Texts that end an answer."""
    seed: int | None = None
    """The same seed gives, as far as the service can, the same answer."""
    number_of_responses: Annotated[int | None, Field(serialization_alias="n")] = None
    """How many answers to write; also `n`. Functions can be called for only one answer."""
    logprobs: bool | None = None
    """Whether to return the tokens' log probabilities, as `metadata["logprobs"]`."""
    top_logprobs: int | None = None
    """How many of the likeliest tokens to return at each position."""
    logit_bias: dict[str | int, float] | None = None
    """Numbers to add to the likelihood of tokens, by their ids."""
    response_format: dict[str, Any] | type | str | None = None
    """The form of the answer: a pydantic model or another class, or the wire's own form."""
    parallel_tool_calls: bool | None = None
    """Whether several calls may come in one answer; sent only with tools."""
    tools: list[dict[str, Any]] | None = None
    """The functions that may be called; written by `function_choice_behavior`."""
    tool_choice: FunctionChoiceType | str | dict[str, Any] | None = None
    """Whether functions must be called; written by `function_choice_behavior`."""
    stream_options: dict[str, Any] | None = None
    """Options of streams; usage is requested wherever the model supports it."""
    store: bool | None = None
    """Whether the service may store the answer."""
    metadata: dict[str, str] | None = None
    """Labels for answers that the service stores."""

    @override
    def prepare_settings_dict(self, **kwargs: Any) -> dict[str, Any]:
        wanted = super().prepare_settings_dict(**kwargs)
        if isinstance(choice := wanted.get("tool_choice"), FunctionChoiceType):
            wanted["tool_choice"] = choice.value
        if isinstance(form := wanted.get("response_format"), type):
            wanted["response_format"] = _response_format(form)
        return wanted


class AzInferEmbeddingPromptExecutionSettings(AzInferPromptExecutionSettings):
    """Options of an embedding; the service decides what is left out.

    Example:
        >>> from azinfer.semantic_kernel import AzInferEmbeddingPromptExecutionSettings
        >>> AzInferEmbeddingPromptExecutionSettings(dimensions=256).prepare_settings_dict()
        {'dimensions': 256}
    """

    dimensions: int | None = None
    """How many numbers a vector has, if the model lets you choose."""
    encoding_format: str | None = None
    """The form in which numbers are sent; the vectors are the same."""
    input_type: str | None = None
    """`"query"`, `"document"` or `"text"`, if the model distinguishes them."""


def _response_format(form: type) -> type | JsonSchema:
    if issubclass(form, BaseModel):
        return form
    schema = KernelJsonSchemaBuilder.build(parameter_type=form, structured_output=True)
    return JsonSchema(form.__name__, schema)


def _reveal(value: str | SecretStr) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _set(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
