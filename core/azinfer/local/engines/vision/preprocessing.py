"""Preprocessing: an image scaled, cropped and normalized for a vision model.

Source: the image processors of Hugging Face's transformers, whose `preprocessor_config.json` is
beside most models.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
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
# Of a long image, at most this many times the model's size is scaled, to limit the memory.
_REACH = 32


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How images are prepared for a model.

    Attributes:
        mean: Subtracted from red, green and blue, which are from 0 to 1.
        std: The divisors of red, green and blue after that.
        fit: How to fit an image of another shape: `"crop"` takes its middle, `"stretch"` changes
            its shape, `"pad"` puts black beside it.
        shortest_edge: For `"crop"`, the pixels that the shorter side is scaled to before; left
            out, as few as fill what the model reads.
        size: The pixels of each side if the model's file leaves them open.
        resample: Pillow's number of the filter that scales; bicubic by default.
        scale: The factor of a byte of colour.

    Raises:
        ConfigurationError: A field has an invalid value.
    """

    mean: Colour = STATISTICS["clip"][0]
    std: Colour = STATISTICS["clip"][1]
    _: KW_ONLY
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
            raise ConfigurationError(f"fit must be one of {', '.join(FITS)}, not {self.fit!r}")
        for name in ("shortest_edge", "size"):
            pixels = getattr(self, name)
            if pixels is not None and not 1 <= pixels <= _LARGEST:
                raise ConfigurationError(f"{name} must be 1 to {_LARGEST} pixels")

    @classmethod
    def from_fields(cls, normalize: Any = None, **fields: Any) -> Self:
        """Return the preprocessing with these fields, leaving out each None.

        Args:
            normalize: A name in `STATISTICS`, or mean and std.
            **fields: The others.

        Raises:
            ConfigurationError: A field has an invalid value.
        """
        return cls(**_fields(normalize, fields))

    @classmethod
    def of(cls, model: Path, normalize: Any = None, **fields: Any) -> Self:
        """Return the preprocessing for a model: its `preprocessor_config.json`, and these fields.

        The file is beside the model, or above it if its folder is called `onnx`.

        Args:
            model: The model's file.
            normalize: A name in `STATISTICS`, or mean and std.
            **fields: The others.

        Raises:
            ConfigurationError: A field has an invalid value.
        """
        above = [model.parent.parent] if model.parent.name == "onnx" else []
        paths = [folder / "preprocessor_config.json" for folder in (model.parent, *above)]
        file_fields = next((_read_file(path) for path in paths if path.is_file()), {})
        return cls(**{**file_fields, **_fields(normalize, fields)})

    def pixels(self, picture: Image.Image, height: int, width: int) -> np.ndarray:
        """Return the numbers that a model reads, shape `(1, 3, height, width)`.

        Args:
            picture: The image in red, green and blue.
            height: Pixels from top to bottom.
            width: Pixels from left to right.
        """
        import numpy as np

        fits = {"crop": self._crop, "stretch": self._stretch, "pad": self._pad}
        fitted = fits[self.fit](picture, height, width)
        colours = np.asarray(fitted, np.float32) * np.float32(self.scale)
        mean, std = (np.asarray(each, np.float32) for each in (self.mean, self.std))
        return ((colours - mean) / std).transpose(2, 0, 1)[None]

    def _stretch(self, picture: Image.Image, height: int, width: int) -> Image.Image:
        return picture.resize((width, height), self.resample)

    def _pad(self, picture: Image.Image, height: int, width: int) -> Image.Image:
        from PIL import Image

        ratio = min(width / picture.width, height / picture.height)
        wide, high = (max(1, round(side * ratio)) for side in picture.size)
        whole = Image.new("RGB", (width, height))
        scaled = picture.resize((wide, high), self.resample)
        whole.paste(scaled, ((width - wide) // 2, (height - high) // 2))
        return whole

    def _crop(self, picture: Image.Image, height: int, width: int) -> Image.Image:
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


def _is_colour(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 3
        and all(isinstance(each, int | float) and math.isfinite(each) for each in value)
    )


def _fields(normalize: Any, others: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are not None, with the mean and std that `normalize` names."""
    fields = {name: value for name, value in others.items() if value is not None}
    if normalize is None:
        return fields
    if isinstance(normalize, str):
        if normalize not in STATISTICS:
            names = ", ".join(STATISTICS)
            raise ConfigurationError(f"normalize must be one of {names}, not {normalize!r}")
        normalize = STATISTICS[normalize]
    mean, std = normalize
    return {**fields, "mean": tuple(mean), "std": tuple(std)}


def _read_file(path: Path) -> dict[str, Any]:
    """Return the fields of a `preprocessor_config.json`."""
    try:
        options = Options(json.loads(path.read_text("utf-8")))
        if not isinstance(options.values, dict):
            raise ConfigurationError("it is not an object")
        values = {
            **_statistics(options),
            **_shape(options),
            "resample": options.whole("resample", 0, 5),
        }
        fields = {name: value for name, value in values.items() if value is not None}
        Preprocessing(**fields)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error.message}") from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
    return fields


def _statistics(options: Options) -> dict[str, Any]:
    fields: dict[str, Any] = {"scale": options.number("rescale_factor", 0)}
    if options.values.get("do_rescale") is False:
        fields["scale"] = 1.0
    if options.values.get("do_normalize") is False:
        return {**fields, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    for name in ("mean", "std"):
        fields[name] = tuple(options.list(f"image_{name}")) or None
    return fields


def _shape(options: Options) -> dict[str, Any]:
    size = options.values.get("size")
    side = _side(options, "size", "shortest_edge", "height")
    if options.values.get("do_center_crop"):
        return {"fit": "crop", "shortest_edge": side, "size": _side(options, "crop_size", "height")}
    keeps_shape = isinstance(size, Mapping) and "shortest_edge" in size
    return {"fit": "crop" if keeps_shape or side is None else "stretch", "size": side}


def _side(options: Options, name: str, *keys: str) -> int | None:
    """Return the pixels of a side from a number, or from a table with one of some names."""
    value = options.values.get(name)
    table = value if isinstance(value, Mapping) else {keys[0]: value}
    sides = (Options(table, name).whole(key, 1, _LARGEST) for key in keys)
    return next(filter(None, sides), None)
