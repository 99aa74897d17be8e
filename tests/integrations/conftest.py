"""Fixtures of adapters' tests: the three main surfaces, and services on the raw server's."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from raw_server import RawServer

SURFACES = {"v1": "/openai/v1", "models": "/models", "deployments": "/openai"}


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
