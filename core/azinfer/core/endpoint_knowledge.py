"""What this process has learned of endpoints; all clients of an endpoint share it.

So a model refuses a field once per process and not once per client, and after
`deployments()` of one client all of them know which model is behind a name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from azinfer.core.deployments import Deployments
from azinfer.core.endpoints import Endpoint
from azinfer.core.surfaces import WireName

# With more endpoints, all are forgotten: this limits memory and costs each one refused call.
_MOST_ENDPOINTS = 1000


@dataclass(eq=False, slots=True)
class EndpointKnowledge:
    """What is known about one endpoint.

    Attributes:
        deployments: The list that the service returned last.
        corrections: For each surface and deployment, the fields that it refused: the name of a
            field, and the name that it has there (empty: the field is left out).
        wires: The wires that deployments need, by the deployment's name.
        image_routes: The operations that embed images, by the deployment's name.
        account: The URL of its account in Azure Resource Manager, once it was found.
        listed_at: When `deployments` was listed, in seconds since 1970; None before.
        listings: How many lists all endpoints of this process have returned, by which others
            notice a new one.
    """

    listings: ClassVar[int] = 0

    deployments: Deployments = field(default_factory=Deployments)
    corrections: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    wires: dict[str, WireName] = field(default_factory=dict)
    image_routes: dict[str, str] = field(default_factory=dict)
    account: str | None = None
    listed_at: float | None = None

    def remember(self, deployments: Deployments) -> None:
        """Remember the list that the service returned."""
        self.deployments = deployments
        EndpointKnowledge.listings += 1

    def corrections_of(self, surface: str, deployment: str | None) -> dict[str, str]:
        """Return the corrections for one deployment; all clients see what is added to them."""
        return self.corrections.setdefault((surface, (deployment or "").casefold()), {})

    def learn_wire(self, deployment: str | None, wire: WireName) -> None:
        """Remember the wire that a deployment needs."""
        self.wires[(deployment or "").casefold()] = wire

    def learn_image_route(self, deployment: str | None, operation: str) -> None:
        """Remember the operation that embeds images of a deployment."""
        self.image_routes[(deployment or "").casefold()] = operation

    def add(self, other: EndpointKnowledge) -> None:
        """Add what another process has learned; what this one has learned itself wins."""
        if not self.deployments:
            self.remember(other.deployments)
        self.wires = {**other.wires, **self.wires}
        self.image_routes = {**other.image_routes, **self.image_routes}
        for key, corrections in other.corrections.items():
            known = self.corrections.setdefault(key, {})
            for name, new_name in corrections.items():
                known.setdefault(name, new_name)


_KNOWN: dict[str, EndpointKnowledge] = {}


def knowledge_of(endpoint: Endpoint) -> EndpointKnowledge:
    """Return what is known about an endpoint's resource; all of its surfaces share it."""
    key = _key(endpoint)
    known = _KNOWN.get(key)
    if known is None:
        if len(_KNOWN) >= _MOST_ENDPOINTS:
            _KNOWN.clear()
        known = _KNOWN.setdefault(key, EndpointKnowledge())
    return known


def forget_endpoints() -> None:
    """Forget what this process has learned of endpoints, so that the next client starts fresh.

    It is there for tests that use the same address for different services. Clients that exist
    keep what they know.

    Example:
        >>> forget_endpoints()
    """
    _KNOWN.clear()


def _key(endpoint: Endpoint) -> str:
    return (endpoint.root or endpoint.url).casefold()
