"""Lists: which deployments there are, in the words of each API that tells them."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from azinfer.local import refusals, versions
from azinfer.local.deployments import LocalDeployment
from azinfer.local.naming import publisher_of
from azinfer.local.requests import Json
from azinfer.local.service import Asked, Service, named


async def info(service: Service, asked: Asked) -> Response:
    """Answer `GET info`."""
    version = asked.http.query_params.get("api-version")
    versions.check_info(version, asked.surface, service.strict)
    deployment = service.deployment(asked, asked.http.query_params.get("model"), "")
    return JSONResponse(deployment.info(), headers=named(deployment))


async def models(service: Service, asked: Asked) -> Response:
    """Answer `GET models`."""
    data = [_model_entry(each) for each in service.registry]
    return JSONResponse({"object": "list", "data": data})


async def one_model(service: Service, asked: Asked) -> Response:
    """Answer `GET models/{model}`."""
    name = asked.http.path_params["model"]
    found = service.registry.get(name)
    if found is None:
        raise refusals.unknown_model(asked.surface, name)
    return JSONResponse(_model_entry(found))


async def classic(service: Service, asked: Asked) -> Response:
    """Answer the list that the resource itself had until 2023."""
    data = [
        {"id": each.name, "model": each.model_name, "status": "succeeded", "object": "deployment"}
        for each in service.registry
    ]
    return JSONResponse({"object": "list", "data": data})


async def catalog(service: Service, asked: Asked) -> Response:
    """Answer the list of GitHub Models."""
    return JSONResponse([_catalog_entry(each) for each in service.registry])


async def project(service: Service, asked: Asked) -> Response:
    """Answer the list of the project data plane."""
    return JSONResponse({"value": [each.in_project() for each in service.registry]})


async def arm(service: Service, asked: Asked) -> Response:
    """Answer the list of Azure Resource Manager."""
    account = f"/subscriptions/{asked.http.path_params['account']}"
    return JSONResponse({"value": [each.in_arm(account) for each in service.registry]})


def _catalog_entry(deployment: LocalDeployment) -> Json:
    publisher = publisher_of(deployment)
    embeds = "chat_completion" not in deployment.capabilities
    return {
        "id": f"{publisher}/{deployment.name}",
        "name": deployment.model_name,
        "publisher": deployment.model_format,
        "version": deployment.model_version,
        "registry": f"azureml-{publisher}",
        "summary": f"{deployment.model_name} on this machine",
        "html_url": f"https://github.com/marketplace/models/{publisher}/{deployment.name}",
        "rate_limit_tier": "embeddings" if embeds else "low",
        "supported_input_modalities": ["text"],
        "supported_output_modalities": ["embeddings" if embeds else "text"],
        "tags": [],
    }


def _model_entry(deployment: LocalDeployment) -> Json:
    return {
        "id": deployment.name,
        "object": "model",
        "created": 1_767_225_600,
        "owned_by": deployment.model_format,
        "status": "succeeded",
        "capabilities": deployment.capabilities,
    }
