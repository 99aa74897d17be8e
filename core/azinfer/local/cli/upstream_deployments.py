"""Deployments for what is served elsewhere, or was recorded of it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from azinfer.core.errors import ConfigurationError
from azinfer.local.engines.cassette.cassette import Cassette
from azinfer.local.engines.upstream import UpstreamEngine, models
from azinfer.local.resource.deployment import LocalDeployment

_NOWHERE = "http://127.0.0.1:9/v1"


def proxied(
    told: Sequence[str], credential: str | None = None, cassette: Cassette | None = None
) -> list[LocalDeployment]:
    """One deployment for each model of an upstream, or of a cassette.

    Args:
        told: `NAME=URL` for a deployment NAME, or a URL for all models that it lists.
        credential: The key of the upstreams.
        cassette: Records them, or stands for them.

    Raises:
        ConfigurationError: A URL is none, or lists no models.
    """
    if cassette is not None and cassette.mode == "replay":
        return _recorded(cassette)
    transport = cassette.transport() if cassette is not None else None
    found = []
    for each in told:
        name, _, url = each.partition("=") if _names(each) else ("", "", each)
        for model in [name] if name else models(url, credential):
            engine = UpstreamEngine(url, credential, model, transport=transport)
            found.append(LocalDeployment(_name(model), model, engine))
    return found


def _name(model: str) -> str:
    """A deployment's name for a model; Ollama's have colons, others slashes, which none may."""
    return re.sub(r"[^\w.-]", "-", model)


def _names(told: str) -> bool:
    return "=" in told.partition("://")[0]


def _recorded(cassette: Cassette) -> list[LocalDeployment]:
    if not cassette.models:
        raise ConfigurationError(f"{cassette.path} has no recording of any model")
    return [
        LocalDeployment(
            _name(model),
            model,
            UpstreamEngine(_NOWHERE, model=model, transport=cassette.transport()),
        )
        for model in cassette.models
    ]
