"""The options of requests that editors complete; a service may take others, which are sent too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from azinfer.core.messages import CustomTool, JsonSchema, Tool
from azinfer.core.retries import Timeout


class ChatOptions(TypedDict, total=False):
    """Options of `complete` and `stream`; None is left out.

    Source: "Create chat completion", REST reference of Azure OpenAI in Foundry models, v1.

    Attributes:
        temperature: How much answers vary, from 0 to 2.
        top_p: The share of probability that is sampled from, from 0 to 1.
        max_tokens: The most tokens to write; renamed for models that want the other name.
        max_completion_tokens: The same, with the tokens of reasoning.
        stop: Texts that end an answer, at most four.
        seed: The same seed gives, as far as the service can, the same answer.
        n: How many answers to write.
        frequency_penalty: How much to avoid tokens by how often they occurred, from -2 to 2.
        presence_penalty: How much to avoid tokens that occurred, from -2 to 2.
        logit_bias: What to add to the likelihood of tokens, by their ids, from -100 to 100.
        logprobs: Whether to return the log probabilities of the tokens.
        top_logprobs: How many of the likeliest tokens to return at each position, at most 20.
        tools: The functions that the model may call.
        tool_choice: `"auto"`, `"none"`, `"required"`, the name of a tool, or the wire's form.
        parallel_tool_calls: Whether an answer may have several tool calls.
        response_format: `"text"`, `"json_object"`, a JsonSchema, a pydantic model, a dataclass, or
            the wire's form.
        reasoning_effort: How much a reasoning model thinks, for example `"low"`.
        verbosity: How long answers are: `"low"`, `"medium"` or `"high"`.
        modalities: The kinds of output, for example `["text", "audio"]`.
        audio: The voice and the format of audio output.
        prediction: Text that the answer will probably contain, to get it sooner.
        store: Whether the service may keep the answer.
        metadata: Keys and values that are kept with it.
        service_tier: The tier of processing, for example `"priority"`.
        user: The end user, for the service's detection of abuse.
        safety_identifier: The same under its newer name.
        prompt_cache_key: What requests with the same beginning have in common.
        stream_options: `{"include_usage": …}`, for streams.
        wire: The form of the conversation: `"chat"`, `"responses"` or `"messages"`.
        send_reasoning: Whether a model gets its earlier reasoning back on chat completions.
    """

    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    max_completion_tokens: int | None
    stop: str | Sequence[str] | None
    seed: int | None
    n: int | None
    frequency_penalty: float | None
    presence_penalty: float | None
    logit_bias: Mapping[str, float] | None
    logprobs: bool | None
    top_logprobs: int | None
    tools: Sequence[Tool | CustomTool | Mapping[str, Any]] | None
    tool_choice: str | Mapping[str, Any] | None
    parallel_tool_calls: bool | None
    response_format: str | Mapping[str, Any] | JsonSchema | type | None
    reasoning_effort: str | None
    verbosity: str | None
    modalities: Sequence[str] | None
    audio: Mapping[str, Any] | None
    prediction: Mapping[str, Any] | None
    store: bool | None
    metadata: Mapping[str, str] | None
    service_tier: str | None
    user: str | None
    safety_identifier: str | None
    prompt_cache_key: str | None
    stream_options: Mapping[str, Any] | None
    wire: Literal["chat", "responses", "messages"] | None
    send_reasoning: bool | None


class ChatCall(ChatOptions, total=False):
    """All that a call of `complete` or `stream` takes besides its messages.

    Attributes:
        model: The deployment's name, in any case.
        model_id: The model behind it.
        timeout: Seconds for each attempt, or a Timeout.
        headers: Sent with the call.
    """

    model: str | None
    model_id: str | None
    timeout: float | Timeout | None
    headers: Mapping[str, str] | None


class EmbeddingOptions(TypedDict, total=False):
    """Options of `embed` and `embed_images`; None is left out.

    Source: "Create embeddings", REST reference of Azure OpenAI in Foundry models, v1.

    Attributes:
        dimensions: The length of the vectors, where the model can choose.
        encoding_format: `"float"`, `"base64"`, `"int8"`, …; vectors arrive decoded.
        input_type: What the vectors are for, in the word of the model; see also `kind=`.
        user: The end user, for the service's detection of abuse.
    """

    dimensions: int | None
    encoding_format: str | None
    input_type: str | None
    user: str | None


class EmbeddingCall(EmbeddingOptions, total=False):
    """All that a call of `embed` takes besides its texts.

    Attributes:
        model: The deployment's name, in any case.
        model_id: The model behind it.
        kind: What the vectors are for.
        timeout: Seconds for each attempt, or a Timeout.
        headers: Sent with the call.
    """

    model: str | None
    model_id: str | None
    kind: Literal["query", "document"] | None
    timeout: float | Timeout | None
    headers: Mapping[str, str] | None
