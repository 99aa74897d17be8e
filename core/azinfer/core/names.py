"""Names that calls may use: where they come from, and all of them at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from azinfer.core.client_config import ClientConfig, EndpointConfig, read_client_config
from azinfer.core.deployments import Deployments
from azinfer.core.routes import Route
from azinfer.core.routes.config import directory_of
from azinfer.core.routes.plan import Plan
from azinfer.core.routes.resolution import Directory, Resolution


@dataclass(frozen=True, slots=True)
class Source:
    """Where names come from.

    Attributes:
        config: The file, or a mapping in its form.
        endpoint: The default endpoint that the caller named.
        routes: Routes of the caller.
        aliases: Aliases of the caller.
    """

    config: str | Path | Mapping[str, Any]
    endpoint: str | None
    routes: tuple[Route, ...]
    aliases: Mapping[str, str]

    def read(self) -> Names:
        """Return the names as they are now.

        Raises:
            ConfigurationError: A name is not valid.
        """
        settings = read_client_config(self.config)
        default = settings.endpoint(self.endpoint)
        name = next(name for name, each in settings.endpoints.items() if each is default)
        directory = directory_of(settings, name, self.routes, self.aliases)
        return Names(settings, directory)

    def signature(self) -> tuple[int, int] | None:
        """Return a value that changes when the file does; None without a file."""
        if isinstance(self.config, Mapping):
            return None
        try:
            status = Path(self.config).stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size


@dataclass(eq=False, slots=True)
class Names:
    """All names at one moment, and what was derived from them. Never changed, only replaced.

    Attributes:
        settings: The file.
        directory: The names.
        seen: What each endpoint had listed at that moment.
        listings: How many lists this process had read by then.
        plans: Routes ready for use, by name and whether they are for embeddings.
        meanings: The meanings of names that were used before.
    """

    settings: ClientConfig
    directory: Directory
    seen: tuple[Deployments, ...] = ()
    listings: int = 0
    plans: dict[tuple[str, bool], Plan] = field(default_factory=dict)
    meanings: dict[str, Resolution] = field(default_factory=dict)

    def settings_of(self, endpoint: str) -> EndpointConfig | None:
        """Return the settings of an endpoint by its case-folded name; None if it has none."""
        each = self.settings.endpoints.items()
        return next((its for name, its in each if name.casefold() == endpoint), None)
