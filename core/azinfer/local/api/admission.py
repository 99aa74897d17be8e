"""Admission: find the deployment of a request, and ask its limits whether it accepts it now.

`resource/rate_limits` decides; here a refusal becomes an error, or the request goes to the
spillover deployment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from azinfer.core.errors import ConfigurationError
from azinfer.local.api import deployment_lookup, fault_injection
from azinfer.local.api.context import RequestContext
from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.resource.rate_limits import Admission
from azinfer.local.wire import errors
from azinfer.local.wire.anthropic_errors import api_not_supported
from azinfer.local.wire.errors import ErrorResponse
from azinfer.local.wire.surfaces import ANTHROPIC, SERVERLESS

# What a deployment must be able to do for an operation, by the operation's name in errors.
_REQUIREMENTS: Mapping[str, str] = {
    "chatCompletion": "chat",
    "completion": "chat",
    "responses": "chat",
    "messages": "chat",
    "rerank": "rerank",
    "embeddings": "embeddings",
    "imageEmbeddings": "images",
}

# The wire of each operation for conversations.
_WIRES = {"chatCompletion": "chat", "responses": "responses", "messages": "messages"}


def find_deployment(context: RequestContext, model: Any, operation: str = "") -> LocalDeployment:
    """Return the deployment that a request is routed to.

    Args:
        context: The request.
        model: The model that the body or the query names.
        operation: The operation's name in errors; empty if every deployment supports it.

    Raises:
        ErrorResponse: The request names no deployment, an unknown one, or one whose model does
            not support the operation.
        FaultRaised: The deployment has a fault that replaces the response.
    """
    state = context.state
    deployment, why = deployment_lookup.find_deployment(context, model, state.registry)
    if operation and _REQUIREMENTS[operation] not in deployment.operations:
        alone = context.surface == SERVERLESS and len(state.registry) == 1
        raise errors.wrong_operation(operation, deployment.model_name, alone)
    context.trace.deployment, context.trace.why = deployment.name, why
    context.trace.wire = wire = _WIRES.get(operation)
    if wire and wire not in deployment.served_wires:
        raise _wrong_wire(operation, deployment)
    if operation:
        _apply_next_fault(context, deployment)
    return deployment


def _wrong_wire(operation: str, deployment: LocalDeployment) -> ErrorResponse:
    """Return the refusal of a wire that the model does not have."""
    if operation == "messages":
        return api_not_supported()
    if deployment.served_wires == ("messages",):
        # Azure's own routes do not know Claude; quoted in enricoros/big-AGI#898.
        message = f"Unknown model: {deployment.name}"
        return ErrorResponse(400, {"error": {"message": message}})
    return errors.wrong_operation(operation, deployment.model_name)


def _apply_next_fault(context: RequestContext, deployment: LocalDeployment) -> None:
    context.trace.fault = fault = context.state.overrides.of(deployment).faults.next()
    if fault is not None and fault.kind in ("status", "drop"):
        response = fault_injection.fault_response(fault, context.surface, deployment, context.id)
        raise fault_injection.FaultRaised(response)


def admit(context: RequestContext, deployment: LocalDeployment, tokens: int) -> Admission:
    """Admit a request by its estimated tokens, or use the spillover deployment.

    Returns:
        The admission; call `over` when the operation ends. Its `deployment` answers the request.

    Raises:
        ErrorResponse: The deployment is at its limit, and so is its spillover deployment.
    """
    state = context.state
    try:
        context.admission = state.limits(deployment).admit(tokens, context.surface)
    except ErrorResponse as error:
        target = _find_spillover(context, deployment, error)
        context.trace.deployment = target.name
        context.trace.why = f"spillover from {deployment.name}, which was full"
        admission = state.limits(target).admit(tokens, context.surface)
        context.admission = admission.spilled_from(deployment)
    return context.admission


def _find_spillover(
    context: RequestContext, full: LocalDeployment, error: ErrorResponse
) -> LocalDeployment:
    """Return the spillover deployment that the request or the full deployment names.

    Source: "Manage traffic with spillover for provisioned deployments".

    Raises:
        ErrorResponse: Neither names one, or it cannot be used.
    """
    name = context.headers.get("x-ms-spillover-deployment") or full.spillover
    registry = context.state.registry
    try:
        registry.check_spillover(replace(full, spillover=name))
    except ConfigurationError as reason:
        error.headers["x-ms-spillover-error"] = reason.message
        raise error from None
    target = registry.get(name)
    if target is None:
        raise error
    return target


def deployment_headers(context: RequestContext) -> Mapping[str, str]:
    """Return the response headers that name the deployment and what is left of its limits.

    Messages on Foundry say nothing about limits. Responses name the model in a header, since their
    bodies have the deployment's name instead.
    """
    headers = _deployment_headers(context)
    if context.surface == ANTHROPIC:
        return {name: headers[name] for name in headers if not name.startswith("x-ratelimit-")}
    # starlette parses a whole URL for its path.
    if context.http.scope["path"].rstrip("/").endswith("/responses"):
        deployment = context.state.registry.get(headers.get("x-ms-deployment-name", ""))
        if deployment is not None:
            return {**headers, "x-ms-served-model": deployment.model_name}
    return headers


def _deployment_headers(context: RequestContext) -> Mapping[str, str]:
    if context.admission is not None:
        return context.admission.headers
    deployment = context.state.registry.get(context.trace.deployment or "")
    if deployment is None:
        return {}
    return {
        "x-ms-deployment-name": deployment.name,
        **context.state.limits(deployment).headers(),
    }
