"""What the operations of both clients share: the attempts that each call begins with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypeVar

from azinfer.core import calls
from azinfer.core.attempts import CallAttempts
from azinfer.core.base_client import BaseClient
from azinfer.core.calls import Call, Target
from azinfer.core.completions import ChatCompletion, Json, ModelInfo
from azinfer.core.credentials import Tokens
from azinfer.core.deployment_lists import from_pages, list_url
from azinfer.core.deployments import Deployments
from azinfer.core.embeddings import Embeddings, batches
from azinfer.core.endpoints import origin_of
from azinfer.core.errors import ConfigurationError
from azinfer.core.legs import Leg, Rules
from azinfer.core.messages import ChatMessage, ImageInput
from azinfer.core.retries import Timeout
from azinfer.core.surfaces import CHAT, EMBEDDINGS, IMAGES, INFO, RERANK
from azinfer.core.wires.selection import Choice
from azinfer.core.wires.wire import wire_named

if TYPE_CHECKING:
    from azinfer.core.rerank import Reranking

T = TypeVar("T")

Kind: TypeAlias = Literal["query", "document"]


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What a caller gave besides messages, texts or images.

    Attributes:
        model: The deployment, route or alias; the client's own when left out.
        model_id: The model behind it.
        timeout: Seconds for each attempt, or a Timeout.
        headers: Sent besides the client's.
        options: Everything that is sent as it is.
        kind: What vectors are for.
    """

    model: str | None
    model_id: str | None
    timeout: float | Timeout | None
    headers: Mapping[str, str] | None
    options: Mapping[str, Any]
    kind: Kind | None = None


class Place(NamedTuple):
    """Where one request of a call goes.

    Attributes:
        deployment: The name of the deployment.
        model_id: The model behind it.
        headers: Sent besides those of its client.
        params: Options where the caller gave none.
    """

    deployment: str | None
    model_id: str | None
    headers: Mapping[str, str] | None
    params: Mapping[str, Any] = {}


class Operations(BaseClient):
    """What the operations of both clients share; nothing here touches the network."""

    def _chat(
        self, messages: Sequence[ChatMessage], given: CallOptions, *, stream: bool
    ) -> CallAttempts[ChatCompletion]:
        if "stream" in given.options:
            raise ConfigurationError("stream= is no option: call client.stream(…) for a stream")

        def chat(client: Operations, place: Place) -> Call[ChatCompletion]:
            return client._chat_call(messages, _filled(given.options, place), place, stream=stream)

        return self._attempts(CHAT, chat, given, messages)

    def _chat_call(
        self,
        messages: Sequence[ChatMessage],
        options: Mapping[str, Any],
        place: Place,
        *,
        stream: bool,
    ) -> Call[ChatCompletion]:
        body = calls.in_our_schema(messages, options)

        def on_wire(choice: Choice) -> Call[ChatCompletion]:
            wire = wire_named(choice.wire or "")
            target = self._place(wire.operation, place)
            corrections = self._corrections_of(target)
            learn = partial(self._knowledge.learn_wire, target.model, wire.name)
            return calls.chat(
                calls.Conversation(body, options, stream, on_wire, learn),
                target,
                choice,
                corrections,
            )

        target = self._place(CHAT, place)
        return on_wire(self._choice(body, target, options.get("wire")))

    def _embedding(self, texts: list[str], given: CallOptions) -> CallAttempts[Embeddings]:
        def embed(client: Operations, place: Place) -> Call[Embeddings]:
            target = client._place(EMBEDDINGS, place)
            corrections = client._corrections_of(target)
            options = _filled(given.options, place)
            return calls.embeddings(target, texts, options, corrections, given.kind)

        return self._attempts(EMBEDDINGS, embed, given)

    def _image_embedding(self, image: ImageInput, given: CallOptions) -> CallAttempts[Embeddings]:
        def embed(client: Operations, place: Place) -> Call[Embeddings]:
            target = client._place(IMAGES, place)
            corrections = client._corrections_of(target)
            options = _filled(given.options, place)
            return calls.image_embeddings(target, image, options, corrections, given.kind)

        return self._attempts(IMAGES, embed, given)

    def _info(self, given: CallOptions) -> CallAttempts[ModelInfo]:
        return self._attempts(
            INFO, lambda client, place: calls.info(client._place(INFO, place)), given
        )

    def _reranking(
        self, query: str, documents: Sequence[str], given: CallOptions
    ) -> CallAttempts[Reranking]:
        from azinfer.core.rerank import reranking  # only programs that rerank load it

        def rerank(client: Operations, place: Place) -> Call[Reranking]:
            target, options = client._place(RERANK, place), _filled(given.options, place)
            return reranking(target, query, documents, options)

        return self._attempts(RERANK, rerank, given)

    def _page(
        self, url: str, scope: str | None, timeout: float | Timeout | None
    ) -> CallAttempts[Json]:
        call = calls.deployment_list(self._target(CHAT, None, None, None), url, scope)
        return CallAttempts(self._leg(call), self._rules(timeout))

    def _attempts(
        self,
        operation: str,
        make: Callable[[Operations, Place], Call[T]],
        given: CallOptions,
        messages: Sequence[ChatMessage] | None = None,
    ) -> CallAttempts[T]:
        """Return the attempts of a call, at the deployment or on the route that its name means.

        Args:
            operation: What is asked.
            make: Makes the call of a client and a deployment there.
            given: What the caller gave.
            messages: The conversation, by which a route may choose.
        """
        rules = self._rules(given.timeout)
        if self._router is None:
            call = make(self, Place(given.model, given.model_id, given.headers))
            return CallAttempts(self._leg(call), rules)
        name = given.model or self.model
        model_id = given.model_id or (self.model_id if name == self.model else None)
        added = {**self._added, **(given.headers or {})}

        def leg(
            client: Operations,
            deployment: str | None,
            params: Mapping[str, Any],
            headers: Mapping[str, str],
        ) -> Leg[T]:
            place = Place(deployment, model_id, {**headers, **added}, params)
            return client._leg(make(client, place))

        routed: CallAttempts[T] = self._router.attempts(
            leg, operation, name, rules, (messages, given.options)
        )
        return routed

    def _place(self, operation: str, place: Place) -> Target:
        return self._target(operation, place.deployment, place.model_id, place.headers)

    def _rules(self, timeout: float | Timeout | None) -> Rules:
        timeout = self.timeout if timeout is None else Timeout.of(timeout)
        return Rules(timeout, self.max_retries, self._budget, self._clock)

    def _leg(self, call: Call[T]) -> Leg[T]:
        corrections = self._corrections_of(call.target)
        return Leg(call, self._credential, self._known, corrections)

    def _batches(self, texts: list[str], given: CallOptions) -> list[list[str]]:
        """Return texts in requests that the model takes."""
        client, name = self, given.model
        if self._router is not None:
            client, name = self._router.first(given.model or self.model, EMBEDDINGS)
        return batches(texts, client._target(EMBEDDINGS, name, given.model_id, None).profile)

    def _list_target(self, source: str | None) -> tuple[str, str | None]:
        """The URL of a list of deployments, and the scope of a token for it."""
        url, scope = list_url(self.endpoint, source)
        if origin_of(url) != origin_of(self.endpoint.url) and not isinstance(
            self._credential, Tokens
        ):
            raise ConfigurationError(
                f"{origin_of(url)} is not the endpoint's host, and a key is sent to no other host; "
                "to list deployments there, pass a credential of azure-identity to the client"
            )
        return url, scope

    def _remember(self, pages: list[Json]) -> Deployments:
        self._knowledge.deployments = from_pages(pages)
        return self._known


def _filled(options: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
    """Return the options of a call, and those of the place where the caller gave none."""
    if not place.params:
        return options
    given = {name: value for name, value in options.items() if value is not None}
    return {**place.params, **given}
