"""One deployment's part of a call: the request, and the time and retries that are allowed."""

from __future__ import annotations

from typing import Generic, NamedTuple

from azinfer.core.calls import Call, T
from azinfer.core.clock import Clock
from azinfer.core.credentials import Source
from azinfer.core.deployments import Deployments
from azinfer.core.retries import RetryBudget, Timeout


class Rules(NamedTuple):
    """The limits that the client sets for a call.

    Attributes:
        timeout: How long it may take.
        max_retries: How often it may be sent again.
        budget: Retries that all calls of the client share.
        clock: Time and chance.
    """

    timeout: Timeout
    max_retries: int
    budget: RetryBudget
    clock: Clock


class Leg(NamedTuple, Generic[T]):
    """A call to one deployment, and what is known about it.

    Attributes:
        call: The call.
        credential: The credential for it.
        known: Known deployments, to suggest for a wrong name.
    """

    call: Call[T]
    credential: Source
    known: Deployments
