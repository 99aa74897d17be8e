"""Faults: failures on purpose, so that programs can be tested with them."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import Any, Literal, get_args

from azinfer.local.wire.options import Options

Kind = Literal["status", "cut", "stall", "malformed", "drop"]
_KINDS: tuple[str, ...] = get_args(Kind)
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+: [ -~]*")


@dataclass(frozen=True, slots=True)
class Fault:
    """One failure of requests to a deployment.

    Without `every`, `times` and `probability` it happens to every request; with several of
    them, to the requests that all of them allow.

    Attributes:
        kind: `"status"` answers with an error; `"cut"` breaks the connection in the middle of
            the answer; `"stall"` says nothing more in the middle of it until the client leaves;
            `"malformed"` puts invalid JSON into it; `"drop"` breaks the connection
            before it.
        status: The HTTP status of a `"status"` fault.
        body: The body, as JSON or a text; by default that of the surface for this status.
        headers: Its headers, for example `{"retry-after": "2"}`.
        after: The number of a stream's events before it; other responses break in their middle.
        every: Happen only to every n-th request.
        times: Happen only so many times.
        probability: The chance of each request, from 0 to 1.
        seed: The seed of the chance, so that a run can be repeated.

    Raises:
        ConfigurationError: A field has an invalid value.

    Example:
        >>> from azinfer.core import InferenceClient, RateLimitError
        >>> from azinfer.local import LocalDeployment, LocalEndpoint
        >>> busy = LocalDeployment("chat", faults=(Fault("status", status=429),))
        >>> with LocalEndpoint([busy]) as endpoint:
        ...     client = InferenceClient(endpoint.url, endpoint.key, model="chat", max_retries=0)
        ...     try:
        ...         client.complete([{"role": "user", "content": "Hello"}])
        ...     except RateLimitError as error:
        ...         print(error.status)
        429
    """

    kind: Kind = "status"
    _: KW_ONLY
    status: int = 500
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    after: int = 1
    every: int | None = None
    times: int | None = None
    probability: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        settings = Options({each.name: getattr(self, each.name) for each in fields(self)})
        _check(settings)

    @classmethod
    def from_wire(cls, value: Any, where: str = "fault") -> Fault:
        """Make a fault from a table of a configuration file or the admin API.

        Args:
            value: A table of the attributes: `{"kind": "cut", "after": 3, "every": 2}`.
            where: Its name in errors.

        Raises:
            ConfigurationError: There is an unknown or invalid field.
        """
        settings = Options.of(value, where, [each.name for each in fields(cls)])
        _check(settings)
        return cls(**{name: value for name, value in settings.values.items() if value is not None})

    def to_wire(self) -> dict[str, Any]:
        """Return the table that `from_wire` reads, without defaults."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        defaults = Fault()
        kept = {name: value for name, value in values.items() if value != getattr(defaults, name)}
        return {"kind": self.kind, **kept}


def _check(settings: Options) -> None:
    kind = settings.text("kind")
    if kind is not None and kind not in _KINDS:
        raise settings.error("kind", f"must be one of {', '.join(_KINDS)}, not {kind!r}")
    settings.whole("status", 400, 599)
    settings.whole("after", 0)
    settings.whole("every", 1)
    settings.whole("times", 0)
    settings.number("probability", 0, 1)
    settings.whole("seed", 0)
    for name, value in (settings.table("headers") or {}).items():
        if not isinstance(value, str) or not _HEADER.fullmatch(f"{name}: {value}"):
            reason = f"must be a text in ASCII under a header's name, not {value!r}"
            raise settings.error(f"headers.{name}", reason)


class Faults:
    """The faults of one deployment, with a count of requests."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self._faults = [_Counted(each) for each in faults]

    def next(self) -> Fault | None:
        """Return the fault of the next request; None to answer it normally."""
        # Every fault counts every request, so two faults do not shift each other.
        hit = [each.fault for each in self._faults if each.hits()]
        return hit[0] if hit else None

    def to_wire(self) -> list[dict[str, Any]]:
        """Return the faults, and how often each has happened."""
        return [{**each.fault.to_wire(), "happened": each.happened} for each in self._faults]


class _Counted:
    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.happened = 0
        self._seen = 0
        self._chance = random.Random(fault.seed)

    def hits(self) -> bool:
        fault = self.fault
        self._seen += 1
        if fault.times is not None and self.happened >= fault.times:
            return False
        if fault.every is not None and self._seen % fault.every:
            return False
        if fault.probability is not None and self._chance.random() >= fault.probability:
            return False
        self.happened += 1
        return True
