"""Parts of messages: text, images, audio and files."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from azinfer.core.completions import Json
from azinfer.core.errors import ConfigurationError

Source: TypeAlias = str | Path | bytes  # in JSON, pydantic reads a text as the first of them


@dataclass(frozen=True, slots=True)
class TextPart:
    """Text in a user message that also has other parts.

    Example:
        >>> TextPart("Look:").to_wire()
        {'type': 'text', 'text': 'Look:'}
    """

    text: str

    def to_wire(self) -> Json:
        """Return the part as it is sent."""
        return {"type": "text", "text": self.text}


@dataclass(frozen=True, slots=True)
class ImagePart:
    """An image in a user message.

    Attributes:
        source: Bytes, a Path that is read when the message is sent, a URL (passed on, never
            fetched here) or a data URL.
        detail: The resolution: `"auto"`, `"low"` or `"high"`.

    Example:
        >>> ImagePart("https://example.com/a.png", detail="low").to_wire()["image_url"]
        {'url': 'https://example.com/a.png', 'detail': 'low'}
    """

    source: Source
    detail: str | None = None

    def to_wire(self) -> Json:
        """Return the part as it is sent."""
        detail = {"detail": self.detail} if self.detail else {}
        return {"type": "image_url", "image_url": {"url": image_url(self.source), **detail}}


@dataclass(frozen=True, slots=True)
class AudioPart:
    """Audio in a user message.

    Attributes:
        source: Bytes, a Path, a data URL, or a URL (passed on, never fetched here).
        format: `"wav"` or `"mp3"`; by default it is detected.

    Example:
        >>> AudioPart(b"RIFF", format="wav").to_wire()["input_audio"]
        {'data': 'UklGRg==', 'format': 'wav'}
    """

    source: Source
    format: str | None = None

    def to_wire(self) -> Json:
        """Return the part as it is sent: inline data, or the URL for models that accept one."""
        if isinstance(self.source, str) and not self.source.startswith("data:"):
            return {"type": "audio_url", "audio_url": {"url": _url(self.source, "audio")}}
        data, kind = _audio(self.source)
        return {"type": "input_audio", "input_audio": {"data": data, "format": self.format or kind}}


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file in a user message, for example a PDF.

    Attributes:
        source: Bytes, a Path that is read when the message is sent, a data URL, or a URL
            (passed on, never fetched here).
        filename: Its name; that of the Path when left out.

    Example:
        >>> FilePart(b"%PDF", "a.pdf").to_wire()["file"]["filename"]
        'a.pdf'
    """

    source: Source
    filename: str | None = None

    def to_wire(self) -> Json:
        """Return the part as it is sent."""
        if isinstance(self.source, str):
            is_data = _url(self.source, "file").startswith("data:")
            name, url = self.filename, self.source
            field = "file_data" if is_data else "file_url"
        else:
            data, name = _read(self.source)
            name, field = self.filename or name or "file.pdf", "file_data"
            kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
            url = f"data:{kind};base64,{base64.b64encode(data).decode()}"
        return {"type": "file", "file": {**({"filename": name} if name else {}), field: url}}


Part: TypeAlias = TextPart | ImagePart | AudioPart | FilePart | Mapping[str, Any]


def part_to_wire(part: Part | str) -> Json:
    """Return a part as it is sent: a typed one, a text, or a mapping of the wire form."""
    if isinstance(part, str):
        return TextPart(part).to_wire()
    return dict(part) if isinstance(part, Mapping) else part.to_wire()


def parts_to_wire(parts: Any) -> list[Json]:
    """Return the parts of a message as they are sent.

    Raises:
        ConfigurationError: It is not a list of texts, parts and mappings.
    """
    if isinstance(parts, bytes | Mapping) or not isinstance(parts, Iterable):
        raise ConfigurationError(
            f"the content of a message has the type {type(parts).__name__}; pass a text or a list "
            "of parts such as [TextPart('…')]"
        )
    listed = list(parts)
    for position, part in enumerate(listed):
        if isinstance(part, type) or not (
            isinstance(part, str | Mapping) or hasattr(part, "to_wire")
        ):
            raise ConfigurationError(
                f"content[{position}] of a message has the type {type(part).__name__}; pass a "
                "text, a part such as ImagePart(…), or a mapping of the wire form"
            )
    return [part_to_wire(part) for part in listed]


def media_part(
    url: str, media_type: str, *, name: str | None = None, detail: str | None = None
) -> Json:
    """Return media as the part that takes its type, as it is sent.

    Args:
        url: A data URL; of an image or audio also a URL elsewhere, which is passed on.
        media_type: Its media type, such as `image/png`.
        name: The name of a file; left out, it is `document` with the ending of its type.
        detail: The resolution of an image.

    Raises:
        ConfigurationError: It is a file elsewhere, and files are not fetched.
    """
    kind = media_type.lower()
    if kind.startswith("image/"):
        return ImagePart(url, detail).to_wire()
    if kind.startswith("audio/"):
        is_known = any(word in kind for word in ("mpeg", "mp3", "wav"))
        return AudioPart(url, None if is_known else kind.partition("/")[2]).to_wire()
    if not url.startswith("data:"):
        raise ConfigurationError(
            f"{kind or 'a file'} at {url[:100]!r} cannot be sent: files are not fetched; read it "
            "and pass its data"
        )
    return FilePart(url, name or f"document{mimetypes.guess_extension(kind) or '.bin'}").to_wire()


def image_url(source: Source) -> str:
    """Return an image as a URL: a data URL for bytes or a file, or the URL itself.

    Raises:
        ConfigurationError: It is not an image.
    """
    if isinstance(source, str):
        return _url(source, "image")
    data, name = _read(source)
    kind = _image_type(data) or mimetypes.guess_type(name)[0]
    if not kind or not kind.startswith("image/"):
        raise ConfigurationError(
            f"{name or 'the image'} is not a PNG, JPEG, GIF, WebP or BMP; pass a data URL instead"
        )
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _url(text: str, what: str) -> str:
    if text.startswith(("https://", "http://", "data:")):
        return text
    raise ConfigurationError(
        f"{what} {text[:60]!r} is not a URL; pass bytes, a pathlib.Path, a URL or a data URL"
    )


def _read(source: bytes | Path) -> tuple[bytes, str]:
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source), ""
    if not hasattr(source, "read_bytes"):
        raise ConfigurationError(
            f"an image, audio or file has the type {type(source).__name__}; pass bytes, a "
            "pathlib.Path, a URL or a data URL"
        )
    try:
        return source.read_bytes(), source.name
    except OSError as error:
        raise ConfigurationError(f"{source} cannot be read: {error.strerror}") from None


def _image_type(data: bytes) -> str | None:
    starts = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif", b"BM": "bmp"}
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((f"image/{kind}" for start, kind in starts.items() if data.startswith(start)), None)


def _audio(source: Source) -> tuple[str, str]:
    if isinstance(source, str):
        head, _, encoded = source.partition(",")
        return encoded, "mp3" if "mp3" in head or "mpeg" in head else "wav"
    data, _ = _read(source)
    return base64.b64encode(data).decode(), "wav" if data.startswith(b"RIFF") else "mp3"
