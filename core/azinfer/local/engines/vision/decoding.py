"""Decoding of image files with bounded memory."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from azinfer.local.engines.base import EngineError

if TYPE_CHECKING:
    from PIL import Image

# Pillow's other formats are rare, and one of them starts a program.
_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
# A long side costs memory besides its pixels; JPEG cannot have a longer one.
_LARGEST, _LONGEST = 50_000_000, 65_535
_LARGEST_REQUEST = 200_000_000


def decode_image(data: bytes, at: int) -> Image.Image:
    """Return an image in red, green and blue, as a viewer would show it.

    It is rotated by its EXIF orientation, transparent parts are white, and of an animation only
    the first picture is used.

    Args:
        data: A PNG, JPEG, GIF, WebP, BMP or TIFF file.
        at: The index of the input, for errors.

    Raises:
        EngineError: The file cannot be read, or the image is too large.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > _LARGEST or max(image.size) > _LONGEST:
                raise _error(at, f"has over {_LARGEST:,} pixels, or {_LONGEST:,} along a side")
            return _flatten(image)
    except EngineError:
        raise
    except UnidentifiedImageError:
        reason = f"its format is not one of {', '.join(_FORMATS)}"
    except Exception as error:  # decoders raise many types for a broken file
        reason = str(error) or type(error).__name__
    raise _error(at, f"the image cannot be read: {reason}")


def check_sizes(images: Sequence[bytes]) -> None:
    """Raise if the images of a request have too many pixels together.

    Only their heads are read: a file of some kilobytes may have millions of pixels.

    Args:
        images: The files, in their order in the input.

    Raises:
        EngineError: They have too many; the error names the first image over the limit.
    """
    from PIL import Image

    pixels = 0
    for at, data in enumerate(images):
        # Whatever is wrong with a file is reported when it is decoded.
        with (
            contextlib.suppress(Exception),
            Image.open(io.BytesIO(data), formats=_FORMATS) as image,
        ):
            pixels += image.width * image.height
        if pixels > _LARGEST_REQUEST:
            reason = f"the images of a request have over {_LARGEST_REQUEST:,} pixels together"
            raise _error(at, reason)


def _flatten(image: Image.Image) -> Image.Image:
    from PIL import Image, ImageOps

    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):
        # 16 bits per pixel: Pillow would cut off values over 255 instead of scaling them.
        return image.convert("I").point(lambda value: value / 257).convert("L").convert("RGB")
    if not image.has_transparency_data:
        return _to_mode(image, "RGB")
    clear = _to_mode(image, "RGBA")
    flat = Image.new("RGB", clear.size, "white")
    flat.paste(clear, mask=clear)
    return flat


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    # An image of this mode is not copied.
    return image if image.mode == mode else image.convert(mode)


def _error(at: int, reason: str) -> EngineError:
    where = f"input.{at}.image"
    return EngineError(f"{where}: {reason}", more={"param": where})
