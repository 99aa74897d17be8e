"""Preparation: an image scaled, cut and shifted into the numbers that a vision model reads.

Source: the image processors of Hugging Face's transformers, whose `preprocessor_config.json` lies
beside most models.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from azinfer.core.errors import ConfigurationError
from azinfer.local.wire.options import Options

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

Colour = tuple[float, float, float]
FITS = ("crop", "stretch", "pad")
# Mean and standard deviation of red, green and blue in what models were trained on: CLIP's,
# ImageNet's (DINOv2, ResNet), and neither (ViT, SigLIP).
STATISTICS: Mapping[str, tuple[Colour, Colour]] = {
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
_LARGEST = 4096
_BICUBIC = 3
# Of a long image this many times what the model reads is scaled, lest it fill the memory.
_REACH = 32


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a model wants its images.

    Attributes:
        mean: What is taken off red, green and blue, which go from 0 to 1.
        std: What they are then divided by.
        fit: How an image of another shape fits: `"crop"` takes its middle, `"stretch"` changes
            its shape, `"pad"` puts black beside it.
        shortest_edge: For `"crop"`, the pixels that the shorter side is scaled to before; left
            out, as few as fill what the model reads.
        size: The pixels of each side, where the model's file does not say.
        resample: Pillow's number of the filter that scales; bicubic by default.
        scale: What a byte of colour is multiplied by.

    Raises:
        ConfigurationError: A field is none that a preparation can have.
    """

    mean: Colour = STATISTICS["clip"][0]
    std: Colour = STATISTICS["clip"][1]
    fit: str = "crop"
    shortest_edge: int | None = None
    size: int | None = None
    resample: int = _BICUBIC
    scale: float = 1 / 255

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            if not _is_colour(getattr(self, name)):
                raise ConfigurationError(f"{name} must be three numbers, of red, green and blue")
        if not all(self.std):
            raise ConfigurationError("std must not be 0: it is divided by")
        if self.fit not in FITS:
            raise ConfigurationError(f"fit {self.fit!r} is none of {', '.join(FITS)}")
        for name in ("shortest_edge", "size"):
            told = getattr(self, name)
            if told is not None and not 1 <= told <= _LARGEST:
                raise ConfigurationError(f"{name} must be 1 to {_LARGEST} pixels")

    @classmethod
    def given(cls, normalize: Any = None, **fields: Any) -> Self:
        """The preparation with these fields, as far as they are not None.

        Args:
            normalize: A name in `STATISTICS`, or mean and std.
            **fields: The others.

        Raises:
            ConfigurationError: A field is none that a preparation can have.
        """
        return cls(**_fields(normalize, fields))

    @classmethod
    def of(cls, model: Path, normalize: Any = None, **fields: Any) -> Self:
        """The preparation for a model: what is given, and what its `preprocessor_config.json` says.

        That file lies beside the model, or above it where its folder is called `onnx`.

        Args:
            model: The model's file.
            normalize: A name in `STATISTICS`, or mean and std.
            **fields: The others.

        Raises:
            ConfigurationError: A field is none that a preparation can have.
        """
        above = [model.parent.parent] if model.parent.name == "onnx" else []
        paths = [folder / "preprocessor_config.json" for folder in (model.parent, *above)]
        told = next((_told(path) for path in paths if path.is_file()), {})
        return cls(**{**told, **_fields(normalize, fields)})

    def pixels(self, picture: Image.Image, height: int, width: int) -> np.ndarray:
        """What a model reads of an image, shape `(1, 3, height, width)`.

        Args:
            picture: The image in red, green and blue.
            height: Pixels from top to bottom.
            width: Pixels from left to right.
        """
        import numpy as np

        fits = {"crop": self._cropped, "stretch": self._stretched, "pad": self._padded}
        fitted = fits[self.fit](picture, height, width)
        colours = np.asarray(fitted, np.float32) * np.float32(self.scale)
        mean, std = (np.asarray(each, np.float32) for each in (self.mean, self.std))
        return ((colours - mean) / std).transpose(2, 0, 1)[None]

    def _stretched(self, picture: Image.Image, height: int, width: int) -> Image.Image:
        return picture.resize((width, height), self.resample)

    def _padded(self, picture: Image.Image, height: int, width: int) -> Image.Image:
        from PIL import Image

        ratio = min(width / picture.width, height / picture.height)
        wide, high = (max(1, round(side * ratio)) for side in picture.size)
        whole = Image.new("RGB", (width, height))
        scaled = picture.resize((wide, high), self.resample)
        whole.paste(scaled, ((width - wide) // 2, (height - high) // 2))
        return whole

    def _cropped(self, picture: Image.Image, height: int, width: int) -> Image.Image:
        pairs = [(width, picture.width), (height, picture.height)]
        if self.shortest_edge is not None:
            pairs.append((self.shortest_edge, min(picture.size)))
        after, before = max(pairs, key=lambda pair: pair[0] / pair[1])
        # In whole numbers, as transformers counts: it rounds down what is not exact.
        reach = (_REACH * side * before // after + 1 for side in (width, height))
        part = tuple(map(min, picture.size, reach))
        wide, high = (side * after // before for side in part)
        scaled = picture.resize((wide, high), self.resample, _middle(picture, *part))
        return scaled.crop(_middle(scaled, width, height))


def _middle(picture: Image.Image, width: int, height: int) -> tuple[int, int, int, int]:
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return left, top, left + width, top + height


def _is_colour(told: Any) -> bool:
    return (
        isinstance(told, tuple)
        and len(told) == 3
        and all(isinstance(each, int | float) and math.isfinite(each) for each in told)
    )


def _fields(normalize: Any, others: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are given, with mean and std for what `normalize` names."""
    fields = {name: value for name, value in others.items() if value is not None}
    if normalize is None:
        return fields
    if isinstance(normalize, str):
        if normalize not in STATISTICS:
            names = ", ".join(STATISTICS)
            raise ConfigurationError(f"normalize {normalize!r} is none of {names}")
        normalize = STATISTICS[normalize]
    mean, std = normalize
    return {**fields, "mean": tuple(mean), "std": tuple(std)}


def _told(path: Path) -> dict[str, Any]:
    """What a `preprocessor_config.json` says of the fields."""
    try:
        told = Options(json.loads(path.read_text("utf-8")))
        if not isinstance(told.values, dict):
            raise ConfigurationError("it is no object")
        found = {**_statistics(told), **_shape(told), "resample": told.whole("resample", 0, 5)}
        fields = {name: value for name, value in found.items() if value is not None}
        Preprocessing(**fields)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error.message}") from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
    return fields


def _statistics(told: Options) -> dict[str, Any]:
    fields: dict[str, Any] = {"scale": told.number("rescale_factor", 0)}
    if told.values.get("do_rescale") is False:
        fields["scale"] = 1.0
    if told.values.get("do_normalize") is False:
        return {**fields, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    for name in ("mean", "std"):
        fields[name] = tuple(told.list(f"image_{name}")) or None
    return fields


def _shape(told: Options) -> dict[str, Any]:
    size = told.values.get("size")
    side = _side(told, "size", "shortest_edge", "height")
    if told.values.get("do_center_crop"):
        return {"fit": "crop", "shortest_edge": side, "size": _side(told, "crop_size", "height")}
    keeps_shape = isinstance(size, Mapping) and "shortest_edge" in size
    return {"fit": "crop" if keeps_shape or side is None else "stretch", "size": side}


def _side(told: Options, name: str, *keys: str) -> int | None:
    """The pixels of a side that are told as such, or by one of some names."""
    value = told.values.get(name)
    table = value if isinstance(value, Mapping) else {keys[0]: value}
    sides = (Options(table, name).whole(key, 1, _LARGEST) for key in keys)
    return next(filter(None, sides), None)
