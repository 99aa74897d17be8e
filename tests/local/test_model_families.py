"""Deployments behave as the model that they say they are: limits, lengths of vectors, streams."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from azinfer.core import BadRequestError, InferenceClient, UserMessage
from azinfer.local import LocalDeployment, LocalEndpoint, SyntheticEngine

KEY = "local-key"
MODELS = {
    "small": "text-embedding-3-small",
    "large": "text-embedding-3-large",
    "ada": "text-embedding-ada-002",
    "english": "Cohere-embed-v3-english",
    "v4": "embed-v-4-0",
    "v5": "Cohere-Embed-V5-Fast",
    "unknown": "our-own-model",
    "astra": "gpt-6-astra",
    "latest": "gpt-chat-latest",
    "my-gpt-5-bot": "",
}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    deployments = [LocalDeployment(name, model) for name, model in MODELS.items()]
    chosen = LocalDeployment("chosen", "text-embedding-3-large", SyntheticEngine(dimensions=8))
    with LocalEndpoint([*deployments, chosen], key=KEY) as endpoint:
        yield endpoint


@pytest.fixture
def client(endpoint: LocalEndpoint) -> Iterator[InferenceClient]:
    with InferenceClient(endpoint.url, KEY, max_retries=0) as client:
        yield client


@pytest.mark.parametrize(
    ("name", "length"),
    [
        ("small", 1536),
        ("large", 3072),
        ("ada", 1536),
        ("english", 1024),
        ("v4", 1536),
        ("v5", 2048),
        ("unknown", 384),
        ("chosen", 8),
    ],
)
def test_synthetic_vectors_are_as_long_as_those_of_the_model(
    client: InferenceClient, name: str, length: int
) -> None:
    assert len(client.embed("a", model=name).vectors[0]) == length


@pytest.mark.parametrize(("name", "dimensions"), [("small", 1), ("large", 3072), ("v4", 256)])
def test_a_length_that_the_model_offers_is_returned(
    client: InferenceClient, name: str, dimensions: int
) -> None:
    assert len(client.embed("a", model=name, dimensions=dimensions).vectors[0]) == dimensions


@pytest.mark.parametrize(
    ("name", "dimensions", "message"),
    [
        ("small", 1537, "less than or equal to 1536"),
        ("v4", 300, "one of 256, 512, 1024, 1536"),
        ("v4", 2000, "less than or equal to 1536"),
        ("ada", 512, "dimensions"),
        ("english", 512, "dimensions"),
        ("unknown", 385, "less than or equal to 384"),
        ("chosen", 9, "less than or equal to 8"),
    ],
)
def test_a_length_that_the_model_does_not_offer_is_refused(
    client: InferenceClient, name: str, dimensions: int, message: str
) -> None:
    with pytest.raises(BadRequestError, match=message):
        client.embed("a", model=name, dimensions=dimensions)


@pytest.mark.parametrize("name", ["astra", "latest"])
def test_new_reasoning_models_refuse_max_tokens(endpoint: LocalEndpoint, name: str) -> None:
    with InferenceClient(endpoint.url, KEY, name, model_id="unknown-model") as client:
        answer = client.complete([UserMessage("hi")], max_tokens=20)
    assert answer.routing is not None
    assert answer.routing.adapted == ("max_tokens → max_completion_tokens",)


def test_a_deployments_own_name_does_not_make_it_a_reasoning_model(
    client: InferenceClient,
) -> None:
    answer = client.complete([UserMessage("hi")], model="my-gpt-5-bot", max_tokens=20)
    assert answer.routing is not None
    assert answer.routing.adapted == ()


def test_an_engine_of_two_models_has_the_length_of_each() -> None:
    shared = SyntheticEngine("Yes.")
    first = LocalDeployment("first", "text-embedding-3-large", shared)
    second = LocalDeployment("second", "text-embedding-ada-002", first.engine)
    assert isinstance(second.engine, SyntheticEngine)
    assert second.engine.dimensions == 1536
    assert shared.dimensions == 384
