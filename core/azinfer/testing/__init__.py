"""A pytest plugin with fixtures for your own tests.

`azinfer_endpoint` and `azinfer_script` are a local endpoint and its scripts, `azinfer_recording` is
an endpoint that answers from recordings of a real one (`pytest --azinfer-record`), and
`azinfer_async_client` is an async client of either.

They need the extra `local`, but only where they are used. With pytest-xdist each worker has its
own endpoint, on a port that the system chooses.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from azinfer.testing import recordings

try:
    # In its strict mode it only takes async fixtures that are made with its own decorator.
    from pytest_asyncio import fixture as async_fixture
except ImportError:
    async_fixture = pytest.fixture  # type: ignore[assignment]

if TYPE_CHECKING:
    from azinfer.core import AsyncInferenceClient
    from azinfer.local import LocalDeployment, LocalEndpoint


__all__ = [
    "azinfer_async_client",
    "azinfer_deployments",
    "azinfer_endpoint",
    "azinfer_recording",
    "azinfer_script",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of `azinfer_recording`."""
    parser.getgroup("azinfer").addoption(
        recordings.OPTION,
        action="store_true",
        help="Record the requests of tests with azinfer_recording, and the upstream's answers.",
    )
    parser.addini(
        recordings.UPSTREAM,
        "What --azinfer-record records: NAME=URL for a deployment, or a URL for all models that "
        f"it lists. Its key is in the environment variable {recordings.KEY_VARIABLE}.",
        type="linelist",
    )


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


@pytest.fixture
def azinfer_recording(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LocalEndpoint]:
    """Return an endpoint that answers from the recording of this test, without a network.

    `pytest --azinfer-record` makes the recording: requests go to the upstream of the ini option
    `azinfer_upstream`, and are written with their answers to `cassettes/MODULE/TEST.jsonl` beside
    the module, without credentials. If the test fails, an earlier recording stays, and the new
    one is beside it as `TEST.jsonl.part`. A request that is not recorded fails, and the error names
    the nearest that is. The environment variables are set as for `azinfer_endpoint`.

    Raises:
        ConfigurationError: The test has no recording, or there is no upstream to record.
    """
    from azinfer.core import forget_endpoints
    from azinfer.local import LocalEndpoint

    path = recordings.cassette_path(request.node)
    is_new, failed = request.config.getoption(recordings.OPTION), request.session.testsfailed
    if is_new:
        deployments = recordings.recording(path, request.config.getini(recordings.UPSTREAM))
    else:
        deployments = recordings.recorded(path)
    with LocalEndpoint(deployments) as endpoint:
        forget_endpoints()
        monkeypatch.setenv("AZURE_AI_ENDPOINT", endpoint.url)
        monkeypatch.setenv("AZURE_AI_API_KEY", endpoint.key)
        yield endpoint
    if is_new:
        recordings.finish(path, is_successful=request.session.testsfailed == failed)


@async_fixture
async def azinfer_async_client(
    request: pytest.FixtureRequest,
) -> AsyncIterator[AsyncInferenceClient]:
    """Return an async client of the endpoint of this test; it is closed after the test.

    The endpoint is that of `azinfer_recording` if the test has it, or else `azinfer_endpoint`. It
    needs pytest-asyncio or anyio's plugin.
    """
    from azinfer.core import AsyncInferenceClient

    has_recording = "azinfer_recording" in request.fixturenames
    endpoint = request.getfixturevalue("azinfer_recording" if has_recording else "azinfer_endpoint")
    async with AsyncInferenceClient(endpoint.url, endpoint.key) as client:
        yield client
