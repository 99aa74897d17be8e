"""The Responses API: requests are answered as chats, and stored for later turns.

Source: "Create a model response" of the Azure OpenAI REST API.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import partial

from starlette.responses import Response

from azinfer.local.api.admission import find_deployment
from azinfer.local.api.chat.completion import complete
from azinfer.local.api.chat.request import parse_chat_request
from azinfer.local.api.context import RequestContext
from azinfer.local.api.pagination import page
from azinfer.local.api.responses import background
from azinfer.local.api.responses.conversations import conversation_of
from azinfer.local.api.responses.items import InputItems, show_item
from azinfer.local.api.responses.request import (
    FIELDS,
    as_chat,
    check_response_request,
    response_head,
)
from azinfer.local.api.responses.response import ResponsesWriter, WriterOptions
from azinfer.local.api.responses.tools import custom_names
from azinfer.local.engines.base import Prompt
from azinfer.local.engines.synthetic import count_prompt_tokens
from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.resource.model_families import LOGPROBS, check_logprobs, check_response
from azinfer.local.resource.storage.response_store import ResponseEvents, StoredResponse
from azinfer.local.wire import errors
from azinfer.local.wire.body import Json
from azinfer.local.wire.errors import bad_request
from azinfer.local.wire.json import AsciiResponse

_ENCRYPTED = "reasoning.encrypted_content"


async def create(context: RequestContext) -> Response:
    """Answer `POST responses`."""
    state = context.state
    body = await context.read_body(FIELDS)
    deployment = find_deployment(context, body.get("model"), "responses")
    check_response_request(body, context.surface, state.strict)
    check_response(body, deployment, context.surface)
    if LOGPROBS in (body.get("include") or ()):
        check_logprobs("include", deployment, context.surface)
    own, messages = _read_input(context, body, deployment)
    request = parse_chat_request(as_chat(body, messages, context.surface), context.surface)
    head = response_head(body, f"resp_{context.id}", deployment.name)
    conversation = conversation_of(context, body)
    if conversation is not None:
        head["conversation"] = {"id": conversation.id}
    events = ResponseEvents() if request.stream and head["store"] else None

    def keep(response: Json) -> None:
        if response["store"]:
            task = background.task_of(state, response["id"])
            state.responses.add(StoredResponse(response, own, events, task))
        if conversation is not None and response["status"] in ("completed", "incomplete"):
            conversation.items += [*own, *response["output"]]

    def encrypt(text: str) -> str:
        return state.seal.close(json.dumps([head["id"], text]))

    options = WriterOptions(
        is_padded=(body.get("stream_options") or {}).get("include_obfuscation") is not False,
        has_summary=bool(head["reasoning"]["summary"]),
        encrypt=encrypt if _ENCRYPTED in (body.get("include") or ()) else None,
        in_background=head["background"],
        custom=custom_names(body.get("tools")),
    )
    make_writer = partial(ResponsesWriter, head, keep, options, events)
    run = partial(complete, deployment=deployment, requests=[request], make_writer=make_writer)
    if not head["background"]:
        return await run(context)
    stored = StoredResponse({**head, "status": "queued"}, own, events)
    return background.begin(context, stored, run)


async def input_tokens(context: RequestContext) -> Response:
    """Answer `POST responses/input_tokens`."""
    body = await context.read_body(FIELDS)
    deployment = find_deployment(context, body.get("model"), "responses")
    check_response_request(body, context.surface, context.state.strict)
    _, messages = _read_input(context, body, deployment)
    if body.get("instructions"):
        messages = [{"content": body["instructions"]}, *messages]
    return AsciiResponse(
        {"object": "response.input_tokens", "input_tokens": count_prompt_tokens(Prompt(messages))}
    )


def _read_input(
    context: RequestContext, body: Json, deployment: LocalDeployment
) -> tuple[list[Json], list[Json]]:
    """Return the items of a request, each with an id, and the whole conversation as a chat.

    Raises:
        ErrorResponse: An item is not valid, or cannot be read by this resource.
    """
    state = context.state
    items = InputItems(context.surface, state.responses.item, state.seal)
    own = [
        {"id": f"in_{context.id}_{at}", **item} for at, item in enumerate(items.read(body["input"]))
    ]
    history = [*_previous_items(context, body), *own]
    items.check_reasoning(history, deployment.model_name)
    return own, items.messages(history)


async def get(context: RequestContext) -> Response:
    """Answer `GET responses/{id}`: the response, or its events once more."""
    stored = _find_stored(context)
    query = context.http.query_params
    if query.get("stream", "").lower() not in ("true", "1"):
        return AsciiResponse(stored.response)
    if stored.events is None:
        message = "This response cannot be streamed because it was not created with stream=true."
        raise bad_request(context.surface, message, "stream")
    after = query.get("starting_after", "-1")
    if not re.fullmatch(r"-1|\d{1,9}", after):
        message = "Invalid 'starting_after': expected the sequence number of an event."
        raise bad_request(context.surface, message, "starting_after")
    return background.event_stream(stored.events.follow(int(after)))


async def cancel(context: RequestContext) -> Response:
    """Answer `POST responses/{id}/cancel`; a response that has ended stays as it is."""
    stored = _find_stored(context)
    if not stored.response["background"]:
        message = "Cannot cancel a synchronous response."
        raise bad_request(context.surface, message, "response_id")
    return AsciiResponse(background.cancel(context.state, stored))


async def delete(context: RequestContext) -> Response:
    """Answer `DELETE responses/{id}`."""
    stored = _find_stored(context)
    if stored.task is not None:
        stored.task.cancel()
    context.state.responses.delete(stored.response["id"])
    payload = {"id": stored.response["id"], "object": "response.deleted", "deleted": True}
    return AsciiResponse(payload)


async def input_items(context: RequestContext) -> Response:
    """Answer `GET responses/{id}/input_items`."""
    items = [show_item(item) for item in _find_stored(context).items]
    if context.http.query_params.get("order") != "asc":
        items.reverse()
    return AsciiResponse(page(items, context))


def _find_stored(context: RequestContext) -> StoredResponse:
    name = context.http.path_params["response"]
    stored = context.state.responses.get(name)
    if stored is None:
        raise errors.unknown_id(f"Response with id '{name}' not found.")
    return stored


def _previous_items(context: RequestContext, body: Json) -> Sequence[Json]:
    """Return the items of the previous turns."""
    if conversation := conversation_of(context, body):
        return list(conversation.items)
    previous = body.get("previous_response_id")
    if previous is None:
        return ()
    items = context.state.responses.conversation(previous) if isinstance(previous, str) else None
    if items is None:
        message = f"Previous response with id '{previous}' not found."
        param = "previous_response_id"
        raise bad_request(context.surface, message, param, "previous_response_not_found")
    return items
