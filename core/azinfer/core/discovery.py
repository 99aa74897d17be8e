"""Discovery: the deployments that endpoints list, and when the models behind them retire."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, TypeAlias

from azinfer.core.account_search import search_account
from azinfer.core.deployment_lists import AZURE, models_url, next_page
from azinfer.core.deployments import Deployments
from azinfer.core.errors import InferenceError, PermissionDeniedError

_LOG = logging.getLogger("azinfer.core")

Page: TypeAlias = dict[str, Any]
# Yields the URL of each page to read, and the scope of a token for it.
Reading: TypeAlias = Generator[tuple[str, str | None], Page, Any]


def read_pages(url: str | None, scope: str | None) -> Reading:
    """Return all pages of a list, after yielding the URL of each."""
    pages: list[Page] = []
    while url:
        pages.append((yield url, scope))
        url = next_page(pages, url)
    return pages


def read_deployments(client: Any, source: str | None) -> Reading:
    """Return the deployments of an endpoint, which from now on are known.

    Args:
        client: A client of the endpoint.
        source: Where they are listed, as for `client.deployments`.
    """
    if source == AZURE:
        source = client._knowledge.account or (yield from _read_account(client))
    url, scope = client._list_target(source)
    pages = yield from read_pages(url, scope)
    models: list[Page] = []
    try:
        models = yield from read_pages(models_url(url), scope)
    except InferenceError as error:  # the dates of retirement are not worth an error
        _LOG.info("the models of the account cannot be read: %s", error.message)
    return client._remember(pages, models)


def _read_account(client: Any) -> Reading:
    """Return the URL of the endpoint's account in Azure Resource Manager."""
    scope = client._management_scope()
    search = search_account(client.endpoint)
    url = next(search)
    while True:
        try:
            pages = yield from read_pages(url, scope)
        except PermissionDeniedError:
            pages = []
        try:
            url = search.send(pages)
        except StopIteration as end:
            client._knowledge.account = str(end.value)
            return client._knowledge.account


def run(client: Any, reading: Reading, timeout: Any) -> Any:
    """Return the result of a reading, in sync code.

    Args:
        client: A client that sends the requests.
        reading: What is read.
        timeout: Seconds for each attempt, or a Timeout, for each page.
    """
    try:
        url, scope = next(reading)
        while True:
            try:
                page = client._run(client._page(url, scope, timeout))
            except InferenceError as error:
                url, scope = reading.throw(error)
            else:
                url, scope = reading.send(page)
    except StopIteration as end:
        return end.value


async def run_async(client: Any, reading: Reading, timeout: Any) -> Any:
    """Return the result of a reading, in async code."""
    try:
        url, scope = next(reading)
        while True:
            try:
                page = await client._run(client._page(url, scope, timeout))
            except InferenceError as error:
                url, scope = reading.throw(error)
            else:
                url, scope = reading.send(page)
    except StopIteration as end:
        return end.value


def discover(client: Any, max_age: float, timeout: Any) -> dict[str, Deployments]:
    """Return the deployments of each endpoint that the file discovers, in sync code."""
    known = {}
    for name, source, create in _endpoints(client):
        try:
            each = create()
            known[name] = each._known_deployments
            if _is_due(each, max_age):
                known[name] = run(each, read_deployments(each, source), timeout)
        except InferenceError as error:
            _warn(name, error)
    return known


async def discover_async(client: Any, max_age: float, timeout: Any) -> dict[str, Deployments]:
    """Return the deployments of each endpoint that the file discovers, in async code."""
    known = {}
    for name, source, create in _endpoints(client):
        try:
            each = create()
            known[name] = each._known_deployments
            if _is_due(each, max_age):
                known[name] = await run_async(each, read_deployments(each, source), timeout)
        except InferenceError as error:
            _warn(name, error)
    return known


def _endpoints(client: Any) -> list[tuple[str, str, Callable[[], Any]]]:
    """Return the endpoints that the file discovers: name, where it is listed, its client."""
    router = client._router
    if router is None:
        return []
    names = router._current()
    return [
        (name, each.discover, partial(_client_of, client, name, names))
        for name, each in names.settings.endpoints.items()
        if each.discover is not None
    ]


def _client_of(client: Any, name: str, names: Any) -> Any:
    return client._at(client._router._client(name.casefold(), names))


def _is_due(client: Any, max_age: float) -> bool:
    listed_at = client._knowledge.listed_at
    return listed_at is None or client._clock.time() - listed_at >= max_age


def _warn(name: str, error: InferenceError) -> None:
    _LOG.warning(
        "the deployments of endpoint %r are not discovered (%s); what was known of them counts",
        name,
        error.message,
    )
