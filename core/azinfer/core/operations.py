"""The part that the operations of both clients share: creating the attempts of each call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, TypeAlias, TypeVar

from azinfer.core import calls
from azinfer.core.arguments import (
    CHAT_NAMES,
    EMBEDDING_NAMES,
    RERANK_NAMES,
    check_call_options,
    check_headers,
    check_names,
)
from azinfer.core.attempts import CallAttempts
from azinfer.core.base_client import BaseClient
from azinfer.core.calls import Call, Target
from azinfer.core.completions import ChatCompletion, Json, ModelInfo
from azinfer.core.credentials import Tokens
from azinfer.core.endpoints import origin_of
from azinfer.core.errors import ConfigurationError
from azinfer.core.legs import Leg, Rules
from azinfer.core.messages import ChatMessage, ImageInput
from azinfer.core.model_profiles import Profile
from azinfer.core.observation import Subject, Whole, apply_observers, observers
from azinfer.core.retries import Timeout
from azinfer.core.routing import Routing
from azinfer.core.secret_names import without_secret_headers
from azinfer.core.surfaces import CHAT, EMBEDDINGS, IMAGES, INFO, RERANK, WireName
from azinfer.core.wires.selection import Choice
from azinfer.core.wires.wire import wire_named

if TYPE_CHECKING:
    from azinfer.core.deployments import Deployments
    from azinfer.core.embeddings import Embeddings
    from azinfer.core.rerank import Reranking

T = TypeVar("T")

Kind: TypeAlias = Literal["query", "document"]


class CallOptions(NamedTuple):
    """The arguments of a call besides messages, texts or images.

    Attributes:
        model: The deployment, route or alias; by default that of the client.
        model_id: The model behind it.
        timeout: Seconds for each attempt, or a Timeout.
        headers: Sent in addition to the client's.
        options: Everything that is sent as it is.
        kind: What the vectors are for: `"query"` or `"document"`.
        whole: The call for observers, if it may be sent as several requests.
    """

    model: str | None
    model_id: str | None
    timeout: float | Timeout | None
    headers: Mapping[str, str] | None
    options: Mapping[str, Any]
    kind: Kind | None = None
    whole: Whole | None = None


class Place(NamedTuple):
    """The destination of one request of a call.

    Attributes:
        deployment: The name of the deployment.
        model_id: The model behind it.
        headers: Sent in addition to those of its client.
        params: Default options; those of the caller win.
        wire: The wire that was passed to `with_options` of a client from a file.
    """

    deployment: str | None
    model_id: str | None
    headers: Mapping[str, str] | None
    params: Mapping[str, Any] = {}
    wire: WireName | None = None


class Operations(BaseClient):
    """The part that the operations of both clients share; nothing here touches the network."""

    def _chat(
        self, messages: Sequence[ChatMessage], call_options: CallOptions, *, stream: bool
    ) -> CallAttempts[ChatCompletion]:
        if "stream" in call_options.options:
            raise ConfigurationError("stream= is not an option; call client.stream(…) for a stream")

        if not CHAT_NAMES.issuperset(call_options.options):
            check_call_options(call_options.options, CHAT_NAMES)

        def chat(client: Operations, place: Place) -> Call[ChatCompletion]:
            return client._chat_call(
                messages, _merge_params(call_options.options, place), place, stream=stream
            )

        return self._attempts(CHAT, chat, call_options, messages)

    def _chat_call(
        self,
        messages: Sequence[ChatMessage],
        options: Mapping[str, Any],
        place: Place,
        *,
        stream: bool,
    ) -> Call[ChatCompletion]:
        body = calls.in_our_schema(messages, options)
        target = self._place(CHAT, place)
        choice = self._choice(body, target, options.get("wire"), place.wire)
        return self._call_on_wire(body, options, place, stream, choice, target)

    def _call_on_wire(
        self,
        body: Json,
        options: Mapping[str, Any],
        place: Place,
        stream: bool,
        choice: Choice,
        target: Target | None = None,
    ) -> Call[ChatCompletion]:
        wire = wire_named(choice.wire or "")
        if target is None or target.operation != wire.operation:
            target = self._place(wire.operation, place)
        # Do not use a closure that refers to itself: the garbage collector would have to find it.
        on_wire = partial(self._call_on_wire, body, options, place, stream)
        learn = partial(self._knowledge.learn_wire, target.model, wire.name)
        conversation = calls.Conversation(body, options, stream, on_wire, learn)
        return calls.chat(conversation, target, choice)

    def _embedding(self, texts: list[str], call_options: CallOptions) -> CallAttempts[Embeddings]:
        from azinfer.core.embedding_calls import text_embeddings  # only programs that embed

        check_call_options(call_options.options, EMBEDDING_NAMES)

        def embed(client: Operations, place: Place) -> Call[Embeddings]:
            target = client._place(EMBEDDINGS, place)
            options = _merge_params(call_options.options, place)
            return text_embeddings(target, texts, options, call_options.kind)

        return self._attempts(EMBEDDINGS, embed, call_options)

    def _image_embedding(
        self, image: ImageInput, call_options: CallOptions
    ) -> CallAttempts[Embeddings]:
        # loaded only by programs that embed images
        from azinfer.core.image_embeddings import ImageRequest, image_call

        check_call_options(call_options.options, EMBEDDING_NAMES)

        def embed(client: Operations, place: Place) -> Call[Embeddings]:
            options = _merge_params(call_options.options, place)
            request = ImageRequest(image, options, call_options.kind)
            return image_call(client, partial(client._place, place=place), request)

        return self._attempts(IMAGES, embed, call_options)

    def _explain(
        self,
        operation: str,
        model: str | None,
        model_id: str | None,
        added: WireName | None = None,
    ) -> Routing:
        if operation == IMAGES:
            from azinfer.core.image_embeddings import image_operation

            target = self._target(operation, model, model_id, None)
            operation = image_operation(self.endpoint, self._knowledge, target)
        return super()._explain(operation, model, model_id, added)

    def _info(self, call_options: CallOptions) -> CallAttempts[ModelInfo]:
        return self._attempts(
            INFO, lambda client, place: calls.info(client._place(INFO, place)), call_options
        )

    def _reranking(
        self, query: str, documents: Sequence[str], call_options: CallOptions
    ) -> CallAttempts[Reranking]:
        from azinfer.core.rerank import reranking  # loaded only by programs that rerank

        check_call_options(call_options.options, RERANK_NAMES)

        def rerank(client: Operations, place: Place) -> Call[Reranking]:
            target, options = (
                client._place(RERANK, place),
                _merge_params(call_options.options, place),
            )
            return reranking(target, query, documents, options)

        return self._attempts(RERANK, rerank, call_options)

    def _page(
        self, url: str, scope: str | None, timeout: float | Timeout | None
    ) -> CallAttempts[Json]:
        call = calls.deployment_list(self._target(CHAT, None, None, None), url, scope)
        return CallAttempts(self._leg(call), self._rules(timeout))

    def _attempts(
        self,
        operation: str,
        make: Callable[[Operations, Place], Call[T]],
        call_options: CallOptions,
        messages: Sequence[ChatMessage] | None = None,
    ) -> CallAttempts[T]:
        """Return the attempts of a call, at the deployment or on the route that its name means.

        Args:
            operation: The name of the operation.
            make: Creates the call for a client and a deployment there.
            call_options: The options of the caller.
            messages: The conversation, by which a route may choose.
        """
        rules = self._rules(call_options.timeout)
        if call_options.headers is not None:
            check_headers(call_options.headers)
        if not call_options.model or call_options.model.__class__ is not str:
            check_names(model=call_options.model)
        if self._router is None:
            call = make(
                self, Place(call_options.model, call_options.model_id, call_options.headers)
            )
            attempts = CallAttempts(self._leg(call), rules)
            return self._observe(attempts, operation, call_options, messages)
        name = call_options.model or self.model
        model_id = call_options.model_id or (self.model_id if name == self.model else None)
        own, added, added_wire = call_options.headers or {}, self._added, self._added_wire

        def leg(
            client: Operations,
            deployment: str | None,
            params: Mapping[str, Any] | None,
            headers: Mapping[str, str],
        ) -> Leg[T]:
            if added or own:
                # Secrets are for the default endpoint, unless the caller named the endpoint itself.
                is_safe = client._gets_secrets
                standing = added if is_safe else without_secret_headers(added)
                once = own if is_safe or params is None else without_secret_headers(own)
                headers = {**headers, **standing, **once}
            place = Place(deployment, model_id, headers, params or {}, added_wire)
            return client._leg(make(client, place))

        routed: CallAttempts[T] = self._router.attempts(
            leg, operation, name, rules, (messages, call_options.options)
        )
        return self._observe(routed, operation, call_options, messages)

    def _observe(
        self,
        attempts: CallAttempts[T],
        operation: str,
        call_options: CallOptions,
        messages: Sequence[ChatMessage] | None,
    ) -> CallAttempts[T]:
        """Return attempts that the observers of all calls can follow."""
        if not observers:
            return attempts
        model = call_options.model or self.model
        observed: CallAttempts[T] = apply_observers(
            attempts, Subject(operation, model, call_options.options, messages, call_options.whole)
        )
        return observed

    def _at_default(self) -> Self:
        """Return the client of the current default endpoint, which has the files and lists."""
        if self._router is None:
            return self
        default = self._router.default
        if default.endpoint == self.endpoint and default._credential is self._credential:
            return self
        return self._at(default)

    def _at(self, known: Self) -> Self:
        """Return this client for another endpoint: that of a client that never sends."""
        client = type(self).__new__(type(self))
        client.__dict__.update(self.__dict__)
        for name in ("endpoint", "_credential", "_declared", "_knowledge", "_joined"):
            setattr(client, name, getattr(known, name))
        client._targets, client._twin = {}, None
        added = self._added if known._gets_secrets else without_secret_headers(self._added)
        client._headers = {**known._headers, **added}
        return client

    def _place(self, operation: str, place: Place) -> Target:
        return self._target(operation, place.deployment, place.model_id, place.headers)

    def _rules(self, timeout: float | Timeout | None) -> Rules:
        timeout = self.timeout if timeout is None else Timeout.of(timeout)
        return Rules(timeout, self.max_retries, self._budget, self._clock)

    def _leg(self, call: Call[T]) -> Leg[T]:
        return Leg(call, self._credential, self._known_deployments)

    def _batches(self, texts: list[str], call_options: CallOptions) -> list[list[str]]:
        """Return texts divided into requests that the model accepts."""
        from azinfer.core.embeddings import batches

        return batches(texts, self._embedding_profile(call_options))

    def _embedding_profile(self, call_options: CallOptions) -> Profile:
        """Return what the model accepts to which texts go first."""
        client, name = self, call_options.model
        if self._router is not None:
            client, name = self._router.first(call_options.model or self.model, EMBEDDINGS)
        return client._target(EMBEDDINGS, name, call_options.model_id, None).profile

    def _destination(self, operation: str, name: str | None) -> dict[str, Any]:
        """Return where calls of a name go: an endpoint, or a route and its deployments."""
        if self._router is not None:
            destination: dict[str, Any] = self._router.destination(name or self.model, operation)
            return destination
        return {"endpoint": origin_of(self.endpoint.url)}

    def _list_target(self, source: str | None) -> tuple[str, str | None]:
        """Return the URL of a list of deployments, and the scope of a token for it."""
        from azinfer.core.deployment_lists import list_url

        url, scope = list_url(self.endpoint, source)
        if origin_of(url) != origin_of(self.endpoint.url) and not isinstance(
            self._credential, Tokens
        ):
            raise ConfigurationError(
                f"{origin_of(url)} is not the endpoint's host, and a key is sent to no other host; "
                "to list deployments there, pass a credential of azure-identity to the client"
            )
        return url, scope

    def _management_scope(self) -> str | None:
        """The scope of a token for Azure Resource Manager; a key is sent to no other host."""
        from azinfer.core.account_search import management_origin

        _, scope = self._list_target(f"{management_origin(self.endpoint.url)}/subscriptions/-")
        return scope

    def _remember(self, pages: list[Json], models: list[Json]) -> Deployments:
        """Remember a list of deployments, with what the list of the account's models adds."""
        from azinfer.core.deployment_lists import from_pages, with_retirements

        self._knowledge.remember(with_retirements(from_pages(pages), models))
        self._knowledge.listed_at = self._clock.time()
        return self._known_deployments


def _merge_params(options: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
    """Return the options of a call, with those of its place as defaults."""
    if not place.params:
        return options
    call_options = {name: value for name, value in options.items() if value is not None}
    return {**place.params, **call_options}
