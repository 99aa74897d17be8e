"""Embeddings of images, on the route for images and on the one that replaces it."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from azinfer.core import (
    ConfigurationError,
    DeploymentNotFoundError,
    ImageInput,
    InferenceError,
    InvalidResponseError,
    Usage,
)
from azinfer.core.endpoint_knowledge import forget_endpoints
from azinfer.core.endpoints import Endpoint
from client_driver import ClientDriver
from raw_server import RawServer, failure, reply, vectors

Ask = Callable[..., ClientDriver]
PNG = b"\x89PNG"
URL = "data:image/png;base64,iVBORw=="
COHERE, MODELS = "/providers/cohere/v2/embed", "/models/images/embeddings"
GONE = reply(failure("404", "Resource not found"), 404)


def answer(row: Any, encoding: str = "float", **meta: Any) -> Any:
    units = {"input_tokens": 1000, "images": 1}
    body = {"id": "1", "embeddings": {encoding: [row]}, "meta": {"billed_units": units} | meta}
    return reply({**body, "texts": [], "response_type": "embeddings_by_type"})


def paths(server: RawServer) -> list[str]:
    return [request.target.partition("?")[0] for request in server.received]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    forget_endpoints()
    yield
    forget_endpoints()


def test_an_image_goes_to_the_route_of_cohere(ask: Ask, server: RawServer) -> None:
    server.will(answer([1.0, 2.0]))
    driver = ask(model="prod")
    assert driver.client.explain("images/embeddings").url == server.url + COHERE
    embeddings = driver.embed_images([PNG])
    assert [list(vector) for vector in embeddings.vectors] == [[1.0, 2.0]]
    assert embeddings.usage == Usage(1000, 0, 1000)
    assert embeddings.usage.raw == {"input_tokens": 1000, "images": 1}
    assert embeddings.raw[0]["texts"] == []
    assert "embeddings" not in embeddings.raw[0]
    assert embeddings.routing is not None
    assert (embeddings.routing.surface, embeddings.routing.operation) == ("cohere", "v2/embed")
    (request,) = server.received
    assert (request.method, request.target) == ("POST", COHERE)
    assert request.header("api-key")
    assert request.json == {
        "model": "prod",
        "embedding_types": ["float"],
        "input_type": "image",
        "images": [URL],
    }


IMAGE = {"type": "image_url", "image_url": {"url": URL}}
TEXT = {"type": "text", "text": "a cat"}


@pytest.mark.parametrize(
    ("model", "text", "options", "sent"),
    [
        ("Cohere-embed-v3-english", None, {}, {"input_type": "image", "images": [URL]}),
        # Version 3 has no other kind for images.
        (
            "Cohere-embed-v3-english",
            None,
            {"kind": "query"},
            {"input_type": "image", "images": [URL]},
        ),
        ("embed-v-4-0", None, {}, {"input_type": "image", "inputs": [{"content": [IMAGE]}]}),
        (
            "embed-v-4-0",
            None,
            {"kind": "query"},
            {"input_type": "search_query", "inputs": [{"content": [IMAGE]}]},
        ),
        (
            "embed-v-4-0",
            "a cat",
            {},
            {"input_type": "search_document", "inputs": [{"content": [TEXT, IMAGE]}]},
        ),
        (
            "prod",
            "a cat",
            {"kind": "document"},
            {"input_type": "search_document", "inputs": [{"content": [TEXT, IMAGE]}]},
        ),
        (
            "prod",
            None,
            {"dimensions": 256, "input_type": "clustering", "truncate": "END", "max_tokens": None},
            {
                "input_type": "clustering",
                "images": [URL],
                "output_dimension": 256,
                "truncate": "END",
            },
        ),
    ],
)
def test_each_version_gets_its_own_fields(
    ask: Ask,
    server: RawServer,
    model: str,
    text: str | None,
    options: dict[str, Any],
    sent: dict[str, Any],
) -> None:
    server.will(answer([1.0]))
    ask(model=model).embed_images([ImageInput(PNG, text)], **options)
    body = server.received[0].json
    assert (body.pop("model"), body.pop("embedding_types")) == (model, ["float"])
    assert body == sent


@pytest.mark.parametrize(
    ("encoding", "row", "vector"),
    [("int8", [1, -2], [1, -2]), ("ubinary", [200], [200]), ("base64", "AACAPw==", [1.0])],
)
def test_vectors_come_in_the_type_that_was_asked_for(
    ask: Ask, server: RawServer, encoding: str, row: Any, vector: list[Any]
) -> None:
    server.will(answer(row, encoding))
    embeddings = ask(model="prod").embed_images([PNG], encoding_format=encoding)
    assert list(embeddings.vectors[0]) == vector
    assert server.received[0].json["embedding_types"] == [encoding]


def test_usage_without_billed_units_is_that_of_the_headers(ask: Ask, server: RawServer) -> None:
    body = {"embeddings": {"float": [[1.0]]}}
    server.will(reply(body, 200, {"prompt-token-len": "7", "num-tokens": "8"}))
    usage = ask(model="prod").embed_images([PNG]).usage
    assert usage is not None
    assert usage.prompt_tokens in (7, 8)


@pytest.mark.parametrize(
    "body",
    [[], {"embeddings": [[1.0]]}, {"embeddings": {"int8": [[1]]}}, {"embeddings": {"float": []}}],
)
def test_another_form_of_answer_is_an_error(ask: Ask, server: RawServer, body: Any) -> None:
    server.will(reply(body))
    with pytest.raises(InvalidResponseError):
        ask(model="prod", max_retries=0).embed_images([PNG])


@pytest.mark.parametrize(
    "refusal",
    [
        GONE,
        reply({"detail": "Not Found"}, 404),
        reply(failure("api_not_supported", "This API is not supported."), 400),
        reply(failure("OperationNotSupported", "The embeddings operation does not work …"), 400),
    ],
)
def test_a_resource_without_that_route_is_asked_at_the_older_one(
    ask: Ask, server: RawServer, refusal: Any
) -> None:
    server.will(refusal, reply(vectors([1.0])))
    embeddings = ask(model="prod").embed_images([PNG])
    assert embeddings.routing is not None
    assert embeddings.routing.adapted == ("v2/embed → images/embeddings",)
    assert [attempt.status for attempt in embeddings.routing.attempts][1:] == [200]
    other = ask(model="prod")
    assert other.client.explain("images/embeddings").operation == "images/embeddings"
    other.embed_images([PNG])
    assert paths(server) == [COHERE, MODELS, MODELS]
    # What another process learned counts, but not more than what this one did.
    copied = pickle.loads(pickle.dumps(other.client._knowledge))
    forget_endpoints()
    fresh = ask(model="prod")
    fresh.client._knowledge.add(copied)
    assert fresh.client.explain("images/embeddings").operation == "images/embeddings"


@pytest.mark.parametrize("status", [404, 410])
def test_a_url_of_the_older_route_moves_on_when_that_ends(
    ask: Ask, server: RawServer, status: int
) -> None:
    server.will(reply(failure("404", "Resource not found"), status), answer([1.0]))
    driver = ask("/models", model="prod")
    embeddings = driver.embed_images([PNG])
    assert embeddings.routing is not None
    assert embeddings.routing.adapted == ("images/embeddings → v2/embed",)
    driver.embed_images([PNG])
    assert paths(server) == [MODELS, COHERE, COHERE]


def test_a_model_of_another_maker_stays_at_the_older_route(ask: Ask, server: RawServer) -> None:
    server.will(reply(vectors([1.0])))
    ask(model="prod", model_id="text-embedding-3-large").embed_images([PNG])
    assert paths(server) == [MODELS]


def test_a_resource_without_both_routes_says_so_of_both(ask: Ask, server: RawServer) -> None:
    server.will(GONE)
    both = "Resource not found.*The route v2/embed answered: Resource not found"
    with pytest.raises(InferenceError, match=both):
        ask(model="prod").embed_images([PNG])
    assert paths(server) == [COHERE, MODELS]


def test_an_unknown_deployment_costs_one_request(ask: Ask, server: RawServer) -> None:
    server.will(reply(failure("DeploymentNotFound", "The API deployment x does not exist"), 404))
    with pytest.raises(DeploymentNotFoundError):
        ask(model="x").embed_images([PNG])
    assert paths(server) == [COHERE]


def test_an_endpoint_of_one_model_has_one_route(ask: Ask, server: RawServer) -> None:
    server.will(GONE)
    with pytest.raises(InferenceError, match="Resource not found") as caught:
        ask("", surface="serverless", model="prod").embed_images([PNG])
    assert "answered" not in caught.value.message
    assert paths(server) == ["/images/embeddings"]


def test_a_route_of_deployments_needs_a_name(ask: Ask, server: RawServer) -> None:
    with pytest.raises(ConfigurationError, match="name of the deployment is missing"):
        ask(model=None).embed_images([PNG])
    assert not server.received


def test_the_route_of_cohere_is_beside_every_surface_of_a_resource() -> None:
    for path in ("", "/models", "/openai/v1", "/anthropic"):
        assert Endpoint.parse(f"https://contoso.services.ai.azure.com{path}").has("v2/embed")
    assert not Endpoint.parse("https://x.eastus2.models.ai.azure.com").has("v2/embed")
