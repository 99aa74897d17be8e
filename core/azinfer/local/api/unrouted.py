"""Requests for paths or methods without an operation: refused, logged, with the nearest route."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from azinfer.local.api.dispatch import respond_unrouted
from azinfer.local.api.exchange_recorder import ExchangeRecorder, RequestTrace
from azinfer.local.resource.state import ResourceState
from azinfer.local.wire import errors
from azinfer.local.wire.errors import ErrorResponse

# Longer paths are not compared, so that a request without a key costs little.
_LONGEST_PATH = 200
_LEAST_LIKENESS = 0.6
_PARAMETER = re.compile(r"{\w+}")
# Browsers ask for these by themselves.
_OF_BROWSERS = ("/favicon.ico", "/apple-touch-icon.png", "/robots.txt")


class UnroutedRequests:
    """Answers requests that match no route, and writes them to the request log.

    Args:
        state: The state of the endpoint.
        routes: The routes of the endpoint.
    """

    def __init__(self, state: ResourceState, routes: Sequence[Route]) -> None:
        self._state = state
        self._routes = [
            (method, route.path)
            for route in routes
            for method in sorted(route.methods or ())
            if method != "HEAD"
        ]

    async def not_found(self, http: Request, error: Exception) -> Response:
        """Answer a request for an unknown path."""
        return self._refuse(http, errors.not_found())

    async def not_allowed(self, http: Request, error: Exception) -> Response:
        """Answer a request with a method that the path does not accept."""
        return self._refuse(http, errors.not_allowed())

    def _refuse(self, http: Request, error: ErrorResponse) -> Response:
        request_id = uuid.uuid4().hex
        response = respond_unrouted(http, error, request_id)
        if http.url.path not in _OF_BROWSERS:
            trace = RequestTrace(hint=self._hint(http.method, http.scope["path"]))
            state = self._state
            recorder = ExchangeRecorder(state.log, http.scope, trace, request_id, state.clock)
            recorder.record({"type": "http.response.start", "status": response.status_code})
            recorder.record({"type": "http.response.body", "body": response.body})
        return response

    def _hint(self, method: str, path: str) -> str:
        near = nearest_route(method, path, self._routes)
        return f"no such route; did you mean {near}?" if near else "no such route"


def nearest_route(method: str, path: str, routes: Sequence[tuple[str, str]]) -> str | None:
    """Return the method and path of the route that is most like a request, or None.

    A route that ends with the path comes first (`/v1/chat/completions` is meant for
    `/openai/v1/chat/completions`), then the one with the most characters in common.

    Args:
        method: The method of the request.
        path: The path of the request.
        routes: The method and the path of each route, with parameters in braces.
    """
    if len(path) > _LONGEST_PATH:
        return None
    best = max(
        ((_likeness(method, path, each), each) for each in routes),
        key=lambda pair: pair[0],
        default=(0.0, ("", "")),
    )
    likeness, (near_method, near_path) = best
    return f"{near_method} {near_path}" if likeness >= _LEAST_LIKENESS else None


def _likeness(method: str, path: str, route: tuple[str, str]) -> float:
    """Return how alike a request and a route are: up to 1, and a little more for the method."""
    path, near = path.lower(), _with_parameters(path, route[1]).lower()
    more = 0.01 if route[0] == method else 0.0
    if near.endswith(path) and path.count("/") > 1:
        # Of several, the shortest.
        return 1 + more + 1 / len(near)
    import difflib  # needed only for mistakes

    matcher = difflib.SequenceMatcher(None, near, path, autojunk=False)
    return matcher.ratio() + more if matcher.quick_ratio() >= _LEAST_LIKENESS else 0.0


def _with_parameters(path: str, route: str) -> str:
    """Return a route's path with the parts of a path in the places of its parameters."""
    parts, wanted = path.split("/"), route.split("/")
    if len(parts) != len(wanted):
        return route
    return "/".join(
        part if _PARAMETER.fullmatch(want) else want
        for part, want in zip(parts, wanted, strict=True)
    )
