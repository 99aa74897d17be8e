"""`azinfer embed`: vectors of any number of texts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from azinfer.core import InferenceClient
from azinfer.core.bulk import EmbeddingJob
from azinfer.core.operations import CallOptions
from azinfer.local.cli.bulk.inputs import check_texts
from azinfer.local.cli.bulk.run import Command, Settings, choose_model, run
from azinfer.local.cli.chat import with_known_names
from azinfer.local.cli.clients import deployment_for
from azinfer.local.cli.doctor import deployments_of
from azinfer.local.cli.output import write, write_json


def embed(
    client: InferenceClient, settings: Settings, batch_size: int | None, options: Mapping[str, Any]
) -> bool:
    """Embed the texts of an input; return whether all of them have a vector.

    Args:
        client: Its `model` is the deployment to call; if it has none, one is chosen here.
        settings: The input, the output, and the other options.
        batch_size: The most texts in one request.
        options: Parameters of embeddings, such as `dimensions`.
    """
    model = choose_model(client, embeddings=True)
    command = Command(
        kind="embed",
        what="texts",
        item=lambda item: item,
        job=EmbeddingJob(client, CallOptions(model, None, None, None, options)),
        begin=partial(client.embed_many, model=model, batch_size=batch_size, **options),
        record=lambda vector: {"vector": vector},
    )
    return run(client, model, command, settings)


def embed_texts(
    client: InferenceClient, texts: Sequence[str], options: Mapping[str, Any], *, as_json: bool
) -> None:
    """Print the vectors of texts, one line of JSON each.

    Args:
        client: Its `model` is the deployment to call; if it has none, one is chosen here.
        texts: The texts to embed.
        options: Parameters of embeddings, such as `dimensions`.
        as_json: Whether to print one JSON object instead, with usage and routing.
    """
    check_texts(texts)
    model = client.model or deployment_for(client, deployments_of(client, None), embeddings=True)
    embeddings = with_known_names(client, lambda: client.embed(list(texts), model=model, **options))
    vectors = [[round(number, 6) for number in vector] for vector in embeddings]
    if not as_json:
        for vector in vectors:
            write(json.dumps(vector))
        return
    routing = embeddings.routing
    write_json(
        {
            "vectors": vectors,
            "model": embeddings.model,
            "deployment": routing and routing.deployment,
            "surface": routing and routing.surface,
            "url": routing and routing.url,
            "usage": embeddings.usage,
        },
        indent=None,
    )
