"""`azinfer complete`: answers to any number of prompts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from azinfer.core import ChatCompletion, InferenceClient
from azinfer.core.bulk import CompletionJob
from azinfer.core.operations import CallOptions
from azinfer.local.cli.bulk.run import Command, Settings, choose_model, run


def complete(
    client: InferenceClient, settings: Settings, system: str | None, options: Mapping[str, Any]
) -> bool:
    """Complete the prompts of an input; return whether all of them have an answer.

    Args:
        client: Its `model` is the deployment to call; if it has none, one is chosen here.
        settings: The input, the output, and the other options.
        system: The system message, sent before each prompt.
        options: Parameters of chat completions, such as `max_tokens`.
    """
    model = choose_model(client, embeddings=False)
    command = Command(
        kind="complete",
        what="prompts",
        item=partial(request_of, system),
        job=CompletionJob(client, CallOptions(model, None, None, None, options)),
        begin=partial(client.complete_many, model=model, **options),
        record=record_of,
    )
    return run(client, model, command, settings)


def request_of(system: str | None, item: Any) -> Any:
    """Return the request for a prompt; an object with messages is a request already."""
    if isinstance(item, Mapping):
        return item
    before = [{"role": "system", "content": system}] if system else []
    return [*before, {"role": "user", "content": item}]


def record_of(completion: ChatCompletion) -> dict[str, Any]:
    """Return the fields of a completion in the output."""
    usage = completion.usage
    record = {
        "text": completion.text,
        "finish_reason": completion.finish_reason,
        "tokens": usage and usage.total_tokens,
        "tool_calls": [call.to_wire() for call in completion.tool_calls] or None,
    }
    return {name: value for name, value in record.items() if value is not None}
