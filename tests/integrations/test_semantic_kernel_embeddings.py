"""AzInferTextEmbedding: vectors for kernels, vector stores and images, over real HTTP."""

# No `annotations` from the future: Semantic Kernel reads the annotations of data models.
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.connectors.in_memory import InMemoryCollection
from semantic_kernel.contents import ImageContent
from semantic_kernel.data.vector import VectorStoreField, vectorstoremodel
from semantic_kernel.exceptions import (
    ServiceInvalidRequestError,
    ServiceResourceNotFoundError,
    ServiceResponseException,
)

from azinfer import core
from azinfer.local import LocalDeployment, LocalEndpoint
from azinfer.semantic_kernel import (
    AzInferChatCompletion,
    AzInferEmbeddingPromptExecutionSettings,
    AzInferTextEmbedding,
)
from kernels import kernel, request_body
from pictures import PNG
from raw_server import RawServer, failure, reply, vectors

Make = Callable[..., Any]
Settings = AzInferEmbeddingPromptExecutionSettings
OLIVES = "The harvest of olives begins in October"


@pytest.fixture
def embedding(service: Make) -> Make:
    """Makes embeddings of the raw server, on one surface."""
    return functools.partial(service, AzInferTextEmbedding, model="embed")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    """One deployment."""
    with LocalEndpoint([LocalDeployment("Embed")]) as endpoint:
        yield endpoint


@pytest.fixture
def embed(surface: str, endpoint: LocalEndpoint) -> AzInferTextEmbedding:
    """A service of one surface."""
    endpoint.requests.clear()
    return AzInferTextEmbedding(endpoint.url, endpoint.key, "embed", surface=surface)


@vectorstoremodel
@dataclass
class Document:
    """What a store keeps."""

    id: Annotated[str, VectorStoreField("key")]
    text: Annotated[str, VectorStoreField("data")]
    vector: Annotated[list[float] | str | None, VectorStoreField("vector", dimensions=384)] = None

    def __post_init__(self) -> None:
        self.vector = self.vector or self.text


async def test_texts_become_vectors_in_their_order(embed: AzInferTextEmbedding) -> None:
    embeddings = await embed.generate_embeddings(["one", "two", ""])
    raw = await embed.generate_raw_embeddings(["two", "one"])
    assert isinstance(embeddings, np.ndarray)
    assert (embeddings.shape, embeddings.dtype) == ((3, 384), np.float64)
    assert np.array_equal(embeddings[:2], np.array(raw[::-1]))
    assert isinstance(raw[0][0], float)
    assert (await embed.generate_embeddings([])).shape == (0,)


async def test_settings_are_typed_or_generic(embed: AzInferTextEmbedding) -> None:
    for settings in (Settings(dimensions=32), PromptExecutionSettings(dimensions=32)):
        assert (await embed.generate_embeddings(["a"], settings)).shape == (1, 32)
    assert (
        await embed.generate_embeddings(["a"], Settings(dimensions=32), dimensions=8)
    ).shape == (
        1,
        8,
    )


async def test_a_kernel_embeds_the_fields_of_records(embed: AzInferTextEmbedding) -> None:
    test_kernel = kernel(embed)
    records: Any = [{"text": "one"}, {"text": "two"}]
    await test_kernel.add_embedding_to_object(
        records, "text", "vector", {"embed": Settings(dimensions=4)}
    )
    assert [len(each["vector"]) for each in records] == [4, 4]


async def test_a_vector_store_returns_the_nearest_record(
    embed: AzInferTextEmbedding, endpoint: LocalEndpoint
) -> None:
    collection: Any = InMemoryCollection(Document, None, "documents", embed)
    await collection.ensure_collection_exists()
    texts = [OLIVES, "Bread dough should rest", "Bicycles lean into a curve"]
    await collection.upsert([Document(str(at), text) for at, text in enumerate(texts)])
    match = await collection.search("When does the harvest of olives begin?", top=1)
    (best,) = [each async for each in match.results]
    assert best.record.text == OLIVES
    assert [len(each.body["input"]) for each in endpoint.requests] == [3, 1]


def numbered_vectors(request: Any) -> Any:
    """Vectors that contain their place in the request."""
    count = len(request.json["input"])
    rows = [{"index": at, "embedding": [float(at), 1.0]} for at in range(count)]
    return reply({"data": rows[::-1]})


async def test_documents_and_queries_are_distinguished(server: RawServer, embedding: Make) -> None:
    # Azure/azure-sdk-for-python#41001; BerriAI/litellm#11434
    server.choose = numbered_vectors
    embed = embedding(query_type="query", document_type="document")
    await embed.generate_raw_embeddings(["a"])
    await embed.generate_embeddings(["a"])
    await embed.generate_embeddings(["a"], Settings(input_type="text"))
    kinds = [each.json["input_type"] for each in server.received]
    assert kinds == ["document", "query", "text"]


async def test_vector_stores_distinguish_documents_and_queries(
    server: RawServer, embedding: Make
) -> None:
    server.choose = lambda request: reply(vectors(*[[0.5] * 384] * len(request.json["input"])))
    embed = embedding(query_type="query", document_type="document")
    collection: Any = InMemoryCollection(Document, None, "documents", embed)
    await collection.ensure_collection_exists()
    await collection.upsert(Document("1", OLIVES))
    await collection.search("olives?", top=1)
    assert [each.json["input_type"] for each in server.received] == ["document", "query"]
    assert {each.json["dimensions"] for each in server.received} == {384}


async def test_many_texts_go_in_batches_and_come_in_order(
    server: RawServer, embedding: Make
) -> None:
    # microsoft/semantic-kernel#2099
    server.choose = numbered_vectors
    embed = embedding(model_id="Cohere-embed-v3-english")
    embeddings = await embed.generate_embeddings([str(at) for at in range(200)])
    assert sorted(len(each.json["input"]) for each in server.received) == [8, 96, 96]
    assert embeddings[:, 0].tolist() == [*range(96), *range(96), *range(8)]
    server.received.clear()
    await embed.generate_raw_embeddings(["a"] * 5, batch_size=2)
    assert [len(each.json["input"]) for each in server.received] == [2, 2, 1]


def fixed_dimensions(length: int, says: Callable[[], Any]) -> Callable[[Any], Any]:
    """A model that cannot choose its dimensions, and how it says so."""

    def choose(request: Any) -> Any:
        if "dimensions" in request.json:
            return reply(says(), 400)
        return reply(vectors([1.0] * length))

    return choose


@pytest.mark.parametrize(
    "says",
    [
        lambda: failure(None, "This model does not support specifying dimensions."),
        lambda: failure("unsupported_parameter", "not allowed", param="dimensions"),
    ],
)
async def test_dimensions_are_not_sent_to_models_with_fixed_dimensions(
    server: RawServer, embedding: Make, says: Any
) -> None:
    server.choose = fixed_dimensions(384, says)
    embeddings = await embedding().generate_embeddings(["a"], Settings(dimensions=384))
    assert embeddings.shape == (1, 384)
    with pytest.raises(ServiceInvalidRequestError):
        await embedding().generate_embeddings(["a"], Settings(dimensions=256))


async def test_other_refusals_are_raised(server: RawServer, embedding: Make) -> None:
    server.will(reply(failure("x", "too long"), 400))
    with pytest.raises(ServiceInvalidRequestError):
        await embedding().generate_embeddings(["a"], Settings(dimensions=2))
    assert len(server.received) == 1


async def test_options_and_another_deployment_reach_the_wire(
    server: RawServer, embedding: Make
) -> None:
    server.choose = numbered_vectors
    settings = Settings(
        ai_model_id="other",
        encoding_format="float",
        user="me",
        headers={"x": "1"},
        extra_parameters={"truncate": "END"},
    )
    await embedding().generate_embeddings(["a"], settings)
    assert request_body(server) == {
        "input": ["a"],
        "model": "other",
        "encoding_format": "float",
        "user": "me",
        "truncate": "END",
    }
    assert server.received[0].header("x") == "1"


async def test_images_become_vectors(embed: AzInferTextEmbedding, tmp_path: Path) -> None:
    data = PNG
    path = tmp_path / "a.png"
    path.write_bytes(data)
    images: list[Any] = [
        ImageContent(data=data, mime_type="image/png"),
        ImageContent(data=data),
        data,
        path,
    ]
    result = await embed.generate_image_embeddings(images)
    assert result.shape == (4, 384)
    assert (result == result[0]).all()


async def test_an_empty_image_is_an_error(server: RawServer, embedding: Make) -> None:
    with pytest.raises(ServiceInvalidRequestError, match="has no data"):
        await embedding().generate_image_embeddings([ImageContent()])


async def test_errors_are_semantic_kernels_too(server: RawServer, embedding: Make) -> None:
    server.will(reply(failure("unknown_model"), 404))
    for asking in (
        embedding().generate_embeddings(["a"]),
        embedding().generate_raw_embeddings(["a"]),
        embedding().generate_image_embeddings([b"\x89PNG"]),
    ):
        with pytest.raises(ServiceResourceNotFoundError) as caught:
            await asking
        assert isinstance(caught.value, ServiceResponseException)
        assert isinstance(caught.value.__cause__, core.DeploymentNotFoundError)


async def test_a_busy_endpoint_is_retried(server: RawServer, embedding: Make) -> None:
    busy = reply(failure("429"), 429, {"retry-after-ms": "1"})
    server.will(busy, reply(vectors([1.0])))
    embeddings = await embedding(max_retries=1).generate_embeddings(["a"])
    assert (embeddings.tolist(), len(server.received)) == ([[1.0]], 2)


async def test_chats_and_embeddings_share_a_kernel_and_a_client(endpoint: LocalEndpoint) -> None:
    client = core.AsyncInferenceClient(endpoint.url, endpoint.key, "embed")
    test_kernel = kernel(
        AzInferTextEmbedding(client=client, service_id="embeddings"),
        AzInferChatCompletion(client=client, service_id="chat"),
    )
    assert str(await test_kernel.invoke_prompt("hi")).endswith("to: hi")
    result = test_kernel.get_service("embeddings", type=AzInferTextEmbedding)
    assert (await result.generate_embeddings(["a"])).shape == (1, 384)
