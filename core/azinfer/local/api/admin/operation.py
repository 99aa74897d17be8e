"""Administration: scripts, faults, latency and the request log over HTTP, for other processes.

Everything is under `/_azinfer/` and wants the endpoint's key like any other request:

    GET                   /_azinfer/health
    GET                   /_azinfer/deployments
    GET, PUT, DELETE      /_azinfer/scripts/{deployment}    {"answers": ["Hello", {"text": …}]}
    GET, PUT, DELETE      /_azinfer/faults/{deployment}     {"faults": [{"kind": "cut"}]}
    GET, PUT, DELETE      /_azinfer/latency/{deployment}    {"first_token": 0.3}
    GET, DELETE           /_azinfer/requests
    POST                  /_azinfer/reset
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.responses import Response

from azinfer.core.errors import ConfigurationError
from azinfer.local.api.context import Asked, Operation
from azinfer.local.engines.scripted import Scripted
from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.resource.faults import Fault, Faults
from azinfer.local.resource.latency import Latency
from azinfer.local.resource.overrides import Behaviour
from azinfer.local.resource.state import Service
from azinfer.local.wire import errors
from azinfer.local.wire.body import Json
from azinfer.local.wire.json import AsciiResponse


async def _health(service: Service, asked: Asked) -> Response:
    names = [each.name for each in service.registry]
    return AsciiResponse({"status": "ok", "deployments": names})


async def _deployments(service: Service, asked: Asked) -> Response:
    return AsciiResponse({"value": [_told(service, each) for each in service.registry]})


def _told(service: Service, deployment: LocalDeployment) -> Json:
    behaviour = service.behaviours.of(deployment)
    return {
        **deployment.in_project(),
        "contentFilter": deployment.filter.name,
        "engine": type(deployment.engine).__name__,
        "script": behaviour.script.to_wire(),
        "faults": behaviour.faults.to_wire(),
        "latency": behaviour.latency.to_wire(),
    }


async def _requests(service: Service, asked: Asked) -> Response:
    if asked.http.method == "DELETE":
        service.log.clear()
    return AsciiResponse({"value": [entry.to_wire() for entry in service.log]})


async def _reset(service: Service, asked: Asked) -> Response:
    await service.reset()
    return await _health(service, asked)


def _scripted(behaviour: Behaviour, body: Json) -> Json:
    answers = _list(body, "answers")
    behaviour.write([Scripted.from_wire(each, f"answers[{at}]") for at, each in enumerate(answers)])
    return {"answers": behaviour.script.to_wire()}


def _faulty(behaviour: Behaviour, body: Json) -> Json:
    faults = _list(body, "faults")
    behaviour.faults = Faults(
        [Fault.from_wire(each, f"faults[{at}]") for at, each in enumerate(faults)]
    )
    return {"faults": behaviour.faults.to_wire()}


def _slow(behaviour: Behaviour, body: Json) -> Json:
    behaviour.latency = Latency.from_wire(body)
    return dict(behaviour.latency.to_wire())


def _list(body: Json, name: str) -> list[Any]:
    told = body.get(name, [])
    if not isinstance(told, list):
        raise ConfigurationError(f"{name} must be a list, not {told!r}")
    return told


def _told_to(
    change: Callable[[Behaviour, Json], Json], tell: Callable[[Behaviour], Json]
) -> Operation:
    """The operation that tells, changes or clears one part of a deployment's behaviour."""

    async def operation(service: Service, asked: Asked) -> Response:
        name = asked.http.path_params["deployment"]
        deployment = service.registry.get(name)
        if deployment is None:
            raise errors.unknown_model(asked.surface, name)
        behaviour = service.behaviours.of(deployment)
        if asked.http.method == "GET":
            return AsciiResponse(tell(behaviour))
        body = {} if asked.http.method == "DELETE" else await service.body(asked, _ANY)
        try:
            return AsciiResponse(change(behaviour, body))
        except ConfigurationError as error:
            raise errors.bad_request(asked.surface, str(error)) from None

    return operation


_ANY = frozenset(["answers", "faults", "first_token", "per_token"])
_scripts = _told_to(_scripted, lambda behaviour: {"answers": behaviour.script.to_wire()})
_faults = _told_to(_faulty, lambda behaviour: {"faults": behaviour.faults.to_wire()})
_latency = _told_to(_slow, lambda behaviour: dict(behaviour.latency.to_wire()))

# Paths, methods and operations.
ROUTES: tuple[tuple[str, tuple[str, ...], Operation], ...] = (
    ("/_azinfer/health", ("GET",), _health),
    ("/_azinfer/deployments", ("GET",), _deployments),
    ("/_azinfer/scripts/{deployment}", ("GET", "PUT", "DELETE"), _scripts),
    ("/_azinfer/faults/{deployment}", ("GET", "PUT", "DELETE"), _faults),
    ("/_azinfer/latency/{deployment}", ("GET", "PUT", "DELETE"), _latency),
    ("/_azinfer/requests", ("GET", "DELETE"), _requests),
    ("/_azinfer/reset", ("POST",), _reset),
)
