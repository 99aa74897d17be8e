"""What is known about an answer besides its contents, as frameworks keep it: plain data."""

from __future__ import annotations

from azinfer.core.completions import ChatCompletion, Choice, Json


def details_of(answer: ChatCompletion, choice: Choice | None = None) -> Json:
    """Return what is known about an answer besides its contents, as plain data.

    Args:
        answer: The answer.
        choice: One of its choices; the first when left out.

    Returns:
        `id`, `created`, `model`, `system_fingerprint`, `finish_reason`, `logprobs`, `refusal`,
        `content_filter_results`, `prompt_filter_results`, `deployment`, `surface`, `request_id`,
        `adapted` and `routing` (the trace as text); what is not known or empty is left out.
    """
    choice = choice or answer.choices[0]
    details: Json = {
        "id": answer.id,
        "created": answer.created,
        "model": answer.model,
        "system_fingerprint": answer.raw.get("system_fingerprint"),
        "finish_reason": choice.finish_reason,
        "logprobs": choice.logprobs,
        "refusal": choice.message.refusal,
        "content_filter_results": choice.content_filter_results,
        "prompt_filter_results": list(answer.prompt_filter_results),
    }
    if routing := answer.routing:
        details |= {
            "deployment": routing.deployment,
            "surface": routing.surface,
            "request_id": routing.attempts[-1].request_id if routing.attempts else None,
            "adapted": list(routing.adapted),
            "routing": routing.trace,
        }
    return {name: value for name, value in details.items() if value}
