"""A pytest plugin: the fixtures `azinfer_endpoint` and `azinfer_script`, for your own tests.

They need the extra `local`, but only where they are used. With pytest-xdist each worker has its
own endpoint, on a port that the system chooses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from azinfer.local import LocalDeployment, LocalEndpoint


__all__ = ["azinfer_deployments", "azinfer_endpoint", "azinfer_script"]


@pytest.fixture(scope="session")
def azinfer_deployments() -> Sequence[LocalDeployment]:
    """Return what the endpoint serves; define it in a `conftest.py` to serve something else."""
    # Imported here, so that pytest does not start slower where the fixture is not used.
    from azinfer.local import LocalDeployment

    return [LocalDeployment(name, "synthetic") for name in ("chat", "chat-2", "embed")]


@pytest.fixture(scope="session")
def _azinfer_session(azinfer_deployments: Sequence[LocalDeployment]) -> Iterator[LocalEndpoint]:
    from azinfer.local import LocalEndpoint

    with LocalEndpoint(azinfer_deployments) as endpoint:
        yield endpoint


@pytest.fixture
def azinfer_endpoint(
    _azinfer_session: LocalEndpoint, monkeypatch: pytest.MonkeyPatch
) -> LocalEndpoint:
    """Return a local endpoint with the synthetic deployments `chat`, `chat-2` and `embed`.

    It starts once for each process. Before each test everything is reset to its first state (see
    `LocalEndpoint.reset`): deployments, scripts, faults, latency, limits, keys, files, batches,
    stored responses and the log. During the test the environment variables AZURE_AI_ENDPOINT and
    AZURE_AI_API_KEY point to it.
    """
    from azinfer.core import forget_endpoints

    _azinfer_session.reset()
    forget_endpoints()
    monkeypatch.setenv("AZURE_AI_ENDPOINT", _azinfer_session.url)
    monkeypatch.setenv("AZURE_AI_API_KEY", _azinfer_session.key)
    return _azinfer_session


@pytest.fixture
def azinfer_script(azinfer_endpoint: LocalEndpoint) -> Callable[..., Any]:
    """Return a function that scripts answers: `azinfer_script("chat", "Hello", …)`."""
    return azinfer_endpoint.script
