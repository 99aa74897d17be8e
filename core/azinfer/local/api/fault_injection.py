"""Fault injection: responses that fail as configured."""

from __future__ import annotations

import contextlib

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.resource.faults import Fault
from azinfer.local.wire import auth_errors, errors
from azinfer.local.wire.anthropic_errors import translate
from azinfer.local.wire.errors import ErrorResponse
from azinfer.local.wire.json import AsciiResponse
from azinfer.local.wire.surfaces import ANTHROPIC

CLOSE = "azinfer.close"
_BROKEN_EVENT = b'data: {"choices": [{"index": 0, "delta": {"content": \n\n'


def fault_response(
    fault: Fault, surface: str, deployment: LocalDeployment, request_id: str
) -> Response:
    """Return the response of a `"status"` fault."""
    usual = _usual_error(fault.status, surface, deployment, request_id)
    if surface == ANTHROPIC:
        usual = translate(ErrorResponse(fault.status, usual.body, usual.headers), request_id)
    headers = {**usual.headers, **fault.headers}
    if isinstance(fault.body, str):
        text = fault.body.encode(errors="replace")
        return Response(text, fault.status, headers, "text/plain")
    body = usual.body if fault.body is None else fault.body
    return AsciiResponse(body, fault.status, headers)


def _usual_error(
    status: int, surface: str, deployment: LocalDeployment, request_id: str
) -> errors.ErrorResponse:
    """Return the usual error of a surface with a status."""
    if status == 401:
        return auth_errors.bad_key(surface)
    if status == 404:
        return errors.unknown_model(surface, deployment.name)
    if status == 429:
        return errors.rate_limited(surface, deployment.name, deployment.model_name, 1)
    if status >= 500:
        return errors.internal_error(request_id)
    return errors.bad_request(surface, f"This is a fault of status {status}.", code=str(status))


class FaultyResponse:
    """A response that fails while it is sent.

    Args:
        answer: The response.
        fault: The fault.
    """

    def __init__(self, answer: ASGIApp, fault: Fault) -> None:
        self._answer, self._fault = answer, fault

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the part before the fault, and then fail."""
        if self._fault.kind == "drop":
            scope["extensions"][CLOSE]()
            return
        count = 0

        async def send_faulty(message: Message) -> None:
            nonlocal count
            if body := message.get("body"):
                if not count and not message.get("more_body"):
                    message = {**message, "body": await self._spoil_body(body, receive, send)}
                elif count == self._fault.after:
                    message = {**message, "body": await self._spoil_event(body, receive)}
                count += 1
            await send(message)

        with contextlib.suppress(_Aborted):
            await self._answer(scope, receive, send_faulty)

    async def _spoil_body(self, body: bytes, receive: Receive, send: Send) -> bytes:
        """Return the replacement of a whole body, or abort."""
        half = len(body) // 2 if self._fault.after else 0
        if self._fault.kind == "malformed":
            return body[:half] + b"!" * (len(body) - half)
        await send({"type": "http.response.body", "body": body[:half], "more_body": True})
        raise await self._abort(receive)

    async def _spoil_event(self, body: bytes, receive: Receive) -> bytes:
        """Return the replacement of one event of a stream, or abort."""
        if self._fault.kind == "malformed":
            return _BROKEN_EVENT + body
        raise await self._abort(receive)

    async def _abort(self, receive: Receive) -> Exception:
        # uvicorn closes the connection of an incomplete response.
        while self._fault.kind == "stall" and (await receive())["type"] != "http.disconnect":
            pass
        return _Aborted()


class _Aborted(Exception):  # noqa: N818
    """The response ends here."""


class FaultRaised(Exception):  # noqa: N818
    """A fault replaces the response."""

    def __init__(self, response: Response) -> None:
        super().__init__("a fault replaces the response")
        self.response = response
