"""`POST embed` of Cohere's route: vectors of texts, images, or both together.

Source: "Embed" of Cohere's API reference, versions 1 and 2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
from starlette.responses import Response

from azinfer.local.api.admission import admit, find_deployment
from azinfer.local.api.context import RequestContext
from azinfer.local.api.embeddings.request import read_image
from azinfer.local.api.embeddings.response import LONGEST_IN_LOOP, encode, shorten
from azinfer.local.engines.base import EmbeddingEngine, ImageEngine
from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.resource.rate_limits import estimate_tokens
from azinfer.local.wire.body import BodyReader, Json
from azinfer.local.wire.errors import wrong_operation
from azinfer.local.worker_threads import run_in_worker

_FIELDS = frozenset(
    """embedding_types images input_type inputs max_tokens model output_dimension priority texts
    truncate""".split()  # noqa: SIM905
)
_ENCODINGS = ("float", "base64", "int8", "uint8", "binary", "ubinary")
_INPUT_TYPES = ("search_document", "search_query", "classification", "clustering", "image")
_MOST_INPUTS = 96

# What is embedded: a text, an image, or an image with a text.
Input = str | tuple[bytes, str | None]


async def embed(context: RequestContext) -> Response:
    """Answer `POST v2/embed`."""
    return await _embed(context, 2)


async def embed_v1(context: RequestContext) -> Response:
    """Answer `POST v1/embed`, which returns a plain list of vectors unless types are named."""
    return await _embed(context, 1)


async def _embed(context: RequestContext, version: int) -> Response:
    body = await context.read_body(_FIELDS)
    deployment = find_deployment(context, body.get("model"), "embeddings")
    inputs = _read_inputs(body, context)
    length = BodyReader(body, context.surface).whole("output_dimension", 1, 10**5)
    encodings = _read_encodings(body, context)
    texts = [each for each in inputs if isinstance(each, str)]
    if len(texts) < len(inputs) and "images" not in deployment.operations:
        raise wrong_operation("imageEmbeddings", deployment.model_name)
    admission = admit(context, deployment, estimate_tokens(texts, len(inputs) - len(texts)))
    tokens = None
    try:
        await context.state.overrides.of(admission.deployment).wait()
        vectors, tokens = await _vectors(admission.deployment, inputs)
    finally:
        admission.over(tokens)
    context.trace.usage = lambda: {"prompt_tokens": tokens}
    is_bare = version == 1 and not encodings
    units: Json = {"input_tokens": tokens}
    if images := len(inputs) - len(texts):
        units["images"] = images
    payload = {
        "id": context.id,
        "texts": [each.lower() for each in texts] if version == 1 else texts,
        "meta": {"api_version": {"version": str(version)}, "billed_units": units},
        "response_type": "embeddings_floats" if is_bare else "embeddings_by_type",
    }
    names = encodings or ("float",)
    if sum(map(len, vectors)) * len(names) <= LONGEST_IN_LOOP:
        written = _write_vectors(vectors, length, names)
    else:
        written = await run_in_worker(_write_vectors, vectors, length, names)
    embeddings = written["float"] if is_bare else _write_object(written)
    head = json.dumps(payload, separators=(",", ":")).encode()
    content = b"".join([head[:-1], b',"embeddings":', embeddings, b"}"])
    return Response(content, media_type="application/json")


def _write_vectors(
    vectors: Sequence[Sequence[float]], length: int | None, encodings: Sequence[str]
) -> dict[str, bytes]:
    """Return the vectors in each encoding as JSON, a row at a time, so that others can run."""
    rows = [shorten(each, length) for each in vectors]
    return {
        name: b"[%b]" % b",".join(msgspec.json.encode(encode(row, name)) for row in rows)
        for name in encodings
    }


def _write_object(values: Mapping[str, bytes]) -> bytes:
    return b"{%b}" % b",".join(b'"%b":%b' % (name.encode(), each) for name, each in values.items())


async def _vectors(
    deployment: LocalDeployment, inputs: list[Input]
) -> tuple[list[Sequence[float]], int]:
    """Return a vector for each input, in order, and the tokens that were read."""
    texts = [each for each in inputs if isinstance(each, str)]
    images = [each for each in inputs if not isinstance(each, str)]
    of_texts: Sequence[Sequence[float]] = []
    of_images: Sequence[Sequence[float]] = []
    tokens = 1000 * len(images)  # tokens of one image in crmne/ruby_llm's recording
    if texts:
        of_texts, read = await cast(EmbeddingEngine, deployment.engine).embed(texts)
        tokens += read
    if images:
        of_images = await cast(ImageEngine, deployment.engine).embed_images(images)
    rows, others = iter(of_texts), iter(of_images)
    return [next(rows if isinstance(each, str) else others) for each in inputs], tokens


def _read_inputs(body: Json, context: RequestContext) -> list[Input]:
    """Return the inputs to embed.

    Raises:
        ErrorResponse: A field is not valid; the error names it.
    """
    fields = BodyReader(body, context.surface)
    kind = fields.text("input_type")
    if kind not in (None, *_INPUT_TYPES):
        kinds = ", ".join(_INPUT_TYPES)
        raise fields.error("input_type", f"invalid input_type {kind!r}: choose from {kinds}")
    names = [name for name in ("texts", "images", "inputs") if body.get(name)]
    if len(names) != 1:
        message = "invalid request: pass exactly one of texts, images and inputs"
        raise fields.error("texts", message)
    (name,) = names
    values = body[name]
    if not isinstance(values, list):
        raise fields.error(name, f"invalid type: parameter {name} must be a list")
    if context.state.strict and len(values) > _MOST_INPUTS:
        message = f"invalid request: at most {_MOST_INPUTS} {name}, received {len(values)}"
        raise fields.error(name, message)
    return [_read_input(fields, name, each, at) for at, each in enumerate(values)]


def _read_input(fields: BodyReader, name: str, value: Any, at: int) -> Input:
    if name == "images":
        return read_image(fields, {"image": value}, at)
    if name == "texts":
        if not isinstance(value, str):
            raise fields.error(name, f"invalid type: parameter texts[{at}] must be a string")
        return value
    parts = value.get("content") if isinstance(value, Mapping) else None
    parts = parts if isinstance(parts, list) else []
    texts = [str(part.get("text")) for part in parts if part.get("type") == "text"]
    urls = [part.get("image_url") for part in parts if part.get("type") == "image_url"]
    if not texts and not urls:
        raise fields.error(name, f"invalid request: inputs[{at}].content must not be empty")
    text = "\n".join(texts) or None
    if not urls:
        return text or ""
    image = urls[0].get("url") if isinstance(urls[0], Mapping) else urls[0]
    return read_image(fields, {"image": image, "text": text}, at)


def _read_encodings(body: Json, context: RequestContext) -> list[str]:
    encodings = body.get("embedding_types") or []
    if not isinstance(encodings, list) or not all(each in _ENCODINGS for each in encodings):
        message = f"invalid embedding_types: choose from {', '.join(_ENCODINGS)}"
        raise BodyReader(body, context.surface).error("embedding_types", message)
    return encodings
