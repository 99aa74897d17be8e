"""Deployment lookup: which deployment a request names, by the rules of each surface.

Source: "Endpoints for Microsoft Foundry Models" (routing by `model` or by the header
`x-ms-model-mesh-model-name`), "Deploy models as serverless API deployments" (one model an
endpoint), "Deploy to online endpoints" (the header `azureml-model-deployment`).
"""

from __future__ import annotations

from typing import Any

from azinfer.local.api.context import RequestContext
from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.resource.registry import Registry
from azinfer.local.wire.errors import no_model, unknown_model
from azinfer.local.wire.surfaces import MODELS, SERVERLESS

_BY_HEADER = (MODELS, SERVERLESS)


def find_deployment(
    context: RequestContext, model: Any, registry: Registry
) -> tuple[LocalDeployment, str]:
    """Return the deployment that a request names, and the part of the request that names it.

    On the deployments surface it is the URL, and nothing is routed. Elsewhere it is a header,
    then the body. At the root an endpoint with one deployment acts as a serverless endpoint,
    which has no choice.

    Args:
        context: The request.
        model: The model that the body or the query names.
        registry: The deployments.

    Raises:
        ErrorResponse: The request names no deployment, or an unknown one.
    """
    surface = context.surface
    name, why = _named_model(context, model)
    if surface == SERVERLESS and len(registry) == 1 and not why.startswith("the header"):
        return next(iter(registry)), "the only deployment"
    if not name or not isinstance(name, str):
        raise no_model(surface)
    deployment = registry.get(name)
    if deployment is None:
        raise unknown_model(surface, name)
    return deployment, why


def _named_model(context: RequestContext, model: Any) -> tuple[Any, str]:
    http, surface = context.http, context.surface
    if name := http.path_params.get("deployment"):
        return name, "the URL"
    headers = ("x-ms-model-mesh-model-name",) if surface in _BY_HEADER else ()
    for header in (*headers, *(("azureml-model-deployment",) if surface == SERVERLESS else ())):
        if name := context.headers.get(header):
            return name, f"the header {header}"
    return model, "the body's model" if http.method == "POST" else "the query's model"
