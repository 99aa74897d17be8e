"""Lists of deployments, in the form of each API that has one, and `info`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.responses import Response

from azinfer.local.api import api_versions
from azinfer.local.api.admission import find_deployment
from azinfer.local.api.context import RequestContext
from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.resource.registry import Record
from azinfer.local.wire import errors
from azinfer.local.wire.body import Json
from azinfer.local.wire.errors import ErrorResponse
from azinfer.local.wire.json import AsciiResponse

# Which field of a project's entry each filter compares.
_FILTERS = {"modelPublisher": "modelPublisher", "modelName": "modelName", "deploymentType": "type"}
_PAGE_SIZES = ("$top", "top", "maxpagesize")
_SKIP = "$skiptoken"


async def info(context: RequestContext) -> Response:
    """Answer `GET info`."""
    api_versions.check_info(context.api_version, context.surface, context.state.strict)
    deployment = find_deployment(context, context.http.query_params.get("model"))
    return AsciiResponse(deployment.info())


async def models(context: RequestContext) -> Response:
    """Answer `GET models`."""
    data = [_model_entry(each) for each in context.state.registry]
    return AsciiResponse({"object": "list", "data": data})


async def one_model(context: RequestContext) -> Response:
    """Answer `GET models/{model}`."""
    name = context.http.path_params["model"]
    deployment = context.state.registry.get(name)
    if deployment is None:
        raise errors.unknown_model(context.surface, name)
    return AsciiResponse(_model_entry(deployment))


async def classic(context: RequestContext) -> Response:
    """Answer `GET /openai/deployments`, the list of resources until 2023."""
    data = [_classic_entry(each) for each in context.state.registry]
    return AsciiResponse({"object": "list", "data": data})


async def one_classic(context: RequestContext) -> Response:
    """Answer `GET /openai/deployments/{deployment}`."""
    name = context.http.path_params["deployment"]
    deployment = context.state.registry.get(name)
    if deployment is None:
        raise errors.unknown_model(context.surface, name)
    return AsciiResponse(_classic_entry(deployment))


async def project(context: RequestContext) -> Response:
    """Answer the list of the project data plane, with its filters.

    Source: "Deployments - List" of the AI Foundry projects REST API.
    """
    wanted = {
        field: value
        for name, field in _FILTERS.items()
        if (value := context.http.query_params.get(name))
    }
    records = [
        each
        for each in context.state.registry.records
        if all(each.deployment.in_project()[field] == value for field, value in wanted.items())
    ]
    return page_response(context, records, lambda record: record.deployment.in_project())


async def one_in_project(context: RequestContext) -> Response:
    """Answer one entry of the project's list."""
    name = context.http.path_params["deployment"]
    deployment = context.state.registry.get(name)
    if deployment is None:
        message = f"Deployment '{name}' not found."
        raise ErrorResponse(404, {"error": {"code": "NotFound", "message": message}})
    return AsciiResponse(deployment.in_project())


def page_response(
    context: RequestContext,
    records: Sequence[Record],
    entry: Callable[[Record], Json],
) -> Response:
    """Return one page of a list, with a link to the next page if there is one.

    Args:
        context: The request, which may ask for shorter pages and continue after one.
        records: The whole list, in the order of `number`.
        entry: Returns the entry of a record.

    Raises:
        ErrorResponse: A query parameter is not valid.
    """
    query = context.http.query_params
    size = min(
        [context.state.page_size]
        + [_whole(context, name, 1) for name in _PAGE_SIZES if query.get(name) is not None]
    )
    after = _whole(context, _SKIP, 0) if query.get(_SKIP) is not None else -1
    left = [each for each in records if each.number > after]
    payload: Json = {"value": [entry(each) for each in left[:size]]}
    if len(left) > size:
        link = context.http.url.include_query_params(**{_SKIP: left[size - 1].number})
        payload["nextLink"] = str(link)
    return AsciiResponse(payload)


def _whole(context: RequestContext, name: str, least: int) -> int:
    text = context.http.query_params[name]
    if not text.isdecimal() or len(text) > 9 or int(text) < least:
        message = f"The query parameter '{name}' must be a whole number of at least {least}."
        raise ErrorResponse(400, {"error": {"code": "InvalidParameter", "message": message}})
    return int(text)


def _classic_entry(deployment: LocalDeployment) -> Json:
    return {
        "id": deployment.name,
        "model": deployment.model_name,
        "status": "succeeded",
        "object": "deployment",
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
