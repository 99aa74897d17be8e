"""The named options of calls as parameters, for type checkers and editors.

At runtime the operations take `**options`: nothing is copied on the way to the request. Type
checkers read the signatures below instead, so that a known option of a wrong type is an error and
an unknown one is not. One TypedDict with `extra_items=Any` (PEP 728) would say the same, but mypy
does not read that yet. What the options mean is in `request_options.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Literal

    from azinfer.core.messages import ChatMessage, CustomTool, JsonSchema, Tool
    from azinfer.core.retries import Timeout

P = ParamSpec("P")
R = TypeVar("R")


def parameters_of(
    signature: Callable[P, Any],
) -> Callable[[Callable[..., R]], Callable[P, R]]:
    """Return a decorator that gives a method the parameters of a signature, for type checkers.

    The method itself stays as it is, with its docstring and its own signature at runtime.
    """

    def keep(method: Callable[..., R]) -> Callable[P, R]:
        return method

    return keep


def chat_call(  # noqa: D103 - editors show the docstring of the operation
    self: Any,
    messages: Sequence[ChatMessage],
    *,
    model: str | None = None,
    model_id: str | None = None,
    timeout: float | Timeout | None = None,
    headers: Mapping[str, str] | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    max_tokens: int | None = None,
    max_completion_tokens: int | None = None,
    stop: str | Sequence[str] | None = None,
    seed: int | None = None,
    n: int | None = None,
    frequency_penalty: float | None = None,
    presence_penalty: float | None = None,
    logit_bias: Mapping[str, float] | None = None,
    logprobs: bool | None = None,
    top_logprobs: int | None = None,
    tools: Sequence[Tool | CustomTool | Mapping[str, Any]] | None = None,
    tool_choice: str | Mapping[str, Any] | None = None,
    parallel_tool_calls: bool | None = None,
    response_format: str | Mapping[str, Any] | JsonSchema | type | None = None,
    reasoning_effort: str | None = None,
    verbosity: str | None = None,
    modalities: Sequence[str] | None = None,
    audio: Mapping[str, Any] | None = None,
    prediction: Mapping[str, Any] | None = None,
    store: bool | None = None,
    metadata: Mapping[str, str] | None = None,
    service_tier: str | None = None,
    user: str | None = None,
    safety_identifier: str | None = None,
    prompt_cache_key: str | None = None,
    stream_options: Mapping[str, Any] | None = None,
    wire: Literal["chat", "responses", "messages"] | None = None,
    send_reasoning: bool | None = None,
    **options: Any,
) -> Any: ...


def embedding_call(  # noqa: D103 - editors show the docstring of the operation
    self: Any,
    input: str | Sequence[str],
    *,
    model: str | None = None,
    model_id: str | None = None,
    kind: Literal["query", "document"] | None = None,
    timeout: float | Timeout | None = None,
    headers: Mapping[str, str] | None = None,
    dimensions: int | None = None,
    encoding_format: str | None = None,
    input_type: str | None = None,
    user: str | None = None,
    **options: Any,
) -> Any: ...
