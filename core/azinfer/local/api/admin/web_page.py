"""The web page: the deployments, the live request log, and a chat to try."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from types import ModuleType

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from azinfer.local.api.context import read_form, refuse_slowly
from azinfer.local.resource.state import ResourceState
from azinfer.local.resource.storage.request_log import LogEntry
from azinfer.local.wire.errors import ErrorResponse
from azinfer.local.worker_threads import run_in_worker

# Everything comes from this server, and the document contains no scripts.
_POLICY = (
    "default-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
_HEADERS = {"content-security-policy": _POLICY, "cache-control": "no-store"}
_EVERY = 1.0  # seconds between two checks of the limits


def routes(state: ResourceState) -> list[Route]:
    """Return the routes of the page, its files and its events."""

    async def page(http: Request) -> Response:
        if http.method == "POST":
            return await _log_in(state, http)
        if token := http.query_params.get("token"):
            return _redeem(state, http, token)
        if not state.authenticator.knows_browser(http.headers):
            return HTMLResponse(str(_html().key_page()), 401, _HEADERS)
        return HTMLResponse(await run_in_worker(_write_page, state), headers=_HEADERS)

    async def events(http: Request) -> Response:
        if not state.authenticator.knows_browser(http.headers):
            return Response(status_code=401)
        return StreamingResponse(
            _events(state), media_type="text/event-stream", headers={"cache-control": "no-cache"}
        )

    return [
        Route("/", page, methods=["GET", "POST"]),
        Route("/_azinfer/page/events", events),
        Route("/_azinfer/page/page.js", _file("page.js", "text/javascript")),
        Route("/_azinfer/page/page.css", _file("page.css", "text/css")),
    ]


def _redeem(state: ResourceState, http: Request, token: str) -> Response:
    """Log a browser in by the one-time token of the address that it opened."""
    if state.authenticator.redeem_page_token(token):
        return _remember(state, http)
    if state.authenticator.knows_browser(http.headers):
        return RedirectResponse("/", 303)
    text = "This address works only once. Enter the key instead."
    return HTMLResponse(str(_html().key_page(text)), 401, _HEADERS)


async def _log_in(state: ResourceState, http: Request) -> Response:
    """Log a browser in by the key that it sends."""
    try:
        form = await read_form(http)
    except ErrorResponse as error:
        return error.to_response()
    if not state.authenticator.keys.opens(form.get("key", "")):
        await refuse_slowly(state, http)
        return HTMLResponse(str(_html().key_page("The key is wrong.")), 401, _HEADERS)
    return _remember(state, http)


def _remember(state: ResourceState, http: Request) -> Response:
    """Return a redirect to the page with a cookie by which the browser is known from now on."""
    response = RedirectResponse("/", 303)
    secure = http.url.scheme == "https"
    response.set_cookie(
        state.authenticator.cookie,
        state.authenticator.session,
        httponly=True,
        samesite="strict",
        secure=secure,
    )
    return response


def _file(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(http: Request) -> Response:
        from importlib.resources import files  # needed only for the page

        content = files("azinfer.local.api.admin").joinpath(name).read_bytes()
        return Response(content, media_type=media_type)

    return answer


async def _events(state: ResourceState) -> AsyncIterator[bytes]:
    """Yield new and changed entries of the log, and the deployments when their limits change."""
    shown, cleared = "", state.log.cleared
    async with state.log.listen() as entries:
        while True:
            if (rows := await run_in_worker(_write_deployments, state)) != shown:
                shown = rows
                yield _event("deployments", {"html": rows})
            entry = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EVERY):
                    entry = await anext(entries)
            if state.log.cleared != cleared:
                cleared = state.log.cleared
                yield _event("cleared", {})
            if entry is not None:
                row = await run_in_worker(_write_row, entry)
                yield _event("entry", {"id": _html().row_id(entry), "html": row})


def _html() -> ModuleType:
    """Return the module of the documents, which is loaded when somebody opens the page."""
    from azinfer.local.api.admin import html

    return html


def _write_page(state: ResourceState) -> str:
    return str(_html().page_document(state))


def _write_deployments(state: ResourceState) -> str:
    return str(_html().deployments(state))


def _write_row(entry: LogEntry) -> str:
    return str(_html().row(entry))


def _event(name: str, payload: dict[str, str]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(payload)}\n\n".encode()
