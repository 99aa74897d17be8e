"""One deployment's part of a call: its request, and the time and retries that it may take."""

from __future__ import annotations

from typing import Generic, NamedTuple

from azinfer.core.calls import Call, T
from azinfer.core.clock import Clock
from azinfer.core.credentials import Source
from azinfer.core.deployments import Deployments
from azinfer.core.retries import RetryBudget, Timeout


class Rules(NamedTuple):
    """What the client allows a call.

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
    """A call to one deployment, and what is known there.

    Attributes:
        call: What is asked.
        credential: What authorises it.
        known: Deployments that a wrong name may have meant.
    """

    call: Call[T]
    credential: Source
    known: Deployments
