"""Conversations: items that responses continue from, and add to.

Source: "Conversations" of the OpenAI API reference.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from azinfer.local.api.context import RequestContext
from azinfer.local.api.pagination import page
from azinfer.local.api.responses.items import InputItems, show_item
from azinfer.local.resource.storage.conversation_store import Conversation
from azinfer.local.wire import errors
from azinfer.local.wire.body import Json
from azinfer.local.wire.errors import bad_request
from azinfer.local.wire.json import AsciiResponse

_FIELDS = frozenset(["items", "metadata"])


async def create(context: RequestContext) -> Response:
    """Answer `POST conversations`."""
    body = await context.read_body(_FIELDS)
    conversation = Conversation(f"conv_{context.id}", int(time.time()), _metadata(context, body))
    if body.get("items"):
        conversation.items += _read_items(context, body)
    context.state.conversations.add(conversation)
    return AsciiResponse(conversation.to_wire())


async def get(context: RequestContext) -> Response:
    """Answer `GET conversations/{id}`."""
    return AsciiResponse(_find(context).to_wire())


async def update(context: RequestContext) -> Response:
    """Answer `POST conversations/{id}`, which replaces the metadata."""
    conversation = _find(context)
    conversation.metadata = _metadata(context, await context.read_body(_FIELDS))
    return AsciiResponse(conversation.to_wire())


async def delete(context: RequestContext) -> Response:
    """Answer `DELETE conversations/{id}`."""
    conversation_id = _find(context).id
    context.state.conversations.delete(conversation_id)
    payload = {"id": conversation_id, "object": "conversation.deleted", "deleted": True}
    return AsciiResponse(payload)


async def add_items(context: RequestContext) -> Response:
    """Answer `POST conversations/{id}/items`."""
    conversation = _find(context)
    new = _read_items(context, await context.read_body(_FIELDS))
    conversation.items += new
    entries = [show_item(item) for item in new]
    ids = {"first_id": entries[0]["id"], "last_id": entries[-1]["id"]}
    return AsciiResponse({"object": "list", "data": entries, **ids, "has_more": False})


async def list_items(context: RequestContext) -> Response:
    """Answer `GET conversations/{id}/items`, newest first unless `order` says otherwise."""
    items = [show_item(item) for item in _find(context).items]
    if context.http.query_params.get("order") != "asc":
        items.reverse()
    return AsciiResponse(page(items, context))


async def get_item(context: RequestContext) -> Response:
    """Answer `GET conversations/{id}/items/{item}`."""
    return AsciiResponse(show_item(_find_item(context, _find(context))))


async def delete_item(context: RequestContext) -> Response:
    """Answer `DELETE conversations/{id}/items/{item}`."""
    conversation = _find(context)
    conversation.items.remove(_find_item(context, conversation))
    return AsciiResponse(conversation.to_wire())


def conversation_of(context: RequestContext, body: Json) -> Conversation | None:
    """Return the conversation that a response continues, or None if it names none.

    Raises:
        ErrorResponse: It is unknown, or the request names a previous response too.
    """
    value = body.get("conversation")
    if value is None:
        return None
    if body.get("previous_response_id") is not None:
        message = "Pass 'conversation' or 'previous_response_id', not both."
        raise bad_request(context.surface, message, "conversation", "mutually_exclusive_parameters")
    name = value.get("id") if isinstance(value, Mapping) else value
    conversation = context.state.conversations.get(name)
    if conversation is None:
        raise errors.unknown_id(f"Conversation with id '{name}' not found.", "conversation")
    return conversation


def _find(context: RequestContext) -> Conversation:
    name = context.http.path_params["conversation"]
    conversation = context.state.conversations.get(name)
    if conversation is None:
        raise errors.unknown_id(f"Conversation with id '{name}' not found.")
    return conversation


def _find_item(context: RequestContext, conversation: Conversation) -> Json:
    name = context.http.path_params["item"]
    for item in conversation.items:
        if item["id"] == name:
            return item
    raise errors.unknown_id(f"Item with id '{name}' not found in conversation '{conversation.id}'.")


def _read_items(context: RequestContext, body: Json) -> list[Json]:
    values: Any = body.get("items")
    if not isinstance(values, list) or not values:
        message = "'items' must be a list of at least one item."
        raise bad_request(context.surface, message, "items")
    items = InputItems(context.surface, context.state.responses.item, context.state.seal)
    read = items.read(values)
    return [{"id": f"item_{context.id}_{at}", **item} for at, item in enumerate(read)]


def _metadata(context: RequestContext, body: Json) -> Json:
    metadata = body.get("metadata", {})
    if not isinstance(metadata, Mapping):
        message = "Invalid type for 'metadata': expected an object."
        raise bad_request(context.surface, message, "metadata", "invalid_type")
    return dict(metadata)
