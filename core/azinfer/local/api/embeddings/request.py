"""Requests of embeddings: checked field by field before an engine sees them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from azinfer.local.wire.body import BodyReader, Json

_ENCODINGS = ("float", "base64", "int8", "uint8", "binary", "ubinary")
_INPUT_TYPES = ("text", "query", "document")


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """An embeddings request after its check."""

    texts: list[str]
    dimensions: int | None
    encoding: str


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """An image embeddings request after its check."""

    images: list[tuple[bytes, str | None]]
    dimensions: int | None
    encoding: str


def parse_embedding_request(body: Json, surface: str) -> EmbeddingRequest:
    """Return the checked request of an embeddings body.

    Raises:
        ErrorResponse: The body is not valid; the error names the field.
    """
    fields = BodyReader(body, surface)
    texts = body.get("input")
    if isinstance(texts, str):
        texts = [texts]
    if not isinstance(texts, list) or not texts:
        raise fields.error("input", "'input' must be a text or a list of at least one text.")
    if not all(isinstance(text, str) for text in texts):
        raise fields.error(
            "input",
            "'input' has something other than texts. Token ids are those of another tokenizer; "
            "send the texts (check_embedding_ctx_length=False in langchain-openai).",
        )
    if fields.openai and not all(texts):
        place = f"input[{texts.index('')}]" if isinstance(body["input"], list) else "input"
        raise fields.error("input", f"'$.input' is invalid: '{place}' is an empty string.")
    if len(texts) > 2048:
        raise fields.error("input", "'input' has too many texts; at most 2048.")
    fields.text("model")
    fields.text("user")
    return EmbeddingRequest(texts, fields.whole("dimensions", 1, 10**5), _encoding(fields))


def parse_image_request(body: Json, surface: str) -> ImageRequest:
    """Return the checked request of an image embeddings body.

    Raises:
        ErrorResponse: The body is not valid; the error names the field.
    """
    fields = BodyReader(body, surface)
    inputs = body.get("input")
    if not isinstance(inputs, list) or not inputs:
        raise fields.error("input", "'input' must be a list of at least one image.")
    images = [read_image(fields, each, at) for at, each in enumerate(inputs)]
    fields.text("model")
    return ImageRequest(images, fields.whole("dimensions", 1, 10**5), _encoding(fields))


def read_image(fields: BodyReader, item: Any, at: int) -> tuple[bytes, str | None]:
    """Return the bytes of an image, and the text beside it.

    Raises:
        ErrorResponse: It is not a data URL.
    """
    url = item.get("image") if isinstance(item, Mapping) else None
    text = item.get("text") if isinstance(item, Mapping) else None
    head, _, data = url.partition(",") if isinstance(url, str) else ("", "", "")
    if not re.fullmatch(r"data:image/[\w.+-]+;base64", head) or not isinstance(text, str | None):
        raise fields.error(f"input.{at}", "An image must be a data URL: data:image/png;base64,…")
    try:
        return base64.b64decode(data, validate=True), text
    except binascii.Error:
        raise fields.error(f"input.{at}.image", "The image is not valid base64.") from None


def _encoding(fields: BodyReader) -> str:
    known = _ENCODINGS[:2] if fields.openai else _ENCODINGS
    encoding = fields.body.get("encoding_format") or "float"
    if encoding not in known:
        message = f"'encoding_format' must be one of {', '.join(known)}, not {encoding!r}."
        raise fields.error("encoding_format", message)
    kind = fields.body.get("input_type")
    if not fields.openai and kind not in (None, *_INPUT_TYPES):
        message = f"'input_type' must be one of {', '.join(_INPUT_TYPES)}, not {kind!r}."
        raise fields.error("input_type", message)
    return str(encoding)
