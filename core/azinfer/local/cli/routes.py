"""`azinfer routes`: where the routes of a file lead, and in which state each deployment is."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from azinfer.core import (
    Attempt,
    Candidate,
    InferenceClient,
    InferenceError,
    RouteExhaustedError,
    Routing,
    Timeout,
    UserMessage,
)
from azinfer.local.cli.output import table, width, wrap_text, write, write_json

_COLUMNS = ("route", "tier", "deployment", "state", "calls", "latency", "left", "note")
# The words of a breaker mean the opposite to newcomers: it is "closed" where calls pass.
_STATES = {"closed": "healthy", "open": "open", "half-open": "probing"}
_LEGEND = (
    "healthy: gets calls; open: gets none for a while, after failures; probing: one call tries it"
)
_LONGEST = 20.0  # seconds that a question may take
_CLEAR = "\x1b[2J\x1b[H"


class Outcomes(NamedTuple):
    """How questions along the routes ended.

    Attributes:
        notes: How each request ended, by route, deployment and endpoint.
        errors: The routes that did not answer, each with its error.
    """

    notes: dict[tuple[str | None, str | None, str | None], str]
    errors: list[str]


def open_routes(config: Path, watch: float | None) -> InferenceClient:
    """Return a client of all endpoints and routes of a file.

    Args:
        config: The file.
        watch: Seconds after which it is checked again; None reads it once.
    """
    return InferenceClient.from_config(config, reload_after=watch)


def show_routes(
    client: InferenceClient, *, as_json: bool, ask: bool, watch: float | None = None
) -> None:
    """Print every route, once or repeatedly.

    Args:
        client: Its routes are shown.
        as_json: Whether to print JSON.
        ask: Whether to send one short question along each route first.
        watch: Seconds between two updates; None prints once.
    """
    client.discover()
    while True:
        outcomes = _ask(client) if ask else Outcomes({}, [])
        explanations = [client.explain(model=route) for route in client.routes]
        if watch is not None and sys.stdout.isatty():
            write(_CLEAR + time.strftime("%H:%M:%S"))
        if as_json:
            write_json(explanations, indent=None if watch is not None else 2)
        else:
            _print(explanations, outcomes)
        if watch is None:
            return
        sys.stdout.flush()
        time.sleep(watch)


def _ask(client: InferenceClient) -> Outcomes:
    """Send a short question along each route, and return how its requests ended."""
    outcomes = Outcomes({}, [])
    for route in client.routes:
        attempts: tuple[Attempt, ...] = ()
        try:
            answer = client.complete(
                [UserMessage("Hi")], model=route, max_tokens=1, timeout=Timeout(total=_LONGEST)
            )
            attempts = answer.routing.attempts if answer.routing else ()
        except InferenceError as error:
            attempts = error.tried if isinstance(error, RouteExhaustedError) else ()
            outcomes.errors.append(f"{route}: {error}")
        for each in attempts:
            text = f"failed: {each.error}" if each.error else "answered"
            outcomes.notes[route, each.deployment, each.endpoint] = text
    return outcomes


def _print(routings: list[Routing], outcomes: Outcomes) -> None:
    rows = [row for routing in routings for row in _rows(routing, outcomes)]
    if not rows:
        write("no routes: add a table [routes.chat] with tiers")
        return
    for line in table(_COLUMNS, rows, width()):
        write(line)
    for text in (_LEGEND, *outcomes.errors):
        write("")
        for line in wrap_text(text, width()):
            write(line)


def _rows(routing: Routing, outcomes: Outcomes) -> Iterator[tuple[str, ...]]:
    """Return a row for each deployment of a route; the one that a call would go to is marked."""
    decision = routing.decision
    assert decision is not None
    chosen = (routing.deployment, decision.endpoint)
    for each in decision.candidates:
        outcome = outcomes.notes.get((decision.route, each.deployment, each.endpoint), "")
        mark = "next call" if (each.deployment, each.endpoint) == chosen else ""
        reason = each.reason and f"{each.reason}{_wait(each)}"
        yield (
            decision.route or "-",
            str(each.tier + 1),
            f"{each.deployment}@{each.endpoint}",
            _STATES[each.state],
            str(each.in_flight),
            "-" if each.latency is None else f"{each.latency:.2f} s",
            _format_remaining(each),
            each.note or ", ".join(filter(None, (reason or outcome, mark))) or "-",
        )


def _format_remaining(candidate: Candidate) -> str:
    parts = []
    if candidate.requests_left is not None:
        parts.append(f"{candidate.requests_left:g} requests")
    if candidate.tokens_left is not None:
        parts.append(f"{candidate.tokens_left:g} tokens")
    return ", ".join(parts) or "-"


def _wait(candidate: Candidate) -> str:
    return f", {candidate.wait:.0f} s" if 0 < candidate.wait < float("inf") else ""
