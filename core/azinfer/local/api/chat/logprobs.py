"""Log probabilities of tokens, as engines report them, in the forms of the other operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from azinfer.local.wire.body import Json


def tokens_in(more: Mapping[str, Any] | None) -> list[Json]:
    """Return the tokens that the fields of a choice or a chunk report; empty without any.

    What an upstream reports in another form is left out.
    """
    reported = (more or {}).get("logprobs")
    content = reported.get("content") if isinstance(reported, Mapping) else None
    return [
        {**each, "top_logprobs": _tokens(each.get("top_logprobs"))} for each in _tokens(content)
    ]


def without_bytes(tokens: Sequence[Json]) -> list[Json]:
    """Return tokens as events of the Responses API have them.

    Source: `OpenAI.ResponseLogProb` of the Azure OpenAI REST API.
    """
    return [
        {**_pair(each), "top_logprobs": [_pair(likely) for likely in each["top_logprobs"]]}
        for each in tokens
    ]


def legacy_logprobs(tokens: Sequence[Json], offset: int) -> Json | None:
    """Return tokens as legacy completions have them, or None without tokens.

    Source: "Create completion" of the Azure OpenAI REST API.

    Args:
        tokens: The tokens.
        offset: How many characters are before the first, the prompt's among them.
    """
    if not tokens:
        return None
    offsets = []
    for each in tokens:
        offsets.append(offset)
        offset += len(each["token"])
    return {
        "tokens": [each["token"] for each in tokens],
        "token_logprobs": [each["logprob"] for each in tokens],
        "top_logprobs": [
            {likely["token"]: likely["logprob"] for likely in each["top_logprobs"]}
            for each in tokens
        ],
        "text_offset": offsets,
    }


def _tokens(entries: Any) -> list[Json]:
    entries = entries if isinstance(entries, list) else ()
    return [
        each
        for each in entries
        if isinstance(each, dict)
        and {"token", "logprob"} <= each.keys()
        and isinstance(each["token"], str)
    ]


def _pair(token: Json) -> Json:
    return {"token": token["token"], "logprob": token["logprob"]}
