"""How a route behaves: when it waits, moves on, hedges and keeps a conversation in its place."""

from __future__ import annotations

from dataclasses import dataclass, fields

from azinfer.core.errors import ConfigurationError

AFFINITIES = ("key", "prefix", "off")
ON_FILTER = ("raise", "next")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How a route behaves.

    Attributes:
        attempts: The most requests that one call sends, from 1.
        wait: The most seconds that one call waits for a deployment when none is free. The
            total of the call's `Timeout` bounds it too.
        retry_after: The most seconds that a `Retry-After` closes a deployment for, above 0. A
            deployment that asks for longer is tried again after this time.
        failures: Failures in a row (5xx, no connection, no answer in time) that close a
            deployment, from 1. A 429 and a stream that breaks close it at once.
        pause: Seconds that a deployment stays closed after failures, above 0; doubled each
            time that its probe fails.
        longest_pause: The most seconds of such a pause.
        affinity: `"key"` sends calls with the same `prompt_cache_key` to the same deployment,
            `"prefix"` also those that begin with the same messages, `"off"` neither.
        hedge: Seconds without an answer (of a stream: without its beginning) after which the
            same request is also sent to another deployment; None never does. Both are paid.
        hedge_share: The most hedges for each call, on average, from 0 to 1.
        on_filter: `"raise"`, or `"next"` to send a prompt that a content filter refused to a
            deployment with another filter.
        service_spillover: Ask the service itself to spill over, where a provisioned deployment
            is followed by a standard one of the same resource: this saves a round trip.
    """

    attempts: int = 8
    wait: float = 60.0
    retry_after: float = 60.0
    failures: int = 2
    pause: float = 1.0
    longest_pause: float = 30.0
    affinity: str = "key"
    hedge: float | None = None
    hedge_share: float = 0.1
    on_filter: str = "raise"
    service_spillover: bool = True

    def __post_init__(self) -> None:
        for field in fields(self):
            if reason := _reason(field.name, getattr(self, field.name)):
                raise ConfigurationError(f"policy {field.name}: {reason}", param=field.name)


def _reason(name: str, value: object) -> str | None:
    """Return what is wrong with a field, or None."""
    if name in _CHOICES:
        choices = _CHOICES[name]
        return None if value in choices else f"{value!r} is unknown; choose {_either(choices)}"
    if name in _WHOLE:
        if type(value) is int and value >= 1:
            return None
        return f"must be a whole number of at least 1, not {value!r}"
    if name == "service_spillover":
        return None if isinstance(value, bool) else f"must be True or False, not {value!r}"
    if name == "hedge" and value is None:
        return None
    least, most = _RANGES[name]
    if isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most:
        return None
    limit = f" and at most {most:g}" if most < _LONG else ""
    return f"must be a number of at least {least:g}{limit}, not {value!r}"


def _either(choices: tuple[str, ...]) -> str:
    return " or ".join(f'"{choice}"' for choice in choices)


_LONG = 1e9
_SHORT = 0.001
_CHOICES = {"affinity": AFFINITIES, "on_filter": ON_FILTER}
_WHOLE = ("attempts", "failures")
_RANGES = {
    "wait": (0.0, _LONG),
    "retry_after": (_SHORT, _LONG),
    "pause": (_SHORT, _LONG),
    "longest_pause": (_SHORT, _LONG),
    "hedge": (_SHORT, _LONG),
    "hedge_share": (0.0, 1.0),
}
