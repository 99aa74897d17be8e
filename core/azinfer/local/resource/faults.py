"""Faults: what goes wrong on purpose, so that programs meet it before it happens by itself."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from azinfer.local.wire.options import Options

Kind = Literal["status", "cut", "stall", "malformed", "drop"]
_KINDS: tuple[str, ...] = get_args(Kind)
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+: [ -~]*")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong with requests to a deployment.

    Without `every`, `times` and `probability` it happens to every request; with several of
    them, to the requests that all of them allow.

    Attributes:
        kind: `"status"` answers with an error; `"cut"` breaks the connection in the middle of
            the answer; `"stall"` says nothing more in the middle of it until the client leaves;
            `"malformed"` puts something that is no JSON into it; `"drop"` breaks the connection
            before it.
        status: The HTTP status of a `"status"` fault.
        body: Its body, as JSON or as a text; left out, the one that the surface has for it.
        headers: Its headers, for example `{"retry-after": "2"}`.
        after: How many events of a stream come before it; a whole answer is hit in its middle.
        every: It happens to every so-manieth request.
        times: It happens so often and then no more.
        probability: The chance of each request to be hit, from 0 to 1.
        seed: What chance begins from, so that a run can be repeated.

    Raises:
        ConfigurationError: A field is not what it can be.
    """

    kind: Kind = "status"
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
    def from_wire(cls, told: Any, where: str = "fault") -> Fault:
        """Make one of a table, as a configuration file or the admin route has it.

        Args:
            told: A table of the attributes: `{"kind": "cut", "after": 3, "every": 2}`.
            where: What errors call it.

        Raises:
            ConfigurationError: It has another field, or a wrong one.
        """
        settings = Options.of(told, where, [each.name for each in fields(cls)])
        _check(settings)
        return cls(**{name: value for name, value in settings.values.items() if value is not None})

    def to_wire(self) -> dict[str, Any]:
        """The table that `from_wire` reads, without what is left as it is."""
        told = {each.name: getattr(self, each.name) for each in fields(self)}
        usual = Fault()
        kept = {name: value for name, value in told.items() if value != getattr(usual, name)}
        return {"kind": self.kind, **kept}


def _check(settings: Options) -> None:
    kind = settings.text("kind")
    if kind is not None and kind not in _KINDS:
        raise settings.wrong("kind", f"must be one of {', '.join(_KINDS)}, not {kind!r}")
    settings.whole("status", 400, 599)
    settings.whole("after", 0)
    settings.whole("every", 1)
    settings.whole("times", 0)
    settings.number("probability", 0, 1)
    settings.whole("seed", 0)
    for name, value in (settings.table("headers") or {}).items():
        if not isinstance(value, str) or not _HEADER.fullmatch(f"{name}: {value}"):
            told = f"must be a text in ASCII under a header's name, not {value!r}"
            raise settings.wrong(f"headers.{name}", told)


class Faults:
    """The faults of one deployment, counted request by request."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self._faults = [_Counted(each) for each in faults]

    def next(self) -> Fault | None:
        """What happens to the next request; None where it is answered as usual."""
        # Each is counted, so that two faults do not shift one another.
        hit = [each.fault for each in self._faults if each.hits()]
        return hit[0] if hit else None

    def to_wire(self) -> list[dict[str, Any]]:
        """The faults, and how often each has happened."""
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
