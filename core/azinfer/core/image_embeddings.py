"""Image embeddings: at Cohere's route of a resource, or at the model inference route.

Sources: "Embed" (v2) of Cohere's API reference, which Foundry serves below `/providers/cohere`;
"Get image embeddings" of the model inference REST reference, whose route is being retired.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from azinfer.core.base_client import BaseClient
from azinfer.core.calls import Call, Target
from azinfer.core.completions import Json, Usage
from azinfer.core.decoding import decode_json, invalid_response
from azinfer.core.embedding_calls import image_embeddings
from azinfer.core.embeddings import Embeddings, check_kind
from azinfer.core.endpoint_knowledge import EndpointKnowledge
from azinfer.core.endpoints import Endpoint
from azinfer.core.errors import ConfigurationError
from azinfer.core.json_fields import as_count, as_object
from azinfer.core.message_parts import image_url
from azinfer.core.messages import ImageInput
from azinfer.core.model_catalog import family_of
from azinfer.core.routing import Routing
from azinfer.core.surfaces import EMBED, IMAGES

# This model takes text and image in one input; version 3 takes only an image, in another field.
_VERSION_4 = r"(?i)embed.*v-?4"


def image_operation(endpoint: Endpoint, knowledge: EndpointKnowledge, target: Target) -> str:
    """Return the operation that embeds images of a deployment.

    Args:
        endpoint: The client's endpoint; a surface that has images itself comes first.
        knowledge: What this process has learned about it.
        target: The deployment.
    """
    if learned := knowledge.image_routes.get((target.model or "").casefold()):
        return learned
    if IMAGES in endpoint.surface.operations or not endpoint.has(EMBED):
        return IMAGES
    is_model_id = target.model_id_source != "guessed"
    family = family_of(target.model_id, is_model_id=is_model_id)
    return EMBED if family in (None, "cohere") else IMAGES


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One image to embed; models accept one for each request.

    Attributes:
        image: The image, with or without a text.
        options: Further fields of the body.
        kind: `"query"` or `"document"`.
    """

    image: ImageInput
    options: Mapping[str, Any]
    kind: str | None


def image_call(
    client: BaseClient, target_of: Callable[[str], Target], request: ImageRequest
) -> Call[Embeddings]:
    """Return the call that embeds an image, and that uses the other route if one is missing.

    Args:
        client: The client of the endpoint.
        target_of: Returns the target of an operation of the deployment.
        request: The image and its options.
    """
    operation = image_operation(client.endpoint, client._knowledge, target_of(IMAGES))
    make = partial(_call, client, target_of, request)
    if not client.endpoint.has(EMBED):
        return make(operation)
    other = EMBED if operation == IMAGES else IMAGES
    return make(operation)._replace(beside=partial(make, other))


def _call(
    client: BaseClient,
    target_of: Callable[[str], Target],
    request: ImageRequest,
    operation: str,
) -> Call[Embeddings]:
    target = target_of(operation)
    if operation == EMBED:
        call = _cohere_call(target, request)
    else:
        call = image_embeddings(target, request.image, request.options, request.kind)
    learn = partial(client._knowledge.learn_image_route, target.model, operation)
    return call._replace(learn=learn)


def _cohere_call(target: Target, request: ImageRequest) -> Call[Embeddings]:
    """Return the call at Cohere's route.

    Raises:
        ConfigurationError: The deployment has no name, or `kind` is neither of the two.
    """
    if not target.model:
        raise ConfigurationError(
            "the name of the deployment is missing: pass model= to the call or the client"
        )
    further = {name: value for name, value in request.options.items() if value is not None}
    encoding = str(further.pop("encoding_format", "float"))
    if "dimensions" in further:
        further["output_dimension"] = further.pop("dimensions")
    body = {"model": target.model, "embedding_types": [encoding], **_input(target, request)}

    def read(data: bytes, headers: Mapping[str, str], routing: Routing) -> Embeddings:
        return _decode(decode_json(data, headers), headers, encoding, routing)

    return Call(target, {**body, **further}, read)


def _input(target: Target, request: ImageRequest) -> Json:
    image, kind = request.image, request.kind
    check_kind(kind)
    url = image_url(image.image)
    is_version_4 = re.search(_VERSION_4, target.model_id or "") is not None
    if image.text is None and not is_version_4:
        return {"input_type": "image", "images": [url]}
    texts = [] if image.text is None else [{"type": "text", "text": image.text}]
    content = [*texts, {"type": "image_url", "image_url": {"url": url}}]
    default = "search_document" if texts else "image"
    return {
        "input_type": f"search_{kind}" if kind else default,
        "inputs": [{"content": content}],
    }


def _decode(
    raw: Any, headers: Mapping[str, str], encoding: str, routing: Routing | None
) -> Embeddings:
    if not isinstance(raw, dict):
        raise invalid_response("no embeddings", raw)
    rest = {name: value for name, value in raw.items() if name != "embeddings"}
    rows = as_object(raw.get("embeddings")).get(encoding)
    if not isinstance(rows, list):
        raise invalid_response(f"no embeddings of the type {encoding}", raw)
    data = [{"embedding": row} for row in rows]
    answer = Embeddings.from_wire({"data": data}, headers, 1, encoding, routing)
    units = as_object(as_object(raw.get("meta")).get("billed_units"))
    tokens = as_count(units.get("input_tokens"))
    usage = Usage(tokens, 0, tokens, raw=units) if units else answer.usage
    return replace(answer, usage=usage, raw=(rest,))
