"""Routes over many deployments and endpoints, as values and pure decisions."""

from azinfer.core.routes.policy import Policy
from azinfer.core.routes.route import Member, Route

__all__ = ["Member", "Policy", "Route"]
