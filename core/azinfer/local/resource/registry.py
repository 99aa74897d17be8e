"""The registry of deployments, which can be changed while the endpoint runs."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A deployment and its facts for management.

    Attributes:
        deployment: The deployment.
        limits: Its rate limits.
        number: Its place in lists, which never changes.
        created: The second since 1970 at which it was created.
        modified: The second since 1970 at which it was last changed.
        extras: Fields that are only stored, such as tags.
        etag: A text that differs after each change.
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
        deployments: The initial deployments.
        clock: Returns monotonic seconds, for rate limits.
        now: Returns seconds since 1970.

    Raises:
        ConfigurationError: Two names differ at most in their case, or one spills over to an
            unknown deployment or to another model.
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
        # The engine of each model, present or past, for deployments that are created later.
        self._engines: dict[str, Any] = {}
        self._filters: dict[str, ContentFilter] = {}
        self._all_engines: dict[int, Any] = {}
        self._first = tuple(deployments)
        for deployment in self._first:
            if deployment.name.casefold() in self._records:
                raise ConfigurationError(
                    f"two deployments are called {deployment.name!r}; case makes no difference"
                )
            self._store(deployment, {})
        for deployment in self:
            self.check_spillover(deployment)

    def __iter__(self) -> Iterator[LocalDeployment]:
        return (record.deployment for record in self._records.values())

    def __len__(self) -> int:
        return len(self._records)

    @property
    def records(self) -> tuple[Record, ...]:
        """All records, oldest first."""
        return tuple(self._records.values())

    @property
    def engines(self) -> tuple[Any, ...]:
        """Every engine that was ever used, each once."""
        return tuple(self._all_engines.values())

    def record(self, name: str) -> Record | None:
        """Return the record of the deployment of this name, in any case."""
        return self._records.get(name.strip().casefold())

    def get(self, name: str) -> LocalDeployment | None:
        """Return the deployment of this name, in any case."""
        record = self.record(name)
        return record.deployment if record else None

    def limits(self, deployment: LocalDeployment) -> Limits:
        """Return the rate limits of a deployment."""
        record = self.record(deployment.name)
        return record.limits if record else Limits(deployment, self._clock)

    def put(self, deployment: LocalDeployment, extras: Mapping[str, Any] | None = None) -> bool:
        """Add or replace a deployment; return True if it is new.

        Earlier uses and running requests of a deployment with this name still count for its
        limits; requests that were routed before end as they began.

        Raises:
            ConfigurationError: It spills over to an unknown deployment or to another model.
        """
        self.check_spillover(deployment)
        with self._lock:
            return self._store(deployment, extras or {})

    def remove(self, name: str) -> bool:
        """Remove a deployment; return False if the name is unknown."""
        with self._lock:
            records = dict(self._records)
            gone = records.pop(name.strip().casefold(), None)
            self._records = records
        return gone is not None

    def reset(self) -> None:
        """Restore the initial deployments with unused limits; running requests continue."""
        with self._lock:
            self._records, self._engines, self._filters = {}, {}, {}
            for deployment in self._first:
                self._store(deployment, {})

    def engine_for(self, model_name: str) -> Any:
        """Return the engine for a new deployment: that of its model here, or else synthetic."""
        return self._engines.get(model_name.casefold()) or SyntheticEngine()

    def filter_by_name(self, name: str) -> str | ContentFilter:
        """Return the content filter that a deployment here has or had by this name, or the name."""
        return self._filters.get(name.casefold(), name)

    def check_spillover(self, deployment: LocalDeployment) -> None:
        """Raise if a deployment cannot spill over as configured.

        Raises:
            ConfigurationError: It cannot; the message says why.
        """
        if not deployment.spillover:
            return
        target = self.get(deployment.spillover)
        if target is None or target.name.casefold() == deployment.name.casefold():
            raise ConfigurationError(
                f"{deployment.name!r} spills over to {deployment.spillover!r}, which is not "
                "another deployment here"
            )
        if target.model_name.casefold() != deployment.model_name.casefold():
            raise ConfigurationError(
                f"{deployment.name!r} spills over to {target.name!r}, which is another model: "
                f"{target.model_name!r}, not {deployment.model_name!r}"
            )
        if missing := deployment.capabilities.keys() - target.capabilities.keys():
            raise ConfigurationError(
                f"{deployment.name!r} spills over to {target.name!r}, which does not support "
                f"{', '.join(sorted(missing))}"
            )

    def _store(self, deployment: LocalDeployment, extras: Mapping[str, Any]) -> bool:
        name, now = deployment.name.casefold(), self._now()
        before = self._records.get(name)
        if before is None:
            limits = Limits(deployment, self._clock)
            record = Record(
                deployment=deployment,
                limits=limits,
                number=next(self._numbers),
                created=now,
                modified=now,
                extras=extras,
            )
        else:
            before.limits.change(deployment)
            record = replace(
                before,
                deployment=deployment,
                modified=now,
                extras=extras,
                etag=str(uuid.uuid4()),
            )
        # A new dict each time, because others may iterate over the old one.
        self._records = {**self._records, name: record}
        self._engines.setdefault(deployment.model_name.casefold(), deployment.engine)
        self._all_engines.setdefault(id(deployment.engine), deployment.engine)
        if isinstance(deployment.content_filter, ContentFilter):
            self._filters[deployment.content_filter.name.casefold()] = deployment.content_filter
        return before is None
