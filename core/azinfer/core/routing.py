"""Routing values: what `explain` returns before a request, and what each response has after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request that was sent.

    Attributes:
        status: The HTTP status of its response; None if no response came.
        error: The class of the error it ended with; None if it succeeded.
        seconds: How long it took; for a stream, until the stream began.
        request_id: The service's id of the request.
        deployment: The deployment that it was sent to.
        endpoint: The name of its endpoint in `azinfer.toml`; None without one.
    """

    status: int | None
    error: str | None
    seconds: float
    request_id: str | None = None
    deployment: str | None = None
    endpoint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One deployment of a route, as it is at a moment.

    Attributes:
        deployment: Its name.
        endpoint: The name of its endpoint.
        tier: The number of its tier, from 0.
        weight: How much of the tier's load it takes.
        state: `"closed"` (it is called), `"open"` (it is left alone) or `"half-open"` (one
            call tries it).
        wait: Seconds until a call may go there; infinite until another call ends.
        in_flight: Calls that are under way there.
        latency: Seconds until an answer, on average; None before the first.
        requests_left: Requests that its rate limit has left; None without a limit.
        tokens_left: Tokens that its rate limit has left; None without a limit.
        reason: Why it is not called; empty where it is.
        note: What is probably wrong with its name; empty as long as nothing is known about it.
    """

    deployment: str
    endpoint: str
    tier: int
    weight: float = 1.0
    state: str = "closed"
    wait: float = 0.0
    in_flight: int = 0
    latency: float | None = None
    requests_left: float | None = None
    tokens_left: float | None = None
    reason: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How a name led to a deployment.

    Attributes:
        requested: The name, as the caller spelled it.
        resolution: What the name is: `"route"`, `"alias, route"`, `"name@endpoint"`,
            `"default endpoint"`, `"other endpoint"` or `"passed through"`.
        route: The name of the route; None where a deployment was named.
        endpoint: The name of the endpoint; None where no deployment is free.
        tier: The number of the deployment's tier, from 0; None without a route.
        why: Why it was chosen among the deployments of the route.
        waited: Seconds that the call waited for a deployment.
        candidates: All deployments of the route as they are now; only `explain` fills it.
    """

    requested: str
    resolution: str
    route: str | None = None
    endpoint: str | None = None
    tier: int | None = None
    why: str = ""
    waited: float = 0.0
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """The way of one request.

    Attributes:
        requested: The name that the caller gave.
        deployment: The deployment it was sent to: as the service spells it where it says.
        operation: What was asked, for example `"chat/completions"`.
        surface: The surface it was sent through.
        endpoint: The base URL of that surface.
        url: The URL of the request.
        model_id: The model that parameters were adapted to; None where it is unknown.
        model_id_source: How that is known: `"declared"`, `"listed"` or `"guessed"` from the
            deployment's name.
        served_model: The model that the service says answered.
        adapted: What was changed in the request to suit the model, losing nothing.
        attempts: The requests that were sent.
        region: Where it was answered.
        spilled_over: Whether another deployment took over from a full provisioned one.
        headers: The answer's headers by their names in lower case, for example
            `"x-ratelimit-remaining-tokens"`.
        decision: How a route or a name of `azinfer.toml` led there; None for a client of one
            endpoint.
        wire: The form of the conversation: `"chat"`, `"responses"` or `"messages"`; None for
            other operations.
        wire_source: Why it was chosen: `"declared"`, `"learned"` from a refusal, `"catalog"` or
            `"default"`.
    """

    requested: str | None
    deployment: str | None
    operation: str
    surface: str
    endpoint: str
    url: str
    model_id: str | None = None
    model_id_source: str | None = None
    served_model: str | None = None
    adapted: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    region: str | None = None
    spilled_over: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    wire: str | None = None
    wire_source: str | None = None
    decision: Decision | None = None

    @property
    def trace(self) -> dict[str, Any] | None:
        """The decision and all attempts in plain values, for metadata; None without a decision."""
        decision = self.decision
        if decision is None:
            return None
        tried = ("deployment", "endpoint", "status", "error", "seconds")
        return {
            "requested": decision.requested,
            "route": decision.route,
            "endpoint": decision.endpoint,
            "tier": decision.tier,
            "why": decision.why,
            "waited": decision.waited,
            "attempts": [{name: getattr(each, name) for name in tried} for each in self.attempts],
        }
