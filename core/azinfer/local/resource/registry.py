"""The registry: which deployments there are now, changed while the endpoint serves."""

from __future__ import annotations

import itertools
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from azinfer.core.errors import ConfigurationError
from azinfer.local.engines.synthetic import SyntheticEngine
from azinfer.local.resource.content_filter import ContentFilter
from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.resource.rate_limits import Limits


@dataclass(frozen=True, slots=True)
class Record:
    """A deployment that is served, and what management tells of it.

    Attributes:
        deployment: The deployment.
        limits: What it admits.
        number: Its place in lists, kept while it is there.
        created: The second since 1970 at which it was made.
        modified: The second since 1970 at which it was last changed.
        extras: What was put with it and means nothing here: tags and the like.
        etag: Another text after each change.
    """

    deployment: LocalDeployment
    limits: Limits
    number: int
    created: float
    modified: float
    extras: Mapping[str, Any] = field(default_factory=dict)
    etag: str = field(default_factory=lambda: str(uuid.uuid4()))


class Registry:
    """The deployments by name, in any case; may be read and changed from any thread.

    Args:
        deployments: What is served at first.
        clock: Monotonic seconds, by which rate limits are counted.
        now: Seconds since 1970.

    Raises:
        ConfigurationError: Two have the same name but for its case, or one spills over to
            what is not there or is another model.
    """

    def __init__(
        self,
        deployments: Iterable[LocalDeployment],
        clock: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        self._clock, self._now = clock, now
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._records: dict[str, Record] = {}
        # What serves or served a model, so that a deployment made later gets it too.
        self._engines: dict[str, Any] = {}
        self._filters: dict[str, ContentFilter] = {}
        self._all_engines: dict[int, Any] = {}
        self._first = tuple(deployments)
        for deployment in self._first:
            if deployment.name.casefold() in self._records:
                raise ConfigurationError(
                    f"two deployments are called {deployment.name!r}; case makes no difference"
                )
            self._keep(deployment, {})
        for deployment in self:
            self.check_spillover(deployment)

    def __iter__(self) -> Iterator[LocalDeployment]:
        return (record.deployment for record in self._records.values())

    def __len__(self) -> int:
        return len(self._records)

    @property
    def records(self) -> tuple[Record, ...]:
        """All that is served, oldest first."""
        return tuple(self._records.values())

    @property
    def engines(self) -> tuple[Any, ...]:
        """Every engine that was ever served, each once."""
        return tuple(self._all_engines.values())

    def record(self, name: str) -> Record | None:
        """The record of the deployment of this name, in any case."""
        return self._records.get(name.strip().casefold())

    def get(self, name: str) -> LocalDeployment | None:
        """The deployment of this name, in any case."""
        record = self.record(name)
        return record.deployment if record else None

    def limits(self, deployment: LocalDeployment) -> Limits:
        """What a deployment admits."""
        record = self.record(deployment.name)
        return record.limits if record else Limits(deployment, self._clock)

    def put(self, deployment: LocalDeployment, extras: Mapping[str, Any] | None = None) -> bool:
        """Serve a deployment from now on; True if it is new.

        One of the same name is replaced. What was used of its limits still counts, and so does
        who is inside; requests that were routed to it before end as they began.

        Raises:
            ConfigurationError: It spills over to what is not there or is another model.
        """
        self.check_spillover(deployment)
        with self._lock:
            return self._keep(deployment, extras or {})

    def remove(self, name: str) -> bool:
        """Serve a deployment no longer; False if there was none of this name."""
        with self._lock:
            records = dict(self._records)
            gone = records.pop(name.strip().casefold(), None)
            self._records = records
        return gone is not None

    def reset(self) -> None:
        """Serve what was served at first, every limit unused; requests inside go on."""
        with self._lock:
            self._records, self._engines, self._filters = {}, {}, {}
            for deployment in self._first:
                self._keep(deployment, {})

    def engine_for(self, model_name: str) -> Any:
        """The engine of a new deployment: what serves or served its model here, else synthetic."""
        return self._engines.get(model_name.casefold()) or SyntheticEngine()

    def filter_called(self, name: str) -> str | ContentFilter:
        """The content filter of a name: the one that a deployment here has or had, else empty."""
        return self._filters.get(name.casefold(), name)

    def check_spillover(self, deployment: LocalDeployment) -> None:
        """Return if a deployment can spill over as it says.

        Raises:
            ConfigurationError: It cannot.
        """
        if not deployment.spillover:
            return
        target = self.get(deployment.spillover)
        if target is None or target.name.casefold() == deployment.name.casefold():
            raise ConfigurationError(
                f"{deployment.name!r} spills over to {deployment.spillover!r}, which is no other "
                "deployment here"
            )
        if target.model_name.casefold() != deployment.model_name.casefold():
            raise ConfigurationError(
                f"{deployment.name!r} spills over to {target.name!r}, which is another model: "
                f"{target.model_name!r}, not {deployment.model_name!r}"
            )
        if missing := deployment.capabilities.keys() - target.capabilities.keys():
            raise ConfigurationError(
                f"{deployment.name!r} spills over to {target.name!r}, which has no "
                f"{', '.join(sorted(missing))}"
            )

    def _keep(self, deployment: LocalDeployment, extras: Mapping[str, Any]) -> bool:
        name, now = deployment.name.casefold(), self._now()
        before = self._records.get(name)
        if before is None:
            limits = Limits(deployment, self._clock)
            record = Record(deployment, limits, next(self._numbers), now, now, extras)
        else:
            before.limits.change(deployment)
            record = replace(
                before,
                deployment=deployment,
                modified=now,
                extras=extras,
                etag=str(uuid.uuid4()),
            )
        # A new dict each time, so that whoever iterates over the old one is not disturbed.
        self._records = {**self._records, name: record}
        self._engines.setdefault(deployment.model_name.casefold(), deployment.engine)
        self._all_engines.setdefault(id(deployment.engine), deployment.engine)
        if isinstance(deployment.content_filter, ContentFilter):
            self._filters[deployment.content_filter.name.casefold()] = deployment.content_filter
        return before is None
