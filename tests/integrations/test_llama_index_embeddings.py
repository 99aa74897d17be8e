"""Embeddings of texts and images and ingestion, on each of the three main surfaces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import (
    Document,
    SimpleDirectoryReader,
    VectorStoreIndex,
)
from llama_index.core.base.llms.types import ImageBlock
from llama_index.core.indices.multi_modal import MultiModalVectorStoreIndex
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import ImageDocument, ImageNode, TextNode
from PIL import Image

from azinfer import core
from azinfer.llama_index import AzInferEmbedding, AzInferImageEmbedding
from azinfer.local import LocalDeployment, LocalEndpoint
from client_driver import KEY, SURFACES
from llama_index_calls import FACTS, call_method, payload_of
from raw_server import (
    Peer,
    RawServer,
    answer,
    failure,
    reply,
    vectors,
)

Make = Callable[..., Any]
PNG = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\0\0\0\nIDATx\x9cc`\0\0"
    b"\0\x02\0\x01H\xaf\xa4q\0\0\0\0IEND\xaeB`\x82"
)
OLIVES = "In which month does the harvest of olives begin?"
pytestmark = pytest.mark.usefixtures("own_loop")


def bodies_of(server: RawServer) -> list[Any]:
    return [request.json for request in server.received]


def long_text() -> str:
    return "\n\n".join(f"{fact} It is fact number {at}." for at, fact in enumerate(FACTS * 40))


def test_a_pipeline_splits_embeds_and_remembers(
    llama_endpoint: LocalEndpoint, embedding: AzInferEmbedding, kind: str
) -> None:
    splitter = SentenceSplitter(chunk_size=128, chunk_overlap=16)
    pipeline = IngestionPipeline(transformations=[splitter, embedding], cache=IngestionCache())
    documents = [Document(text=long_text(), id_="d")]
    response = call_method(pipeline, kind, "run", documents=documents)
    assert len(response) > 20
    assert all(len(node.embedding) == 384 for node in response)
    before = len(llama_endpoint.requests)
    again = call_method(pipeline, kind, "run", documents=documents)
    assert [node.embedding for node in again] == [node.embedding for node in response]
    assert len(llama_endpoint.requests) == before


def test_a_cache_tells_endpoints_of_the_environment_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    cache, nodes = IngestionCache(), [TextNode(text="one", id_="1")]
    deployments = [LocalDeployment("embed")]
    with LocalEndpoint(deployments) as first, LocalEndpoint(deployments) as second:
        for endpoint in (first, second, first):
            monkeypatch.setenv("AZURE_AI_ENDPOINT", endpoint.url)
            monkeypatch.setenv("AZURE_AI_API_KEY", endpoint.key)
            embedding = AzInferEmbedding(model="embed")
            IngestionPipeline(transformations=[embedding], cache=cache).run(nodes=nodes)
            again = AzInferEmbedding.from_dict(embedding.to_dict())
            assert again.core_client.endpoint == embedding.core_client.endpoint
        assert [len(each.requests) for each in (first, second)] == [1, 1]


def test_a_directory_is_read_and_indexed(embedding: AzInferEmbedding, tmp_path: Path) -> None:
    for at, fact in enumerate(FACTS):
        (tmp_path / f"{at}.txt").write_text(fact)
    documents = SimpleDirectoryReader(str(tmp_path)).load_data()
    index = VectorStoreIndex.from_documents(documents, embed_model=embedding)
    (result,) = index.as_retriever(similarity_top_k=1).retrieve(OLIVES)
    assert result.text == FACTS[1]


def test_batches_of_texts_are_embedded_together(
    component: Make, server: RawServer, kind: str
) -> None:
    def when_all_are_there(peer: Peer) -> None:
        together = kind == "sync" or server.wait_until(lambda: len(server.received) >= 5)
        rows = [[float(text), float(together)] for text in peer.received.json["input"]]
        peer.send(answer(vectors(*rows)))

    server.choose = lambda request: when_all_are_there
    embedding = component(AzInferEmbedding, embed_batch_size=2)
    texts = [str(number) for number in range(10)]
    response = call_method(embedding, kind, "get_text_embedding_batch", texts)
    assert response == [[float(number), 1.0] for number in range(10)]
    assert len(server.received) == 5


def test_a_batch_goes_in_requests_as_large_as_the_model_takes(
    component: Make, server: RawServer, kind: str
) -> None:
    server.choose = lambda request: reply(vectors(*([float(n)] for n in request.json["input"])))
    embedding = component(AzInferEmbedding, model_id="Cohere-embed-v3-english")
    texts = [str(number) for number in range(200)]
    response = call_method(embedding, kind, "get_text_embedding_batch", texts)
    assert response == [[float(number)] for number in range(200)]
    assert sorted(len(body["input"]) for body in bodies_of(server)) == [8, 96, 96]


def test_workers_bound_concurrent_requests(component: Make, server: RawServer) -> None:
    server.choose = lambda request: reply(vectors([1.0], [2.0]))
    embedding = component(AzInferEmbedding, embed_batch_size=2, num_workers=2)
    response = call_method(
        embedding, "async", "get_text_embedding_batch", ["a", "b"] * 3, show_progress=True
    )
    assert response == [[1.0], [2.0]] * 3


@pytest.mark.parametrize("model_id", ["Cohere-embed-v3-english", "text-embedding-3-small"])
def test_queries_and_texts_differ_where_model_and_surface_support_it(
    component: Make, server: RawServer, kind: str, model_id: str, path: str
) -> None:
    server.will(reply(vectors([1.0])))
    for named in ({}, {"query_type": "q", "document_type": "d"}):
        embedding = component(AzInferEmbedding, model_id=model_id, **named)
        call_method(embedding, kind, "get_query_embedding", "a")
        call_method(embedding, kind, "get_text_embedding", "a")
        call_method(embedding, kind, "get_text_embedding_batch", ["a"])
    input_types = [body.get("input_type") for body in bodies_of(server)]
    has_field = model_id.startswith("Cohere") and path == SURFACES["models"]
    known = ["query", "document", "document"] if has_field else [None] * 3
    assert input_types == [*known, "q", "d", "d"]


def test_an_embedding_is_called_by_its_model(component: Make) -> None:
    assert component(AzInferEmbedding).model_name == "prod"
    named = component(AzInferEmbedding, model_id="embed-v-4-0")
    assert payload_of(named).get("model_name", named.model_name) == "embed-v-4-0"
    assert component(AzInferEmbedding, model_name="mine").model_name == "mine"


def test_dimensions_are_requested(llama_endpoint: LocalEndpoint, path: str, kind: str) -> None:
    embedding = AzInferEmbedding(
        endpoint=llama_endpoint.url + path,
        credential=llama_endpoint.key,
        model="embed",
        dimensions=8,
    )
    assert len(call_method(embedding, kind, "get_query_embedding", "a")) == 8


def test_vectors_are_in_the_order_of_their_index(
    component: Make, server: RawServer, kind: str
) -> None:
    body = vectors([1.0], [2.0], [3.0])
    body["data"].reverse()
    server.will(reply(body))
    response = call_method(
        component(AzInferEmbedding), kind, "get_text_embedding_batch", ["a", "b", "c"]
    )
    assert response == [[1.0], [2.0], [3.0]]


def test_an_empty_text_does_not_sink_the_others(
    component: Make, server: RawServer, embedding: AzInferEmbedding, kind: str
) -> None:
    def choose(request: Any) -> Any:
        texts = request.json["input"]
        if not all(texts):
            return reply(failure("BadRequest", "input cannot be empty"), 400)
        return reply(vectors(*([float(len(text))] for text in texts)))

    server.choose = choose
    response = call_method(
        component(AzInferEmbedding), kind, "get_text_embedding_batch", ["ab", "", "abc"]
    )
    assert response == [[2.0], [1.0], [3.0]]
    assert len(call_method(embedding, kind, "get_text_embedding_batch", ["ab", ""])) == 2


@pytest.mark.parametrize(
    ("encoding", "row"), [("int8", [1, -2]), ("uint8", [1, 200]), ("binary", [-1, 7])]
)
def test_integers_stay_integers(
    component: Make, server: RawServer, kind: str, encoding: str, row: list[int]
) -> None:
    server.will(reply(vectors(row)))
    embedding = component(AzInferEmbedding, additional_kwargs={"encoding_format": encoding})
    response = call_method(embedding, kind, "get_text_embedding", "a")
    assert response == row
    assert all(isinstance(number, int) for number in response)
    assert bodies_of(server)[0]["encoding_format"] == encoding


@pytest.fixture
def images(llama_endpoint: LocalEndpoint, path: str) -> AzInferImageEmbedding:
    """An image embedding; `…/openai` has no operation for images, the resource beside it has."""
    url = llama_endpoint.url if path == "/openai" else llama_endpoint.url + path
    return AzInferImageEmbedding(endpoint=url, credential=llama_endpoint.key, model="embed")


def test_images_of_every_form_have_vectors(
    images: AzInferImageEmbedding, llama_endpoint: LocalEndpoint, tmp_path: Path, kind: str
) -> None:
    import base64
    import io

    file = tmp_path / "a.png"
    file.write_bytes(PNG)
    encoded = base64.b64encode(PNG).decode()
    url = f"data:image/png;base64,{encoded}"
    forms: list[Any] = [
        PNG,
        file,
        str(file),
        url,
        io.BytesIO(PNG),
        ImageDocument(image=encoded),
        ImageDocument(image_path=str(file)),
        ImageNode(image=encoded),
        ImageBlock(image=PNG),
        ImageBlock(url=url),
        core.ImageInput(PNG),
    ]
    first = call_method(images, kind, "get_image_embedding", PNG)
    assert call_method(images, kind, "get_image_embedding_batch", forms) == [first] * len(forms)
    last = llama_endpoint.requests[-1]
    if last.path.endswith("/models/images/embeddings"):  # of the URL that names it
        assert last.body["input"] == [{"image": url}]
    else:
        assert last.path.endswith("/providers/cohere/v2/embed")
        assert last.body["images"] == [url]


def test_the_url_of_an_image_is_passed_on(server: RawServer, kind: str) -> None:
    def choose(request: Any) -> Any:
        if request.method == "GET":  # an ImageDocument looks whether the image is there
            return reply(PNG, content_type="image/png")
        return reply(vectors([1.0]))

    server.choose = choose
    images = AzInferImageEmbedding(endpoint=f"{server.url}/models", credential=KEY, model="m")
    url = f"{server.url}/a.png"
    for form in (url, ImageNode(image_url=url), ImageDocument(image_url=url)):
        call_method(images, kind, "get_image_embedding", form)
    inputs = [request.json["input"] for request in server.received if request.method == "POST"]
    assert inputs == [[{"image": url}]] * 3


def test_images_are_retrieved_by_an_index(images: AzInferImageEmbedding, tmp_path: Path) -> None:
    nodes: list[Any] = [TextNode(text=FACTS[0])]
    for at in range(3):
        path = tmp_path / f"{at}.png"
        Image.new("L", (4, 4), at * 80).save(path)
        nodes.append(ImageNode(text=f"grey {at}", image_path=str(path), id_=f"image {at}"))
    index = MultiModalVectorStoreIndex(nodes, embed_model=images, image_embed_model=images)
    retriever: Any = index.as_retriever(image_similarity_top_k=1)
    (result,) = retriever.image_to_image_retrieve(str(tmp_path / "2.png"))
    assert result.node.node_id == "image 2"
