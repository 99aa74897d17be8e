"""A local endpoint with synthetic deployments, started once."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from azinfer.core import RateLimit
from azinfer.local import LocalDeployment, LocalEndpoint, SyntheticEngine


def several() -> list[LocalDeployment]:
    """Two deployments of one model, and one that only embeds."""

    class OnlyVectors:
        embed = SyntheticEngine(dimensions=8).embed
        embed_images = SyntheticEngine(dimensions=8).embed_images
        aclose = SyntheticEngine().aclose

    return [
        LocalDeployment(
            "Mistral-Large",
            "mistral-large-2411",
            model_format="Mistral AI",
            rate_limits=(RateLimit("request", 100_000, 10),),
        ),
        LocalDeployment("fixed", "mistral-large-2411", SyntheticEngine("Paris.")),
        LocalDeployment("embed", "text-embedding", OnlyVectors()),
    ]


@pytest.fixture(scope="session")
def endpoint() -> Iterator[LocalEndpoint]:
    """Several deployments."""
    with LocalEndpoint(several(), key="local-key") as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def strict() -> Iterator[LocalEndpoint]:
    """One deployment behind an endpoint that enforces the protocol strictly."""
    with LocalEndpoint([LocalDeployment("only")], key="local-key", strict=True) as endpoint:
        yield endpoint


@pytest.fixture(scope="session", autouse=True)
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The authority and the notes of these tests are apart from the contributor's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AZINFER_DATA", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(scope="session")
def secure(data: None) -> Iterator[LocalEndpoint]:
    """One deployment behind https."""
    with LocalEndpoint([LocalDeployment("Chat")], key="local-key", https=True) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def secure_several(data: None) -> Iterator[LocalEndpoint]:
    """The same several behind https."""
    with LocalEndpoint(several(), key="local-key", https=True) as endpoint:
        yield endpoint


@pytest.fixture
def http(endpoint: LocalEndpoint) -> Iterator[httpx.Client]:
    """A plain HTTP client of the endpoint, with its key."""
    with httpx.Client(base_url=endpoint.url, headers={"api-key": endpoint.key}) as client:
        yield client
