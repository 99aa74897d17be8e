"""Calls: for each operation, the body of the request and how to read the response."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, NamedTuple, TypeVar

from azinfer.core.completions import ChatCompletion, Json, ModelInfo
from azinfer.core.decoding import decode_json, decode_model_info, invalid_response
from azinfer.core.endpoints import Endpoint, origin_of
from azinfer.core.errors import (
    ConfigurationError,
)
from azinfer.core.json_text import json_text
from azinfer.core.messages import (
    messages_to_wire,
    response_format_to_wire,
    tool_choice_to_wire,
    tools_to_wire,
)
from azinfer.core.model_catalog import ModelFacts
from azinfer.core.model_profiles import Profile
from azinfer.core.network import Upload
from azinfer.core.routing import Routing
from azinfer.core.secret_names import without_secret_headers
from azinfer.core.surfaces import DEPLOYMENTS, MODELS, V1, WireName
from azinfer.core.wires.selection import NO_CHOICE, Choice
from azinfer.core.wires.state import resource_of
from azinfer.core.wires.wire import Situation, Wire, wire_named

T = TypeVar("T")

API_VERSION = "api-version"
call_numbers = itertools.count(1)
NOTHING: Mapping[str, str] = {}


class Target(NamedTuple):
    """Where a call is sent, and what is known about the model there.

    Attributes:
        endpoint: The base URL and its surface.
        operation: The operation that is called.
        model: The name of the deployment.
        profile: What the model's family accepts.
        model_id: The model behind the deployment, if it is known.
        model_id_source: How that is known: `"declared"`, `"listed"` or `"guessed"`.
        corrections: The fields that the deployment refused before, each with the name that it
            accepts instead, or "". All calls share them, and each adds what it learns.
        headers: Sent in addition to azinfer's own.
        facts: The model's row in the catalog.
        wire: The wire that the configuration declares for the deployment.
    """

    endpoint: Endpoint
    operation: str
    model: str | None
    profile: Profile
    model_id: str | None
    model_id_source: str | None
    corrections: dict[str, str]
    headers: Mapping[str, str] = NOTHING
    facts: ModelFacts | None = None
    wire: WireName | None = None

    def routing(
        self,
        url: str,
        adapted: tuple[str, ...] = (),
        wire: Choice = NO_CHOICE,
        *,
        requested: str | None = None,
        deployment: str | None = None,
        **response: Any,
    ) -> Routing:
        """Return how a call is routed.

        Args:
            url: The URL of the request.
            adapted: How the request was adapted to the model.
            wire: The wire of the call.
            requested: The name that the caller used, if it is not the deployment's.
            deployment: The deployment that answered, if the service said so.
            **response: Other fields of Routing, which are known once a response has come.
        """
        return Routing(
            requested=requested or self.model,
            deployment=deployment or self.model,
            operation=self.operation,
            surface=self.endpoint.surface.name,
            endpoint=self.endpoint.url,
            url=url,
            model_id=self.model_id,
            model_id_source=self.model_id_source,
            adapted=adapted,
            wire=wire.wire,
            wire_source=wire.source,
            **response,
        )

    def url(self, corrections: Mapping[str, str] = NOTHING) -> str:
        """Return the URL of the request, in the api-version that the model needs."""
        endpoint = self.endpoint
        if endpoint.api_version is None and API_VERSION in corrections:
            endpoint = replace(endpoint, api_version=corrections[API_VERSION])
        return endpoint.operation_url(self.operation, self.model)


class Call(NamedTuple, Generic[T]):
    """A request, and how to read the response.

    Attributes:
        target: Where it is sent.
        body: The body; None for a GET.
        read: Returns the value of a response, from its body, headers and routing.
        adapted: How the request was adapted to the model.
        url: The URL, if it is not that of the target.
        scope: The Entra ID scope, if it is not that of the surface.
        ours: Fields of the body that the client added itself.
        response_format: What the caller passed as `response_format`.
        wire: The wire of a conversation.
        choice: How that wire was chosen.
        on_wire: Creates the same call for another wire; raises if that wire cannot carry it.
        beside: Creates the same call for another route of the resource, if this one is missing.
        learn: Remembers for all clients that the deployment needs this wire, or this route.
        upload: A form with a file, sent in place of a body.
        method: The method, where it is not GET without a body and POST with one.
        creates: The call that lists the things that each request creates, for example
            `"client.files.list()"`; None if the request can be sent again without harm.
        reads_parts: Whether `read` takes the body as a list of its parts, which it empties.
    """

    target: Target
    body: Json | None
    read: Callable[[Any, Mapping[str, str], Routing], T]
    adapted: tuple[str, ...] = ()
    url: str | None = None
    scope: str | None = None
    ours: frozenset[str] = frozenset()
    response_format: Any = None
    wire: Wire | None = None
    choice: Choice = NO_CHOICE
    on_wire: Callable[[Choice], Call[T]] | None = None
    beside: Callable[[], Call[T]] | None = None
    learn: Callable[[], None] | None = None
    upload: Upload | None = None
    method: str | None = None
    creates: str | None = None
    reads_parts: bool = False


# The options of a call that the client itself reads, or translates.
_OF_CLIENT = frozenset(
    {"send_reasoning", "wire", "tools", "tool_choice", "response_format", "stop"}
)


def in_our_schema(messages: Sequence[Any], options: Mapping[str, Any]) -> Json:
    """Return a request in our schema, which each wire encodes in its own form.

    Args:
        messages: The conversation.
        options: The other options of the caller.
    """
    return {"messages": messages_to_wire(messages), **_options_to_wire(options)}


class Conversation(NamedTuple):
    """A request for the next message of a conversation, before it has the form of a wire.

    Attributes:
        body: The request in our schema.
        options: The options of the caller, unchanged.
        stream: Whether the answer comes in chunks.
        on_wire: Creates the call for another wire.
        learn: Remembers for all clients that the deployment needs the call's wire.
    """

    body: Json
    options: Mapping[str, Any]
    stream: bool
    on_wire: Callable[[Choice], Call[ChatCompletion]]
    learn: Callable[[], None]


def chat(conversation: Conversation, target: Target, choice: Choice) -> Call[ChatCompletion]:
    """Return the call that asks for the next message of a conversation.

    Args:
        conversation: The request.
        target: Where it is sent.
        choice: The wire of the call.

    Raises:
        ConfigurationError: The wire cannot carry it; the text names the field.
    """
    wire, url = wire_named(choice.wire or ""), target.endpoint.url
    options, stream = conversation.options, conversation.stream
    situation = Situation(
        stream=stream,
        model_id=target.model_id,
        profile=target.profile,
        facts=target.facts,
        # A copy, as other threads add to it.
        learned=target.corrections.copy() if target.corrections else NOTHING,
        resource=resource_of(url),
        in_project="/api/projects/" in url,
        counts_usage=stream and _asks_for_usage(target),
        send_reasoning=options.get("send_reasoning"),
    )
    encoded = wire.encode(conversation.body, situation)
    response_format = options.get("response_format")

    def read(data: bytes, headers: Mapping[str, str], routing: Routing) -> ChatCompletion:
        data = json_text(data)
        if data[:5] in (b"data:", b"event") or data[:1] == b":":
            reader = wire.reader(headers, routing, routing.url, response_format)
            deque(reader.feed(data), maxlen=0)
            reader.finish()
            return reader.completion()
        raw = decode_json(data, headers)
        id_prefix = f"call_{next(call_numbers)}_"
        return wire.decode(raw, headers, routing, id_prefix, response_format)

    return Call(
        target,
        with_model(encoded.body, target),
        read,
        adapted=encoded.adapted,
        ours=encoded.ours,
        response_format=response_format,
        wire=wire,
        choice=choice,
        on_wire=conversation.on_wire,
        learn=conversation.learn,
    )


def info(target: Target) -> Call[ModelInfo]:
    """Return the call for the model behind an endpoint."""

    def read(data: bytes, headers: Mapping[str, str], routing: Routing) -> ModelInfo:
        return decode_model_info(decode_json(data, headers))

    return Call(target, None, read)


def deployment_list(target: Target, url: str, scope: str | None) -> Call[Json]:
    """Return the call for one page of a list of deployments.

    A list of Azure Resource Manager or of a project is on another host than the endpoint, which
    gets none of the secrets that the caller's headers have for it.
    """
    if origin_of(url) != origin_of(target.endpoint.url):
        target = target._replace(headers=without_secret_headers(target.headers))

    def read(data: bytes, headers: Mapping[str, str], routing: Routing) -> Json:
        raw = decode_json(data, headers)
        if not isinstance(raw, dict) or raw.keys().isdisjoint(("value", "data")):
            raise invalid_response("no list of deployments", raw)
        return raw

    return Call(target, None, read, url=url, scope=scope)


def _options_to_wire(options: Mapping[str, Any]) -> Json:
    """Return options as they are sent; None means that an option is not set."""
    wire = set_options(options)
    if _OF_CLIENT.isdisjoint(wire):
        return wire
    for name in ("send_reasoning", "wire"):
        wire.pop(name, None)
    if tools := wire.get("tools"):
        wire["tools"] = tools_to_wire(tools)
    if choice := wire.get("tool_choice"):
        wire["tool_choice"] = tool_choice_to_wire(choice)
    if response_format := wire.get("response_format"):
        wire["response_format"] = response_format_to_wire(response_format)
    if isinstance(stop := wire.get("stop"), str):
        wire["stop"] = [stop]
    return wire


def _asks_for_usage(target: Target) -> bool:
    """Return True if a stream should report its usage; if that is refused, it is remembered."""
    surface, profile = target.endpoint.surface, target.profile
    if surface in (V1, DEPLOYMENTS) or profile.streams_usage:
        return True
    return surface == MODELS and profile.streams_usage is None


def set_options(options: Mapping[str, Any]) -> Json:
    """Return the options that are set; None means that an option is not set."""
    if "model_extras" in options:
        raise ConfigurationError(
            "model_extras= is not an option: pass its content as options of the call, such as "
            "safe_prompt=True"
        )
    return {key: value for key, value in options.items() if value is not None}


def with_model(body: Json, target: Target) -> Json:
    """Return the body, with the name of the deployment if the surface needs it there.

    Raises:
        ConfigurationError: The surface needs a name, and none was passed.
    """
    surface = target.endpoint.surface
    if not surface.names_in_body:
        return body
    if target.model:
        return {"model": target.model, **body}
    if surface.routes:
        raise ConfigurationError(
            f"the name of the deployment is missing: pass model= to the call or the client "
            f"({target.endpoint.url} routes by it)"
        )
    return body
