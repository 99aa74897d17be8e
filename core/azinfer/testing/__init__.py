"""A pytest plugin: the fixture `azinfer_endpoint`, for tests of one's own.

It needs the extra `local`, but only where the fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from azinfer.local import LocalEndpoint


__all__ = ["azinfer_endpoint"]


@pytest.fixture(scope="session")
def _azinfer_session() -> Iterator[LocalEndpoint]:
    # Imported here, so that pytest starts no slower where the fixture is not used.
    from azinfer.local import LocalDeployment, LocalEndpoint

    names = ("chat", "chat-2", "embed")
    with LocalEndpoint([LocalDeployment(name, "synthetic") for name in names]) as endpoint:
        yield endpoint


@pytest.fixture
def azinfer_endpoint(
    _azinfer_session: LocalEndpoint, monkeypatch: pytest.MonkeyPatch
) -> LocalEndpoint:
    """A local endpoint with the synthetic deployments `chat`, `chat-2` and `embed`.

    It is started once a process; its request log is empty when a test begins, and the
    environment's AZURE_AI_ENDPOINT and AZURE_AI_API_KEY lead to it while the test runs.
    """
    _azinfer_session.requests.clear()
    monkeypatch.setenv("AZURE_AI_ENDPOINT", _azinfer_session.url)
    monkeypatch.setenv("AZURE_AI_API_KEY", _azinfer_session.key)
    return _azinfer_session
