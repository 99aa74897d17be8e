"""Surfaces: the ways to address a deployment, with the paths, headers and versions of each."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from functools import lru_cache
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from azinfer.core.errors import GITHUB_ENDED, ConfigurationError

CHAT = "chat/completions"
RESPONSES = "responses"
MESSAGES = "messages"
FILES = "files"
BATCHES = "batches"
RERANK = "v2/rerank"
EMBED = "v2/embed"
# The forms of a conversation, each an operation of its own.
WireName: TypeAlias = Literal["chat", "responses", "messages"]
WIRES: dict[WireName, str] = {"chat": CHAT, "responses": RESPONSES, "messages": MESSAGES}
EMBEDDINGS = "embeddings"
IMAGES = "images/embeddings"
INFO = "info"

_COGNITIVE_SERVICES = "https://cognitiveservices.azure.com/.default"
_MACHINE_LEARNING = "https://ml.azure.com/.default"
PROJECT_SCOPE = "https://ai.azure.com/.default"
ARM_SCOPE = "https://management.azure.com/.default"


@dataclass(frozen=True, slots=True)
class Surface:
    """One way to address deployments.

    Attributes:
        name: The value of `surface=` for it.
        path: The path after the root of a resource; empty if the URL is the whole base.
        operations: The operations that exist on it.
        api_version: The default version; None sends no version.
        scope: The Entra ID scope of its tokens; None if it accepts only keys.
        key_headers: The headers in which a key is sent.
        names_in_body: Whether the deployment is named by `model` in the body.
        routes: Whether a request needs a `model` to be routed.
        extra_parameters: Whether it has the header `extra-parameters`.
        input_type: Whether embeddings have the field `input_type`.
    """

    name: str
    path: str
    _: KW_ONLY
    operations: frozenset[str]
    api_version: str | None
    scope: str | None
    key_headers: tuple[str, ...]
    names_in_body: bool = True
    routes: bool = True
    extra_parameters: bool = False
    input_type: bool = False


# Sources: "Azure AI Model Inference REST API" (model inference, serverless, managed),
# "Azure OpenAI in Azure AI Foundry Models v1 API" and "Azure OpenAI REST API reference"
# (v1, deployments). The retired SDK sent a key in both headers; serverless endpoints read only
# Authorization.
MODELS = Surface(
    "models",
    "/models",
    operations=frozenset({CHAT, EMBEDDINGS, IMAGES, INFO}),
    api_version="2024-05-01-preview",
    scope=_COGNITIVE_SERVICES,
    key_headers=("api-key", "authorization"),
    extra_parameters=True,
    input_type=True,
)
V1 = Surface(
    "v1",
    "/openai/v1",
    operations=frozenset({CHAT, RESPONSES, EMBEDDINGS, FILES, BATCHES}),
    api_version=None,
    scope=_COGNITIVE_SERVICES,
    key_headers=("api-key",),
)
DEPLOYMENTS = Surface(
    "deployments",
    "/openai/deployments",
    operations=frozenset({CHAT, EMBEDDINGS}),
    api_version="2024-10-21",
    scope=_COGNITIVE_SERVICES,
    key_headers=("api-key",),
    names_in_body=False,
)
SERVERLESS = Surface(
    "serverless",
    "",
    operations=frozenset({CHAT, EMBEDDINGS, IMAGES, INFO, RERANK}),
    api_version="2024-05-01-preview",
    scope=_MACHINE_LEARNING,
    key_headers=("authorization", "api-key"),
    routes=False,
    extra_parameters=True,
    input_type=True,
)
MANAGED = replace(SERVERLESS, name="managed", names_in_body=False)
# Claude. One host was seen to refuse a key in `x-api-key` alone, so it goes in both headers.
# Source: "Claude models in Microsoft Foundry", API reference.
ANTHROPIC = Surface(
    "anthropic",
    "/anthropic/v1",
    operations=frozenset({MESSAGES}),
    api_version=None,
    scope=PROJECT_SCOPE,
    key_headers=("api-key", "x-api-key"),
)
# Source: "Rerank with Cohere on Foundry", "Embed" (v2); a path with `/v1/` is not served.
COHERE = Surface(
    "cohere",
    "/providers/cohere",
    operations=frozenset({RERANK, EMBED}),
    api_version=None,
    scope=PROJECT_SCOPE,
    key_headers=("api-key",),
)
# The surfaces to try, in this order, for an operation that a surface does not have.
BESIDE = (V1, ANTHROPIC, COHERE, MODELS)
SURFACES = {surface.name: surface for surface in (MODELS, V1, DEPLOYMENTS, SERVERLESS, MANAGED)}
# `GET /info?model=` came to the model inference route with this version.
INFO_VERSION = "2025-04-01"


def scope_of(surface: Surface, url: str) -> str | None:
    """Return the Entra ID scope of a token for a URL, in its cloud (public, US, China)."""
    # Called for each request: the cache's key is the authority alone, which has no secret.
    return surface.scope and _scope_in_cloud(
        surface.scope, url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    )


@lru_cache(256)
def _scope_in_cloud(scope: str, authority: str) -> str:
    host = urlsplit(f"//{authority}").hostname or ""
    cloud = next((host[-3:] for end in (".azure.us", ".azure.cn") if host.endswith(end)), ".com")
    return scope.replace(".azure.com/", f".azure{cloud}/")


def surface_named(name: str | Surface) -> Surface:
    """Return the surface with a name.

    Raises:
        ConfigurationError: No surface has this name.
    """
    if isinstance(name, Surface):
        return name
    if not isinstance(name, str):
        raise ConfigurationError(
            f"surface={name!r} has the type {type(name).__name__}; choose from "
            f"{', '.join(SURFACES)}"
        )
    folded = name.strip().casefold()
    if surface := SURFACES.get(folded):
        return surface
    if folded == "github":
        raise ConfigurationError(GITHUB_ENDED)
    raise ConfigurationError(f"unknown surface {name!r}; choose from {', '.join(SURFACES)}")
