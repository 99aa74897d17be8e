"""The names of OpenTelemetry's GenAI conventions, in version 1.36 and in the newest one.

Source: "Semantic conventions for generative client AI spans" and "… metrics", and their plan of
transition by OTEL_SEMCONV_STABILITY_OPT_IN.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from azinfer.core.surfaces import CHAT, EMBEDDINGS, IMAGES, RERANK

VERSION_OPT_IN = "OTEL_SEMCONV_STABILITY_OPT_IN"
CONTENT_OPT_IN = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_LATEST = "gen_ai_latest_experimental"
_CONTENT = ("true", "1", "span_only", "event_only", "span_and_event")

OPERATIONS = {CHAT: "chat", EMBEDDINGS: "embeddings", IMAGES: "embeddings", RERANK: "rerank"}

# Options of a call, by the names of the wire, and the attributes for them.
_OPTIONS = {
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "max_output_tokens": "gen_ai.request.max_tokens",
    "max_tokens": "gen_ai.request.max_tokens",
    "n": "gen_ai.request.choice.count",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
    "temperature": "gen_ai.request.temperature",
    "top_k": "gen_ai.request.top_k",
    "top_p": "gen_ai.request.top_p",
}
_LISTS = {
    "stop": "gen_ai.request.stop_sequences",
    "encoding_format": "gen_ai.request.encoding_formats",
}

DURATION = "gen_ai.client.operation.duration"
DURATION_BUCKETS = [0.01 * 2**power for power in range(14)]
TOKENS = "gen_ai.client.token.usage"
TOKEN_BUCKETS = [4**power for power in range(14)]

# Version 1.36 has a time to the first token for servers only; clients have one in newer versions.
FIRST_CHUNK = "gen_ai.client.operation.time_to_first_chunk"
FIRST_CHUNK_ATTRIBUTE = "gen_ai.response.time_to_first_chunk"
OWN_FIRST_CHUNK_ATTRIBUTE = "azinfer.time_to_first_chunk"


def is_latest(environ: Mapping[str, str]) -> bool:
    """Return whether the newest names are selected."""
    return _LATEST in (each.strip() for each in environ.get(VERSION_OPT_IN, "").split(","))


def wants_contents(environ: Mapping[str, str]) -> bool:
    """Return whether prompts and answers are to be recorded."""
    return environ.get(CONTENT_OPT_IN, "").strip().casefold() in _CONTENT


def request_attributes(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes for the options of a call."""
    attributes: dict[str, Any] = {}
    for name, attribute in _OPTIONS.items():
        if isinstance(value := options.get(name), int | float):
            attributes[attribute] = value
    for name, attribute in _LISTS.items():
        value = options.get(name)
        if isinstance(value, str):
            attributes[attribute] = [value]
        elif isinstance(value, list | tuple):
            attributes[attribute] = [str(each) for each in value]
    return attributes


def provider_of(url: str) -> str:
    """Return the name of the service behind the URL of an endpoint."""
    is_openai = ".openai.azure." in url or "/openai/deployments" in url
    return "azure.ai.openai" if is_openai else "azure.ai.inference"


def server_attributes(url: str) -> dict[str, Any]:
    """Return the attributes for the host of a URL."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {"server.address": parts.hostname or "", "server.port": port}
