"""Fixtures of adapters' tests: the three main surfaces, and services on the raw server's."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from client_driver import KEY, SURFACES
from raw_server import RawServer


@pytest.fixture(params=SURFACES)
def surface(request: pytest.FixtureRequest) -> str:
    """The name of one of the main surfaces."""
    name: str = request.param
    return name


@pytest.fixture
def url(server: RawServer, surface: str) -> str:
    """The raw server by that surface."""
    return server.url + SURFACES[surface]


@pytest.fixture
def service(url: str) -> Callable[..., Any]:
    """Makes services of Semantic Kernel on that surface: `service(AzInferTextEmbedding)`."""
    import kernels  # Semantic Kernel, which other frameworks' tests need not wait for

    return functools.partial(kernels.service, url)


@pytest.fixture
def configuration(url: str) -> Callable[..., Any]:
    """Makes configurations of AG2 on that surface, which live as long as the test's loop."""
    from azinfer.ag2 import AzInferConfig  # for the same reason

    results: list[Any] = []

    def config(**named: Any) -> Any:
        named = {"credential": KEY, "model": "gpt-4.1", "max_retries": 0, **named}
        results.append(AzInferConfig(url, **named))
        return results[-1]

    return config
