"""`POST completions`: legacy completions, answered by the same steps as chats.

Engines only know conversations, so each prompt becomes a user's message.

Source: "Create completion" of the Azure OpenAI REST API.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from starlette.responses import Response

from azinfer.local.api.admission import find_deployment
from azinfer.local.api.chat.completion import complete
from azinfer.local.api.chat.logprobs import legacy_logprobs, tokens_in
from azinfer.local.api.chat.request import parse_chat_request
from azinfer.local.api.chat.response import (
    DONE,
    GeneratedChoice,
    event,
    prompt_filter_results,
    stream_error,
    usage,
)
from azinfer.local.api.context import RequestContext
from azinfer.local.engines.base import EngineError
from azinfer.local.resource.model_families import check_logprobs
from azinfer.local.wire.body import Json
from azinfer.local.wire.errors import bad_request, unsupported_parameter

_FIELDS = frozenset(
    """prompt model best_of echo frequency_penalty logit_bias logprobs max_tokens n
    presence_penalty seed stop stream stream_options suffix temperature top_p user""".split()  # noqa: SIM905
)
_SHARED = ("max_tokens", "n", "seed", "stop", "stream", "stream_options", "temperature", "top_p")
_DEFAULT_MAX_TOKENS, _MOST_LIKELY = 16, 5


async def completions(context: RequestContext) -> Response:
    """Answer `POST completions`."""
    body = await context.read_body(_FIELDS)
    deployment = find_deployment(context, body.get("model"), "completion")
    prompts = _prompts(body, context.surface)
    _refuse_what_no_engine_does(body, context.surface)
    shared = {"max_tokens": _DEFAULT_MAX_TOKENS, **{k: body[k] for k in _SHARED if k in body}}
    if (likely := _logprobs(body, context.surface)) is not None:
        check_logprobs("logprobs", deployment, context.surface)
        shared |= {"logprobs": True, "top_logprobs": likely}
    requests = [
        parse_chat_request(
            {**shared, "messages": [{"role": "user", "content": prompt}]}, context.surface
        )
        for prompt in prompts
    ]
    if len(prompts) * requests[0].n > 128:
        raise bad_request(context.surface, "'n' times the prompts must be at most 128.", "n")
    echoes = prompts if _echo(body, context.surface) else [""] * len(prompts)
    make_writer = partial(
        CompletionsWriter,
        id=f"cmpl-{context.id}",
        created=int(time.time()),
        model=deployment.model_name,
        choices_per_prompt=requests[0].n,
        echoes=echoes,
        lengths=[len(each) for each in prompts],
        include_usage=requests[0].include_usage,
    )
    return await complete(context, deployment, requests, make_writer)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionsWriter:
    """Writes one legacy completion, as one body or as events.

    Attributes:
        id: The id of the completion.
        created: Seconds since 1970.
        model: The name of the model.
        choices_per_prompt: The number of choices of each prompt.
        echoes: For each prompt, the text that its choices begin with.
        lengths: For each prompt, its number of characters.
        include_usage: Whether a stream reports its usage.
        prompt_results: What the content filter found in the prompts.
    """

    id: str
    created: int
    model: str
    choices_per_prompt: int
    echoes: Sequence[str]
    lengths: Sequence[int]
    include_usage: bool = False
    prompt_results: Json = field(default_factory=dict)
    _written: dict[int, int] = field(default_factory=dict, init=False)

    def whole(self, choices: Sequence[GeneratedChoice]) -> Json:
        """Return the whole body."""
        entries = [
            self._choice(at, self._echo(at) + each.text, each.finish_reason, each.filter_results)
            | {"logprobs": self._logprobs(at, each.more)}
            for at, each in enumerate(choices)
        ]
        return {**self._head(entries), "usage": self._usage(choices), **self._prompt()}

    def first(self) -> bytes:
        """Return the event with the filter's results for the prompts; empty without results."""
        return event({**self._head([]), **self._prompt()}) if self.prompt_results else b""

    def chunk(
        self,
        index: int,
        delta: Json,
        finish_reason: str | None = None,
        filter_results: Json | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return the event that adds to one choice; empty if it adds nothing."""
        text = self._echo(index) if "role" in delta else delta.get("content") or ""
        if not text and finish_reason is None:
            return b""
        choice = self._choice(index, text, finish_reason, filter_results or {})
        return event(self._head([choice | {"logprobs": self._logprobs(index, more)}]))

    def last(self, choices: Sequence[GeneratedChoice]) -> bytes:
        """Return the usage, if it was requested, and the end of the stream."""
        payload = {**self._head([]), "usage": self._usage(choices)}
        return (event(payload) if self.include_usage else b"") + DONE

    def error_events(self, error: EngineError) -> bytes:
        """Return the error and the end of the stream."""
        return event(stream_error(error)) + DONE

    def _head(self, choices: list[Json]) -> Json:
        head = {"id": self.id, "object": "text_completion", "created": self.created}
        return {**head, "model": self.model, "choices": choices}

    def _prompt(self) -> Json:
        return prompt_filter_results(self.prompt_results)

    def _echo(self, index: int) -> str:
        return self.echoes[index // self.choices_per_prompt]

    def _logprobs(self, index: int, more: Mapping[str, Any] | None) -> Json | None:
        """Return the log probabilities of a choice, or of the next part of it."""
        tokens = tokens_in(more)
        written = self._written.get(index, 0)
        self._written[index] = written + sum(len(each["token"]) for each in tokens)
        return legacy_logprobs(tokens, self.lengths[index // self.choices_per_prompt] + written)

    def _choice(self, index: int, text: str, finish_reason: str | None, results: Json) -> Json:
        choice = {"index": index, "text": text, "finish_reason": finish_reason}
        return {**choice, "content_filter_results": results} if results else choice

    def _usage(self, choices: Sequence[GeneratedChoice]) -> Json:
        """Return the sum over the prompts; each counts once for all of its choices."""
        groups = [
            choices[at : at + self.choices_per_prompt]
            for at in range(0, len(choices), self.choices_per_prompt)
        ]
        counts = [usage(group) for group in groups]
        names = ("prompt_tokens", "completion_tokens", "total_tokens")
        return {name: sum(each[name] for each in counts) for name in names}


def _prompts(body: Json, surface: str) -> list[str]:
    prompt: Any = body.get("prompt", "<|endoftext|>")
    prompts = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(prompts, list) or not prompts:
        raise bad_request(surface, "'prompt' must be a text or a list of texts.", "prompt")
    if not all(isinstance(each, str) for each in prompts):
        message = (
            "'prompt' has something other than texts. Token ids are those of another tokenizer; "
            "send the texts."
        )
        raise bad_request(surface, message, "prompt")
    return prompts


def _echo(body: Json, surface: str) -> bool:
    echo = body.get("echo", False)
    if not isinstance(echo, bool):
        raise bad_request(surface, "Invalid type for 'echo': expected a boolean.", "echo")
    return echo


def _logprobs(body: Json, surface: str) -> int | None:
    """Return how many of the likeliest tokens are wanted; None for no log probabilities."""
    likely = body.get("logprobs")
    if likely is None:
        return None
    if not isinstance(likely, int) or isinstance(likely, bool) or not 0 <= likely <= _MOST_LIKELY:
        message = f"Invalid 'logprobs': expected a number from 0 to {_MOST_LIKELY}."
        raise bad_request(surface, message, "logprobs")
    if body.get("echo"):
        message = (
            "No engine reports the prompt's log probabilities; leave out 'echo' or 'logprobs'."
        )
        raise bad_request(surface, message, "logprobs", "unsupported_parameter")
    return likely


def _refuse_what_no_engine_does(body: Json, surface: str) -> None:
    if body.get("suffix") not in (None, ""):
        raise unsupported_parameter(surface, "suffix", body["suffix"])
    if body.get("best_of") not in (None, 1, body.get("n")):
        raise unsupported_parameter(surface, "best_of", body["best_of"])
