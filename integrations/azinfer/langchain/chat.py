"""ChatAzInfer: every chat deployment of an endpoint as a LangChain chat model."""

from __future__ import annotations

import inspect
import math
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any, Literal, Self, TypeVar

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import model_validator
from typing_extensions import override

from azinfer.core import ConfigurationError, Timeout, __version__, without_secrets
from azinfer.langchain.connection import DeploymentConnection, HiddenCredential
from azinfer.langchain.errors import translated_errors
from azinfer.langchain.messages import to_messages, to_tool_choice, to_tools
from azinfer.langchain.profiles import to_model_profile
from azinfer.langchain.responses import ResponseAccumulator, from_completion
from azinfer.langchain.structured import parser_of, response_format_of

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

_OPTIONS = frozenset(
    {
        *("temperature", "max_tokens", "top_p", "stop", "seed", "n", "logprobs", "top_logprobs"),
        *("reasoning_effort", "verbosity", "frequency_penalty", "presence_penalty", "logit_bias"),
        *("user", "store", "service_tier", "prompt_cache_key", "parallel_tool_calls"),
        "max_completion_tokens",
    }
)


def _with_kept_signature(function: FunctionT) -> FunctionT:
    """Return a function that keeps its signature, which LangChain inspects with each call."""
    function.__dict__["__signature__"] = inspect.signature(function)
    return function


class ChatAzInfer(HiddenCredential, BaseChatModel, DeploymentConnection):
    """A chat model on any Azure AI endpoint: one class for every surface.

    Pass it an `endpoint` and a `credential` as for `azinfer.core.InferenceClient`, or such a client
    as `client`. Pass options without a field here in `model_kwargs` or with the call; they are sent
    as they are. `metadata` is LangChain's own, for traces; pass the service's in
    `model_kwargs={"metadata": …}`.

    Example:
        >>> from azinfer.langchain import ChatAzInfer
        >>> model = ChatAzInfer(
        ...     endpoint="https://contoso.services.ai.azure.com",
        ...     credential="a-key",
        ...     model="mistral-large",
        ... )
        >>> model.model
        'mistral-large'
    """

    temperature: float | None = None
    """The randomness of an answer."""
    max_tokens: int | None = None
    """The most tokens to write; sent as `max_completion_tokens` where the model needs that."""
    top_p: float | None = None
    """The share of probability that is sampled from."""
    stop: list[str] | str | None = None
    """Texts that end an answer."""
    seed: int | None = None
    """The same seed gives, as far as the service can, the same answer."""
    n: int | None = None
    """How many answers to write: `generate` returns all, `invoke` the first; streams refuse it."""
    logprobs: bool | None = None
    """Whether to return the tokens' log probabilities."""
    top_logprobs: int | None = None
    """How many of the likeliest tokens to return at each position."""
    reasoning_effort: str | None = None
    """How much a reasoning model may think, for example `"low"`."""
    verbosity: str | None = None
    """How long answers are: `"low"`, `"medium"` or `"high"`."""
    frequency_penalty: float | None = None
    """How much less likely a token becomes each time it was used."""
    presence_penalty: float | None = None
    """How much less likely a token becomes once it was used."""
    logit_bias: dict[str, int] | None = None
    """Numbers to add to the likelihood of tokens, by their ids."""
    user: str | None = None
    """The end user, for the service's detection of abuse."""
    store: bool | None = None
    """Whether the service may store the answer."""
    service_tier: str | None = None
    """The tier of processing, for example `"priority"`."""
    prompt_cache_key: str | None = None
    """The same text for requests that begin alike, for the service's cache."""
    parallel_tool_calls: bool | None = None
    """Whether an answer may have several tool calls; sent with tools only."""
    max_completion_tokens: int | None = None
    """The most tokens to write, reasoning included."""
    streaming: bool = False
    """Whether `invoke` uses a stream internally, for callbacks that show tokens as they come."""

    @model_validator(mode="after")
    def _name_version(self) -> Self:
        self._add_version("azinfer", __version__)
        return self

    @property
    @override
    def _llm_type(self) -> str:
        return "azinfer-chat"

    @property
    @override
    def _identifying_params(self) -> dict[str, Any]:
        return {"endpoint": self.core_client.endpoint.url, **self._options(None, {})}

    @override
    def _get_invocation_params(
        self, stop: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        target = self._target(kwargs)
        params = {"deployment": target["model"], "model_id": target["model_id"]}
        return {**super()._get_invocation_params(stop, **kwargs), **params}

    @classmethod
    @override
    def is_lc_serializable(cls) -> bool:
        return True

    @property
    @override
    def lc_secrets(self) -> dict[str, str]:
        return {"credential": "AZURE_AI_API_KEY", "headers": "AZURE_AI_HEADERS"}

    @property
    @override
    def lc_attributes(self) -> dict[str, Any]:
        at = self.core_client.endpoint
        params: dict[str, Any] = {"endpoint": without_secrets(self.endpoint or at.url)}
        if at.api_version:
            params["api_version"] = at.api_version
        if isinstance(self.timeout, Timeout):
            params["timeout"] = asdict(self.timeout)
        return params

    @override
    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = "azure"
        target = self._target(kwargs)
        if name := target["model_id"] or target["model"]:
            params["ls_model_name"] = name
        return params

    @override
    def _resolve_model_profile(self) -> Any:
        return to_model_profile(
            self.core_client.model_facts(model=self.model, model_id=self.model_id)
        )

    def _options(self, stop: list[str] | None, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options for the core client: those of the call win over the model's."""
        own = self.__dict__
        # Few of the fields are set, and this runs twice in each call.
        names = _OPTIONS & (self.model_fields_set | _names_with_default(type(self)))
        options = {name: own[name] for name in sorted(names)}
        options |= self.model_kwargs
        options |= kwargs
        options |= self._target(kwargs)
        if stop is not None:
            options["stop"] = stop
        return {name: value for name, value in options.items() if value is not None}

    @property
    def _first_call_index(self) -> int:
        # LangChain numbers the v1 blocks of a stream from 0 on, and would add calls with the same
        # numbers to them.
        return 1000 if self.output_version == "v1" else 0

    @override
    @_with_kept_signature
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with translated_errors():
            options = self._options(stop, kwargs)
            return from_completion(self.sync_client.complete(to_messages(messages), **options))

    @override
    @_with_kept_signature
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with translated_errors():
            options = self._options(stop, kwargs)
            answer = await self.async_client.complete(to_messages(messages), **options)
            return from_completion(answer)

    @override
    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        with translated_errors():
            options = _one_choice(self._options(stop, kwargs))
            answer = ResponseAccumulator(self._first_call_index)
            with self.sync_client.stream(to_messages(messages), **options) as chunks:
                for part in chunks:
                    if chunk := answer.add(part):
                        yield chunk
            yield answer.last(chunks.completion)

    @override
    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        with translated_errors():
            options = _one_choice(self._options(stop, kwargs))
            answer = ResponseAccumulator(self._first_call_index)
            async with self.async_client.stream(to_messages(messages), **options) as chunks:
                async for part in chunks:
                    if chunk := answer.add(part):
                        yield chunk
            yield answer.last(chunks.completion)

    @override
    def get_num_tokens(self, text: str) -> int:
        """Estimate the tokens of a text without a tokenizer or a download: one for 4 bytes."""
        return math.ceil(len(text.encode()) / 4)

    @override
    def get_num_tokens_from_messages(
        self, messages: Sequence[BaseMessage], tools: Sequence[Any] | None = None, **kwargs: Any
    ) -> int:
        """Estimate the tokens of a conversation without a tokenizer or a download."""
        counted = count_tokens_approximately(messages)
        return counted + sum(self.get_num_tokens(str(tool)) for tool in to_tools(tools or (), None))

    @override
    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return a model that may call tools.

        Args:
            tools: Tools, functions, pydantic models, TypedDicts or schemas.
            tool_choice: `"auto"`, `"none"`, `"required"` (or `"any"`, True), or a tool's name.
            strict: Whether the service enforces the schemas of arguments.
            parallel_tool_calls: Whether several calls may come in one answer.
            **kwargs: Further options of the call.
        """
        wire = to_tools(tools, strict)
        if tool_choice:
            kwargs["tool_choice"] = to_tool_choice(tool_choice, wire)
        if parallel_tool_calls is not None:
            kwargs["parallel_tool_calls"] = parallel_tool_calls
        if wire:
            kwargs["tools"] = wire
        return super().bind(**kwargs)

    @override
    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        method: Literal["json_schema", "function_calling", "json_mode"] | None = None,
        include_raw: bool = False,
        strict: bool | None = None,
        tools: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Return a model whose answers are values of a schema.

        Args:
            schema: A pydantic model, a TypedDict or a JSON Schema.
            method: `"json_schema"` enforces it, `"function_calling"` asks for a tool
                call with it, `"json_mode"` asks for JSON alone. By default what the model supports.
            include_raw: Whether to answer `{"raw", "parsed", "parsing_error"}`.
            strict: Whether the service enforces the schema.
            tools: Tools that the model may call instead.
            **kwargs: Further options of the call.

        Raises:
            ConfigurationError: The method is unknown, or the schema is missing.
        """
        if method is None:
            can = (self.profile or {}).get("structured_output", True)
            method = "json_schema" if can else "function_calling"
        if method not in ("json_schema", "function_calling", "json_mode"):
            raise ConfigurationError(
                f"method must be json_schema, function_calling or json_mode, not {method!r}"
            )
        if schema is None and method != "json_mode":
            raise ConfigurationError(f"with_structured_output needs a schema for method={method!r}")
        traced = {"kwargs": {"method": method}, "schema": schema}
        noted: dict[str, Any] = {"ls_structured_output_format": traced}
        offered: list[Any] = list(tools or ())
        if method == "function_calling":
            wanted: Any = schema
            name = convert_to_openai_tool(wanted)["function"]["name"]
            noted["tool_choice"] = "auto" if offered else name
            offered.insert(0, wanted)
        else:
            noted["response_format"] = response_format_of(schema, method, strict)
        bound = self.bind_tools(offered, strict=strict, **noted, **kwargs)
        return bound | parser_of(schema, method, include_raw)


def init_chat_model(
    model: str, *, model_provider: str | None = None, **named: Any
) -> BaseChatModel:
    """Return a chat model for one string; LangChain's own helper does not know this class.

    Where LangChain takes a model's name (`create_agent`, middleware), it also takes the model that
    this function returns.

    Args:
        model: `"azinfer:<deployment>"` for a ChatAzInfer (or the deployment alone, with
            `model_provider="azinfer"`); anything else goes to
            `langchain.chat_models.init_chat_model`.
        model_provider: The provider, if `model` does not begin with it.
        **named: Arguments of the class.

    Example:
        >>> from azinfer.langchain import init_chat_model
        >>> endpoint = "https://contoso.services.ai.azure.com"
        >>> init_chat_model("azinfer:small-chat", endpoint=endpoint, credential="a-key").model
        'small-chat'
    """
    if model_provider == "azinfer" or (model_provider is None and model.startswith("azinfer:")):
        return ChatAzInfer(model=model.removeprefix("azinfer:"), **named)
    from langchain.chat_models import init_chat_model as theirs

    chat_model: BaseChatModel = theirs(model, model_provider=model_provider, **named)
    return chat_model


@cache
def _names_with_default(kind: type[ChatAzInfer]) -> frozenset[str]:
    """Return the fields to which a class, or a caller's subclass, gives a value by default."""
    fields = kind.model_fields.items()
    return frozenset(
        name for name, each in fields if each.default is not None or each.default_factory
    )


def _one_choice(options: dict[str, Any]) -> dict[str, Any]:
    if options.get("n", 1) > 1:
        raise ConfigurationError("a stream of LangChain has only one answer: leave out n")
    return options
