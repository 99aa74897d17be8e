"""Pixels: files of images decoded as they are to be seen, with memory bounded."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from azinfer.local.engines.base import EngineError

if TYPE_CHECKING:
    from PIL import Image

# The others that Pillow knows are rare, and one of them starts a program.
_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
# A long side costs memory beside its pixels; JPEG has none longer.
_LARGEST, _LONGEST = 50_000_000, 65_535


def seen(data: bytes, at: int) -> Image.Image:
    """An image in red, green and blue, as it is to be seen.

    It is turned as its EXIF orientation says, on white where it is transparent, and the first
    picture of one that moves.

    Args:
        data: A PNG, JPEG, GIF, WebP, BMP or TIFF file.
        at: Its place among the inputs, which errors tell.

    Raises:
        EngineError: It is none, or so large that it would fill the memory.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > _LARGEST or max(image.size) > _LONGEST:
                raise _refused(at, f"has over {_LARGEST:,} pixels, or {_LONGEST:,} along a side")
            return _flat(image)
    except EngineError:
        raise
    except UnidentifiedImageError:
        reason = f"its format is none of {', '.join(_FORMATS)}"
    except Exception as error:  # whatever the decoder in question trips over in a broken file
        reason = str(error) or type(error).__name__
    raise _refused(at, f"the image cannot be read: {reason}")


def _flat(image: Image.Image) -> Image.Image:
    from PIL import Image, ImageOps

    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):
        # 16 bits a pixel: Pillow would cut off what is over 255, not scale it.
        return image.convert("I").point(lambda value: value / 257).convert("L").convert("RGB")
    if not image.has_transparency_data:
        return _as(image, "RGB")
    clear = _as(image, "RGBA")
    flat = Image.new("RGB", clear.size, "white")
    flat.paste(clear, mask=clear)
    return flat


def _as(image: Image.Image, mode: str) -> Image.Image:
    # What is so already is not copied.
    return image if image.mode == mode else image.convert(mode)


def _refused(at: int, reason: str) -> EngineError:
    where = f"input.{at}.image"
    return EngineError(f"{where}: {reason}", more={"param": where})
