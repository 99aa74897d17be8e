"""AzInferModelClient: the same deployments for AG2's classic agents, the package autogen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from azinfer.ag2.structured import json_schema_of
from azinfer.core import (
    ChatCompletion,
    Choice,
    ConfigurationError,
    InferenceClient,
    Usage,
)

# Fields of an entry of config_list for the wrapper or this client, which are not options.
_NO_OPTIONS = frozenset(
    {
        *("api_key", "api_type", "api_version", "azure_ad_token_provider", "azure_endpoint"),
        *("base_url", "default_headers", "extra_body", "extra_headers", "http_client"),
        *("max_retries", "messages", "model_client_cls", "price", "stream", "surface", "tags"),
        "timeout",
    }
)
# Fields that the openai SDK accepts there, and that would have no effect here.
_REFUSED = ("azure_ad_token", "azure_deployment", "default_query", "organization", "project")


@dataclass
class Answer:
    """What classic AG2 accepts as a response: a chat completion with its price.

    Attributes:
        completion: The answer.
        cost: Its price; AG2 sets it where the entry has a `price`.
    """

    completion: ChatCompletion
    cost: float = 0.0

    @property
    def id(self) -> str:
        """The service's id of the answer."""
        return self.completion.id

    @property
    def model(self) -> str:
        """The model that answered."""
        routing = self.completion.routing
        return self.completion.model or (routing and routing.deployment) or ""

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The answers."""
        return self.completion.choices

    @property
    def usage(self) -> Usage:
        """Tokens used."""
        return self.completion.usage or Usage()


class AzInferModelClient:
    """A model client of classic AG2 (`autogen`), for `register_model_client`.

    An entry of `config_list` names it, and each agent registers it:

        {"model": "gpt-4.1", "model_client_cls": "AzInferModelClient",
         "base_url": "https://contoso.services.ai.azure.com", "api_key": "a-key"}

    Besides `base_url`, `api_key`, `api_version`, `timeout`, `max_retries`, `http_client` and
    `default_headers`, an entry may have `model_id`, `surface` and `azure_ad_token_provider`
    (a function, or a credential of azure-identity); everything else is sent as it is.

    Args:
        config: The entry.
        client: A ready client, instead of the endpoint that the entry names.

    Raises:
        ConfigurationError: The entry has a field that is not supported.
    """

    def __init__(self, config: Mapping[str, Any], *, client: InferenceClient | None = None) -> None:
        self._format: Any = config.get("response_format")
        self._client = client or _client_of(config)

    def create(self, params: dict[str, Any]) -> Answer:
        """Return the deployment's answer to a request of AG2.

        Raises:
            InferenceError: The core client's errors, as they are.
        """
        messages = [{"role": "user", **message} for message in params["messages"]]
        options = _options(params)
        if params.get("stream"):
            return Answer(self._stream(messages, options))
        return Answer(self._client.complete(messages, **options))

    def message_retrieval(self, response: Answer) -> list[Any]:
        """Return the answers: texts, or whole messages if they have tool calls or reasoning."""
        return [self._message(choice) for choice in response.choices]

    def cost(self, response: Answer) -> float:
        """Return the price; zero if the entry has no `price`."""
        return response.cost

    @staticmethod
    def get_usage(response: Answer) -> dict[str, Any]:
        """Return tokens, price and model, for the summary of usage."""
        return {
            "prompt_tokens": response.usage.prompt_tokens,
            "completion_tokens": response.usage.completion_tokens,
            "total_tokens": response.usage.total_tokens,
            "cost": response.cost,
            "model": response.model,
        }

    def _stream(self, messages: list[Any], options: dict[str, Any]) -> ChatCompletion:
        from autogen.events.client_events import StreamEvent
        from autogen.io.base import IOStream

        out = IOStream.get_default()
        with self._client.stream(messages, **options) as chunks:
            for chunk in chunks:
                if chunk.text:
                    out.send(StreamEvent(content=chunk.text))
        return chunks.completion

    def _message(self, choice: Choice) -> Any:
        message = choice.message
        text = message.content or message.refusal or ""
        if (
            text
            and hasattr(self._format, "model_validate_json")
            and hasattr(self._format, "format")
        ):
            text = self._format.model_validate_json(text).format()
        if not message.tool_calls and not message.reasoning:
            return text
        whole: dict[str, Any] = {"role": "assistant", "content": text}
        if message.tool_calls:
            whole["tool_calls"] = [call.to_wire() for call in message.tool_calls]
        if message.reasoning:
            whole["reasoning_content"] = message.reasoning
        return whole


def _client_of(config: Mapping[str, Any]) -> InferenceClient:
    """Return the client for the endpoint that an entry names."""
    if names := [name for name in _REFUSED if config.get(name) is not None]:
        raise ConfigurationError(
            f"AzInferModelClient does not support {', '.join(names)}: leave it out; the "
            "deployment is named by 'model'"
        )
    provider = config.get("azure_ad_token_provider")
    if provider == "DEFAULT":
        raise ConfigurationError(
            "azure_ad_token_provider='DEFAULT' is not supported: pass DefaultAzureCredential() "
            "of azure-identity itself"
        )
    return InferenceClient(
        config.get("base_url") or config.get("azure_endpoint"),
        config.get("api_key") or provider,
        config.get("model"),
        timeout=config.get("timeout"),
        max_retries=config.get("max_retries", 2),
        headers=config.get("default_headers"),
        surface=config.get("surface"),
        api_version=config.get("api_version"),
        http_client=config.get("http_client"),
    )


def _options(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options for the core client, from the arguments of AG2."""
    options = {
        name: value
        for name, value in {**params, **params.get("extra_body", {})}.items()
        if name not in _NO_OPTIONS and value is not None
    }
    if not options.get("tools"):
        # The service refuses these without tools.
        for name in ("tools", "tool_choice"):
            options.pop(name, None)
    if wanted := options.get("response_format"):
        options["response_format"] = _response_format(wanted)
    if headers := params.get("extra_headers"):
        options["headers"] = headers
    return options


def _response_format(wanted: Any) -> Any:
    """Return a response format from any form of AG2: a type, a JSON Schema, or the wire's."""
    if isinstance(wanted, Mapping) and wanted.get("type") not in ("json_object", "json_schema"):
        return json_schema_of(str(wanted.get("title") or "response_format"), wanted)
    return wanted
