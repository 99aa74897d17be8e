"""Management: deployments made, changed and deleted, and keys renewed, as Resource Manager does.

Any subscription, resource group and account is this endpoint. Changes are done at once, so no
operation is long-running.

Source: "Accounts - Deployments" and "Accounts - List Keys", "Regenerate Key" of the Cognitive
Services management REST API.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from azinfer.core.errors import ConfigurationError
from azinfer.local.api.context import Asked
from azinfer.local.api.management import arm_format
from azinfer.local.api.management.listings import paged
from azinfer.local.resource.auth.keys import NAMES
from azinfer.local.resource.deployment import CAPACITY_TYPES, LARGEST_CAPACITY, LocalDeployment
from azinfer.local.resource.registry import Record
from azinfer.local.resource.state import Service
from azinfer.local.wire.body import Json
from azinfer.local.wire.errors import Refusal, in_arm
from azinfer.local.wire.json import AsciiResponse


async def deployments(service: Service, asked: Asked) -> Response:
    """Answer the list of an account's deployments."""
    account = _account(asked)
    return paged(
        service, asked, service.registry.records, lambda each: arm_format.entry(each, account)
    )


async def read(service: Service, asked: Asked) -> Response:
    """Answer one deployment."""
    return _told(_found(service, asked), asked)


async def put(service: Service, asked: Asked) -> Response:
    """Make a deployment, or replace the configuration of one."""
    body = await _body(service, asked)
    try:
        deployment = arm_format.deployment(_name(asked), body, service.registry)
        extras = arm_format.extras(body)
    except ConfigurationError as error:
        raise _invalid(str(error)) from None
    return _kept(service, asked, deployment, extras)


async def patch(service: Service, asked: Asked) -> Response:
    """Change the capacity or the tags of a deployment."""
    record = _found(service, asked)
    body = await _body(service, asked)
    try:
        deployment = arm_format.patched(record.deployment, body)
        extras = {**record.extras, **arm_format.extras(body)}
    except ConfigurationError as error:
        raise _invalid(str(error)) from None
    return _kept(service, asked, deployment, extras)


async def delete(service: Service, asked: Asked) -> Response:
    """Delete a deployment; 204 where there is none."""
    return Response(status_code=200 if service.registry.remove(_name(asked)) else 204)


async def skus(service: Service, asked: Asked) -> Response:
    """Answer which capacity types a deployment could have."""
    _found(service, asked)
    capacity = {"minimum": 1, "maximum": LARGEST_CAPACITY, "step": 1, "default": 1}
    kind = "Microsoft.CognitiveServices/accounts/deployments"
    value = [
        {"resourceType": kind, "sku": {"name": name}, "capacity": capacity}
        for name in CAPACITY_TYPES
    ]
    return AsciiResponse({"value": value})


async def keys(service: Service, asked: Asked) -> Response:
    """Answer the two keys of the account."""
    asked.trace.secret = True
    held = service.access.keys
    return AsciiResponse({"key1": held.first, "key2": held.second})


async def renew_key(service: Service, asked: Asked) -> Response:
    """Make one of the keys anew and answer both."""
    name = (await _body(service, asked)).get("keyName")
    wanted = next((each for each in NAMES if each.casefold() == str(name).casefold()), None)
    if wanted is None:
        raise _invalid(f"keyName must be one of {', '.join(NAMES)}, not {name!r}")
    service.access.keys.renew(wanted)
    return await keys(service, asked)


def _name(asked: Asked) -> str:
    name: str = asked.http.path_params["deployment"]
    return name


def _account(asked: Asked) -> str:
    named = asked.http.path_params
    return (
        f"/subscriptions/{named['subscription']}/resourceGroups/{named['group']}"
        f"/providers/{named['provider']}/accounts/{named['account']}"
    )


def _found(service: Service, asked: Asked) -> Record:
    record = service.registry.record(_name(asked))
    if record is None:
        named = asked.http.path_params
        resource = f"{named['provider']}/accounts/{named['account']}/deployments/{_name(asked)}"
        message = (
            f"The Resource '{resource}' under resource group '{named['group']}' was not found."
        )
        raise in_arm(404, "ResourceNotFound", message)
    return record


async def _body(service: Service, asked: Asked) -> Json:
    try:
        return await service.json(asked)
    except Refusal as refusal:
        body: Any = refusal.body
        raise in_arm(refusal.status, "InvalidRequestContent", body["error"]["message"]) from None


def _kept(
    service: Service, asked: Asked, deployment: LocalDeployment, extras: Mapping[str, Any]
) -> Response:
    try:
        new = service.registry.put(deployment, extras)
    except ConfigurationError as error:
        raise _invalid(str(error)) from None
    return _told(_found(service, asked), asked, 201 if new else 200)


def _told(record: Record, asked: Asked, status: int = 200) -> Response:
    headers = {"etag": f'"{record.etag}"'}
    return AsciiResponse(arm_format.entry(record, _account(asked)), status, headers)


def _invalid(message: str) -> Refusal:
    return in_arm(400, "InvalidResourceProperties", f"{message}.")
