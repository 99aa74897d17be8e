"""Embeddings of texts and images on the three main surfaces, and their errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from agent_framework import Content, SupportsGetEmbeddings, exceptions

from agent_clients import client
from azinfer import core
from azinfer.agent_framework import AzInferEmbeddingClient
from azinfer.local import LocalDeployment, LocalEndpoint
from pictures import PNG
from raw_server import RawServer, failure, reply, vectors


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    """Deployments of three kinds, as strict as the service."""
    deployments = [
        LocalDeployment("text-embedding-3-small"),
        LocalDeployment("Cohere-embed-v3-english"),
    ]
    with LocalEndpoint(deployments, strict=True) as endpoint:
        yield endpoint


@pytest.fixture
def embed(url: str) -> AzInferEmbeddingClient:
    """A client of the raw server on one surface."""
    chat_client: AzInferEmbeddingClient = client(url, AzInferEmbeddingClient, model="embed")
    return chat_client


async def test_texts_become_vectors_in_their_order(surface: str, endpoint: LocalEndpoint) -> None:
    embed = AzInferEmbeddingClient(
        endpoint.url, endpoint.key, "text-embedding-3-small", surface=surface
    )
    assert isinstance(embed, SupportsGetEmbeddings)
    texts = [f"Text {at}" for at in range(300)]
    result = await embed.get_embeddings(texts)
    (alone,) = await embed.get_embeddings(["Text 200"])
    assert len(result) == 300
    assert result[200].vector == alone.vector
    assert result[0].dimensions == len(alone.vector)
    assert isinstance(alone.vector, list)
    assert isinstance(alone.vector[0], float)
    assert alone.model
    assert result.usage is not None
    assert result.usage["input_token_count"] == result.usage["total_token_count"]
    assert "output_token_count" not in result.usage


async def test_an_empty_text_does_not_fail_the_others(
    surface: str, endpoint: LocalEndpoint
) -> None:
    embed = AzInferEmbeddingClient(
        endpoint.url, endpoint.key, "text-embedding-3-small", surface=surface
    )
    assert len(await embed.get_embeddings(["one", "", "two"])) == 3


async def test_options_are_sent_and_kept(server: RawServer, embed: AzInferEmbeddingClient) -> None:
    server.will(reply(vectors([1.0, 2.0])))
    options: Any = {"dimensions": 2, "input_type": "query", "model": "other", "headers": {"a": "b"}}
    result = await embed.get_embeddings(["hi"], options=options)
    sent = server.received[0].request_body
    assert (sent["dimensions"], sent["input_type"], sent["model"]) == (2, "query", "other")
    assert sent["input"] == ["hi"]
    assert server.received[0].header("a") == "b"
    assert result.options is options


async def test_embedding_no_texts_sends_no_request(
    server: RawServer, embed: AzInferEmbeddingClient
) -> None:
    result = await embed.get_embeddings([])
    assert (list(result), result.usage) == ([], None)
    assert server.received == []


async def test_indexes_decide_the_order(server: RawServer, embed: AzInferEmbeddingClient) -> None:
    answer = vectors([1.0], [2.0])
    answer["data"].reverse()
    server.will(reply(answer))
    result = await embed.get_embeddings(["a", "b"])
    assert [each.vector for each in result] == [[1.0], [2.0]]


async def test_images_are_embedded(server: RawServer) -> None:
    # microsoft/agent-framework#5056: without the retired SDK
    server.will(reply(vectors([1.0])), reply(vectors([2.0])))
    embed = client(server.url + "/models", AzInferEmbeddingClient, model="embed")
    images = [
        Content.from_data(PNG, "image/png"),
        Content.from_uri("https://a.example/cat.png", media_type="image/png"),
    ]
    result = await embed.get_embeddings(images)
    assert sorted(each.vector for each in result) == [[1.0], [2.0]]
    sent = sorted(each.request_body["input"][0]["image"] for each in server.received)
    assert sent[0].startswith("data:image/png;base64,")
    assert sent[1] == "https://a.example/cat.png"
    assert {each.target.partition("?")[0] for each in server.received} == {
        "/models/images/embeddings"
    }


async def test_texts_and_images_do_not_mix(embed: AzInferEmbeddingClient) -> None:
    mixed: list[Any] = ["text", Content.from_data(PNG, "image/png")]
    with pytest.raises(exceptions.IntegrationInvalidRequestException, match="one call"):
        await embed.get_embeddings(mixed)
    with pytest.raises(exceptions.IntegrationInvalidRequestException, match="one call"):
        await embed.get_embeddings([Content.from_text("no image")])


ERRORS: list[tuple[int, Any, str, type[core.InferenceError]]] = [
    (400, failure("x"), "InvalidRequest", core.BadRequestError),
    (400, failure("content_filter"), "ContentFilter", core.ContentFilterError),
    (401, failure("401"), "InvalidAuth", core.AuthenticationError),
    (404, failure("unknown_model"), "InvalidRequest", core.DeploymentNotFoundError),
    (429, failure("429"), "", core.RateLimitError),
    (200, [], "InvalidResponse", core.InvalidResponseError),
]


@pytest.mark.parametrize(("status", "body", "theirs", "ours"), ERRORS)
async def test_an_error_is_both_the_frameworks_and_azinfers(
    server: RawServer,
    embed: AzInferEmbeddingClient,
    status: int,
    body: Any,
    theirs: str,
    ours: Any,
) -> None:
    server.will(reply(body, status))
    with pytest.raises(getattr(exceptions, f"Integration{theirs}Exception")) as caught:
        await embed.get_embeddings(["hi"])
    assert isinstance(caught.value, ours)
    assert type(caught.value.__cause__) is ours


def test_the_environment_names_the_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://contoso.openai.azure.com")
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "k")
    monkeypatch.setenv("AZURE_OPENAI_MODEL", "chat")
    assert AzInferEmbeddingClient().model == "chat"
    monkeypatch.setenv("AZURE_OPENAI_EMBEDDING_MODEL", "embed")
    assert AzInferEmbeddingClient().model == "embed"
