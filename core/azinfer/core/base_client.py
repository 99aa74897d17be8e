"""The base of the sync and the async client; it does not touch the network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypeVar, cast

from azinfer.core import lazy
from azinfer.core.arguments import CheckedNames, check_client, check_config, check_names
from azinfer.core.calls import Target
from azinfer.core.clock import SYSTEM, Clock
from azinfer.core.completions import Json
from azinfer.core.credentials import Credential, endpoint_from, source_of
from azinfer.core.deployments import Deployments
from azinfer.core.endpoint_knowledge import knowledge_of
from azinfer.core.endpoints import Endpoint, is_loopback
from azinfer.core.errors import ConfigurationError
from azinfer.core.model_catalog import UNKNOWN_MODEL, ModelFacts, find
from azinfer.core.model_profiles import profile_of
from azinfer.core.redaction import hidden
from azinfer.core.retries import RetryBudget, Timeout
from azinfer.core.routing import Routing
from azinfer.core.secret_names import refuse_to_pickle_secrets
from azinfer.core.surfaces import CHAT, Surface, WireName
from azinfer.core.wires.selection import NO_CHOICE, Choice, choose_wire
from azinfer.core.wires.wire import wire_named

ClientT = TypeVar("ClientT", bound="BaseClient")

MAX_RETRIES = 2


class BaseClient(CheckedNames):
    """The part that the sync and the async client share; nothing here touches the network."""

    def __init__(
        self,
        endpoint: str | None = None,
        credential: Credential | None = None,
        model: str | None = None,
        *,
        model_id: str | None = None,
        surface: str | Surface | None = None,
        api_version: str | None = None,
        timeout: float | Timeout | None = None,
        max_retries: int = MAX_RETRIES,
        headers: Mapping[str, str] | None = None,
        http_client: Any = None,
        allow_http: bool = False,
        clock: Clock = SYSTEM,
        environ: Mapping[str, str] | None = None,
        wire: WireName | None = None,
    ) -> None:
        # Tracebacks may show variables; the query of a URL may have a key.
        credential, endpoint = hidden(credential), hidden(endpoint)
        if endpoint == "":
            check_names(endpoint=endpoint)
        url = hidden(endpoint or endpoint_from(environ))
        check_client(model, model_id, max_retries, headers, wire=wire, api_version=api_version)
        self.endpoint = Endpoint.parse(url, surface, api_version)
        self.model = model or self.endpoint.deployment
        self.model_id = model_id
        self.timeout = Timeout.of(timeout)
        self.max_retries = int(max_retries)
        self.wire = wire
        if self.endpoint.url.startswith("http:") and not (
            allow_http or is_loopback(self.endpoint.url)
        ):
            raise ConfigurationError(
                f"{self.endpoint.url} is not https, so the credential would be sent unencrypted; "
                "use https, or pass allow_http=True for a network of your own"
            )
        self._credential = source_of(credential, self.endpoint.url, environ, clock)
        self._headers = dict(headers or {})
        self._http_client = http_client
        self._clock = clock
        self._environ = environ
        self._declared = Deployments()
        self._knowledge = knowledge_of(self.endpoint)
        self._joined: tuple[Deployments | None, Deployments] = (None, Deployments())
        self._targets: dict[tuple[str, str | None, str | None], Target] = {}
        self._router: Any = None  # only clients that `from_config` created have one
        self._added: Mapping[str, str] = {}
        self._added_wire: WireName | None = None
        self._gets_secrets = True  # whether the caller's secret headers are sent to it
        self._open_up()

    @classmethod
    def from_config(
        cls,
        config: str | Path | Mapping[str, Any] = "azinfer.toml",
        *,
        endpoint: str | None = None,
        routes: Iterable[lazy.Route] = (),
        aliases: Mapping[str, str] | None = None,
        reload_after: float | None = None,
        **options: Any,
    ) -> Self:
        """Return a client for all endpoints, routes and aliases of a configuration file.

        `model=` then takes the name of a route, an alias, `name@endpoint`, or the name of a
        deployment on the default endpoint or on exactly one other.

        Args:
            config: The file, or a mapping in its form. Its tables are `[endpoints.<name>]` (url,
                credential, surface, api_version, headers, zone, discover),
                `[deployments."<name>@<endpoint>"]` (model_id, model_version, model_format,
                capacity_type, capacity, content_filter, rpm, tpm, concurrency),
                `[routes.<name>]` (tiers, policy, guard, params) and `[aliases]`.
            endpoint: The default endpoint; by default the file's `default`, else its only
                endpoint, else the one called main.
            routes: Routes in addition to those of the file, over which they win.
            aliases: Aliases in addition to those of the file, over which they win.
            reload_after: Seconds after which a call checks whether the file has changed; None for
                never. A new version with an error is not used, with one warning in the log.
            **options: Other arguments of the constructor, which win over the file. credential,
                surface, api_version and headers whose names are like a secret's (`api-key`) are
                for the default endpoint. On a route, `attempts` of its policy counts instead
                of max_retries.

        Raises:
            ConfigurationError: The file is not valid; the message has file, line and field.
        """
        from azinfer.core.names import Source
        from azinfer.core.router import Router

        check_config(config, endpoint, routes, aliases, reload_after)
        source = Source(config, endpoint, tuple(routes), dict(aliases or {}))
        router = Router(source, cls, options, reload_after)
        client: Self = router.default
        client.model = options.get("model") or client.model
        client.model_id = options.get("model_id")
        client._router = router
        return client

    def with_options(
        self,
        *,
        model: str | None = None,
        model_id: str | None = None,
        timeout: float | Timeout | None = None,
        max_retries: int | None = None,
        headers: Mapping[str, str] | None = None,
        surface: str | Surface | None = None,
        api_version: str | None = None,
        wire: WireName | None = None,
    ) -> Self:
        """Return a client with other options, which shares everything else with this one.

        Both use the same connections, tokens, retry budget and known deployments. Closing one
        closes the connections of both; either can be used again. An option that is left out
        stays as it is.

        Args:
            model: The deployment's name. If it is not this client's, its `model_id` is not taken
                over.
            model_id: The model behind that deployment.
            timeout: Seconds for each attempt, or a Timeout.
            max_retries: How often a call is sent again after a temporary failure; on a route,
                `attempts` of its policy counts instead.
            headers: Sent with every request in addition to this client's, over which they win. Of a
                client from a file, headers whose names are like a secret's are sent only to
                the default endpoint.
            surface: Another way to address the deployments of the same resource.
            api_version: Sent instead of the surface's default. This and the surface are for
                clients of one endpoint.
            wire: The form of conversations: `"chat"`, `"responses"` or `"messages"`.

        Raises:
            ConfigurationError: The surface is unknown, the api-version is not valid, or one of
                them was passed to a client from a file.

        Example:
            >>> from azinfer.core import InferenceClient
            >>> client = InferenceClient("https://contoso.openai.azure.com", "a-key", "gpt-4.1")
            >>> patient = client.with_options(timeout=300, max_retries=5)
            >>> patient.model, patient.max_retries, client.max_retries
            ('gpt-4.1', 5, 2)
        """
        check_client(model, model_id, max_retries, headers, wire=wire, api_version=api_version)
        client = type(self).__new__(type(self))
        client.__dict__.update(self.__dict__)
        client._twin, client._targets = None, {}
        if surface or api_version:
            if self._router is not None:
                raise ConfigurationError(
                    f"{'surface' if surface else 'api_version'}= is for a client of one endpoint, "
                    "and this one has all of a file: set it below [endpoints.<name>] there, or "
                    "pass it to from_config, for the default endpoint"
                )
            client.endpoint = self.endpoint.with_options(surface, api_version)
            client._knowledge = knowledge_of(client.endpoint)
        if model and model.casefold() != (self.model or "").casefold():
            client.model_id = None
        client.model = model or self.model
        client.model_id = model_id or client.model_id
        client.timeout = self.timeout if timeout is None else Timeout.of(timeout)
        client.max_retries = self.max_retries if max_retries is None else int(max_retries)
        client.wire = wire or self.wire
        client._added_wire = wire or self._added_wire
        both = (*self._headers.items(), *(headers or {}).items())
        client._headers = {name.lower(): value for name, value in both}
        client._added = {**self._added, **(headers or {})}
        return client

    def _open_up(self) -> None:
        """Create a retry budget and connections for this client alone."""
        self._budget = RetryBudget()
        self._transports: dict[str, Any] = {}
        self._twin: Any = None
        self._connect()

    def _connect(self) -> None:
        """Use one transport for this client and for those that `with_options` creates from it."""

    def __repr__(self) -> str:
        if "endpoint" not in self.__dict__:  # its constructor failed: tracebacks may show it
            return f"{type(self).__name__}()"
        return f"{type(self).__name__}({self.endpoint.url!r}, model={self.model!r})"

    def __getstate__(self) -> dict[str, Any]:
        if self._http_client is not None:
            raise ConfigurationError("a client with its own http_client cannot be pickled")
        refuse_to_pickle_secrets([*self._headers, *(name for name, _ in self.endpoint.query)])
        return {
            **self.__dict__,
            "_transport": None,
            "_transports": None,
            "_budget": None,
            "_environ": None,
            "_twin": None,
            "_targets": {},
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._knowledge = knowledge_of(self.endpoint)
        self._knowledge.add(state["_knowledge"])
        self._open_up()

    def __copy__(self) -> Self:
        copied = type(self).__new__(type(self))
        copied.__dict__.update(self.__dict__)
        copied._open_up()
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Every part is either never changed or meant to be shared.
        return self.__copy__()

    def _convert(self, kind: type[ClientT]) -> ClientT:
        if isinstance(self, kind):
            return self
        if self._http_client is not None:
            raise ConfigurationError(
                f"this client sends through its own http_client, which {kind.__name__} cannot use; "
                f"create {kind.__name__} with another http_client"
            )
        if self._twin is None:
            twin = kind.__new__(kind)
            twin.__dict__.update(self.__dict__)
            twin._connect()
            self._twin = twin
        return cast("ClientT", self._twin)

    def explain(
        self, operation: str = CHAT, *, model: str | None = None, model_id: str | None = None
    ) -> Routing:
        """Return where a request would be routed, and why, without sending it.

        Args:
            operation: `"chat/completions"`, `"embeddings"`, `"images/embeddings"` or `"info"`.
            model: The deployment's name; by default that of the client.
            model_id: The model behind it.

        Raises:
            ConfigurationError: The request could not be sent.
        """
        if self._router is not None:
            client, name, decision = self._router.explain(model or self.model, operation)
            routing: Routing = client._explain(operation, name, model_id, self._added_wire)
            return replace(routing, requested=decision.requested, decision=decision)
        return self._explain(operation, model, model_id)

    @property
    def routes(self) -> tuple[str, ...]:
        """The names of the routes that `model=` may name."""
        return self._router.routes if self._router is not None else ()

    def _explain(
        self, operation: str, model: str | None, model_id: str | None, added: WireName | None = None
    ) -> Routing:
        target, choice = self._target(operation, model, model_id, None), NO_CHOICE
        if operation == CHAT:
            choice = self._choice({"messages": []}, target, None, added)
            wire = wire_named(choice.wire or "")
            target = self._target(wire.operation, model, model_id, None)
        return target.routing(target.url(target.corrections), wire=choice)

    def model_facts(self, *, model: str | None = None, model_id: str | None = None) -> ModelFacts:
        """Return what is known about the model behind a deployment, without sending anything.

        Args:
            model: The deployment's name; by default that of the client.
            model_id: The model behind it.

        Returns:
            The facts; all of them are empty if the model is unknown.
        """
        known, source = self._model_id_of(model or self.model, model_id)
        return find(known, is_model_id=source != "guessed") or UNKNOWN_MODEL

    @property
    def _known_deployments(self) -> Deployments:
        """The declared deployments, and those that any client of this endpoint listed."""
        listed, joined = self._joined
        return joined if listed is self._knowledge.deployments else self._join()

    def _join(self) -> Deployments:
        """Use a new list, and forget what was derived from the old one."""
        listed = self._knowledge.deployments
        self._joined = (listed, self._declared.over(listed))
        self._targets.clear()
        return self._joined[1]

    def _target(
        self,
        operation: str,
        model: str | None,
        model_id: str | None,
        headers: Mapping[str, str] | None,
    ) -> Target:
        key = (operation, model, model_id)
        if self._joined[0] is not self._knowledge.deployments:
            self._join()
        target = self._targets.get(key)
        if target is None:
            check_names(model=model, model_id=model_id)
            name = model or self.model
            known, source = self._model_id_of(name, model_id)
            endpoint = self.endpoint.endpoint_for(operation)
            profile = profile_of(known, is_model_id=source != "guessed")
            facts = find(known, is_model_id=source != "guessed")
            target = Target(
                endpoint=endpoint,
                operation=operation,
                model=name,
                profile=profile,
                model_id=known,
                model_id_source=source,
                corrections=self._knowledge.corrections_of(endpoint.surface.name, name),
                headers=self._headers,
                facts=facts,
                wire=self._declared[name].wire if name and name in self._declared else None,
            )
            self._targets[key] = target
        return target._replace(headers={**target.headers, **headers}) if headers else target

    def _model_id_of(self, name: str | None, model_id: str | None) -> tuple[str | None, str | None]:
        """Return the model behind a deployment, and how that is known."""
        same = (name or "").casefold() == (self.model or "").casefold()
        if declared := model_id or (self.model_id if same else None):
            return declared, "declared"
        if name and name in self._declared and (declared := self._declared[name].model_name):
            return declared, "declared"
        if (
            name
            and name in self._known_deployments
            and (listed := self._known_deployments[name].model_name)
        ):
            return listed, "listed"
        guessed = profile_of(name, is_model_id=False).family
        return (name, "guessed") if guessed else (None, None)

    def _choice(
        self,
        body: Json,
        target: Target,
        wire: WireName | None,
        added: WireName | None = None,
    ) -> Choice:
        """Return the wire that a request takes, and how that is known.

        Args:
            body: The request in our schema.
            target: Where it is sent.
            wire: The wire that the call names.
            added: The wire that was passed to `with_options` of a client from a file.
        """
        endpoint, learned = self.endpoint, self._knowledge.wires
        return choose_wire(
            body,
            endpoint.has,
            declared=wire or target.wire or added or self.wire or endpoint.wire,
            learned=learned.get((target.model or "").casefold()) if learned else None,
            facts=target.facts,
        )
