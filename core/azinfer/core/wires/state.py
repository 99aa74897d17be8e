"""What a wire needs back in the next request, kept on the assistant's message.

Reasoning, signatures and service-side calls can only be read by the wire that made them. They are
one opaque mapping of JSON on the message, `state`, beside the text and the calls that every wire
understands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from azinfer.core.completions import Json
from azinfer.core.routing import Routing

# A resource has several hosts; its name is the first label of each.
_RESOURCE = r"^([^.]+)\.(?:services\.ai|openai|cognitiveservices)\.azure\.(?:com|us|cn)$"


@lru_cache(maxsize=1024)
def resource_of(url: str) -> str:
    """Return the name of the resource that a URL belongs to, or its host elsewhere.

    Example:
        >>> resource_of("https://contoso.openai.azure.com/openai/v1")
        'contoso'
    """
    parts = urlsplit(url)
    match = re.match(_RESOURCE, parts.hostname or "")
    return match[1] if match else parts.netloc.lower()


def new_state(wire: str, routing: Routing | None, items: Sequence[Json]) -> Json | None:
    """Return the state of an answer, or None where there is nothing to send back."""
    if not items:
        return None
    resource = resource_of(routing.endpoint) if routing else ""
    return {"wire": wire, "resource": resource, "items": list(items)}


def items_of(message: Mapping[str, Any], wire: str) -> list[Json] | None:
    """Return what a message has for a wire; None if it has nothing, or another wire's."""
    state = message.get("state")
    if not isinstance(state, Mapping) or state.get("wire") != wire:
        return None
    items = state.get("items")
    listed = items if isinstance(items, Sequence) and not isinstance(items, str) else ()
    return [dict(item) for item in listed if isinstance(item, Mapping)] or None


def is_of(message: Mapping[str, Any], resource: str) -> bool:
    """Return whether the state of a message comes from a resource."""
    state = message.get("state")
    return isinstance(state, Mapping) and state.get("resource") in ("", resource)


def foreign_wire(message: Mapping[str, Any], wire: str) -> str | None:
    """Return the wire that made a message's state, if it is another one."""
    if (state := message.get("state")) is None:
        return None
    made_by = state.get("wire") if isinstance(state, Mapping) else None
    return str(made_by) if made_by and made_by != wire else None


def same_arguments(one: str, other: str) -> bool:
    """Return whether two texts are the same JSON, however frameworks wrote it."""
    if one == other:
        return True
    try:
        return bool(json.loads(one or "{}") == json.loads(other or "{}"))
    except (ValueError, RecursionError):
        return False
