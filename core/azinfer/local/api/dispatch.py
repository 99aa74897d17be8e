"""Dispatch: how every request gets from the socket to its operation and back.

1. `_OperationApp` makes a `RequestContext` and starts the recording for the request log.
2. `_check_access` checks the credential and the api-version.
3. The operation runs. It reads the body (`context`), finds the deployment and admits the request
   (`admission`), asks the engine, and writes the response.
4. `respond` turns every error on the way into a response of the surface.
5. `_OperationApp` adds the common headers, applies a fault, and sends the response.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from azinfer.local.api import api_versions
from azinfer.local.api.admission import deployment_headers
from azinfer.local.api.context import Operation, RequestContext, refuse_slowly
from azinfer.local.api.exchange_recorder import ExchangeRecorder
from azinfer.local.api.fault_injection import FaultRaised, FaultyResponse
from azinfer.local.engines.base import EngineError
from azinfer.local.resource.state import ResourceState
from azinfer.local.wire import anthropic_errors, errors
from azinfer.local.wire.errors import ErrorResponse
from azinfer.local.wire.surfaces import ANTHROPIC, DEPLOYMENTS, V1

_log = logging.getLogger("azinfer.local")


def make_route(
    state: ResourceState,
    path: str,
    surface: str,
    method: str,
    operation: Operation,
    *,
    logged: bool = True,
) -> Route:
    """Return the route of one operation.

    The fixed parts of its path match in any case; the case of path parameters is kept.
    """
    app = _OperationApp(state, surface, operation, logged)
    route = Route(path, app, methods=[method])
    route.path_regex = re.compile(route.path_regex.pattern, re.IGNORECASE)
    return route


def respond_unrouted(http: Request, error: ErrorResponse, request_id: str) -> Response:
    """Return the response for a path or a method without an operation."""
    response = error.to_response()
    response.headers.update(_common_headers(http.headers, request_id))
    return response


async def respond(context: RequestContext, operation: Operation) -> Response:
    """Run an operation, and turn errors into responses."""
    try:
        return await operation(context)
    except ErrorResponse as response:
        error = response
    except FaultRaised as fault:
        return fault.response
    except EngineError as failure:
        error = _engine_error_response(context.surface, failure)
    except Exception:
        _log.exception("request %s failed", context.id)
        error = errors.internal_error(context.id)
    if context.surface == ANTHROPIC:
        error = anthropic_errors.translate(error, context.id)
    return error.to_response()


def _engine_error_response(surface: str, error: EngineError) -> ErrorResponse:
    """Return the error of an engine in the dialect of a surface."""
    body = errors.error_body(error.code, str(error))
    if surface in (V1, DEPLOYMENTS):
        body = errors.openai_error_body(str(error), error.code, None)
        if error.status >= 500:
            body["error"]["type"] = "server_error"
    body["error"] |= error.more
    return ErrorResponse(error.status, body, error.headers)


async def _check_access(context: RequestContext) -> None:
    headers = context.headers
    authenticator = context.state.authenticator
    try:
        await authenticator.check(headers, context.surface)
    except ErrorResponse:
        if authenticator.has_credential(headers):
            await refuse_slowly(context.state, context.http)
        raise
    api_versions.check(context.api_version, context.surface, context.state.strict)


class _OperationApp:
    """The ASGI application of one operation."""

    def __init__(
        self, state: ResourceState, surface: str, operation: Operation, logged: bool
    ) -> None:
        self._state, self._surface, self._operation = state, surface, operation
        self._logged = logged

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = RequestContext(self._state, Request(scope, receive), self._surface)
        recorder = ExchangeRecorder(
            self._state.log, scope, context.trace, context.id, self._state.clock
        )
        response = await respond(context, self._check_and_run)
        _add_headers(response, context)
        app: ASGIApp = response
        fault = context.trace.fault
        if fault is not None and fault.kind != "status":
            app = FaultyResponse(response, fault)

        async def record_and_send(message: Message) -> None:
            recorder.record(message)
            await send(message)

        try:
            await app(scope, receive, record_and_send if self._logged else send)
        finally:
            if context.admission is not None:
                # If a fault came first, the response never began, and so never ended.
                context.admission.over(None)
            if self._logged:
                recorder.finish()

    async def _check_and_run(self, context: RequestContext) -> Response:
        await _check_access(context)
        return await self._operation(context)


def _add_headers(response: Response, context: RequestContext) -> None:
    """Add the common headers, and those about the deployment that the response does not have."""
    raw = response.raw_headers
    present = {name for name, _ in raw}
    common = _common_headers(context.headers, context.id)
    if context.surface == ANTHROPIC:
        common["request-id"] = context.id
    for name, value in common.items():
        if (key := name.encode()) in present:
            response.headers[name] = value
        else:
            # starlette searches all headers for each that is set.
            raw.append((key, value.encode("latin-1")))
    if (hint := context.trace.hint) is not None:
        raw.append((b"x-azinfer-hint", hint.encode("ascii")))
    for name, value in deployment_headers(context).items():
        if (key := name.encode()) not in present:
            raw.append((key, value.encode("latin-1")))


def _common_headers(headers: Mapping[str, str], request_id: str) -> dict[str, str]:
    """Return the headers of every response: its id, and the client's id if it sent one."""
    # The service has two ids, one of its gateway; here either leads to the entry of the log.
    ids = dict.fromkeys(("apim-request-id", "x-request-id"), request_id)
    common = {**ids, "x-ms-region": "local"}
    if client_id := headers.get("x-ms-client-request-id"):
        common["x-ms-client-request-id"] = client_id
    return common
