"""Lists: which deployments there are, in the words of each API that tells them."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from azinfer.local import refusals
from azinfer.local.deployments import LocalDeployment
from azinfer.local.requests import Json
from azinfer.local.service import Asked, Service, named


async def info(service: Service, asked: Asked) -> Response:
    """Answer `GET info`."""
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


async def project(service: Service, asked: Asked) -> Response:
    """Answer the list of the project data plane."""
    return JSONResponse({"value": [each.in_project() for each in service.registry]})


async def arm(service: Service, asked: Asked) -> Response:
    """Answer the list of Azure Resource Manager."""
    account = f"/subscriptions/{asked.http.path_params['account']}"
    return JSONResponse({"value": [each.in_arm(account) for each in service.registry]})


def _model_entry(deployment: LocalDeployment) -> Json:
    return {
        "id": deployment.name,
        "object": "model",
        "created": 1_767_225_600,
        "owned_by": deployment.model_format,
        "status": "succeeded",
        "capabilities": deployment.capabilities,
    }
