"""What a route needs to know about a deployment."""

from __future__ import annotations

from dataclasses import dataclass

from azinfer.core.deployments import Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a route needs to know about a deployment; None means unknown.

    Attributes:
        model: The model behind it.
        model_version: The version of the model.
        content_filter: The name of the content filter policy.
        data_zone: Where the data is processed: `"global"`, or the `zone` of the endpoint.
        provisioned: Whether its capacity is paid for in advance, so that it is used first.
        concurrency: The most calls that run there at once.
        requests: How many requests it serves in a period, and the seconds of that period.
        tokens: How many tokens it serves in a period, and the seconds of that period.
    """

    model: str | None = None
    model_version: str | None = None
    content_filter: str | None = None
    data_zone: str | None = None
    provisioned: bool = False
    concurrency: int | None = None
    requests: tuple[float, float] | None = None
    tokens: tuple[float, float] | None = None

    @classmethod
    def of(cls, deployment: Deployment, zone: str | None = None) -> Facts:
        """Return the facts of a deployment on an endpoint in a data zone.

        Source of the types of capacity: "Deployment types" of Azure AI Foundry models.
        """
        kind = (deployment.capacity_type or "").casefold()
        limits = {each.key: (each.count, each.renewal_period) for each in deployment.rate_limits}
        return cls(
            model=deployment.model_name,
            model_version=deployment.model_version,
            content_filter=deployment.content_filter,
            data_zone="global" if kind.startswith("global") else zone,
            provisioned="provisioned" in kind,
            concurrency=deployment.concurrency,
            requests=limits.get("request"),
            tokens=limits.get("token"),
        )
