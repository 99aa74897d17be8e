"""Journeys: what a call asks of a route, and the error if no deployment there answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from azinfer.core.errors import InferenceError, RouteExhaustedError
from azinfer.core.routes.choice import Need
from azinfer.core.routes.plan import Plan
from azinfer.core.routes.resolution import Resolution
from azinfer.core.routes.traffic import Traffic
from azinfer.core.routes.vector_lengths import Shape
from azinfer.core.routing import Attempt

_SHOWN = 8  # attempts and skipped deployments in the text of an error


class Journey(NamedTuple):
    """What one call asks of a route.

    Attributes:
        plan: The route.
        traffic: The state of its deployments.
        need: What the call asks of a deployment.
        meaning: How its name led to the route.
        home: The resource whose state the conversation carries, or None.
        shape: What decides the length of the vectors that it asks for; None without vectors.
    """

    plan: Plan
    traffic: Traffic
    need: Need
    meaning: Resolution
    home: str | None = None
    shape: Shape | None = None


class Trail(NamedTuple):
    """What a call did on its route.

    Attributes:
        need: What it asked of a deployment in the end.
        attempts: The requests that were sent.
        failure: The error of the last one; None without any.
        unable: Deployments that cannot take it in this form, each with the reason.
        waited: Seconds that it waited for a deployment.
    """

    need: Need
    attempts: tuple[Attempt, ...]
    failure: InferenceError | None
    unable: Mapping[str, str]
    waited: float


def exhausted_error(journey: Journey, trail: Trail, seconds: float | None) -> RouteExhaustedError:
    """Return the error of a call that no deployment answered.

    Args:
        journey: What it asked of the route.
        trail: What it did there.
        seconds: A wait for which the call has no time; None if it did not have to wait.
    """
    candidates = journey.traffic.candidates(journey.plan, trail.need.avoid)
    skipped = {
        f"{each.deployment}@{each.endpoint}": each.reason for each in candidates if each.reason
    }
    skipped.update(trail.unable)
    soonest = min((each.wait for each in candidates), default=float("inf"))
    if seconds is None and soonest < float("inf"):
        seconds = soonest
    failure = trail.failure
    error = RouteExhaustedError(
        _summary(journey, trail, skipped, seconds),
        status=failure.status if failure else None,
        code=failure.code if failure else None,
        request_id=failure.request_id if failure else None,
        retry_after=seconds or None,
        attempts=len(trail.attempts),
    )
    error.route = journey.plan.route.name
    error.tried = trail.attempts
    error.skipped = skipped
    error.__cause__ = failure
    return error


def _summary(
    journey: Journey, trail: Trail, skipped: Mapping[str, str], seconds: float | None
) -> str:
    """Return what was tried, what was not, and when to try again."""
    policy = journey.plan.route.policy
    parts = [f"route {journey.plan.route.name!r}: no deployment answered."]
    if journey.home is not None:
        parts.append(
            f"The conversation has state of {journey.home or 'an unknown resource'!r}, which "
            "no other resource can continue: start without it, or wait."
        )
    if limits := journey.traffic.too_small(journey.plan, trail.need):
        parts.append(
            f"The call may use {trail.need.tokens} tokens, more than {', '.join(limits)} "
            f"can serve at once (at most {max(limits.values()):g}): shorten the prompt, or "
            "lower max_tokens."
        )
    if trail.attempts:
        parts.append(f"Tried: {'; '.join(map(_format_attempt, trail.attempts[-_SHOWN:]))}.")
    if skipped:
        named = [f"{name} ({reason})" for name, reason in skipped.items()]
        parts.append(f"Not called: {'; '.join(named[:_SHOWN])}.")
    if trail.waited:
        parts.append(f"Waited {trail.waited:.1f} s.")
    if seconds:
        parts.append(f"Try again in {seconds:.1f} s.")
    if seconds and seconds > policy.wait - trail.waited:
        parts.append(f"The policy allows a wait of {policy.wait:g} s.")
    return " ".join(parts)


def _format_attempt(attempt: Attempt) -> str:
    place = f"{attempt.deployment}@{attempt.endpoint}"
    status = f"{attempt.status} " if attempt.status else ""
    return f"{place} {status}{attempt.error} after {attempt.seconds:.2f} s"
