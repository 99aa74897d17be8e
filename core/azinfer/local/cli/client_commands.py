"""Commands that ask an endpoint, real or local: `deployments` and `doctor`."""

from __future__ import annotations

from collections.abc import Callable

from azinfer.core import Deployment, InferenceClient
from azinfer.local.cli.doctor import check_endpoint, deployments_of
from azinfer.local.cli.output import table, width, write, write_json

_COLUMNS = ("name", "model", "capacity", "content filter", "rate limits")
_SIGNS = {True: "✓", False: "✗", None: "-"}


def show_deployments(client: InferenceClient, source: str | None, *, as_json: bool) -> None:
    """Print the deployments of an endpoint.

    Args:
        client: The client of the endpoint.
        source: Where they are listed, if not at the endpoint.
        as_json: Whether to print them as JSON.
    """
    deployments = list(deployments_of(client, source).values())
    if as_json:
        write_json(deployments)
        return
    for line in table(_COLUMNS, [_cells(each) for each in deployments], width()):
        write(line)


def diagnose(
    open_client: Callable[[], InferenceClient],
    source: str | None,
    model: str | None,
    *,
    as_json: bool,
) -> bool:
    """Check an endpoint step by step and print each result; return whether every step passed.

    Args:
        open_client: Returns a client of the endpoint.
        source: Where its deployments are listed, if not at the endpoint.
        model: A deployment to ask one short question.
        as_json: Whether to print the results as JSON, at the end.
    """
    findings = []
    for finding in check_endpoint(open_client, source, model):
        findings.append(finding)
        if as_json:
            continue
        write(f"{_SIGNS[finding.passed]} {finding.step}: {finding.detail}")
        if finding.advice:
            write(f"  → {finding.advice}")
    if as_json:
        write_json(findings)
    return all(finding.passed is not False for finding in findings)


def _cells(deployment: Deployment) -> tuple[str, ...]:
    """Return the row of a deployment, with a dash for facts that the service did not send."""
    units = None if deployment.capacity is None else f"{deployment.capacity:g}"
    capacity = " ".join(filter(None, (deployment.capacity_type, units)))
    limits = ", ".join(
        f"{each.count:,.0f} {each.key}s / {each.renewal_period:g} s"
        for each in deployment.rate_limits
    )
    model = (deployment.model_format, deployment.model_name, deployment.model_version)
    facts = (" ".join(filter(None, model)), capacity, deployment.content_filter, limits)
    return (deployment.name, *(each or "-" for each in facts))
