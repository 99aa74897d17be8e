"""`POST messages` and `POST messages/count_tokens`: a request read as a chat, answered in blocks.

Sources: "Create a Message" and "Count tokens in a Message" of Anthropic's API reference, "Claude
models in Microsoft Foundry".
"""

from __future__ import annotations

from functools import partial

from starlette.responses import Response

from azinfer.local.api.admission import find_deployment
from azinfer.local.api.chat.completion import complete
from azinfer.local.api.context import RequestContext
from azinfer.local.api.messages.request import FIELDS, check_limit, parse_messages_request
from azinfer.local.api.messages.response import MessageHead, MessagesWriter
from azinfer.local.resource import claude_models
from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.wire.anthropic_errors import anthropic_error
from azinfer.local.wire.body import Json
from azinfer.local.wire.json import AsciiResponse

_VERSIONS = ("2023-01-01", "2023-06-01", "2026-10-21")


async def create(context: RequestContext) -> Response:
    """Answer `POST messages`."""
    body, deployment = await _read(context)
    check_limit(body)
    claude_models.check_message(body, deployment)
    request = parse_messages_request(body, context.state.seal)
    head = MessageHead(
        id=f"msg_{context.id}",
        model=deployment.model_name,
        prompt_tokens=request.prompt_tokens,
        cache=context.state.prompt_cache.use(request.prefixes),
        thinks=request.thinks,
        shows_thinking=request.shows_thinking,
    )

    def keep(content: list[Json]) -> None:
        if "thread" in body:
            context.state.threads.keep(head.id, body, content)

    make_writer = partial(MessagesWriter, head=head, sign=context.state.seal.close, keep=keep)
    return await complete(context, deployment, [request.chat], make_writer, request.chat_body)


async def count_tokens(context: RequestContext) -> Response:
    """Answer `POST messages/count_tokens`."""
    body, deployment = await _read(context)
    claude_models.check_message(body, deployment)
    request = parse_messages_request(body, context.state.seal)
    return AsciiResponse({"input_tokens": request.prompt_tokens})


async def _read(context: RequestContext) -> tuple[Json, LocalDeployment]:
    """Return the body, with the turns of its thread before its own, and the deployment.

    Raises:
        ErrorResponse: A header or a field is wrong, or the thread is unknown.
    """
    _check_version(context)
    body = {name: value for name, value in (await context.read_json()).items() if value is not None}
    extras = body.keys() - FIELDS
    if context.state.strict and extras:
        raise anthropic_error(f"{min(extras)}: Extra inputs are not permitted")
    context.point_out(extras, FIELDS)
    if not isinstance(body.get("model"), str):
        raise anthropic_error("model: Field required")
    deployment = find_deployment(context, body["model"], "messages")
    return _continue_thread(context, body), deployment


def _check_version(context: RequestContext) -> None:
    version = context.http.headers.get("anthropic-version")
    if version is None and context.state.strict:
        raise anthropic_error("anthropic-version: header is required")
    if version is not None and version not in _VERSIONS:
        raise anthropic_error(f'anthropic-version: "{version}" is not a valid version')


def _continue_thread(context: RequestContext, body: Json) -> Json:
    """Return a request with the stored turns of its thread, if it continues one.

    Clients that continue a thread send only new messages; fields that they leave out stay as they
    were.
    """
    thread = body.get("thread")
    if thread is None:
        return body
    kind = thread.get("type") if isinstance(thread, dict) else None
    if kind == "create":
        return body
    if kind != "continue":
        raise anthropic_error("thread.type: Input should be 'create' or 'continue'")
    stored = context.state.threads.get(thread.get("previous_message_id"))
    if stored is None:
        raise anthropic_error(
            "No usable thread state was found for `previous_message_id`. Send the full "
            'conversation with `thread: {"type": "create"}`.',
            404,
            error_code="thread_not_found",
        )
    new = body.get("messages") or []
    if not isinstance(new, list):
        raise anthropic_error("messages: Input should be a valid list")
    inherited = {name: stored[name] for name in _OF_THREAD if name in stored}
    return {**inherited, **body, "messages": [*stored["messages"], *new]}


_OF_THREAD = ("system", "tools", "tool_choice", "thinking", "output_config", "metadata")
