"""The server: the routes of every surface, as one ASGI application."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from azinfer.local import batches, files, listing, refusals, responses
from azinfer.local.chat import chat
from azinfer.local.completions import completions
from azinfer.local.deployments import LocalDeployment
from azinfer.local.embedding import embeddings, image_embeddings
from azinfer.local.log import RequestLog
from azinfer.local.refusals import DEPLOYMENTS, GITHUB, MODELS, SERVERLESS, V1
from azinfer.local.service import Operation, Service
from azinfer.local.store import Store

# The parts of a path that are the same in any case; the name of a deployment is kept.
_FIXED = re.compile(
    r"^/(?:models|openai/v1|openai/deployments|openai|api/projects)(?=/|$)", re.IGNORECASE
)
# A project has OpenAI's API of its resource too.
_PROJECT = re.compile(r"^/api/projects/[^/]+(?=/openai(?:/|$))")
_OPERATIONS: dict[str, tuple[str, Operation]] = {
    "chat/completions": ("POST", chat),
    "completions": ("POST", completions),
    "embeddings": ("POST", embeddings),
    "images/embeddings": ("POST", image_embeddings),
    "info": ("GET", listing.info),
}
_OPENAI = ("chat/completions", "embeddings")
_INFERENCE = (*_OPENAI, "images/embeddings", "info")
# The base of each surface, and the operations that exist there.
_SURFACES = (
    (MODELS, "/models", _INFERENCE),
    (V1, "/openai/v1", _OPENAI),
    (DEPLOYMENTS, "/openai/deployments/{deployment}", ("completions", *_OPENAI)),
    (SERVERLESS, "", _INFERENCE),
    (GITHUB, "/inference", _OPENAI),
    (GITHUB, "/orgs/{org}/inference", _OPENAI),
)
# What a resource has beside its deployments; on the classic surface with an api-version.
_RESOURCE: tuple[tuple[str, str, Operation], ...] = (
    ("models", "GET", listing.models),
    ("models/{model}", "GET", listing.one_model),
    ("responses", "POST", responses.create),
    ("responses/{response}", "GET", responses.get),
    ("responses/{response}", "DELETE", responses.delete),
    ("responses/{response}/input_items", "GET", responses.input_items),
    ("files", "POST", files.upload),
    ("files", "GET", files.listed),
    ("files/{file}", "GET", files.get),
    ("files/{file}", "DELETE", files.delete),
    ("files/{file}/content", "GET", files.content),
    ("batches", "GET", batches.listed),
    ("batches/{batch}", "GET", batches.get),
)
_LISTS: tuple[tuple[str, str, Operation], ...] = (
    ("/openai/deployments", DEPLOYMENTS, listing.classic),
    ("/catalog/models", GITHUB, listing.catalog),
    ("/api/projects/{project}/deployments", V1, listing.project),
    ("/deployments", V1, listing.project),
    ("/subscriptions/{account:path}/deployments", DEPLOYMENTS, listing.arm),
)


def application(
    deployments: Sequence[LocalDeployment],
    key: str,
    strict: bool = False,
    clock: Callable[[], float] = time.monotonic,
    log: RequestLog | None = None,
    store: Store | None = None,
) -> ASGIApp:
    """The ASGI application of a local endpoint.

    Args:
        deployments: What it serves.
        key: The key that every request must bear.
        strict: Whether to refuse what the service refuses though real clients send it: a
            missing api-version, fields that the operation does not know.
        clock: Monotonic seconds, by which rate limits are counted.
        log: Where requests are written down.
        store: Where files and batches are kept; left out, as long as the application lives.

    Raises:
        ConfigurationError: Two deployments have one name.
    """
    log = RequestLog() if log is None else log
    service = Service(deployments, key, strict, clock, log, store or Store(None))
    jobs = batches.Batches(service)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        jobs.resume()
        yield
        await jobs.aclose()
        await service.aclose()

    return _Tidied(
        Starlette(
            routes=_routes(service, jobs),
            lifespan=lifespan,
            exception_handlers={404: _nothing_there, 405: _wrong_method},
        )
    )


def _routes(service: Service, jobs: batches.Batches) -> list[Route]:
    operations = [
        service.route(f"{base}/{name}", surface, *_OPERATIONS[name])
        for surface, base, names in _SURFACES
        for name in names
    ]
    operations += [
        service.route(f"{base}/{path}", surface, method, operation)
        for surface, base in ((V1, "/openai/v1"), (DEPLOYMENTS, "/openai"))
        for path, method, operation in (
            *_RESOURCE,
            ("batches", "POST", jobs.create),
            ("batches/{batch}/cancel", "POST", jobs.cancel),
        )
    ]
    return operations + [service.route(path, on, "GET", told) for path, on, told in _LISTS]


class _Tidied:
    """Paths as some clients send them, made the ones that routes are named by."""

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = re.sub("/{2,}", "/", scope["path"])
            path = _FIXED.sub(lambda found: found[0].lower(), path)
            path = _PROJECT.sub("", path)
            scope = {**scope, "path": path.rstrip("/") or "/"}
        await self._inner(scope, receive, send)


async def _nothing_there(http: Request, error: Exception) -> Response:
    return refusals.not_found().response()


async def _wrong_method(http: Request, error: Exception) -> Response:
    return refusals.not_allowed().response()
