"""AzInferChatClient: every chat deployment of an endpoint as an Agent Framework client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar, Unpack

import agent_framework as af
from agent_framework.observability import ChatTelemetryLayer
from typing_extensions import TypeVar, override

from azinfer.agent_framework.connection import Arguments, Connection
from azinfer.agent_framework.errors import CHAT_ERRORS
from azinfer.agent_framework.messages import to_messages, write_tools
from azinfer.agent_framework.responses import StreamedChoices, from_completion
from azinfer.agent_framework.structured import to_response_format
from azinfer.core import continuation, hidden

OptionsT = TypeVar("OptionsT", covariant=True, default=af.ChatOptions[Any])


class ChatArguments(Arguments, total=False):
    """The further arguments of a chat client, after endpoint, credential and deployment."""

    instruction_role: str | None
    middleware: Sequence[Any] | None
    function_invocation_configuration: af.FunctionInvocationConfiguration | None
    compaction_strategy: Any
    tokenizer: Any


class _ChatClient(Connection, af.BaseChatClient[OptionsT]):
    """The innermost layer: one request with a complete or a streamed answer."""

    _MODEL_VARIABLES: ClassVar[tuple[str, ...]] = (
        *("AZURE_OPENAI_CHAT_COMPLETION_MODEL", "AZURE_OPENAI_CHAT_MODEL"),
        *("AZURE_OPENAI_MODEL", "FOUNDRY_MODEL"),
    )

    def __init__(self, *, instruction_role: str | None = None, **more: Any) -> None:
        super().__init__(**more)
        self.instruction_role = instruction_role

    @override
    def _inner_get_response(
        self,
        *,
        messages: Sequence[af.Message],
        stream: bool,
        options: Mapping[str, Any],
        **kwargs: Any,
    ) -> Any:
        if not stream:
            return self._complete(messages, options, kwargs)
        updates = self._updates(messages, options, kwargs)
        return self._build_response_stream(updates, response_format=options.get("response_format"))

    async def _complete(
        self, messages: Sequence[af.Message], options: Mapping[str, Any], kwargs: Mapping[str, Any]
    ) -> af.ChatResponse[Any]:
        with CHAT_ERRORS:
            wire, wanted = self._request(messages, options, kwargs)
            answer = await self.client.complete(wire, **wanted)
        self._describe(answer)
        return from_completion(answer, options.get("response_format"))

    async def _updates(
        self, messages: Sequence[af.Message], options: Mapping[str, Any], kwargs: Mapping[str, Any]
    ) -> AsyncIterator[af.ChatResponseUpdate]:
        choices = StreamedChoices()
        with CHAT_ERRORS:
            wire, wanted = self._request(messages, options, kwargs)
            async with self.client.stream(wire, **wanted) as chunks:
                async for chunk in chunks:
                    if update := choices.from_chunk(chunk):
                        yield update
            answer = chunks.completion
            self._describe(answer)
            for update in choices.last_updates(answer):
                yield update

    def _request(
        self, messages: Sequence[af.Message], options: Mapping[str, Any], kwargs: Mapping[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Return the messages and the options of a call for core."""
        wanted = {**options, "model": options.get("model") or self.model}
        if headers := kwargs.get("extra_headers"):
            wanted["headers"] = {**(wanted.get("headers") or {}), **headers}
        if (kept := wanted.pop("conversation_id", None)) and wanted.get("store") is not False:
            wanted |= continuation(kept)
        if instructions := wanted.pop("instructions", None):
            role = self.instruction_role or "system"
            messages = af.prepend_instructions_to_messages(list(messages), instructions, role)
        write_tools(wanted)
        if form := wanted.get("response_format"):
            wanted["response_format"] = to_response_format(form)
        return to_messages(messages), wanted


class AzInferChatClient(
    af.FunctionInvocationLayer[OptionsT],
    af.ChatMiddlewareLayer[OptionsT],
    ChatTelemetryLayer[OptionsT],
    _ChatClient[OptionsT],
):
    """A chat client on any Azure AI endpoint: one class for every surface.

    The constructor does not touch the network. Options of a call may name another deployment
    (`options={"model": "other"}`), and take `model_id`, `timeout` and `headers` besides the
    framework's; `wire` and every other key go to the core client.

    Args:
        endpoint: Any URL that a portal or a sample shows. By default the environment's, by
            azinfer's names or those of the framework's Azure clients.
        credential: A key, a credential of azure-identity, or a function that returns a token.
        model: The deployment's name, in any case. By default the endpoint's own, or the
            environment's AZURE_OPENAI_CHAT_COMPLETION_MODEL, AZURE_OPENAI_CHAT_MODEL,
            AZURE_OPENAI_MODEL or FOUNDRY_MODEL.
        **more: model_id (the model behind the deployment, if its name does not say so), timeout
            (seconds for each attempt, or a Timeout), max_retries, headers, surface,
            api_version, wire (`"chat"`, `"responses"` or `"messages"`), client (a ready core
            client, which you close yourself), env_file_path and env_file_encoding (a file
            that is read before the environment),
            instruction_role (`"system"`, the default, or `"developer"`), and the framework's
            middleware, function_invocation_configuration, compaction_strategy, tokenizer,
            otel_provider_name and additional_properties.

    Raises:
        SettingNotFoundError: There is no endpoint, no credential or no deployment.

    Example:
        >>> from azinfer.agent_framework import AzInferChatClient
        >>> endpoint = "https://contoso.services.ai.azure.com"
        >>> AzInferChatClient(endpoint, "a-key", "mistral-large").service_url()
        'https://contoso.services.ai.azure.com/openai/v1'
    """

    def __init__(
        self,
        endpoint: str | None = None,
        credential: Any = None,
        model: str | None = None,
        **more: Unpack[ChatArguments],
    ) -> None:
        # Tracebacks may show variables.
        credential, endpoint = hidden(credential), hidden(endpoint)
        super().__init__(endpoint=endpoint, credential=credential, model=model, **more)
