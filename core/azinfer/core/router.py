"""A router: names, the state of each deployment behind them, and where a call goes next."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import is_
from typing import Any, TypeAlias, TypeVar

from azinfer.core.attempts import CallAttempts
from azinfer.core.client_config import EndpointConfig
from azinfer.core.clock import SYSTEM, Clock
from azinfer.core.deployments import Deployments
from azinfer.core.endpoint_knowledge import EndpointKnowledge
from azinfer.core.endpoints import Endpoint, origin_of
from azinfer.core.errors import ConfigurationError
from azinfer.core.journeys import Journey
from azinfer.core.legs import Leg, Rules
from azinfer.core.locks import renew_after_fork
from azinfer.core.names import Names, Source
from azinfer.core.routed_attempts import RoutedAttempts
from azinfer.core.routes import Route
from azinfer.core.routes.affinity import affinity_of
from azinfer.core.routes.choice import Choice, Need
from azinfer.core.routes.config import zones_of
from azinfer.core.routes.demand import estimated_tokens, home_of, wire_messages
from azinfer.core.routes.guard import EMBEDDING_GUARDS
from azinfer.core.routes.plan import Plan, plan
from azinfer.core.routes.resolution import Resolution, missing_deployments, resolve
from azinfer.core.routes.route import Member
from azinfer.core.routes.traffic import Ticket, Traffic
from azinfer.core.routes.vector_lengths import shape_of
from azinfer.core.routing import Candidate, Decision
from azinfer.core.secret_names import without_secret_headers
from azinfer.core.surfaces import EMBEDDINGS, IMAGES
from azinfer.core.wires.state import resource_of

T = TypeVar("T")
Client = TypeVar("Client")

_LOG = logging.getLogger("azinfer.core")
_SPILLOVER = "x-ms-spillover-deployment"
_OWN = ("credential", "surface", "api_version", "headers", "wire")
_NAMES = ("model", "model_id")  # of calls, not of endpoints
_DEFAULT_ONLY = ("credential", "surface", "api_version", "http_client")
_SECRETS = ("credential", "environ", "http_client")
_ANYWHERE = Need()
_MOST_NAMES = 10_000  # meanings of names that are remembered

# Creates the leg of a call from a client, the name of a deployment, and the params of a route,
# which are None where the caller named the deployment.
MakeLeg: TypeAlias = Callable[
    [Any, str | None, Mapping[str, Any] | None, Mapping[str, str]], Leg[T]
]


class Router:
    """Routes the calls of a client by the names in them: to a deployment, or along a route.

    Args:
        source: Where names come from.
        kind: The class of the clients, one for each endpoint. They never send, but know where
            calls go.
        options: The caller's other options, by the names of the constructor.
        reload_after: Seconds after which the file is checked again; None for never.
    """

    def __init__(
        self,
        source: Source,
        kind: type[Any],
        options: Mapping[str, Any],
        reload_after: float | None,
    ) -> None:
        clock: Clock = options.get("clock", SYSTEM)
        self.renew_locks()
        self._source = source
        self._kind = kind
        self._options = {name: value for name, value in options.items() if name not in _NAMES}
        self._clock = clock
        self._reload_after = reload_after
        self._traffic = Traffic(clock)
        self._clients: dict[str, tuple[EndpointConfig, Any]] = {}
        self._noted: set[str] = set()  # deployments that were warned of
        self._signature = source.signature()
        self._look_again = clock.monotonic() + (reload_after or 0.0)
        self._names = self._ready(source.read())
        self._share()

    def _share(self) -> None:
        """Share limits with other processes, if the file says so."""
        shared = self._names.settings.shared
        if shared is None:
            return
        from azinfer.redis import RedisSharing  # only programs with several processes load it

        environ = self._options.get("environ")
        self._traffic.sharing = RedisSharing(
            shared, self._traffic, self._places, self._clock, environ
        )

    def _places(self) -> dict[str, tuple[str, EndpointKnowledge | None]]:
        """Return the URL of each endpoint, and what is known of it once it was used."""
        places: dict[str, tuple[str, EndpointKnowledge | None]] = {
            name.casefold(): (each.url, None)
            for name, each in self._names.settings.endpoints.items()
        }
        for name, (settings, client) in list(self._clients.items()):
            places[name] = (settings.url, client._knowledge)
        return places

    def renew_locks(self) -> None:
        """Use a new lock of the clients, the names and when they were read."""
        self._lock = threading.RLock()
        renew_after_fork(self)

    def __getstate__(self) -> dict[str, Any]:
        # The clients pickle their credentials by name, or refuse to be pickled.
        options = {name: each for name, each in self._options.items() if name not in _SECRETS}
        names = Names(self._names.settings, self._names.directory)
        return {**self.__dict__, "_options": options, "_names": names, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.renew_locks()
        self._share()

    @property
    def default(self) -> Any:
        """The client of the current default endpoint."""
        names = self._current()
        return self._client(names.directory.default, names)

    def attempts(
        self,
        make: MakeLeg[T],
        operation: str,
        name: str | None,
        rules: Rules,
        prompt: tuple[Sequence[Any] | None, Mapping[str, Any]],
    ) -> CallAttempts[T]:
        """Return the attempts of a call.

        Args:
            make: Creates the leg from a client and the name of a deployment.
            operation: What is asked.
            name: The value of `model` in the call.
            rules: What the client allows.
            prompt: The messages of a chat, and the options of the call.
        """
        names = self._current()
        meaning = self._meaning(name, names)
        if meaning.route is None:
            client = self._client(meaning.endpoint or "", names)
            decision = Decision(
                requested=meaning.requested, resolution=meaning.rule, endpoint=meaning.endpoint
            )
            attempts = CallAttempts(make(client, meaning.deployment, None, {}), rules, decision)
            attempts.nearest = names.directory.nearest
            return attempts
        ready = self._plan(meaning.route, operation, names)
        params, spillover = ready.route.params, ready.spillover

        def leg(ticket: Ticket) -> Leg[T]:
            member = ticket.member
            client = self._client(member.endpoint or "", names)
            other = spillover.get(member.key) if spillover else None
            headers = {_SPILLOVER: other} if other else {}
            return make(client, member.deployment, params, headers)

        if ready.route.policy.hedge is not None:
            self._traffic.earn_hedge(ready.route.policy.hedge_share)
        need, home = self._need(ready, names, prompt)
        shape = shape_of(operation, params, prompt[1])
        journey = Journey(ready, self._traffic, need, meaning, home, shape)
        return RoutedAttempts(journey, leg, rules)

    def first(self, name: str | None, operation: str) -> tuple[Any, str | None]:
        """Return the client and the deployment that a name leads to first."""
        names = self._current()
        meaning = self._meaning(name, names)
        if meaning.route is None:
            return self._client(meaning.endpoint or "", names), meaning.deployment
        member = self._plan(meaning.route, operation, names).tiers[0].members[0]
        return self._client(member.endpoint or "", names), member.deployment

    def destination(self, name: str | None, operation: str) -> dict[str, Any]:
        """Return where calls may go, as JSON values.

        Returns:
            The origin of the `endpoint`; or the name of the `route`, and its `deployments` in the
            form `name@origin`, whichever of them a call takes now.
        """
        names = self._current()
        meaning = self._meaning(name, names)
        if meaning.route is None:
            return {"endpoint": _origin_in(names, meaning.endpoint)}
        ready = self._plan(meaning.route, operation, names)
        members = [*ready.refused, *(each for tier in ready.tiers for each in tier.members)]
        places = {
            f"{each.deployment.casefold()}@{_origin_in(names, each.endpoint)}" for each in members
        }
        return {"route": ready.route.name, "deployments": sorted(places)}

    def explain(self, name: str | None, operation: str) -> tuple[Any, str | None, Decision]:
        """Return where a call would go now: the client, the deployment, and why."""
        names = self._current()
        meaning = self._meaning(name, names)
        if meaning.route is None:
            decision = Decision(
                requested=meaning.requested, resolution=meaning.rule, endpoint=meaning.endpoint
            )
            return self._client(meaning.endpoint or "", names), meaning.deployment, decision
        ready = self._plan(meaning.route, operation, names)
        choice = self._traffic.look(ready, Need())
        decision = Decision(
            requested=meaning.requested,
            resolution=meaning.rule,
            route=ready.route.name,
            candidates=self._candidates(ready, names),
        )
        member = ready.tiers[0].members[0]
        if isinstance(choice, Choice):
            member = ready.tiers[choice.tier].members[choice.position]
            decision = replace(decision, endpoint=member.endpoint, tier=choice.tier, why=choice.why)
        return self._client(member.endpoint or "", names), member.deployment, decision

    def _candidates(self, ready: Plan, names: Names) -> tuple[Candidate, ...]:
        missing = missing_deployments(names.directory)
        candidates = self._traffic.candidates(ready)
        keys = [f"{each.deployment}@{each.endpoint}".casefold() for each in candidates]
        notes = [missing.get(key, "") for key in keys]
        return tuple(map(_with_note, candidates, notes))

    @property
    def routes(self) -> tuple[str, ...]:
        """The names of all routes."""
        return tuple(route.name for route in self._current().directory.routes.values())

    def _need(
        self, ready: Plan, names: Names, prompt: tuple[Sequence[Any] | None, Mapping[str, Any]]
    ) -> tuple[Need, str | None]:
        """Return what a call asks of a deployment, and whose state it carries."""
        messages, options = prompt
        if messages is None:
            return _ANYWHERE, None
        home = home_of(messages, options)
        policy = ready.route.policy
        tokens, affinity = 0, None
        if ready.counts_tokens or policy.affinity == "prefix":
            wire = wire_messages(messages)
            tokens = estimated_tokens(wire, options) if ready.counts_tokens else 0
            affinity = affinity_of(policy.affinity, wire, options)
        elif "prompt_cache_key" in options:
            affinity = affinity_of(policy.affinity, (), options)
        elif home is None:
            return _ANYWHERE, None
        away = frozenset() if home is None else self._away(home, ready, names)
        return Need(tokens, away, affinity), home

    def _away(self, home: str, ready: Plan, names: Names) -> frozenset[str]:
        """Return the keys of deployments on other resources than that of the state."""
        members = [member for tier in ready.tiers for member in tier.members]
        resources = {member.key: self._resource(member, names) for member in members}
        if home == "" and len(set(resources.values())) == 1:
            return frozenset()
        return frozenset(key for key, resource in resources.items() if resource != home)

    def _resource(self, member: Member, names: Names) -> str:
        return resource_of(self._client(member.endpoint or "", names).endpoint.url)

    def _meaning(self, name: str | None, names: Names) -> Resolution:
        if name is None:
            return Resolution("", "default endpoint", None, None, names.directory.default)
        meaning = names.meanings.get(name)
        if meaning is None:
            meaning = resolve(name, names.directory)
            if len(names.meanings) < _MOST_NAMES:
                names.meanings[name] = meaning
        return meaning

    def _plan(self, route: Route, operation: str, names: Names) -> Plan:
        embeds = operation in (EMBEDDINGS, IMAGES)
        key = (route.name, embeds)
        ready = names.plans.get(key)
        if ready is None:
            guards = EMBEDDING_GUARDS if embeds else ()
            ready = plan(route, names.directory, zones_of(names.settings), guards)
            self._traffic.add(ready)
            names.plans[key] = ready
        return ready

    def _client(self, endpoint: str, names: Names) -> Any:
        """Return the client of an endpoint; it only knows where calls go and never sends."""
        with self._lock:
            if (entry := self._clients.get(endpoint)) is not None:
                return entry[1]
            settings = names.settings_of(endpoint)
            assert settings is not None
            client = self._create_client(settings, endpoint, names)
            # A call may have begun before the file changed, and its endpoint may be gone from it.
            if self._names.settings_of(endpoint) == settings:
                self._clients[endpoint] = (settings, client)
            return client

    def _create_client(self, settings: EndpointConfig, endpoint: str, names: Names) -> Any:
        own = {name: getattr(settings, name) for name in _OWN}
        options, headers = self._options, self._options.get("headers") or {}
        is_default = endpoint == names.directory.default
        if not is_default:
            options = {name: value for name, value in options.items() if name not in _DEFAULT_ONLY}
            headers = without_secret_headers(headers)
        both = (*settings.headers.items(), *headers.items())
        options = {**options, "headers": {name.lower(): value for name, value in both}}
        try:
            client = self._kind(settings.url, **{**own, **options})
        except ConfigurationError as error:
            raise names.settings.in_words_of_the_file(error, endpoint) from None
        client._gets_secrets = is_default
        client._declared = settings.deployments
        return client

    def _current(self) -> Names:
        """Return the names as they are now: after a new file, and after new lists."""
        names = self._names
        if (
            len(names.seen) == len(self._clients)
            and names.listings == EndpointKnowledge.listings
            and (self._reload_after is None or self._clock.monotonic() < self._look_again)
        ):
            return names  # as almost always, and without a lock
        with self._lock:
            if self._reload_after is not None and self._clock.monotonic() >= self._look_again:
                self._reload(self._reload_after)
            names, listings = self._names, EndpointKnowledge.listings
            seen = self._listed_deployments()
            if len(names.seen) != len(seen) or not all(map(is_, names.seen, seen)):
                names = self._names = self._ready(names)
            names.listings = listings  # of before, so that a list that comes now is noticed
            return names

    def _listed_deployments(self) -> tuple[Deployments, ...]:
        return tuple([client._knowledge.deployments for _, client in self._clients.values()])

    def _ready(self, names: Names) -> Names:
        """Return the names with what the endpoints have listed."""
        known = dict(names.directory.endpoints)
        listed: set[str] = set()
        for endpoint, (_, client) in self._clients.items():
            known[endpoint] = client._known_deployments
            if client._knowledge.deployments:
                listed.add(endpoint)
        directory = replace(names.directory, endpoints=known, listed=frozenset(listed))
        for key, note in missing_deployments(directory).items():
            if key not in self._noted:
                self._noted.add(key)
                _LOG.warning("a route has a deployment that is not there: %s", note)
        return Names(names.settings, directory, self._listed_deployments())

    def _reload(self, after: float) -> None:
        """Use the new version of the file, if there is one and it is valid."""
        self._look_again = self._clock.monotonic() + after
        signature = self._source.signature()
        if signature is None or signature == self._signature:
            return
        self._signature = signature
        try:
            names = self._source.read()
        except ConfigurationError as error:
            _LOG.warning("the routes stay as they were: %s", error.message)
            return
        before, after_it = self._names.directory.default, names.directory.default
        # The caller's credential and secrets are for the default endpoint alone.
        moved = set() if before == after_it else {before, after_it}
        self._clients = {
            endpoint: (settings, client)
            for endpoint, (settings, client) in self._clients.items()
            if names.settings_of(endpoint) == settings and endpoint not in moved
        }
        self._names = self._ready(names)


def _origin_in(names: Names, endpoint: str | None) -> str:
    """Return the origin of an endpoint, whose credential may be missing."""
    settings = names.settings_of(endpoint or "")
    assert settings is not None
    return origin_of(Endpoint.parse(settings.url).url)


def _with_note(candidate: Candidate, note: str) -> Candidate:
    return replace(candidate, note=note) if note else candidate
