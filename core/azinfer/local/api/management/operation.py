"""Management: creates, changes and deletes deployments and renews keys, as Resource Manager does.

Any subscription, resource group and account means this endpoint. Changes apply at once, so no
operation is long-running.

Source: "Accounts - Deployments" and "Accounts - List Keys", "Regenerate Key" of the Cognitive
Services management REST API.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from azinfer.core.errors import ConfigurationError
from azinfer.local.api.context import RequestContext
from azinfer.local.api.management import arm_format
from azinfer.local.api.management.listings import page_response
from azinfer.local.resource.auth.keys import NAMES
from azinfer.local.resource.deployment import CAPACITY_TYPES, LARGEST_CAPACITY, LocalDeployment
from azinfer.local.resource.registry import Record
from azinfer.local.wire.body import Json
from azinfer.local.wire.errors import ErrorResponse, in_arm
from azinfer.local.wire.json import AsciiResponse

_LOCAL = "local"  # the subscription, the resource group, the account and the region


async def subscriptions(context: RequestContext) -> Response:
    """Answer the list of subscriptions, which has one."""
    entry = {
        "id": f"/subscriptions/{_LOCAL}",
        "subscriptionId": _LOCAL,
        "displayName": "The local endpoint",
        "state": "Enabled",
    }
    return AsciiResponse({"value": [entry]})


async def accounts(context: RequestContext) -> Response:
    """Answer the list of a subscription's accounts, which is this endpoint."""
    named = context.http.path_params
    url = str(context.http.base_url)
    entry = {
        "id": (
            f"/subscriptions/{named['subscription']}/resourceGroups/{_LOCAL}"
            f"/providers/{named['provider']}/accounts/{_LOCAL}"
        ),
        "name": _LOCAL,
        "type": f"{named['provider']}/accounts",
        "kind": "AIServices",
        "location": _LOCAL,
        "properties": {"endpoint": url, "endpoints": {"AI Foundry API": url}},
    }
    return AsciiResponse({"value": [entry]})


async def deployments(context: RequestContext) -> Response:
    """Answer the list of an account's deployments."""
    account = _account(context)
    return page_response(
        context, context.state.registry.records, lambda each: arm_format.entry(each, account)
    )


async def models(context: RequestContext) -> Response:
    """Answer the list of an account's models: those of its deployments.

    Source: "Accounts - List Models" of the same API.
    """
    entries = {}
    for record in context.state.registry.records:
        entry = arm_format.model(record.deployment)
        entries[entry["name"], entry["version"]] = entry
    return AsciiResponse({"value": list(entries.values())})


async def get(context: RequestContext) -> Response:
    """Answer one deployment."""
    return _respond(_find_record(context), context)


async def put(context: RequestContext) -> Response:
    """Create a deployment, or replace the configuration of one."""
    body = await _body(context)
    try:
        deployment = arm_format.put_deployment(_name(context), body, context.state.registry)
        extras = arm_format.extras(body)
    except ConfigurationError as error:
        raise _invalid(str(error)) from None
    return _store(context, deployment, extras)


async def patch(context: RequestContext) -> Response:
    """Change the capacity or the tags of a deployment."""
    record = _find_record(context)
    body = await _body(context)
    try:
        deployment = arm_format.patch_deployment(record.deployment, body)
        extras = {**record.extras, **arm_format.extras(body)}
    except ConfigurationError as error:
        raise _invalid(str(error)) from None
    return _store(context, deployment, extras)


async def delete(context: RequestContext) -> Response:
    """Delete a deployment; the status is 204 if it does not exist."""
    return Response(status_code=200 if context.state.registry.remove(_name(context)) else 204)


async def skus(context: RequestContext) -> Response:
    """Answer the capacity types that a deployment could have."""
    _find_record(context)
    capacity = {"minimum": 1, "maximum": LARGEST_CAPACITY, "step": 1, "default": 1}
    kind = "Microsoft.CognitiveServices/accounts/deployments"
    value = [
        {"resourceType": kind, "sku": {"name": name}, "capacity": capacity}
        for name in CAPACITY_TYPES
    ]
    return AsciiResponse({"value": value})


async def keys(context: RequestContext) -> Response:
    """Answer the two keys of the account."""
    context.trace.secret = True
    keys = context.state.authenticator.keys
    return AsciiResponse({"key1": keys.first, "key2": keys.second})


async def renew_key(context: RequestContext) -> Response:
    """Renew one of the keys and answer both."""
    name = (await _body(context)).get("keyName")
    wanted = next((each for each in NAMES if each.casefold() == str(name).casefold()), None)
    if wanted is None:
        raise _invalid(f"keyName must be one of {', '.join(NAMES)}, not {name!r}")
    context.state.authenticator.keys.renew(wanted)
    return await keys(context)


def _name(context: RequestContext) -> str:
    name: str = context.http.path_params["deployment"]
    return name


def _account(context: RequestContext) -> str:
    named = context.http.path_params
    return (
        f"/subscriptions/{named['subscription']}/resourceGroups/{named['group']}"
        f"/providers/{named['provider']}/accounts/{named['account']}"
    )


def _find_record(context: RequestContext) -> Record:
    record = context.state.registry.record(_name(context))
    if record is None:
        named = context.http.path_params
        resource = f"{named['provider']}/accounts/{named['account']}/deployments/{_name(context)}"
        message = (
            f"The Resource '{resource}' under resource group '{named['group']}' was not found."
        )
        raise in_arm(404, "ResourceNotFound", message)
    return record


async def _body(context: RequestContext) -> Json:
    try:
        return await context.read_json()
    except ErrorResponse as refusal:
        body: Any = refusal.body
        raise in_arm(refusal.status, "InvalidRequestContent", body["error"]["message"]) from None


def _store(
    context: RequestContext, deployment: LocalDeployment, extras: Mapping[str, Any]
) -> Response:
    try:
        new = context.state.registry.put(deployment, extras)
    except ConfigurationError as error:
        raise _invalid(str(error)) from None
    return _respond(_find_record(context), context, 201 if new else 200)


def _respond(record: Record, context: RequestContext, status: int = 200) -> Response:
    headers = {"etag": f'"{record.etag}"'}
    return AsciiResponse(arm_format.entry(record, _account(context)), status, headers)


def _invalid(message: str) -> ErrorResponse:
    return in_arm(400, "InvalidResourceProperties", f"{message}.")
