"""Deployments that pass requests on to other servers, or answer from a recording of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from azinfer.core.errors import ConfigurationError
from azinfer.local.engines.cassette.cassette import Cassette
from azinfer.local.engines.upstream import UpstreamEngine, list_models
from azinfer.local.resource.deployment import LocalDeployment

# A placeholder: recordings answer, and nothing listens there.
_NOWHERE = "http://127.0.0.1:9/v1"


def upstream_deployments(
    upstreams: Sequence[str], key: str | None = None, cassette: Cassette | None = None
) -> list[LocalDeployment]:
    """Return one deployment for each model of other servers.

    Args:
        upstreams: `NAME=URL` for a deployment NAME, or a URL for all models that it lists.
        key: The key of the servers.
        cassette: Records their responses; None to record nothing.

    Raises:
        ConfigurationError: A URL is not valid, or lists no models.
    """
    transport = cassette.transport() if cassette is not None else None
    deployments = []
    for each in upstreams:
        name, _, url = each.partition("=") if _has_name(each) else ("", "", each)
        for model in [name] if name else list_models(url, key):
            engine = UpstreamEngine(url, key, model, transport=transport)
            deployments.append(LocalDeployment(_deployment_name(model), model, engine))
    return deployments


def recorded_deployments(cassette: Cassette) -> list[LocalDeployment]:
    """Return one deployment for each model of a recording.

    Raises:
        ConfigurationError: The recording is empty.
    """
    if not cassette.models:
        raise ConfigurationError(f"{cassette.path} has no recorded responses")
    return [
        LocalDeployment(
            _deployment_name(model),
            model,
            UpstreamEngine(_NOWHERE, model=model, transport=cassette.transport()),
        )
        for model in cassette.models
    ]


def _deployment_name(model: str) -> str:
    """Return a valid name for a model; Ollama's have colons, others' have slashes."""
    return re.sub(r"[^\w.-]", "-", model)


def _has_name(upstream: str) -> bool:
    return "=" in upstream.partition("://")[0]
