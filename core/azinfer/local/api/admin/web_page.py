"""The web page: the deployments, the live request log, and a chat to try."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.resources import files
from urllib.parse import parse_qs

import htpy as h
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from azinfer.local.api.admin import html
from azinfer.local.resource.state import ResourceState

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
            form = parse_qs((await http.body()).decode())
            return _log_in(state, http, form.get("key", [""])[0])
        if key := http.query_params.get("key"):
            return _log_in(state, http, key)
        if not state.authenticator.knows_browser(http.headers):
            return HTMLResponse(str(html.key_page()), 401, _HEADERS)
        return HTMLResponse(str(html.page_document(state)), headers=_HEADERS)

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


def _log_in(state: ResourceState, http: Request, key: str) -> Response:
    """Return a browser that gave the key is known from then on, by a cookie of this site alone."""
    if not state.authenticator.keys.opens(key):
        return HTMLResponse(str(html.key_page("The key is wrong.")), 401, _HEADERS)
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
    content = files("azinfer.local.api.admin").joinpath(name).read_bytes()

    async def answer(http: Request) -> Response:
        return Response(content, media_type=media_type)

    return answer


async def _events(state: ResourceState) -> AsyncIterator[bytes]:
    """Yield new and changed entries of the log, and the deployments when their limits change."""
    shown, cleared = "", state.log.cleared
    async with state.log.listen() as entries:
        while True:
            if (rows := str(h.fragment[html.deployment_rows(state)])) != shown:
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
                yield _event("entry", {"id": html.row_id(entry), "html": str(html.row(entry))})


def _event(name: str, payload: dict[str, str]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(payload)}\n\n".encode()
