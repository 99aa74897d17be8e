"""What this process has corrections of endpoints, which all clients of the same endpoint share.

A model refuses a field once a process and not once a client, and one client's `deployments()`
tells every other which model is behind a name.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from azinfer.core.deployments import Deployments
from azinfer.core.endpoints import Endpoint
from azinfer.core.surfaces import WireName

# Beyond so many endpoints all are forgotten, which costs a call each and bounds the memory.
_MOST_ENDPOINTS = 1000


@dataclass(eq=False, slots=True)
class EndpointKnowledge:
    """What is known of one endpoint.

    Attributes:
        deployments: What the service listed last.
        corrections: What models refused, by surface and deployment: a field's name to the name it
            has there, or to nothing where it is left out.
        wires: The wires that deployments were found to need, by the deployment's name.
    """

    deployments: Deployments = field(default_factory=Deployments)
    corrections: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    wires: dict[str, WireName] = field(default_factory=dict)

    def corrections_of(self, surface: str, deployment: str | None) -> dict[str, str]:
        """Return what one deployment refused; what is written there is known to all clients."""
        return self.corrections.setdefault((surface, (deployment or "").casefold()), {})

    def learn_wire(self, deployment: str | None, wire: WireName) -> None:
        """Remember the wire that a deployment needs."""
        self.wires[(deployment or "").casefold()] = wire

    def add(self, other: EndpointKnowledge) -> None:
        """Take over what another process knew, where this one knows nothing itself."""
        self.deployments = self.deployments or other.deployments
        self.wires = {**other.wires, **self.wires}
        for key, corrections in other.corrections.items():
            known = self.corrections.setdefault(key, {})
            for name, new_name in corrections.items():
                known.setdefault(name, new_name)


_KNOWN: dict[str, EndpointKnowledge] = {}


def knowledge_of(endpoint: Endpoint) -> EndpointKnowledge:
    """Return what is known of an endpoint's resource; all of its surfaces share it."""
    key = _key(endpoint)
    known = _KNOWN.get(key)
    if known is None:
        if len(_KNOWN) >= _MOST_ENDPOINTS:
            _KNOWN.clear()
        known = _KNOWN.setdefault(key, EndpointKnowledge())
    return known


def forget_endpoints() -> None:
    """Forget what this process corrections of endpoints, so that the next client starts fresh.

    It is there for tests that use the same address for different services. Clients that exist
    keep what they know.
    """
    _KNOWN.clear()


def _key(endpoint: Endpoint) -> str:
    return (endpoint.root or endpoint.url).casefold()
