"""Vision models written by tests: ONNX Runtime gets the pixels sent and computes their weights."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

import onnx_files
from azinfer.core import BadRequestError, ConfigurationError, InferenceClient
from azinfer.local import EngineError, LocalDeployment, LocalEndpoint
from azinfer.local.config.endpoint_config import read_endpoint_config
from azinfer.local.engines.onnx import OnnxImages
from azinfer.local.engines.vision.onnx_graph import add_output
from azinfer.local.engines.vision.preprocessing import STATISTICS, Preprocessing
from drawings import file_of
from onnx_files import node

WIDE, PATCH, LONG = 6, 4, 5
INNER = "/inner" * 30  # longer than one byte can say
OPEN = ("count", 3, "height", "width")
PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
Made = Callable[..., Path]


def seed_weights() -> dict[str, np.ndarray]:
    """The weights of a tiny model: patches, and a projection."""
    random = np.random.default_rng(0)
    shapes = {"patches": (WIDE, 3, PATCH, PATCH), "bias": (WIDE,), "projection": (WIDE, LONG)}
    weights = {name: random.normal(0, 1, shape) for name, shape in shapes.items()}
    return {name: values.astype(np.float32) for name, values in weights.items()}


def vision(side: int | str = "side") -> bytes:
    """A model with patches, their mean, and a projection of it."""
    stride = {"kernel_shape": [PATCH, PATCH], "strides": [PATCH, PATCH]}
    nodes = [
        node("Conv", ["pixel_values", "patches", "bias"], "found", **stride),
        node("Relu", ["found"], "kept"),
        node("GlobalAveragePool", ["kept"], "mean"),
        node("Flatten", ["mean"], INNER),
        node("MatMul", [INNER, "projection"], "image_embeds"),
    ]
    inputs = {"pixel_values": ("count", 3, side, side)}
    return onnx_files.model(nodes, inputs, {"image_embeds": ("count", LONG)}, seed_weights())


def compute_vector(pixels: np.ndarray) -> Any:
    """The vector of an image, its colours from 0 to 1, as ImageNet's are prepared."""
    weights = seed_weights()
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    image = ((pixels - mean) / std).transpose(2, 0, 1)
    rows, columns = (side // PATCH for side in image.shape[1:])
    patches = image.reshape(3, rows, PATCH, columns, PATCH)
    result = np.einsum("crxkz,ocxz->ork", patches, weights["patches"])
    kept = np.maximum(result + weights["bias"][:, None, None], 0)
    vector = kept.mean((1, 2)) @ weights["projection"]
    return vector / np.linalg.norm(vector)


def glass(shape: tuple[int | str, ...] = OPEN) -> bytes:
    """A model whose vector is what it sees, number by number."""
    inputs = {"image": shape}
    return onnx_files.model([node("Flatten", ["image"], "all")], inputs, {"all": ("n", "m")}, {})


def two(names: tuple[str, str]) -> bytes:
    """A model of two outputs, each what it sees in another form."""
    first, second = names
    tensors = {"form": np.array([1, -1, 3], np.int64)}
    nodes = [
        node("Flatten", ["image"], first),
        node("Reshape", ["image", "form"], second),
    ]
    outputs = {first: ("n", "m"), second: ("n", "m", "k")}
    return onnx_files.model(nodes, {"image": OPEN}, outputs, tensors)


@pytest.fixture
def write_model(tmp_path: Path) -> Made:
    """Write a model's file."""

    def write(content: bytes, name: str = "model.onnx") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return path

    return write


@pytest.fixture
def eye(write_model: Made) -> Callable[..., Any]:
    """Return the pixels that a model gets, from 0 to 1, shape (height, width, 3)."""

    def see(data: bytes, height: int, width: int, **settings: Any) -> Any:
        path = write_model(glass((1, 3, height, width)))
        engine = OnnxImages(path, **{"normalize": PLAIN, **settings})
        [vector] = asyncio.run(engine.embed_images([(data, None)]))
        asyncio.run(engine.aclose())
        return np.array(vector).reshape(3, height, width).transpose(1, 2, 0)

    return see


def unit(numbers: Any) -> Any:
    """As vectors of numbers come: of length 1."""
    return numbers / np.linalg.norm(numbers)


def noise(height: int, width: int) -> np.ndarray:
    """Colours that repeat nowhere."""
    return np.random.default_rng(7).integers(1, 256, (height, width, 3), np.uint8)


def test_any_model_computes_the_vectors_of_its_weights_over_http(write_model: Made) -> None:
    engine = OnnxImages(write_model(vision()), normalize="imagenet", size=16)
    assert engine.dimensions == LONG
    pictures = [noise(16, 16), noise(16, 16)[::-1].copy(), np.full((16, 16, 3), 9, np.uint8)]
    with (
        LocalEndpoint([LocalDeployment("tiny", engine=engine)]) as endpoint,
        InferenceClient(f"{endpoint.url}/models", endpoint.key, "tiny") as client,
    ):
        answer = client.embed_images([file_of(Image.fromarray(each)) for each in pictures])
        short = client.embed_images([file_of(Image.fromarray(pictures[0]))], dimensions=2)
        with pytest.raises(BadRequestError, match="less than or equal to 5"):
            client.embed_images([file_of(Image.fromarray(pictures[0]))], dimensions=6)
    for vector, picture in zip(answer.vectors, pictures, strict=True):
        assert list(vector) == pytest.approx(list(compute_vector(picture / 255)), abs=1e-5)
    assert list(short.vectors[0]) == pytest.approx(
        list(unit(compute_vector(pictures[0] / 255)[:2]))
    )


def test_half_precision_is_as_close_as_possible(write_model: Made) -> None:
    nodes = [node("Flatten", ["image"], "all")]
    kinds = {"image": 10, "all": 10}
    path = write_model(onnx_files.model(nodes, {"image": OPEN}, {"all": ("n", "m")}, {}, kinds))
    engine = OnnxImages(path, normalize=PLAIN, size=4)
    [vector] = asyncio.run(engine.embed_images([(file_of(Image.fromarray(noise(4, 4))), None)]))
    right = unit(noise(4, 4).transpose(2, 0, 1).ravel() / 255)
    assert vector == pytest.approx(list(right), rel=1e-2)
    assert np.linalg.norm(vector) == pytest.approx(1)


def test_colours_are_normalised_as_in_training(eye: Callable[..., Any]) -> None:
    picture = noise(4, 4)
    data = file_of(Image.fromarray(picture))
    for name, (mean, std) in STATISTICS.items():
        right = (picture / 255 - mean) / std
        assert eye(data, 4, 4, normalize=name) == pytest.approx(unit(right), abs=1e-5)
    assert eye(data, 4, 4, normalize=None) == pytest.approx(eye(data, 4, 4, normalize="clip"))


def test_crop_keeps_the_middle(eye: Callable[..., Any]) -> None:
    picture = noise(4, 9)
    seen = eye(file_of(Image.fromarray(picture)), 4, 4)
    assert seen == pytest.approx(unit(picture[:, 2:6] / 255), abs=1e-5)


def test_pad_adds_black_bars(eye: Callable[..., Any]) -> None:
    picture = noise(4, 8)
    seen = eye(file_of(Image.fromarray(picture)), 8, 8, fit="pad")
    whole = np.zeros((8, 8, 3))
    whole[2:6] = picture / 255
    assert seen == pytest.approx(unit(whole), abs=1e-5)


def test_the_shorter_side_can_be_scaled_before_the_crop(
    eye: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "preprocessor_config.json").write_text('{"resample": 4}')
    half = noise(4, 8)
    picture = half.repeat(2, axis=0).repeat(2, axis=1)
    seen = eye(file_of(Image.fromarray(picture)), 2, 2, shortest_edge=4)
    assert seen == pytest.approx(unit(half[1:3, 3:5] / 255), abs=1e-5)


def test_stretch_changes_the_proportions(eye: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text('{"resample": 4}')
    narrow = noise(4, 4)
    picture = Image.fromarray(narrow.repeat(2, axis=1))
    seen = eye(file_of(picture), 4, 4, fit="stretch")
    assert seen == pytest.approx(unit(narrow / 255), abs=1e-5)


def test_scaled_sizes_are_rounded_down_as_in_transformers(eye: Callable[..., Any]) -> None:
    picture = Image.fromarray(noise(10, 14))
    right = np.asarray(picture.resize((5, 4), Image.Resampling.BICUBIC))[:, 0:4]
    assert eye(file_of(picture), 4, 4) == pytest.approx(unit(right / 255), abs=1e-5)


def test_the_middle_of_a_very_long_image_is_seen(eye: Callable[..., Any]) -> None:
    wide = np.zeros((1, 65_535, 3), np.uint8)
    wide[:, 32_000:33_500] = 200
    assert eye(file_of(Image.fromarray(wide)), 8, 8) == pytest.approx(unit(np.ones((8, 8, 3))))
    for fit in ("pad", "stretch"):
        assert eye(file_of(Image.fromarray(wide)), 8, 8, fit=fit).shape == (8, 8, 3)


def turn(picture: Image.Image) -> bytes:
    """On its side, with an EXIF orientation that says so."""
    exif = Image.Exif()
    exif[0x112] = 6
    return file_of(picture.transpose(Image.Transpose.ROTATE_90), exif=exif)


def on_white(picture: Image.Image) -> Image.Image:
    clear = Image.new("RGBA", picture.size, (9, 9, 9, 0))
    clear.paste(picture, (2, 0))
    return clear


FORMS: dict[str, tuple[Callable[[Image.Image], bytes], Callable[[Image.Image], Image.Image]]] = {
    "turned": (turn, lambda picture: picture),
    "grey": (lambda p: file_of(p.convert("L")), lambda p: p.convert("L").convert("RGB")),
    "grey and clear": (
        lambda p: file_of(on_white(p.convert("L").convert("RGB")).convert("LA")),
        lambda p: flat(on_white(p.convert("L").convert("RGB"))),
    ),
    "16 bits": (
        lambda p: file_of(Image.fromarray(np.asarray(p.convert("L")).astype(np.uint16) * 257)),
        lambda p: p.convert("L").convert("RGB"),
    ),
    "1 bit": (
        lambda p: file_of(p.convert("1")),
        lambda p: p.convert("1").convert("RGB"),
    ),
    "clear": (lambda p: file_of(on_white(p)), lambda p: flat(on_white(p))),
    "palette": (
        lambda p: file_of(p.quantize(8)),
        lambda p: p.quantize(8).convert("RGB"),
    ),
    "clear palette": (
        lambda p: file_of(p.quantize(8), transparency=0),
        lambda p: flat(Image.open(io.BytesIO(file_of(p.quantize(8), transparency=0)))),
    ),
    "moving": (
        lambda p: file_of(p.quantize(8), "GIF", save_all=True, append_images=[p.rotate(180)]),
        lambda p: p.quantize(8).convert("RGB"),
    ),
    "moving WebP": (
        lambda p: file_of(p, "WEBP", save_all=True, append_images=[p.rotate(180)], lossless=True),
        lambda picture: picture,
    ),
    "CMYK": (
        lambda p: file_of(p.convert("CMYK"), "TIFF"),
        lambda p: p.convert("CMYK").convert("RGB"),
    ),
    "BMP": (lambda p: file_of(p, "BMP"), lambda picture: picture),
}


def flat(picture: Image.Image) -> Image.Image:
    clear = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")


@pytest.mark.parametrize("form", FORMS)
def test_images_of_every_mode_are_decoded_as_they_look(eye: Callable[..., Any], form: str) -> None:
    write, look = FORMS[form]
    picture = Image.fromarray(noise(8, 8))
    right = np.asarray(look(picture)) / 255
    assert eye(write(picture), 8, 8) == pytest.approx(unit(right), abs=2e-4)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEndpoint]:
    """An endpoint with the model of patches, described in a file."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.onnx").write_bytes(vision(16))
    (folder / "azinfer.toml").write_text(
        '[local.deployments.tiny.engine]\nkind = "onnx"\npath = "tiny.onnx"\n'
    )
    with LocalEndpoint.from_config(folder / "azinfer.toml") as endpoint:
        yield endpoint


def post_images(endpoint: LocalEndpoint, path: str, *inputs: tuple[bytes, str | None]) -> Any:
    """The answer to several images in one request."""
    values = [
        {
            "image": f"data:image/png;base64,{base64.b64encode(data).decode()}",
            **({} if text is None else {"text": text}),
        }
        for data, text in inputs
    ]
    headers = {"api-key": endpoint.key}
    body = {"model": "tiny", "input": values}
    return httpx.post(f"{endpoint.url}{path}", json=body, headers=headers, timeout=60)


WHOLE = file_of(Image.fromarray(noise(16, 16)))
BROKEN = {
    "no image": (b"none", "its format is not one of PNG, JPEG"),
    "half": (WHOLE[:300], "the image cannot be read: "),
    "nothing": (b"", "its format is not one of PNG, JPEG"),
    "a program": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "its format is not one of PNG",
    ),
    "a bomb": (file_of(Image.new("1", (8_000, 8_000))), "has over 50,000,000 pixels"),
    "a strip": (file_of(Image.new("1", (9, 70_000))), "or 65,535 along a side"),
    "a larger bomb": (file_of(Image.new("1", (14_000, 14_000))), "cannot be read"),
}


@pytest.mark.parametrize("path", ["/models/images/embeddings", "/images/embeddings"])
@pytest.mark.parametrize("kind", BROKEN)
def test_data_that_is_not_an_image_is_refused_with_its_index(
    tiny: LocalEndpoint, path: str, kind: str
) -> None:
    data, reason = BROKEN[kind]
    answer = post_images(tiny, path, (WHOLE, None), (data, None))
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("BadRequest", "input.1.image")
    assert error["message"].startswith("input.1.image: ")
    assert reason in error["message"]
    assert post_images(tiny, path, (WHOLE, None)).status_code == 200


def test_a_text_that_the_model_ignores_is_refused(tiny: LocalEndpoint) -> None:
    answer = post_images(tiny, "/models/images/embeddings", (WHOLE, None), (WHOLE, "a cat"))
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == "input.1.text"
    assert "reads images but not text; send the image alone" in error["message"]
    assert post_images(tiny, "/models/images/embeddings", (WHOLE, "")).status_code == 200


def test_the_model_is_listed_with_its_capabilities(tiny: LocalEndpoint) -> None:
    [deployment] = tiny.deployments
    assert deployment.capabilities == {"image_embeddings": "true"}
    with (
        InferenceClient(tiny.url, tiny.key, "tiny") as client,
        pytest.raises(BadRequestError, match="does not work with the specified model"),
    ):
        client.embed("text")


def test_zero_vectors_are_an_error(write_model: Made) -> None:
    engine = OnnxImages(write_model(glass((1, 3, 4, 4))), normalize=PLAIN)
    with pytest.raises(EngineError, match=r"input\.0\.image: the model's vector has length 0"):
        asyncio.run(engine.embed_images([(file_of(Image.new("RGB", (4, 4))), None)]))


OUTPUTS: list[tuple[bytes, str | None, int]] = [
    (glass(), None, 3 * 16),
    (two(("all", "last_hidden_state")), None, 3),
    (two(("pooler_output", "last_hidden_state")), None, 3 * 16),
    (two(("all", "tokens")), None, 3 * 16),
    (two(("all", "tokens")), "tokens", 3),
    (two(("logits", "tokens")), "logits", 3 * 16),
]


@pytest.mark.parametrize(("content", "output", "length"), OUTPUTS)
def test_the_output_with_the_vector_is_found(
    write_model: Made, content: bytes, output: str | None, length: int
) -> None:
    engine = OnnxImages(write_model(content), normalize=PLAIN, size=4, output=output)
    assert engine.dimensions == length
    picture = noise(4, 4)
    [vector] = asyncio.run(engine.embed_images([(file_of(Image.fromarray(picture)), None)]))
    # Of tokens the first is taken: here the first three pixels of red.
    right = picture.transpose(2, 0, 1).ravel()[:length] / 255
    assert vector == pytest.approx(list(unit(right)), abs=1e-6)


def joint() -> bytes:
    """A model that wants a text beside an image."""
    nodes = [node("Flatten", ["pixel_values"], "image_embeds"), node("Neg", ["input_ids"], "t")]
    inputs = {"input_ids": ("n", "m"), "pixel_values": OPEN}
    outputs = {"image_embeds": ("n", "m"), "t": ("n", "m")}
    return onnx_files.model(nodes, inputs, outputs, {}, {"input_ids": 7, "t": 7})


def feature_map() -> bytes:
    """A model with one vector for each place of an image, but no vector for the whole image."""
    nodes = [node("Neg", ["image"], "map")]
    return onnx_files.model(nodes, {"image": OPEN}, {"map": OPEN}, {})


REFUSED: list[tuple[bytes | None, dict[str, Any], str]] = [
    (None, {}, "does not exist"),
    (b"none", {}, "cannot be loaded as an ONNX file"),
    (joint(), {}, "needs input_ids besides an image; pass the file of the image tower alone"),
    (glass((1, "h", "w", 3, 1)), {}, "does not take images of shape"),
    (glass((1, 8, 8, 3)), {}, "does not take images of shape"),
    (glass((2, 3, 8, 8)), {}, "does not take images of shape"),
    (glass((1, 3, 8, 8)), {"size": 16}, r"reads images of \[8, 8\] pixels, not of size 16"),
    (glass(), {"output": "al"}, "has no output 'al', but all"),
    (two(("logits", "tokens")), {}, "it is not clear which output is the vector"),
    (feature_map(), {"output": "map"}, "its output map is not a vector of an image; choose one"),
    (feature_map(), {}, "it is not clear which output is the vector"),
    (vision(), {"size": 2}, "fails on a grey image"),
    (glass(), {"threads": 0}, "threads must be 1 to"),
    (glass(), {"fit": "cut"}, "fit must be one of crop, stretch, pad, not 'cut'"),
    (glass(), {"normalize": "clap"}, "normalize must be one of clip, imagenet, half, not 'clap'"),
    (glass(), {"normalize": ((0.5,), (1.0,))}, "mean must be three numbers"),
    (glass(), {"normalize": ((0, 0, 0), (1, 0, 1))}, "std must not be 0"),
    (glass(), {"size": 5000}, "size must be 1 to 4096 pixels"),
    (glass(), {"shortest_edge": 0}, "shortest_edge must be 1 to 4096 pixels"),
]


@pytest.mark.parametrize(("content", "settings", "message"), REFUSED)
def test_a_file_that_is_not_a_vision_model_is_an_error(
    write_model: Made, tmp_path: Path, content: bytes | None, settings: dict[str, Any], message: str
) -> None:
    path = tmp_path / "missing.onnx" if content is None else write_model(content)
    with pytest.raises(ConfigurationError, match=message):
        OnnxImages(path, **settings)


def test_an_invalid_model_is_reported_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "joint.onnx").write_bytes(joint())
    path = tmp_path / "azinfer.toml"
    path.write_text('[local.deployments.images]\nengine = { kind = "onnx", path = "joint.onnx" }\n')
    message = r"azinfer\.toml, line 2: local\.deployments\.images\.engine: .*needs input_ids"
    with pytest.raises(ConfigurationError, match=message):
        read_endpoint_config(path)


def test_a_configuration_file_sets_the_preprocessing(tmp_path: Path) -> None:
    (tmp_path / "glass.onnx").write_bytes(glass())
    path = tmp_path / "azinfer.toml"
    path.write_text(
        """
        [local.deployments.one]
        engine.kind = "onnx"
        engine.path = "glass.onnx"
        engine.normalize = { mean = [0, 0, 0], std = [1, 1, 1] }
        engine.fit = "stretch"
        engine.size = 4
        engine.threads = 1
        engine.output = "all"

        [local.deployments.two.engine]
        kind = "onnx"
        path = "glass.onnx"
        size = 4
        normalize = { mean = [0, 0, 0], std = [1, 1, 1] }
        output = "all"
        threads = 1
        fit = "stretch"

        [local.deployments.three.engine]
        kind = "onnx"
        path = "glass.onnx"
        size = 8
        """
    )
    one, other, three = (each.engine for each in read_endpoint_config(path).deployments)
    assert isinstance(one, OnnxImages)
    assert isinstance(three, OnnxImages)
    assert one is other is not three
    assert (one.dimensions, three.dimensions) == (48, 192)
    picture = noise(4, 4)
    [vector] = asyncio.run(one.embed_images([(file_of(Image.fromarray(picture)), None)]))
    assert vector == pytest.approx(list(unit(picture.transpose(2, 0, 1).ravel() / 255)))


HALF = [0.5, 0.5, 0.5]
PREPROCESSING_CASES: list[tuple[Mapping[str, Any], Preprocessing]] = [
    (  # CLIP
        {"do_center_crop": True, "crop_size": 224, "size": 224, "resample": 3},
        Preprocessing(shortest_edge=224, size=224),
    ),
    (
        {
            "do_center_crop": True,
            "crop_size": {"height": 224, "width": 224},
            "size": {"shortest_edge": 256},
            "image_mean": HALF,
            "image_std": HALF,
            "rescale_factor": 0.5,
        },
        Preprocessing(*STATISTICS["half"], shortest_edge=256, size=224, scale=0.5),
    ),
    (  # ViT, SigLIP
        {"size": {"height": 384, "width": 384}, "resample": 2, "image_mean": HALF},
        Preprocessing(mean=(0.5, 0.5, 0.5), fit="stretch", size=384, resample=2),
    ),
    ({"size": 224}, Preprocessing(fit="stretch", size=224)),
    ({"size": {"shortest_edge": 224}}, Preprocessing(size=224)),
    ({}, Preprocessing()),
    (
        {"do_normalize": False, "do_rescale": False, "image_mean": HALF, "rescale_factor": 0.1},
        Preprocessing(*PLAIN, scale=1.0),
    ),
]


@pytest.mark.parametrize(("fields", "right"), PREPROCESSING_CASES)
@pytest.mark.parametrize("folder", ["", "onnx"])
def test_preprocessor_config_sets_the_preprocessing(
    tmp_path: Path, fields: Mapping[str, Any], right: Preprocessing, folder: str
) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(fields))
    model = tmp_path / folder / "model.onnx"
    assert Preprocessing.of(model) == right
    result = Preprocessing.of(model, "imagenet", fit="pad", size=None)
    assert (result.mean, result.fit) == (STATISTICS["imagenet"][0], "pad")
    assert result.size == right.size


# What the image processors of transformers 5.24 give for `WAVES` at three places.
THEIRS: dict[str, tuple[Mapping[str, Any], list[list[float]]]] = {
    "CLIP": (
        {"size": {"shortest_edge": 224}, "crop_size": {"height": 224}, "do_center_crop": True},
        [[-1.0623, -1.7521, -1.466], [-0.055, -0.8967, 0.2831], [1.1712, 2.0749, 0.8092]],
    ),
    "ViT": (
        {"size": {"height": 224}, "image_mean": HALF, "image_std": HALF, "resample": 2},
        [[-1.0, -1.0, -0.9922], [-0.1059, -0.5529, -0.3961], [0.9922, 1.0, -0.4353]],
    ),
    "SigLIP": (
        {"size": {"height": 224}, "image_mean": HALF, "image_std": HALF, "resample": 3},
        [[-1.0, -1.0, -1.0], [-0.1059, -0.5529, -0.4431], [0.9922, 1.0, -0.5294]],
    ),
    "DINOv2": (
        {
            "size": {"shortest_edge": 256},
            "crop_size": {"height": 224},
            "do_center_crop": True,
            "image_mean": [0.485, 0.456, 0.406],
            "image_std": [0.229, 0.224, 0.225],
        },
        [[-1.0904, -1.7556, -1.1596], [-0.0629, -0.8978, -0.0092], [1.2043, 2.131, 1.2457]],
    ),
}
Y, X = np.mgrid[0:300, 0:500]
WAVES = np.stack([X * 255 // 499, Y * 255 // 299, X * Y % 97 * 2], -1).astype(np.uint8)


@pytest.mark.parametrize("kind", THEIRS)
def test_images_are_prepared_as_transformers_does(tmp_path: Path, kind: str) -> None:
    message, right = THEIRS[kind]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(message))
    preparation = Preprocessing.of(tmp_path / "model.onnx")
    pixels = preparation.pixels(Image.fromarray(WAVES), 224, 224)
    result = pixels[0][:, [0, 50, 223], [0, 100, 223]].T
    assert result == pytest.approx(np.array(right), abs=1e-3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"preprocessor_config\.json cannot be read"),
        ("[]", r"preprocessor_config\.json: it is not an object"),
        ('{"image_mean": [0.5]}', r"preprocessor_config\.json: mean must be three numbers"),
        ('{"size": "large"}', "shortest_edge must be a number, not 'large'"),
        ('{"resample": 9}', "resample must be between 0 and 5"),
        ('{"image_std": 1}', "image_std must be a list"),
    ],
)
def test_an_invalid_preprocessor_config_is_an_error(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "preprocessor_config.json").write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        Preprocessing.of(tmp_path / "model.onnx")


def test_an_inner_tensor_becomes_an_output(write_model: Made) -> None:
    path = write_model(vision(8))
    data = file_of(Image.fromarray(noise(8, 8)))

    def vector(output: str) -> Any:
        engine = OnnxImages(path, output=output)
        [result] = asyncio.run(engine.embed_images([(data, None)]))
        return np.array(result)

    with pytest.raises(ConfigurationError, match="has no output '/inner"):
        vector(INNER)
    before = vector("image_embeds")
    add_output(path, INNER)
    assert (vector("image_embeds") == before).all()
    assert unit(vector(INNER) @ seed_weights()["projection"]) == pytest.approx(before, abs=1e-6)


async def test_work_does_not_block_the_event_loop(write_model: Made) -> None:
    engine = OnnxImages(write_model(glass()), normalize=PLAIN, size=1024)
    inputs = [(WHOLE, None)] * 4
    work = asyncio.create_task(engine.embed_images(inputs))
    turns = 0
    while not work.done():
        await asyncio.sleep(0)
        turns += 1
    # Were it done on the loop, there would be one turn an image, or so.
    assert turns > 100
    assert len(work.result()) == 4
    await engine.aclose()


async def test_a_closed_engine_says_so(write_model: Made) -> None:
    engine = OnnxImages(write_model(glass()), size=512)
    work = asyncio.create_task(engine.embed_images([(WHOLE, None)] * 50))
    await asyncio.sleep(0)
    await engine.aclose()
    with pytest.raises(EngineError, match="unloaded") as caught:
        await work
    assert caught.value.status == 503
    await engine.aclose()


MEASURED = """
import asyncio, re, sys
from pathlib import Path
from azinfer.local.engines.onnx import OnnxImages
engine = OnnxImages(Path(sys.argv[1]), size=224)
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
before = peak()
for name in sys.argv[2:]:
    asyncio.run(engine.embed_images([(Path(name).read_bytes(), None)] * 2))
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_the_largest_images_fit_into_memory(write_model: Made, tmp_path: Path) -> None:
    """50 million pixels are 200 MB, and as much again on white."""
    path = write_model(glass())
    names = []
    for mode, size in (("RGBA", (7_000, 7_000)), ("L", (700, 65_535)), ("P", (65_535, 20))):
        names.append(str(tmp_path / f"{mode}.png"))
        Image.new(mode, size).save(names[-1], compress_level=1)
    command = [sys.executable, "-c", MEASURED, str(path), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 100 < int(done.stdout) < 500


def test_onnx_runtime_sends_no_telemetry(write_model: Made, tmp_path: Path) -> None:
    """If it did, it would store a device id in the user's folder."""
    home = tmp_path / "home"
    home.mkdir()
    code = (
        "import sys; from pathlib import Path; from azinfer.local.engines.onnx import OnnxImages;"
        "OnnxImages(Path(sys.argv[1]), size=8)"
    )
    fields = {"HOME": str(home), "USERPROFILE": str(home)}
    dropped = ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    environ = {name: value for name, value in os.environ.items() if name not in dropped}
    command = [sys.executable, "-c", code, str(write_model(glass()))]
    subprocess.run(command, env={**environ, **fields}, check=True)
    assert not list(home.iterdir())


def test_without_the_extra_it_is_named(write_model: Made) -> None:
    code = (
        "import sys; sys.modules['onnxruntime'] = None; from azinfer.local.cli.main import main;"
        "sys.argv = ['azinfer', *sys.argv[1:]]; main()"
    )
    values = ["serve", "--port", "0", "--onnx", f"images={write_model(glass())}"]
    command = [sys.executable, "-c", code, *values]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'azinfer[onnx]'" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
