"""Deployments in the form of Azure Resource Manager, written and read.

What a body cannot say follows two rules: a new deployment is answered by the engine that serves
or served its model here, or else by a synthetic one; and a `raiPolicyName` is the content filter
of that name that a deployment here has or had, or else one that finds nothing. What the service
decides itself (`rateLimits`, `capabilities`, `currentCapacity`) is not read: limits follow from
the capacity that is put.

Source: "Accounts - Deployments" of the Cognitive Services management REST API.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from azinfer.core.errors import ConfigurationError
from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.resource.registry import Record, Registry
from azinfer.local.wire.body import Json

_CAMEL = {"chat_completion": "chatCompletion", "image_embeddings": "imageEmbeddings"}
_UPGRADES = ("OnceNewDefaultVersionAvailable", "OnceCurrentVersionExpired", "NoAutoUpgrade")
_DEFAULT_FILTER = "Microsoft.DefaultV2"


def entry(record: Record, account: str) -> Json:
    """A deployment as the account with an id tells it."""
    deployment, extras = record.deployment, record.extras
    properties: Json = {
        "model": {
            "format": deployment.model_format,
            "name": deployment.model_name,
            "version": deployment.model_version,
        },
        "versionUpgradeOption": extras.get("versionUpgradeOption", _UPGRADES[0]),
        "raiPolicyName": deployment.filter.name,
        "currentCapacity": deployment.units,
        "capabilities": {
            _CAMEL.get(name, name): told for name, told in deployment.capabilities.items()
        },
        "provisioningState": "Succeeded",
        "rateLimits": [
            {"key": each.key, "renewalPeriod": each.renewal_period, "count": each.count}
            for each in deployment.limits
        ],
    }
    if deployment.spillover:
        properties["spilloverDeploymentName"] = deployment.spillover
    return {
        "id": f"{account}/deployments/{deployment.name}",
        "type": "Microsoft.CognitiveServices/accounts/deployments",
        "name": deployment.name,
        "etag": f'"{record.etag}"',
        "sku": {"name": deployment.capacity_type, "capacity": deployment.units},
        "tags": extras.get("tags", {}),
        "properties": properties,
        "systemData": {
            "createdAt": _time(record.created),
            "lastModifiedAt": _time(record.modified),
        },
    }


def deployment(name: str, body: Json, registry: Registry) -> LocalDeployment:
    """The deployment that the body of a PUT describes.

    Args:
        name: Its name.
        body: The body.
        registry: What is served now: one of this name keeps its spelling, and its engine if
            its model is the same.

    Raises:
        ConfigurationError: The body describes none.
    """
    properties, sku = _table(body, "properties"), _table(body, "sku")
    model = _table(properties, "model", "properties.")
    model_name = _text(model, "name", "properties.model.")
    capacity_type = _text(sku, "name", "sku.")
    if not model_name or not capacity_type:
        raise ConfigurationError(f"give {'sku.name' if model_name else 'properties.model.name'}")
    before = registry.get(name)
    if before is None or before.model_name.casefold() != model_name.casefold():
        before = LocalDeployment(before.name if before else name, model_name)
        before = replace(before, engine=registry.engine_for(model_name))
    return replace(
        before,
        model_name=model_name,
        model_version=_text(model, "version", "properties.model.") or before.model_version,
        model_format=_text(model, "format", "properties.model.") or before.model_format,
        capacity_type=capacity_type,
        capacity=_capacity(sku),
        content_filter=registry.filter_called(
            _text(properties, "raiPolicyName", "properties.") or _DEFAULT_FILTER
        ),
        rate_limits=None,
        spillover=_text(properties, "spilloverDeploymentName", "properties.") or "",
    )


def patched(before: LocalDeployment, body: Json) -> LocalDeployment:
    """A deployment after the body of a PATCH, which changes its `sku`.

    Raises:
        ConfigurationError: The body would change more than a PATCH can.
    """
    for field in body:
        if field not in ("sku", "tags"):
            raise ConfigurationError(f"PATCH changes sku and tags, not {field}; use PUT")
    sku = _table(body, "sku")
    if not sku:
        return before
    return replace(
        before,
        capacity_type=_text(sku, "name", "sku.") or before.capacity_type,
        capacity=_capacity(sku) or before.capacity,
        rate_limits=None,
    )


def extras(body: Json) -> Json:
    """What a body tells that is only kept and told again.

    Raises:
        ConfigurationError: It is not what it can be.
    """
    told: Json = {}
    if "tags" in body:
        tags = _table(body, "tags")
        told["tags"] = {name: _text(tags, name, "tags.") for name in tags}
    upgrade = _text(_table(body, "properties"), "versionUpgradeOption", "properties.")
    if upgrade is not None:
        if upgrade not in _UPGRADES:
            raise ConfigurationError(
                f"properties.versionUpgradeOption is one of {', '.join(_UPGRADES)}, not {upgrade!r}"
            )
        told["versionUpgradeOption"] = upgrade
    return told


def _table(body: Mapping[str, Any], name: str, where: str = "") -> Json:
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        raise ConfigurationError(f"{where}{name} is an object, not {value!r}")
    return value or {}


def _text(body: Mapping[str, Any], name: str, where: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(f"{where}{name} is a text, not {value!r}")
    return value


def _capacity(sku: Mapping[str, Any]) -> int | None:
    value = sku.get("capacity")
    if value is not None and (type(value) is not int or value < 1):
        raise ConfigurationError(f"sku.capacity is a whole number of at least 1, not {value!r}")
    return value


def _time(seconds: float) -> str:
    time = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")
