"""Names: which deployment a request means, in the way of each surface.

Source: "Endpoints for Microsoft Foundry Models" (routing by `model` or by the header
`x-ms-model-mesh-model-name`), "Deploy models as serverless API deployments" (one model an
endpoint), "Deploy to online endpoints" (the header `azureml-model-deployment`), "Quickstart for
GitHub Models" (`publisher/name`).
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.resource.registry import Registry
from azinfer.local.wire.errors import no_model, unknown_model
from azinfer.local.wire.surfaces import GITHUB, MODELS, SERVERLESS

_BY_HEADER = (MODELS, GITHUB, SERVERLESS)


def find_deployment(
    http: Request, surface: str, model: Any, registry: Registry, strict: bool
) -> tuple[LocalDeployment, str]:
    """The deployment that a request means, and by what it does.

    A URL names it on the deployments surface, and nothing is routed there. Elsewhere a header
    does, then the body. At the root an endpoint with one deployment plays a serverless one,
    which has nothing to choose from.

    Args:
        http: The request.
        surface: The surface it came through.
        model: What its body or query names.
        registry: The deployments there are.
        strict: Whether GitHub's names need their publisher.

    Raises:
        ErrorResponse: It names none, or one that is not there.
    """
    name, why = _named(http, surface, model)
    if surface == SERVERLESS and len(registry) == 1 and not why.startswith("the header"):
        return next(iter(registry)), "the only deployment"
    if not name or not isinstance(name, str):
        raise no_model(surface)
    deployment = _published(name, registry, strict) if surface == GITHUB else registry.get(name)
    if deployment is None:
        shown = f"/{name}" if surface == GITHUB and "/" not in name else name
        raise unknown_model(surface, shown)
    return deployment, why


def _named(http: Request, surface: str, model: Any) -> tuple[Any, str]:
    if name := http.path_params.get("deployment"):
        return name, "the URL"
    headers = ("x-ms-model-mesh-model-name",) if surface in _BY_HEADER else ()
    for header in (*headers, *(("azureml-model-deployment",) if surface == SERVERLESS else ())):
        if name := http.headers.get(header):
            return name, f"the header {header}"
    return model, "the body's model" if http.method == "POST" else "the query's model"


def _published(name: str, registry: Registry, strict: bool) -> LocalDeployment | None:
    """The deployment behind `publisher/name`; where it is lenient, behind a bare name too."""
    publisher, slash, bare = name.rpartition("/")
    deployment = registry.get(bare)
    if deployment is None or (not slash and not strict):
        return deployment
    same = publisher.casefold() == publisher_of(deployment)
    return deployment if same else None


def publisher_of(deployment: LocalDeployment) -> str:
    """The publisher of a model as GitHub spells it, for example `mistral-ai`."""
    return deployment.model_format.casefold().replace(" ", "-")
