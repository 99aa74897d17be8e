"""Calls: a request and how to read its answer, and the attempts that one call may take."""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from azinfer.core.clock import Clock
from azinfer.core.completions import ChatCompletion, Json, ModelInfo, parsed
from azinfer.core.credentials import Secret
from azinfer.core.deployments import Deployments
from azinfer.core.embeddings import Embeddings, unread
from azinfer.core.endpoints import Endpoint
from azinfer.core.error_responses import advised, from_answer, request_id
from azinfer.core.errors import (
    APIStatusError,
    AuthenticationError,
    ConfigurationError,
    DeploymentNotFoundError,
    InferenceError,
)
from azinfer.core.messages import (
    ImageInput,
    Tool,
    messages_to_wire,
    response_format_to_wire,
    tool_choice_to_wire,
)
from azinfer.core.model_profiles import Profile, adapt, renamed
from azinfer.core.network.request import Deadline, Request
from azinfer.core.retries import RetryBudget, Timeout, retry_after, wait_before_retry
from azinfer.core.routing import Attempt, Routing
from azinfer.core.streaming import ChatReader
from azinfer.core.surfaces import DEPLOYMENTS, MANAGED, MODELS, V1, scope_of
from azinfer.core.version import __version__

T = TypeVar("T")

# What the model inference API defines; all else is an extra parameter to it.
# Source: "Get chat completions", "Get embeddings", request body.
_DEFINED = frozenset(
    {
        *("messages", "model", "stream", "temperature", "top_p", "frequency_penalty"),
        *("presence_penalty", "max_tokens", "stop", "seed", "tools", "tool_choice"),
        *("response_format", "modalities", "user_security_context"),
        *("input", "dimensions", "encoding_format", "input_type"),
    }
)
# Accepted without the header by what the models surface serves.
_KNOWN_EXTRAS = frozenset({"stream_options"})
_STANDING = (
    ("accept", "application/json"),
    ("accept-encoding", "gzip, deflate"),
    ("user-agent", f"azinfer/{__version__} Python/{sys.version.split()[0]}"),
)
_VERSION = "api-version"
_NEWER_VERSION = r"(?i)api versions? (\d{4}-\d\d-\d\d(?:-preview)?) and later"
# An audience of Azure's own, so that no service can ask for a token for another.
_AUDIENCE = (
    r"audience is incorrect \((https://(?:cognitiveservices|ai|ml)\.azure\.(?:com|us|cn))/?\)"
)
_SHORTEST_SECRET = 4  # in place of a shorter one, half of a sentence would be redacted
# Nine random bytes as text: 18 characters that all requests of this process begin with.
_PROCESS = os.urandom(9).hex()
_numbers = itertools.count(1)
_NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a call goes, and what is known of the model there."""

    endpoint: Endpoint
    operation: str
    model: str | None
    profile: Profile
    model_id: str | None
    model_id_source: str | None
    headers: Mapping[str, str] = field(default_factory=dict)

    def routing(self, url: str, adapted: tuple[str, ...] = ()) -> Routing:
        """The way there, before anything was sent."""
        return Routing(
            self.model,
            self.model,
            self.operation,
            self.endpoint.surface.name,
            self.endpoint.url,
            url,
            self.model_id,
            self.model_id_source,
            adapted=adapted,
        )

    def url(self, learned: Mapping[str, str] = _NOTHING) -> str:
        """The URL of the request, in the api-version that the model was found to need."""
        endpoint = self.endpoint
        if endpoint.api_version is None and _VERSION in learned:
            endpoint = replace(endpoint, api_version=learned[_VERSION])
        return endpoint.operation_url(self.operation, self.model)


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request, and how to read its answer.

    Attributes:
        target: Where it goes.
        body: What is sent; None for a GET.
        read: Makes the answer's value of its body, its headers and its routing.
        adapted: What was changed to suit the model.
        url: The URL, where it is not the target's own.
        scope: The Entra ID scope, where it is not the surface's own.
        ours: Fields of the body that the caller did not give.
        wanted: The type given as `response_format`.
    """

    target: Target
    body: Json | None
    read: Callable[[bytes, Mapping[str, str], Routing], T]
    adapted: tuple[str, ...] = ()
    url: str | None = None
    scope: str | None = None
    ours: frozenset[str] = frozenset()
    wanted: Any = None


def chat(
    target: Target,
    messages: Sequence[Any],
    options: Mapping[str, Any],
    learned: Mapping[str, str],
    *,
    stream: bool,
) -> Call[ChatCompletion]:
    """The call that asks for a chat completion.

    Args:
        target: Where it goes.
        messages: The conversation.
        options: What the caller asked for besides.
        learned: What this model refused before: a field's name to the one it takes instead.
        stream: Whether the answer comes in chunks.
    """
    body = {"messages": messages_to_wire(messages), **_options_to_wire(options)}
    body, adapted = adapt(body, target.profile)
    for name, new_name in learned.items():
        if new_name and _applies(body, name, new_name):
            body, told = relearned(body, name, new_name)
            adapted += (told,)
    ours: frozenset[str] = frozenset()
    if stream:
        body["stream"] = True
        if not {"stream_options"} & (body.keys() | learned.keys()) and _counts(target):
            body["stream_options"] = {"include_usage": True}
            ours = frozenset({"stream_options"})
    wanted = options.get("response_format")

    def read(data: bytes, headers: Mapping[str, str], routing: Routing) -> ChatCompletion:
        if data.lstrip()[:5] in (b"data:", b"event") or data[:1] == b":":
            reader = ChatReader(headers, routing, routing.url, wanted)
            deque(reader.feed(data), maxlen=0)
            reader.finish()
            return reader.completion()
        raw = parsed(data, headers)
        return ChatCompletion.from_wire(raw, headers, routing, f"call_{next(_numbers)}_", wanted)

    return Call(target, _named(body, target), read, adapted, ours=ours, wanted=wanted)


def embeddings(
    target: Target, texts: Sequence[str], options: Mapping[str, Any], learned: Mapping[str, str]
) -> Call[Embeddings]:
    """The call that embeds one request's worth of texts."""
    body: Json = {"input": list(texts), **_given(options)}
    ours: frozenset[str] = frozenset()
    if not {"encoding_format"} & (body.keys() | learned.keys()) and (
        target.profile.base64 or target.endpoint.surface in (V1, DEPLOYMENTS)
    ):
        # A quarter of the bytes of floats in JSON.
        body["encoding_format"] = "base64"
        ours = frozenset({"encoding_format"})
    return _embedding_call(target, body, len(texts), ours)


def image_embeddings(
    target: Target, image: ImageInput, options: Mapping[str, Any]
) -> Call[Embeddings]:
    """The call that embeds one image; models take one a request."""
    return _embedding_call(target, {"input": [image.to_wire()], **_given(options)}, 1, frozenset())


def info(target: Target) -> Call[ModelInfo]:
    """The call that asks which model answers."""

    def read(data: bytes, headers: Mapping[str, str], routing: Routing) -> ModelInfo:
        return ModelInfo.from_wire(parsed(data, headers))

    return Call(target, None, read)


def listing(target: Target, url: str, scope: str | None) -> Call[Json]:
    """The call that reads one page of a list of deployments."""

    def read(data: bytes, headers: Mapping[str, str], routing: Routing) -> Json:
        raw = parsed(data, headers)
        return raw if isinstance(raw, dict) else {}

    return Call(target, None, read, url=url, scope=scope)


@dataclass(eq=False, repr=False)
class Attempts(Generic[T]):
    """The attempts of one call: what is sent next, and what comes of an outcome.

    The shells only send, read and wait; every decision is made here.

    Attributes:
        call: What is asked.
        timeout: How long it may take.
        max_retries: How often it may be sent again.
        budget: What all calls of the client share.
        clock: Time and chance.
        known: Deployments that a wrong name may have meant.
        learned: Where to write down what a model refused.
        rejected: The secret that the service did not take.
    """

    call: Call[T]
    timeout: Timeout
    max_retries: int
    budget: RetryBudget
    clock: Clock
    known: Deployments
    learned: dict[str, str]
    rejected: str | None = None

    def __post_init__(self) -> None:
        self._url = self.call.url or self.call.target.url(self.learned)
        self._body = self.call.body
        self._encoded = b"" if self._body is None else _encoded(self._body)
        self._adapted = self.call.adapted
        self._id = f"{_PROCESS}-{next(_numbers):04x}-{int(self.clock.random() * 2**48):012x}"
        self._end = self.clock.monotonic() + self.timeout.total
        self._retries = 0
        self._attempts: list[Attempt] = []
        self._failure: InferenceError | None = None

    @property
    def surface(self) -> Any:
        """The surface that the credential is for."""
        return self.call.target.endpoint.surface

    @property
    def scope(self) -> str | None:
        """The Entra ID scope of a token for it."""
        scope = self.call.scope or scope_of(self.surface, self._url)
        return self.learned.get(scope, scope) if scope else None

    def request(self, secret: Secret | None, stream: bool = False) -> tuple[Request, Deadline]:
        """The next request, and by when it must be done.

        Args:
            secret: What authorises it; without one, the error that asked for another is raised.
            stream: Whether its answer is to come as a stream.
        """
        if secret is None:
            assert self._failure is not None
            raise self._failure
        self._secret = secret
        self._began = self.clock.monotonic()
        self._answer: Mapping[str, str] = _NOTHING
        headers = dict(_STANDING)
        if stream:
            headers["accept"] = "text/event-stream, application/json"
        if self._body is not None:
            headers["content-type"] = "application/json"
            headers.update(_extra_headers(self.call.target, self._body))
        headers.update(secret.headers)
        headers["x-ms-client-request-id"] = self._id
        headers.update((name.lower(), value) for name, value in self.call.target.headers.items())
        method = "GET" if self._body is None else "POST"
        request = Request(method, self._url, list(headers.items()), self._encoded, self._id)
        at = min(self._end, self._began + (self.timeout.attempt or self.timeout.total))
        return request, Deadline(self.clock, at, self.timeout)

    def answered(self, status: int, headers: Mapping[str, str], body: bytes) -> T:
        """The value of a whole answer.

        Raises:
            InferenceError: It is an error, or no answer that can be read.
        """
        if status >= 300:
            raise self.refused(status, headers, body)
        value = self.call.read(body, headers, self.routing(status, headers))
        self.budget.give_back()
        return value

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> InferenceError:
        """The error that an answer stands for."""
        secret = self._secret.value
        if len(secret) >= _SHORTEST_SECRET:
            body = body.replace(secret.encode(), b"[redacted]")
            headers = {name: told.replace(secret, "[redacted]") for name, told in headers.items()}
        error = from_answer(status, headers, body)
        error.retry_after = retry_after(status, headers, self.clock, error.message)
        if 300 <= status < 400:
            error.message = (
                f"the endpoint redirects to {headers.get('location', '?')[:200]!r}; redirects are "
                "not followed, so that nothing is sent to another host: check the endpoint"
            )
        return error

    def routing(self, status: int, headers: Mapping[str, str]) -> Routing:
        """The way that the call took, now that an answer came."""
        self._answer = headers
        seconds = self.clock.monotonic() - self._began
        last = Attempt(status, None, seconds, request_id(headers))
        target = self.call.target
        return replace(
            target.routing(self._url, self._adapted),
            deployment=headers.get("x-ms-deployment-name") or target.model,
            served_model=headers.get("x-ms-served-model"),
            attempts=(*self._attempts, last),
            region=headers.get("x-ms-region"),
            spilled_over=headers.get("x-ms-is-spilled-over", "").lower() == "true",
            headers=headers,
        )

    def reader(self, status: int, headers: Mapping[str, str], deadline: Deadline) -> ChatReader:
        """What reads the stream that an answer begins; from now on only `total` bounds it."""
        self.budget.give_back()
        deadline.at = self._end
        return ChatReader(headers, self.routing(status, headers), self._id, self.call.wanted)

    def after(self, error: InferenceError) -> float:
        """Seconds to wait before the next request, after an attempt that ended with an error.

        Raises:
            InferenceError: There is no next one.
        """
        seconds = self.clock.monotonic() - self._began
        kind = type(error).__name__
        self._attempts.append(Attempt(error.status, kind, seconds, error.request_id))
        self._failure = self.described(error)
        if isinstance(error, AuthenticationError) and error.status == 401 and not self.rejected:
            self.rejected = self._secret.value
            if (found := re.search(_AUDIENCE, error.message)) and self.scope:
                self.learned[self.scope] = f"{found[1]}/.default"
            return 0.0
        if self._mended(error):
            return 0.0
        self._retries += 1
        wait = wait_before_retry(error, self._retries, self.max_retries, self.budget, self.clock)
        if wait is None or self.clock.monotonic() + wait >= self._end:
            raise error
        return wait

    def described(self, error: InferenceError) -> InferenceError:
        """Tell an error which deployment and endpoint it is about."""
        target = self.call.target
        error.deployment = target.model
        error.endpoint = target.endpoint.url
        error.attempts = max(1, len(self._attempts))
        # What is wrong with an answer is found where its headers are not at hand.
        error.headers = error.headers or self._answer
        error.request_id = error.request_id or request_id(self._answer)
        if isinstance(error, DeploymentNotFoundError):
            error.suggestions = self.known.nearest(target.model or "")
            error.message = advised(error.message, _hint(error.suggestions, self.known))
        if isinstance(error, AuthenticationError) and self.call.scope and self._is_key():
            told = "This list takes a token of Entra ID, not a key."
            error.message = advised(error.message, told)
        if len(self._secret.value) >= _SHORTEST_SECRET:
            error.message = error.message.replace(self._secret.value, "[redacted]")
        return error

    def _is_key(self) -> bool:
        return any(name == "api-key" for name, _ in self._secret.headers)

    def _mended(self, error: InferenceError) -> bool:
        """Whether the request can be sent in another form, after the model refused a field."""
        if self._body is None or not isinstance(error, APIStatusError):
            return False
        if error.status not in (400, 422, 424):
            return False
        if self._in_newer_version(error.message):
            return True
        change = self._change(f"{error.param} {error.message}")
        if change is None or change[0] in self.learned:
            return False
        name, new_name = change
        self.learned[name] = new_name
        self._body, told = relearned(self._body, name, new_name)
        self._adapted += (told,)
        self._encoded = _encoded(self._body)
        return True

    def _in_newer_version(self, said: str) -> bool:
        """Whether the request is to be sent in the api-version that the service names."""
        found = re.search(_NEWER_VERSION, said)
        if found is None or _VERSION in self.learned or self.call.target.endpoint.api_version:
            return False
        self.learned[_VERSION] = found[1]
        self._url = self.call.target.url(self.learned)
        self._adapted += (f"api-version → {found[1]}",)
        return True

    def _change(self, said: str) -> tuple[str, str] | None:
        """Which field to send in another form; an empty new name leaves out one of our own."""
        assert self._body is not None
        for name in self.call.ours:
            if name in said and name in self._body:
                return name, ""
        if "tool_choice" in said and _applies(self._body, "tool_choice", "required"):
            return "tool_choice", "required"
        if "max_completion_tokens" in said:
            for name, other in (_LIMITS, _LIMITS[::-1]):
                if _applies(self._body, name, other) and other not in self.learned:
                    return name, other
        return None


_LIMITS = ("max_tokens", "max_completion_tokens")


def relearned(body: Json, name: str, new_name: str) -> tuple[Json, str]:
    """A body as the model takes it, after it refused a field, and what was changed."""
    if name == "tool_choice":
        return {**body, name: new_name}, "tool_choice by name → required"
    if new_name:
        return renamed(body, name, new_name), f"{name} → {new_name}"
    return {key: value for key, value in body.items() if key != name}, f"without {name}"


def _applies(body: Json, name: str, new_name: str) -> bool:
    """Whether a change loses nothing: one name for another, or the only tool by its name."""
    if name == "tool_choice":
        return isinstance(body.get(name), dict) and len(body.get("tools") or ()) == 1
    return name in body and new_name not in body


def _hint(suggestions: tuple[str, ...], known: Deployments) -> str:
    if not known:
        return "Check model=; client.deployments() lists what there is."
    nearest = f"Did you mean {' or '.join(map(repr, suggestions))}? " if suggestions else ""
    return f"{nearest}This endpoint has: {', '.join(sorted(known))}."


def _options_to_wire(options: Mapping[str, Any]) -> Json:
    """What the caller asked for, as it is sent; None means not set."""
    wire = _given(options)
    if tools := wire.get("tools"):
        wire["tools"] = [tool.to_wire() if isinstance(tool, Tool) else tool for tool in tools]
    if choice := wire.get("tool_choice"):
        wire["tool_choice"] = tool_choice_to_wire(choice)
    if wanted := wire.get("response_format"):
        wire["response_format"] = response_format_to_wire(wanted)
    if isinstance(stop := wire.get("stop"), str):
        wire["stop"] = [stop]
    return wire


def _counts(target: Target) -> bool:
    """Whether a stream is asked for its usage; where that is refused, it is learned."""
    surface, profile = target.endpoint.surface, target.profile
    if surface in (V1, DEPLOYMENTS) or profile.streams_usage:
        return True
    return surface == MODELS and not profile.family


def _given(options: Mapping[str, Any]) -> Json:
    if "model_extras" in options:
        raise ConfigurationError(
            "model_extras= is no option: give what is in it as options of the call, like "
            "safe_prompt=True"
        )
    return {key: value for key, value in options.items() if value is not None}


def _embedding_call(
    target: Target, body: Json, count: int, ours: frozenset[str]
) -> Call[Embeddings]:
    encoding = body.get("encoding_format")

    def read(data: bytes, headers: Mapping[str, str], routing: Routing) -> Embeddings:
        raw = (parsed if encoding == "base64" else unread)(data, headers)
        return Embeddings.from_wire(raw, headers, count, encoding, routing)

    return Call(target, _named(body, target), read, ours=ours)


def _named(body: Json, target: Target) -> Json:
    """The body with the deployment's name where the surface wants it there."""
    surface = target.endpoint.surface
    if not surface.names_in_body:
        return body
    if target.model:
        return {"model": target.model, **body}
    if surface.routes:
        raise ConfigurationError(
            f"name the deployment: pass model= to the call or the client ({target.endpoint.url} "
            "routes by it)"
        )
    return body


def _extra_headers(target: Target, body: Json) -> dict[str, str]:
    surface = target.endpoint.surface
    headers: dict[str, str] = {}
    if surface.extra_parameters and body.keys() - _DEFINED - _KNOWN_EXTRAS:
        headers["extra-parameters"] = "pass-through"
    if surface == MANAGED and target.model:
        headers["azureml-model-deployment"] = target.model
    return headers


def _encoded(body: Json) -> bytes:
    try:
        return _to_json(body).encode()
    except (TypeError, ValueError) as error:
        names = ", ".join(name for name, value in body.items() if not _is_json(value))
        raise ConfigurationError(f"{names} cannot be sent as JSON: {error}") from None


def _is_json(value: Any) -> bool:
    try:
        return bool(_to_json(value).encode())
    except (TypeError, ValueError):
        return False


def _plain(value: Any) -> Json:
    """A mapping that is no dict as one, like the tools and parts of azure-ai-inference."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} is no JSON")


# By json, since msgspec would send bytes as base64, and NaN as null, without a word.
_to_json = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
).encode
