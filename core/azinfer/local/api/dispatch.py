"""Answering: requests over HTTP taken to their operation, and its answers on their way out."""

from __future__ import annotations

import re
import uuid

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from azinfer.local.api import fault_injection
from azinfer.local.api.context import Asked, Operation
from azinfer.local.api.exchange_recorder import Recording
from azinfer.local.resource.state import Service
from azinfer.local.wire.errors import Refusal


def route(
    service: Service,
    path: str,
    surface: str,
    method: str,
    operation: Operation,
    logged: bool = True,
) -> Route:
    """The route of one operation: its request checked, its refusals answered, all logged.

    What is fixed in its path is the same in any case; what a request names there is kept.
    """
    found = Route(path, _Answering(service, surface, operation, logged), methods=[method])
    found.path_regex = re.compile(found.path_regex.pattern, re.IGNORECASE)
    return found


def unrouted(http: Request, refusal: Refusal) -> Response:
    """The answer where no operation is."""
    response = refusal.response()
    response.headers.update(_common_headers(http, uuid.uuid4().hex))
    return response


class _Answering:
    """The ASGI application of one operation."""

    def __init__(self, service: Service, surface: str, operation: Operation, logged: bool) -> None:
        self._service, self._surface, self._operation = service, surface, operation
        self._logged = logged

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = Asked(Request(scope, receive), self._surface, uuid.uuid4().hex)
        recording = Recording(self._service.log, scope, asked.trace, asked.id, self._service.clock)
        response = await self._service.checked(asked, self._operation)
        response.headers.update(_common_headers(asked.http, asked.id))
        for name, value in self._service.standing(asked).items():
            response.headers.setdefault(name, value)
        answer: ASGIApp = response
        if asked.trace.fault is not None and asked.trace.fault.kind != "status":
            answer = fault_injection.Spoiled(response, asked.trace.fault)

        async def recorded(message: Message) -> None:
            recording.saw(message)
            await send(message)

        try:
            await answer(scope, receive, recorded if self._logged else send)
        finally:
            if asked.admission is not None:
                # Where a fault came first, the answer was never begun, and so never ended.
                asked.admission.over(None)
            if self._logged:
                recording.over()


def _common_headers(http: Request, answer_id: str) -> dict[str, str]:
    """The headers of every answer: its id, and the client's own where it gave one."""
    headers = {"apim-request-id": answer_id, "x-ms-region": "local"}
    if client_id := http.headers.get("x-ms-client-request-id"):
        headers["x-ms-client-request-id"] = client_id
    return headers
