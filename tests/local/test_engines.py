"""Engines: custom ones, and what the synthetic engine sees in images."""

from __future__ import annotations

import inspect
import io
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageEnhance

from azinfer.core import BadRequestError, InferenceClient, UserMessage
from azinfer.local import LocalDeployment, LocalEndpoint, SyntheticEngine
from azinfer.local.engines import base as engines
from pictures import PNG


def test_the_engine_that_the_documentation_shows_works() -> None:
    source = inspect.cleandoc(engines.__doc__ or "")
    program = textwrap.dedent(source.partition(":\n\n")[2])
    assert program.count("\n") < 30
    names: dict[str, Any] = {}
    exec(program, names)
    with (
        names["endpoint"] as endpoint,
        InferenceClient(endpoint.url, endpoint.key, "loud") as client,
    ):
        answer = client.complete([UserMessage("say it loud")])
        assert answer.text == "SAY IT LOUD "
        assert answer.usage is not None
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 3)
        with client.stream([UserMessage("say it loud")], max_tokens=2) as chunks:
            assert [chunk.text for chunk in chunks if chunk.text] == ["SAY ", "IT "]
        vector = client.embed("aeiou").vectors[0]
        assert list(vector) == pytest.approx([0.2**0.5] * 5)
        with pytest.raises(BadRequestError, match="does not work with the specified model"):
            InferenceClient(f"{endpoint.url}/models", endpoint.key, "loud").embed_images([PNG])


def draw_shape(shape: str, colour: str, size: tuple[int, int] = (96, 96)) -> Image.Image:
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    box = (size[0] // 5, size[1] // 5, 4 * size[0] // 5, 4 * size[1] // 5)
    if shape == "circle":
        draw.ellipse(box, fill=colour)
    elif shape == "square":
        draw.rectangle(box, fill=colour)
    else:
        for at in range(0, size[0], size[0] // 8):
            draw.rectangle((at, 0, at + size[0] // 16, size[1]), fill=colour)
    return image


def file_of(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def client() -> Iterator[InferenceClient]:
    """A client of the synthetic engine, where images are embedded."""
    with (
        LocalEndpoint([LocalDeployment("images", engine=SyntheticEngine(dimensions=256))]) as at,
        InferenceClient(f"{at.url}/models", at.key, "images") as client,
    ):
        yield client


def vectors_of(client: InferenceClient, *images: Any) -> list[list[float]]:
    return [list(vector) for vector in client.embed_images(list(images)).vectors]


def likeness(first: list[float], second: list[float]) -> float:
    return sum(a * b for a, b in zip(first, second, strict=True))


def test_images_that_look_alike_are_near(client: InferenceClient) -> None:
    """The nearest of six images to each changed image is its original."""
    originals = [draw_shape(s, c) for s in ("circle", "square", "stripes") for c in ("red", "blue")]
    known = vectors_of(client, *map(file_of, originals))
    changed = [
        file_of(original.resize((50, 70)), "JPEG", quality=60)
        if at % 2
        else file_of(ImageEnhance.Brightness(original).enhance(0.85), "WEBP")
        for at, original in enumerate(originals)
    ]
    for at, vector in enumerate(vectors_of(client, *changed)):
        values = [likeness(vector, each) for each in known]
        assert values.index(max(values)) == at
        assert values[at] > 0.9


@pytest.mark.parametrize("dimensions", [1, 4, 64])
def test_shortened_vectors_are_never_zero(client: InferenceClient, dimensions: int) -> None:
    texts = ["a b", "b a", "", "word", "two words", "\u00e9\u6f22"]
    for vector in client.embed(texts, dimensions=dimensions):
        assert likeness(list(vector), list(vector)) == pytest.approx(1)
    first, other_way_round, others = map(list, client.embed(["a b", "b a", "c d"]))
    assert likeness(first, other_way_round) > 0.99
    assert abs(likeness(first, others)) < 0.3


def test_vectors_of_images_are_unit_vectors_and_always_the_same(client: InferenceClient) -> None:
    image = file_of(draw_shape("circle", "green"))
    first, second = vectors_of(client, image, image)
    assert first == second
    assert len(first) == 256
    assert likeness(first, first) == pytest.approx(1)
    (black,) = vectors_of(client, file_of(Image.new("L", (1, 1))))
    assert likeness(black, black) == pytest.approx(1)


def test_a_text_beside_an_image_counts(client: InferenceClient) -> None:
    image = file_of(draw_shape("square", "red"))
    plain, cat, cats, dog = vectors_of(
        client, image, (image, "a cat"), (image, "the cat"), (image, "one dog")
    )
    assert likeness(plain, cat) < 0.95
    assert likeness(cat, cats) > likeness(cat, dog)


def test_transparent_pixels_are_white(client: InferenceClient) -> None:
    clear, white = vectors_of(
        client,
        file_of(Image.new("RGBA", (9, 9), (255, 0, 0, 0))),
        file_of(Image.new("RGB", (9, 9), "white")),
    )
    assert likeness(clear, white) == pytest.approx(1)


@pytest.mark.parametrize("data", [b"\x89PNG", b"GIF89a", file_of(draw_shape("circle", "red"))[:60]])
def test_data_that_is_not_an_image_is_refused(client: InferenceClient, data: bytes) -> None:
    with pytest.raises(BadRequestError, match=r"input\.0\.image: the image cannot be read"):
        client.embed_images([data])


def test_an_image_that_would_fill_the_memory_is_refused(client: InferenceClient) -> None:
    bomb = file_of(Image.new("1", (20_000, 20_000)))
    assert len(bomb) < 100_000
    with pytest.raises(BadRequestError, match=r"input\.0\.image: .*cannot be read"):
        client.embed_images([bomb])
