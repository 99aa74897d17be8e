"""AzInferLLM: every chat deployment of an endpoint as a LlamaIndex LLM."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from typing import Any

from llama_index.core.base.llms.generic_utils import prompt_to_messages
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
)
from llama_index.core.bridge.pydantic import Field
from llama_index.core.constants import DEFAULT_CONTEXT_WINDOW, DEFAULT_NUM_OUTPUTS
from llama_index.core.instrumentation.events.llm import (
    LLMStructuredPredictEndEvent,
    LLMStructuredPredictStartEvent,
)
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection, dispatcher
from llama_index.core.program.function_program import get_function_tool
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools.types import BaseTool
from llama_index.core.types import PydanticProgramMode
from typing_extensions import override

from azinfer.core import ConfigurationError, ModelFacts, profile_of
from azinfer.llama_index.connection import DeploymentConnection
from azinfer.llama_index.messages import Json, to_messages, to_tool_choice, to_tools
from azinfer.llama_index.responses import (
    ResponseAccumulator,
    from_completion,
    to_completion,
    to_selections,
)
from azinfer.llama_index.structured import aparse_stream, parse_stream, parse_value

_OPTIONS = (
    *("temperature", "max_tokens", "logprobs", "top_logprobs", "reasoning_effort", "verbosity"),
    "modalities",
)


class AzInferLLM(DeploymentConnection, FunctionCallingLLM):
    """A chat model on any Azure AI endpoint: one class for every surface.

    Pass it an `endpoint` and a `credential` as for `azinfer.core.InferenceClient`, or such a client
    as `client`. Pass options without a field here in `additional_kwargs` or with the call; they are
    sent as they are. `model=` with a call uses another deployment.

    Example:
        >>> from azinfer.llama_index import AzInferLLM
        >>> llm = AzInferLLM(
        ...     endpoint="https://contoso.services.ai.azure.com",
        ...     credential="a-key",
        ...     model="mistral-large",
        ... )
        >>> llm.metadata.context_window
        32768
    """

    temperature: float | None = None
    """The randomness of an answer."""
    max_tokens: int | None = None
    """The most tokens to write; sent as `max_completion_tokens` where the model needs that."""
    logprobs: bool | None = None
    """Whether to return the log probabilities of tokens."""
    top_logprobs: int | None = None
    """How many of the likeliest tokens to return at each position."""
    reasoning_effort: str | None = None
    """How much a reasoning model may think, for example `"low"`."""
    verbosity: str | None = None
    """How long answers are: `"low"`, `"medium"` or `"high"`."""
    modalities: list[str] | None = None
    """The kinds of output, for example `["text", "audio"]`."""
    context_window: int | None = None
    """Tokens of a prompt and its answer together; by default what is known about the model."""
    is_function_calling_model: bool | None = None
    """Whether the model calls tools; by default what is known about the model."""
    additional_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further options, sent as they are."""

    @classmethod
    @override
    def class_name(cls) -> str:
        return "AzInferLLM"

    @property
    @override
    def metadata(self) -> LLMMetadata:
        """What is known about the model, without a request.

        If the model is unknown, the context window is LlamaIndex's own default, enlarged by
        `max_tokens`.
        """
        facts = self._facts
        written = self.max_tokens or DEFAULT_NUM_OUTPUTS
        default = DEFAULT_CONTEXT_WINDOW + (self.max_tokens or 0)
        calls = self.is_function_calling_model
        return LLMMetadata(
            context_window=self.context_window or facts.context_window or default,
            num_output=written,
            is_chat_model=True,
            is_function_calling_model=facts.tools is not False if calls is None else calls,
            model_name=self._model_name or "unknown",
        )

    @property
    def _model_name(self) -> str | None:
        """The model behind the deployment if it is known, else the deployment."""
        client = self._existing_client
        if client is None or self.model is None:
            return self.model_id or self.model
        return client.explain(model=self.model, model_id=self.model_id).model_id or self.model

    @property
    def _facts(self) -> ModelFacts:
        return self.core_client.model_facts(model=self.model, model_id=self.model_id)

    def _options(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the options for the core client: those of the call win over the model's."""
        own = {name: getattr(self, name) for name in _OPTIONS}
        options = {**own, **self.additional_kwargs, **kwargs}
        if (options.get("n") or 1) > 1:
            raise ConfigurationError("LlamaIndex uses one answer: leave out n")
        options = {name: value for name, value in options.items() if value is not None}
        parallel = options.pop("allow_parallel_tool_calls", True)
        if not parallel and options.get("tools") and self._takes_parallel(options):
            options.setdefault("parallel_tool_calls", False)
        return options

    def _takes_parallel(self, options: dict[str, Any]) -> bool:
        """Return whether the service knows `parallel_tool_calls`; reasoning models refuse it."""
        model, model_id = options.get("model"), options.get("model_id")
        routing = self.core_client.explain(model=model, model_id=model_id)
        reasons = profile_of(routing.model_id).token_limit == "max_completion_tokens"
        return routing.surface in ("v1", "deployments") and not reasons

    @llm_chat_callback()
    @override
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return self._chat(messages, kwargs)

    @llm_chat_callback()
    @override
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return await self._achat(messages, kwargs)

    @llm_chat_callback()
    @override
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        return self._stream(messages, kwargs)

    @llm_chat_callback()
    @override
    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        return self._astream(messages, kwargs)

    @llm_completion_callback()
    @override
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return to_completion(self._chat(prompt_to_messages(prompt), kwargs))

    @llm_completion_callback()
    @override
    async def acomplete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponse:
        return to_completion(await self._achat(prompt_to_messages(prompt), kwargs))

    @llm_completion_callback()
    @override
    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        chunks = self._stream(prompt_to_messages(prompt), kwargs)
        return (to_completion(each) for each in chunks)

    @llm_completion_callback()
    @override
    async def astream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseAsyncGen:
        chunks = self._astream(prompt_to_messages(prompt), kwargs)
        return (to_completion(each) async for each in chunks)

    def _chat(self, messages: Sequence[ChatMessage], kwargs: dict[str, Any]) -> ChatResponse:
        answer = self.sync_client.complete(to_messages(messages), **self._options(kwargs))
        return from_completion(answer, _one_call(kwargs))

    async def _achat(self, messages: Sequence[ChatMessage], kwargs: dict[str, Any]) -> ChatResponse:
        answer = await self.async_client.complete(to_messages(messages), **self._options(kwargs))
        return from_completion(answer, _one_call(kwargs))

    def _stream(
        self, messages: Sequence[ChatMessage], kwargs: dict[str, Any]
    ) -> Generator[ChatResponse]:
        accumulator = ResponseAccumulator(_one_call(kwargs))
        with self.sync_client.stream(to_messages(messages), **self._options(kwargs)) as chunks:
            for chunk in chunks:
                if response := accumulator.add(chunk):
                    yield response
        yield accumulator.last(chunks.completion)

    async def _astream(
        self, messages: Sequence[ChatMessage], kwargs: dict[str, Any]
    ) -> AsyncGenerator[ChatResponse]:
        accumulator = ResponseAccumulator(_one_call(kwargs))
        options = self._options(kwargs)
        async with self.async_client.stream(to_messages(messages), **options) as chunks:
            async for chunk in chunks:
                if response := accumulator.add(chunk):
                    yield response
        yield accumulator.last(chunks.completion)

    @override
    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        messages = list(chat_history or ())
        if user_msg is not None:
            message = user_msg if isinstance(user_msg, ChatMessage) else ChatMessage(user_msg)
            messages.append(message)
        wire = to_tools(tools)
        choice = to_tool_choice(kwargs.pop("tool_choice", None), tool_required, wire)
        request = {"messages": messages, "allow_parallel_tool_calls": allow_parallel_tool_calls}
        if wire:
            request |= {"tools": wire, "tool_choice": choice}
        return {**request, **kwargs}

    @override
    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """Return the tool calls of a response, or of its part so far while it is streamed.

        Raises:
            ValueError: The answer has no calls, although `error_on_no_tool_call` is set.
            InvalidResponseError: A token limit or a content filter cut a call off.
        """
        selections = to_selections(response)
        if not selections and error_on_no_tool_call:
            raise ValueError(
                f"the response has no tool call; its text is {response.message.content!r}"
            )
        return selections

    @override
    def structured_predict(
        self,
        output_cls: type[Any],
        prompt: Any,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Any:
        """Return a value of a pydantic model, by the service's structured output or a tool call.

        Raises:
            InvalidResponseError: The model refused, or its answer was cut off.
            ValidationError: The answer does not match the model.
        """
        if not self._supports_structured:
            llm_kwargs = dict(llm_kwargs or {})
            return super().structured_predict(output_cls, prompt, llm_kwargs, **prompt_args)
        _notify_start(output_cls, prompt, prompt_args)
        request = self._structured_request(output_cls, prompt, llm_kwargs, prompt_args)
        return _notify_end(parse_value(self.chat(**request), output_cls))

    @override
    async def astructured_predict(
        self,
        output_cls: type[Any],
        prompt: Any,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Any:
        """Return a value of a pydantic model; the same as `structured_predict`, awaited."""
        if not self._supports_structured:
            llm_kwargs = dict(llm_kwargs or {})
            return await super().astructured_predict(output_cls, prompt, llm_kwargs, **prompt_args)
        _notify_start(output_cls, prompt, prompt_args)
        request = self._structured_request(output_cls, prompt, llm_kwargs, prompt_args)
        return _notify_end(parse_value(await self.achat(**request), output_cls))

    @override
    def _structured_stream_call(
        self,
        output_cls: type[Any],
        prompt: Any,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Any]:
        if not self._supports_structured:
            llm_kwargs = dict(llm_kwargs or {})
            return super()._structured_stream_call(output_cls, prompt, llm_kwargs, **prompt_args)
        request = self._structured_request(output_cls, prompt, llm_kwargs, prompt_args)
        return parse_stream(self.stream_chat(**request), output_cls)

    @override
    async def _structured_astream_call(
        self,
        output_cls: type[Any],
        prompt: Any,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Any]:
        if not self._supports_structured:
            llm_kwargs = dict(llm_kwargs or {})
            return await super()._structured_astream_call(
                output_cls, prompt, llm_kwargs, **prompt_args
            )
        request = self._structured_request(output_cls, prompt, llm_kwargs, prompt_args)
        return aparse_stream(await self.astream_chat(**request), output_cls)

    @property
    def _supports_structured(self) -> bool:
        """Whether structured output comes from the service rather than from instructions."""
        by_default = self.pydantic_program_mode == PydanticProgramMode.DEFAULT
        return by_default and (
            self._facts.json_schema is not False or self._facts.tools is not False
        )

    def _structured_request(
        self,
        output_cls: type[Any],
        prompt: Any,
        llm_kwargs: dict[str, Any] | None,
        prompt_args: dict[str, Any],
    ) -> dict[str, Any]:
        """Return the request that asks for a value."""
        request: Json = {
            name: value
            for name, value in (llm_kwargs or {}).items()
            if name not in ("tool_choice", "tool_required", "allow_parallel_tool_calls")
        }
        messages = self._extend_messages(prompt.format_messages(llm=self, **prompt_args))
        if self._facts.json_schema is not False:
            return {**request, "messages": messages, "response_format": output_cls}
        tool = get_function_tool(output_cls)
        return self._prepare_chat_with_tools(
            [tool], chat_history=messages, tool_required=True, **request
        )


def _one_call(kwargs: dict[str, Any]) -> bool:
    return kwargs.get("allow_parallel_tool_calls") is False


def _notify_start(
    output_cls: type[Any], prompt: PromptTemplate, prompt_args: dict[str, Any]
) -> None:
    dispatcher.event(
        LLMStructuredPredictStartEvent(
            output_cls=output_cls, template=prompt, template_args=prompt_args
        )
    )


def _notify_end(value: Any) -> Any:
    dispatcher.event(LLMStructuredPredictEndEvent(output=value))
    return value
