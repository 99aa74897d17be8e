"""Cohere's route of a resource: rerank and embed, by plain HTTP.

The unknown deployment's error and the tokens of an image follow recordings in crmne/ruby_llm.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from azinfer.local import LocalDeployment, LocalEndpoint, SyntheticEngine

TEXTS = ["The harbour of Oslo", "Bread needs flour", "Oslo in winter"]


@pytest.fixture(scope="module")
def resource() -> Iterator[LocalEndpoint]:
    engine = SyntheticEngine(dimensions=64)
    deployments = [LocalDeployment("Cohere-embed", engine=engine), LocalDeployment("rerank")]
    with LocalEndpoint(deployments, key="local-key") as endpoint:
        yield endpoint


@pytest.fixture
def http(resource: LocalEndpoint) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {resource.key}"}
    base = f"{resource.url}/providers/cohere"
    with httpx.Client(base_url=base, headers=headers) as client:
        yield client


def post(http: httpx.Client, path: str, status: int = 200, **body: Any) -> Any:
    response = http.post(path, json=body)
    assert response.status_code == status, response.text
    return response.json()


def embed(http: httpx.Client, **body: Any) -> Any:
    request = {"model": "cohere-embed", "input_type": "search_query", **body}
    return post(http, "/v2/embed", **request)


def picture() -> str:
    data = io.BytesIO()
    Image.new("RGB", (32, 32), "navy").save(data, "PNG")
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"


def rerank(http: httpx.Client, **body: Any) -> Any:
    return post(http, "/v2/rerank", **{"model": "rerank", "query": "Oslo", **body})


def test_documents_are_sorted_by_their_similarity(http: httpx.Client) -> None:
    answer = rerank(http, documents=TEXTS)
    assert [each["index"] for each in answer["results"]] == [2, 0, 1]
    scores = [each["relevance_score"] for each in answer["results"]]
    assert 1 >= scores[0] > scores[1] > scores[2] >= 0
    assert answer["meta"]["billed_units"] == {"search_units": 1}
    assert rerank(http, documents=TEXTS, top_n=2)["results"] == answer["results"][:2]
    assert rerank(http, documents=[{"text": text} for text in TEXTS])["results"]
    assert rerank(http, documents=TEXTS * 40)["meta"]["billed_units"] == {"search_units": 2}


def test_texts_are_embedded_by_type(http: httpx.Client) -> None:
    answer = embed(http, texts=TEXTS, embedding_types=["float", "int8"])
    assert [len(row) for row in answer["embeddings"]["float"]] == [64, 64, 64]
    assert answer["embeddings"]["int8"][0][0] == round(answer["embeddings"]["float"][0][0] * 127)
    assert answer["texts"] == TEXTS
    assert answer["response_type"] == "embeddings_by_type"
    assert answer["meta"]["api_version"] == {"version": "2"}
    short = embed(http, texts=TEXTS[:1], output_dimension=32)["embeddings"]["float"]
    assert len(short[0]) == 32


def test_the_first_version_answers_bare_vectors(http: httpx.Client) -> None:
    request: dict[str, Any] = {
        "model": "cohere-embed",
        "texts": TEXTS,
        "input_type": "search_query",
    }
    answer = post(http, "/v1/embed", **request)
    assert answer["response_type"] == "embeddings_floats"
    assert answer["embeddings"] == embed(http, texts=TEXTS)["embeddings"]["float"]
    typed = post(http, "/v1/embed", **request, embedding_types=["float"])
    assert typed["embeddings"] == {"float": answer["embeddings"]}


def test_images_and_texts_are_embedded_together(http: httpx.Client) -> None:
    answer = embed(http, images=[picture()], input_type="image")
    assert len(answer["embeddings"]["float"][0]) == 64
    assert answer["meta"]["billed_units"] == {"input_tokens": 1000, "images": 1}
    text = {"type": "text", "text": "a blue square"}
    image = {"type": "image_url", "image_url": {"url": picture()}}
    inputs = [{"content": [text, image]}, {"content": [text]}, {"content": [image]}]
    rows = embed(http, inputs=inputs)["embeddings"]["float"]
    assert rows[1] == embed(http, texts=["a blue square"])["embeddings"]["float"][0]
    assert rows[2] == answer["embeddings"]["float"][0]
    assert rows[0] not in rows[1:]


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        ("/v2/rerank", {"query": "", "documents": TEXTS}, "query must be"),
        ("/v2/rerank", {"query": "Oslo"}, "list of documents"),
        ("/v2/rerank", {"query": "Oslo", "documents": ["a", 1]}, "documents[1] must be a string"),
        ("/v2/rerank", {"query": "Oslo", "documents": ["a"], "top_n": 0}, "top_n"),
        ("/v2/embed", {}, "exactly one of"),
        ("/v2/embed", {"texts": ["a"], "images": ["b"]}, "exactly one of"),
        ("/v2/embed", {"texts": "a"}, "texts must be a list"),
        ("/v2/embed", {"texts": [1]}, "texts[0] must be a string"),
        ("/v2/embed", {"texts": ["a"], "input_type": "x"}, "invalid input_type"),
        ("/v2/embed", {"texts": ["a"], "embedding_types": ["x"]}, "invalid embedding_types"),
        ("/v2/embed", {"images": ["https://example.com/a.png"]}, "data URL"),
        ("/v2/embed", {"inputs": [{"content": []}]}, "inputs[0].content"),
    ],
)
def test_a_wrong_request_is_refused(
    http: httpx.Client, path: str, body: dict[str, Any], text: str
) -> None:
    error = post(http, path, 400, **{"model": "rerank", "input_type": "search_query", **body})
    assert text in error["message"]


def test_an_unknown_deployment_is_named_in_lower_case(http: httpx.Client) -> None:
    response = http.post("/v2/rerank", json={"model": "Nope", "query": "a", "documents": ["b"]})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (404, "DeploymentNotFound")
    assert error["details"].startswith("The API deployment nope does not exist.")
    assert response.headers["x-ms-error-code"] == "DeploymentNotFound"


def test_strict_mode_takes_as_many_texts_as_the_service(strict: LocalEndpoint) -> None:
    url, headers = f"{strict.url}/providers/cohere/v2/embed", {"api-key": strict.key}
    for count, status in ((96, 200), (97, 400)):
        body = {"model": "only", "input_type": "search_query", "texts": ["a"] * count}
        assert httpx.post(url, json=body, headers=headers).status_code == status
