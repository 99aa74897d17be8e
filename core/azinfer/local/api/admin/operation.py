"""The admin API: scripts, faults, latency and the request log over HTTP, for other processes.

All paths are under `/_azinfer/` and need the endpoint's key like any other request:

    GET                   /_azinfer/health
    GET                   /_azinfer/deployments
    GET, PUT, DELETE      /_azinfer/scripts/{deployment}    {"answers": ["Hello", {"text": …}]}
    GET, PUT, DELETE      /_azinfer/faults/{deployment}     {"faults": [{"kind": "cut"}]}
    GET, PUT, DELETE      /_azinfer/latency/{deployment}    {"first_token": 0.3}
    GET, DELETE           /_azinfer/requests
    POST                  /_azinfer/reset
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from starlette.responses import Response

from azinfer.core.errors import ConfigurationError
from azinfer.local.api.context import Operation, RequestContext
from azinfer.local.engines.scripted import Scripted
from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.resource.faults import Fault, Faults
from azinfer.local.resource.latency import Latency
from azinfer.local.resource.overrides import Overrides
from azinfer.local.resource.storage.request_log import LogEntry
from azinfer.local.wire import errors
from azinfer.local.wire.body import Json
from azinfer.local.wire.json import AsciiResponse
from azinfer.local.worker_threads import run_in_worker


async def _health(context: RequestContext) -> Response:
    names = [each.name for each in context.state.registry]
    return AsciiResponse({"status": "ok", "deployments": names})


async def _deployments(context: RequestContext) -> Response:
    return AsciiResponse({"value": [_entry(context, each) for each in context.state.registry]})


def _entry(context: RequestContext, deployment: LocalDeployment) -> Json:
    overrides = context.state.overrides.of(deployment)
    return {
        **deployment.in_project(),
        "contentFilter": deployment.filter.name,
        "engine": type(deployment.engine).__name__,
        **_show_script(overrides, "script"),
        **_show_faults(overrides),
        "latency": _show_latency(overrides),
    }


async def _requests(context: RequestContext) -> Response:
    if context.http.method == "DELETE":
        context.state.log.clear()
    content = await run_in_worker(_write_log, context.state.log[:])
    return Response(content, media_type="application/json")


def _write_log(entries: Sequence[LogEntry]) -> bytes:
    """Return the log as JSON, written one entry at a time, so that other threads can run."""
    parts = [json.dumps(entry.to_wire(), separators=(",", ":")).encode() for entry in entries]
    return b'{"value":[' + b",".join(parts) + b"]}"


async def _reset(context: RequestContext) -> Response:
    await context.state.reset()
    return await _health(context)


def _set_script(overrides: Overrides, body: Json) -> None:
    answers = _list(body, "answers")
    overrides.set_script(
        [Scripted.from_wire(each, f"answers[{at}]") for at, each in enumerate(answers)]
    )


def _set_faults(overrides: Overrides, body: Json) -> None:
    faults = _list(body, "faults")
    overrides.faults = Faults(
        [Fault.from_wire(each, f"faults[{at}]") for at, each in enumerate(faults)]
    )


def _set_latency(overrides: Overrides, body: Json) -> None:
    overrides.latency = Latency.from_wire(body)


def _show_script(overrides: Overrides, name: str = "answers") -> Json:
    return {name: overrides.script.to_wire()}


def _show_faults(overrides: Overrides) -> Json:
    return {"faults": overrides.faults.to_wire()}


def _show_latency(overrides: Overrides) -> Json:
    return dict(overrides.latency.to_wire())


def _list(body: Json, name: str) -> list[Any]:
    value = body.get(name, [])
    if not isinstance(value, list):
        raise ConfigurationError(f"{name} must be a list, not {value!r}")
    return value


def _overrides_operation(
    change: Callable[[Overrides, Json], None], show: Callable[[Overrides], Json]
) -> Operation:
    """Return the operation that shows, changes or clears one override of a deployment."""

    async def operation(context: RequestContext) -> Response:
        name = context.http.path_params["deployment"]
        deployment = context.state.registry.get(name)
        if deployment is None:
            raise errors.unknown_model(context.surface, name)
        overrides = context.state.overrides.of(deployment)
        if context.http.method != "GET":
            body = {} if context.http.method == "DELETE" else await context.read_body(_FIELDS)
            try:
                change(overrides, body)
            except ConfigurationError as error:
                raise errors.bad_request(context.surface, str(error)) from None
        return AsciiResponse(show(overrides))

    return operation


_FIELDS = frozenset(["answers", "faults", "first_token", "per_token"])
_scripts = _overrides_operation(_set_script, _show_script)
_faults = _overrides_operation(_set_faults, _show_faults)
_latency = _overrides_operation(_set_latency, _show_latency)

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
