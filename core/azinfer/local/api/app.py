"""The routes of every surface, as one ASGI application."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Sequence

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from azinfer.local.api.admin import operation as admin
from azinfer.local.api.admin import web_page
from azinfer.local.api.batches import operation as batches
from azinfer.local.api.context import Operation
from azinfer.local.api.dispatch import make_route
from azinfer.local.api.late_operations import late
from azinfer.local.api.unrouted import UnroutedRequests
from azinfer.local.resource.state import ResourceState
from azinfer.local.wire.surfaces import (
    ANTHROPIC,
    ARM,
    COHERE,
    DEPLOYMENTS,
    LOGIN,
    MODELS,
    PROJECT,
    SERVERLESS,
    V1,
)

# A project also has the OpenAI API of its resource.
_IN_PROJECT = re.compile(r"^/api/projects/[^/]+(?=/openai(?:/|$))", re.IGNORECASE)
_OPERATIONS: dict[str, tuple[str, Operation]] = {
    "chat/completions": ("POST", late("chat.operation.chat")),
    "completions": ("POST", late("chat.legacy_completions.completions")),
    "embeddings": ("POST", late("embeddings.operation.embeddings")),
    "images/embeddings": ("POST", late("embeddings.operation.image_embeddings")),
    "info": ("GET", late("management.listings.info")),
}
_OPENAI = ("chat/completions", "embeddings")
_INFERENCE = (*_OPENAI, "images/embeddings", "info")
# The base of each surface, and the operations that exist there.
_SURFACES = (
    (MODELS, "/models", _INFERENCE),
    (V1, "/openai/v1", _OPENAI),
    (DEPLOYMENTS, "/openai/deployments/{deployment}", ("completions", *_OPENAI)),
    (SERVERLESS, "", _INFERENCE),
)
# What a resource has besides its deployments; on the classic surface with an api-version.
_RESOURCE: tuple[tuple[str, str, Operation], ...] = (
    ("models", "GET", late("management.listings.models")),
    ("models/{model}", "GET", late("management.listings.one_model")),
    ("responses", "POST", late("responses.operation.create")),
    ("responses/{response}", "GET", late("responses.operation.get")),
    ("responses/{response}", "DELETE", late("responses.operation.delete")),
    ("responses/input_tokens", "POST", late("responses.operation.input_tokens")),
    ("responses/{response}/cancel", "POST", late("responses.operation.cancel")),
    ("responses/{response}/input_items", "GET", late("responses.operation.input_items")),
    ("conversations", "POST", late("responses.conversations.create")),
    ("conversations/{conversation}", "GET", late("responses.conversations.get")),
    ("conversations/{conversation}", "POST", late("responses.conversations.update")),
    ("conversations/{conversation}", "DELETE", late("responses.conversations.delete")),
    ("conversations/{conversation}/items", "POST", late("responses.conversations.add_items")),
    ("conversations/{conversation}/items", "GET", late("responses.conversations.list_items")),
    ("conversations/{conversation}/items/{item}", "GET", late("responses.conversations.get_item")),
    (
        "conversations/{conversation}/items/{item}",
        "DELETE",
        late("responses.conversations.delete_item"),
    ),
    ("files", "POST", late("batches.files.upload")),
    ("files", "GET", late("batches.files.list_files")),
    ("files/{file}", "GET", late("batches.files.get")),
    ("files/{file}", "DELETE", late("batches.files.delete")),
    ("files/{file}/content", "GET", late("batches.files.content")),
    ("batches", "GET", batches.list_batches),
    ("batches/{batch}", "GET", batches.get),
)
_ANTHROPIC: tuple[tuple[str, Operation], ...] = (
    ("/anthropic/v1/messages", late("messages.operation.create")),
    ("/anthropic/v1/messages/count_tokens", late("messages.operation.count_tokens")),
)
_COHERE: tuple[tuple[str, Operation], ...] = (
    ("/providers/cohere/v2/rerank", late("rerank.operation.rerank")),
    ("/providers/cohere/v2/embed", late("embeddings.cohere.embed")),
    ("/providers/cohere/v1/embed", late("embeddings.cohere.embed_v1")),
)
_LISTS: tuple[tuple[str, str, Operation], ...] = (
    ("/openai/deployments", DEPLOYMENTS, late("management.listings.classic")),
    ("/openai/deployments/{deployment}", DEPLOYMENTS, late("management.listings.one_classic")),
    ("/api/projects/{project}/deployments", PROJECT, late("management.listings.project")),
    (
        "/api/projects/{project}/deployments/{deployment}",
        PROJECT,
        late("management.listings.one_in_project"),
    ),
    ("/deployments", PROJECT, late("management.listings.project")),
    ("/deployments/{deployment}", PROJECT, late("management.listings.one_in_project")),
    (
        "/{tenant}/v2.0/.well-known/openid-configuration",
        LOGIN,
        late("management.token_endpoint.configuration"),
    ),
)
_ACCOUNT = "/subscriptions/{subscription}/resourceGroups/{group}/providers/{provider}/accounts/"
_SEARCHED: tuple[tuple[str, Operation], ...] = (
    ("/subscriptions", late("management.operation.subscriptions")),
    (
        "/subscriptions/{subscription}/providers/{provider}/accounts",
        late("management.operation.accounts"),
    ),
)
_MANAGEMENT: tuple[tuple[str, str, Operation], ...] = (
    ("GET", "{account}/models", late("management.operation.models")),
    ("GET", "{account}/deployments", late("management.operation.deployments")),
    ("GET", "{account}/deployments/{deployment}", late("management.operation.get")),
    ("PUT", "{account}/deployments/{deployment}", late("management.operation.put")),
    ("PATCH", "{account}/deployments/{deployment}", late("management.operation.patch")),
    ("DELETE", "{account}/deployments/{deployment}", late("management.operation.delete")),
    ("GET", "{account}/deployments/{deployment}/skus", late("management.operation.skus")),
    ("POST", "{account}/listKeys", late("management.operation.keys")),
    ("POST", "{account}/regenerateKey", late("management.operation.renew_key")),
)


def make_app(state: ResourceState) -> ASGIApp:
    """Yield the ASGI application of a local endpoint."""
    jobs = batches.Batches(state)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        jobs.resume()
        yield
        await state.aclose()

    routes = _routes(state, jobs)
    unrouted = UnroutedRequests(state, routes)
    return _PathNormalizer(
        Starlette(
            routes=routes,
            lifespan=lifespan,
            exception_handlers={404: unrouted.not_found, 405: unrouted.not_allowed},
        ),
        routes,
    )


def _routes(state: ResourceState, jobs: batches.Batches) -> list[Route]:
    operations = [
        make_route(state, f"{base}/{name}", surface, *_OPERATIONS[name])
        for surface, base, names in _SURFACES
        for name in names
    ]
    resource = [
        make_route(state, f"{base}/{path}", surface, method, operation)
        for surface, base in ((V1, "/openai/v1"), (DEPLOYMENTS, "/openai"))
        for path, method, operation in (
            *_RESOURCE,
            ("batches", "POST", jobs.create),
            ("batches/{batch}/cancel", "POST", jobs.cancel),
        )
    ]
    cohere_models = [make_route(state, path, COHERE, "POST", each) for path, each in _COHERE]
    claude = [
        make_route(state, path, ANTHROPIC, "POST", operation) for path, operation in _ANTHROPIC
    ]
    lists = [
        make_route(state, path, surface, "GET", operation) for path, surface, operation in _LISTS
    ]
    managing = [
        make_route(state, _ACCOUNT + path, ARM, method, operation)
        for method, path, operation in _MANAGEMENT
    ]
    managing += [make_route(state, path, ARM, "GET", operation) for path, operation in _SEARCHED]
    tokens = make_route(
        state, "/{tenant}/oauth2/v2.0/token", LOGIN, "POST", late("management.token_endpoint.token")
    )
    administration = [
        make_route(state, path, V1, method, operation, logged=False)
        for path, methods, operation in admin.ROUTES
        for method in methods
    ]
    page = web_page.routes(state)
    return [
        *operations,
        *resource,
        *claude,
        *cohere_models,
        *lists,
        *managing,
        tokens,
        *administration,
        *page,
    ]


class _PathNormalizer:
    """Normalizes the paths of requests, which some clients send with doubled slashes.

    Most paths need no change and no parameters, and are dispatched without a search.
    """

    def __init__(self, inner: ASGIApp, routes: Sequence[Route]) -> None:
        self._inner = inner
        self._direct = {
            (method, route.path): route.app
            for route in routes
            if "{" not in route.path
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if direct := self._direct.get((scope["method"], scope["path"])):
                await direct(scope, receive, send)
                return
            path = _IN_PROJECT.sub("", re.sub("/{2,}", "/", scope["path"]))
            scope = {**scope, "path": path.rstrip("/") or "/"}
        await self._inner(scope, receive, send)
