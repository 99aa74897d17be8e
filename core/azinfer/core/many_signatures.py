"""The named options of bulk work as parameters, for type checkers and editors.

They are those of one call, in `option_signatures.py`, and those of `bulk.BulkOptions`. The input of
sync and of async work has different types, so each signature is generic in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Literal

    from azinfer.core import lazy
    from azinfer.core.messages import CustomTool, JsonSchema, Tool
    from azinfer.core.retries import Timeout

Items = TypeVar("Items")


class ChatBulkCall(Generic[Items]):
    """The parameters of `complete_many`, for its kind of input."""

    def __call__(  # noqa: D102 - editors show the docstring of the operation
        self,
        client: Any,
        requests: Items,
        *,
        model: str | None = None,
        model_id: str | None = None,
        timeout: float | Timeout | None = None,
        headers: Mapping[str, str] | None = None,
        ordered: bool = True,
        concurrency: int | None = None,
        checkpoint: str | Path | None = None,
        on_progress: lazy.OnProgress | None = None,
        total: int | None = None,
        patience: float = 600.0,
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


class EmbeddingBulkCall(Generic[Items]):
    """The parameters of `embed_many`, for its kind of input."""

    def __call__(  # noqa: D102 - editors show the docstring of the operation
        self,
        client: Any,
        texts: Items,
        *,
        model: str | None = None,
        model_id: str | None = None,
        kind: Literal["query", "document"] | None = None,
        timeout: float | Timeout | None = None,
        headers: Mapping[str, str] | None = None,
        ordered: bool = True,
        concurrency: int | None = None,
        checkpoint: str | Path | None = None,
        on_progress: lazy.OnProgress | None = None,
        total: int | None = None,
        patience: float = 600.0,
        batch_size: int | None = None,
        dimensions: int | None = None,
        encoding_format: str | None = None,
        input_type: str | None = None,
        user: str | None = None,
        **options: Any,
    ) -> Any: ...
