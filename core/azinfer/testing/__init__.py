"""A pytest plugin: the fixtures `azinfer_endpoint` and `azinfer_script`, for tests of one's own.

They need the extra `local`, but only where they are used. With pytest-xdist each worker has an
endpoint of its own, on a port that the system chooses.
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
    """What the endpoint serves; define it again in a `conftest.py` to serve something else."""
    # Imported here, so that pytest starts no slower where the fixture is not used.
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
    """A local endpoint with the synthetic deployments `chat`, `chat-2` and `embed`.

    It is started once a process. When a test begins all is as it was at the start (see
    `LocalEndpoint.reset`): deployments, scripts, faults, latency, limits, keys, files, batches,
    stored responses, the log and what clients learned of endpoints. While it runs the
    environment's AZURE_AI_ENDPOINT and AZURE_AI_API_KEY lead there.
    """
    from azinfer.core import forget_endpoints

    _azinfer_session.reset()
    forget_endpoints()
    monkeypatch.setenv("AZURE_AI_ENDPOINT", _azinfer_session.url)
    monkeypatch.setenv("AZURE_AI_API_KEY", _azinfer_session.key)
    return _azinfer_session


@pytest.fixture
def azinfer_script(azinfer_endpoint: LocalEndpoint) -> Callable[..., Any]:
    """Lets a deployment answer what is written: `azinfer_script("chat", "Hello", …)`."""
    return azinfer_endpoint.script
