"""Where a request goes and why: what `explain` tells before, and every answer after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request that was sent.

    Attributes:
        status: The HTTP status of its answer; None where none came.
        error: The class of the error it ended with; None where it held.
        seconds: How long it took; for a stream, until it began.
        request_id: The service's id of it.
    """

    status: int | None
    error: str | None
    seconds: float
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
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
