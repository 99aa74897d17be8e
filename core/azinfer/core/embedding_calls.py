"""The calls of embeddings: the body of the request and how to read the response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from azinfer.core.calls import Call, Target, set_options, with_model
from azinfer.core.completions import Json
from azinfer.core.embeddings import Embeddings, check_kind
from azinfer.core.messages import ImageInput
from azinfer.core.model_catalog import family_of
from azinfer.core.routing import Routing
from azinfer.core.surfaces import DEPLOYMENTS, V1
from azinfer.core.vector_bodies import decode_vectors


def text_embeddings(
    target: Target,
    texts: Sequence[str],
    options: Mapping[str, Any],
    kind: str | None = None,
) -> Call[Embeddings]:
    """Return the call that embeds the texts of one request.

    Args:
        target: Where it is sent.
        texts: The texts of this request.
        options: Further fields of the body.
        kind: `"query"` or `"document"`; sent where model and surface have a field for it.
    """
    body: Json = {"input": list(texts), **set_options(options)}
    own = _kind_field(target, body, kind)
    if not {"encoding_format"} & (body.keys() | target.corrections.keys()) and (
        target.profile.base64 or target.endpoint.surface in (V1, DEPLOYMENTS)
    ):
        own["encoding_format"] = "base64"  # a quarter of the bytes of floats in JSON
    return _embedding_call(target, {**body, **own}, len(texts), frozenset(own))


def image_embeddings(
    target: Target,
    image: ImageInput,
    options: Mapping[str, Any],
    kind: str | None = None,
) -> Call[Embeddings]:
    """Return the call that embeds one image; models take one image in a request.

    Args:
        target: Where it is sent.
        image: The image, with or without a text.
        options: Further fields of the body.
        kind: `"query"` or `"document"`; sent where model and surface have a field for it.
    """
    body: Json = {"input": [image.to_wire()], **set_options(options)}
    own = _kind_field(target, body, kind)
    return _embedding_call(target, {**body, **own}, 1, frozenset(own))


def _kind_field(target: Target, body: Json, kind: str | None) -> dict[str, str]:
    """Return the field that says what a text is for, where model and surface have it.

    Source: "Get embeddings", `input_type`, of the model inference REST reference. The v1 and
    deployments surfaces do not define the field and answer 400 to it; of the models there,
    only Cohere's create different vectors for queries and for documents.
    """
    check_kind(kind)
    if kind is None or "input_type" in body or "input_type" in target.corrections:
        return {}
    is_model_id = target.model_id_source != "guessed"
    is_cohere = family_of(target.model_id, is_model_id=is_model_id) == "cohere"
    return {"input_type": kind} if is_cohere and target.endpoint.surface.input_type else {}


def _embedding_call(
    target: Target, body: Json, count: int, ours: frozenset[str]
) -> Call[Embeddings]:
    encoding = body.get("encoding_format")

    def read(parts: list[bytes], headers: Mapping[str, str], routing: Routing) -> Embeddings:
        raw = decode_vectors(parts, headers, encoding)
        return Embeddings.from_wire(raw, headers, count, encoding, routing)

    return Call(target, with_model(body, target), read, ours=ours, reads_parts=True)
