"""Legacy completions: a text that goes on, by the same steps as chat.

The engines know conversations only, so each prompt is asked as a user's message.

Source: "Create completion" of the Azure OpenAI REST API.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from starlette.responses import Response

from azinfer.local.api.chat.operation import answered
from azinfer.local.api.chat.request import chat_request
from azinfer.local.api.chat.response import DONE, Written, event, prompt_filter_results, usage
from azinfer.local.api.context import Asked
from azinfer.local.resource.state import Service
from azinfer.local.wire.body import Json
from azinfer.local.wire.errors import bad_request, unsupported_parameter

_FIELDS = frozenset(
    """prompt model best_of echo frequency_penalty logit_bias logprobs max_tokens n
    presence_penalty seed stop stream stream_options suffix temperature top_p user""".split()  # noqa: SIM905
)
_SHARED = ("max_tokens", "n", "seed", "stop", "stream", "stream_options", "temperature", "top_p")
_DEFAULT_MAX_TOKENS = 16


async def completions(service: Service, asked: Asked) -> Response:
    """Answer `POST completions`."""
    body = await service.body(asked, _FIELDS)
    deployment = service.deployment(asked, body.get("model"), "completion")
    prompts = _prompts(body, asked.surface)
    _refuse_what_no_engine_does(body, asked.surface)
    shared = {"max_tokens": _DEFAULT_MAX_TOKENS, **{k: body[k] for k in _SHARED if k in body}}
    requests = [
        chat_request({**shared, "messages": [{"role": "user", "content": each}]}, asked.surface)
        for each in prompts
    ]
    if len(prompts) * requests[0].n > 128:
        raise bad_request(asked.surface, "'n' times the prompts is over 128.", "n")
    echoes = prompts if _echo(body, asked.surface) else [""] * len(prompts)
    head = (f"cmpl-{asked.id}", int(time.time()), deployment.model_name, requests[0].n, echoes)
    forming = partial(CompletionForm, *head, requests[0].include_usage)
    return await answered(service, asked, deployment, requests, forming)


@dataclass(frozen=True, slots=True)
class CompletionForm:
    """What all parts of one legacy completion say alike.

    Attributes:
        id: Its id.
        created: Seconds since 1970.
        model: What the back end calls itself.
        each: How many choices each prompt has.
        echoes: The text that choices of each prompt begin with.
        include_usage: Whether a stream tells what it cost.
        prompt_results: What the filter found in the prompts.
    """

    id: str
    created: int
    model: str
    each: int
    echoes: Sequence[str]
    include_usage: bool = False
    prompt_results: Json = field(default_factory=dict)

    def whole(self, choices: Sequence[Written]) -> Json:
        """The whole answer."""
        told = [
            self._choice(at, self._echo(at) + each.text, each.finish_reason, each.filter_results)
            for at, each in enumerate(choices)
        ]
        return {**self._head(told), "usage": self._usage(choices), **self._prompt()}

    def first(self) -> bytes:
        """What the filter found in the prompts; empty where it did not look."""
        return event({**self._head([]), **self._prompt()}) if self.prompt_results else b""

    def chunk(
        self,
        index: int,
        delta: Json,
        finish_reason: str | None = None,
        filter_results: Json | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> bytes:
        """One event of a stream that adds to one choice; empty where it adds nothing."""
        text = self._echo(index) if "role" in delta else delta.get("content") or ""
        if not text and finish_reason is None:
            return b""
        return event(self._head([self._choice(index, text, finish_reason, filter_results or {})]))

    def last(self, choices: Sequence[Written]) -> bytes:
        """What the answer cost, where that was asked, and the end."""
        told = {**self._head([]), "usage": self._usage(choices)}
        return (event(told) if self.include_usage else b"") + DONE

    def failed(self, message: str, code: str) -> bytes:
        """The error, and the end."""
        return event({"error": {"code": code, "message": message}}) + DONE

    def _head(self, choices: list[Json]) -> Json:
        head = {"id": self.id, "object": "text_completion", "created": self.created}
        return {**head, "model": self.model, "choices": choices}

    def _prompt(self) -> Json:
        return prompt_filter_results(self.prompt_results)

    def _echo(self, index: int) -> str:
        return self.echoes[index // self.each]

    def _choice(self, index: int, text: str, finish_reason: str | None, results: Json) -> Json:
        told = {"index": index, "text": text, "logprobs": None, "finish_reason": finish_reason}
        return {**told, "content_filter_results": results} if results else told

    def _usage(self, choices: Sequence[Written]) -> Json:
        """The sum over the prompts, each of which counts once however many choices it has."""
        groups = [choices[at : at + self.each] for at in range(0, len(choices), self.each)]
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


def _refuse_what_no_engine_does(body: Json, surface: str) -> None:
    for name in ("logprobs", "suffix"):
        if body.get(name) not in (None, ""):
            raise unsupported_parameter(surface, name, body[name])
    if body.get("best_of") not in (None, 1, body.get("n")):
        raise unsupported_parameter(surface, "best_of", body["best_of"])
