"""Deployments in the form of Azure Resource Manager: written and read.

Two rules fill in what a body cannot say: a new deployment gets the engine that serves
or served its model here, or else a synthetic one; and a `raiPolicyName` is the content filter
with that name that a deployment here has or had, or else one that finds nothing. What the service
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
from azinfer.core.model_catalog import find
from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.resource.registry import Record, Registry
from azinfer.local.wire.body import Json

_CAMEL = {"chat_completion": "chatCompletion", "image_embeddings": "imageEmbeddings"}
_UPGRADES = ("OnceNewDefaultVersionAvailable", "OnceCurrentVersionExpired", "NoAutoUpgrade")
_DEFAULT_FILTER = "Microsoft.DefaultV2"


def entry(record: Record, account: str) -> Json:
    """Return a deployment as a resource of an account."""
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
            _CAMEL.get(name, name): value for name, value in deployment.capabilities.items()
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


def model(deployment: LocalDeployment) -> Json:
    """Return the model of a deployment; `deprecation` only where the day is known."""
    name, version = deployment.model_name, deployment.model_version
    facts = find(f"{name}-{version}", is_model_id=True) or find(name, is_model_id=True)
    entry: Json = {"format": deployment.model_format, "name": name, "version": version}
    if facts is not None and facts.retires is not None:
        entry["deprecation"] = {"inference": f"{facts.retires}T00:00:00Z"}
    return entry


def put_deployment(name: str, body: Json, registry: Registry) -> LocalDeployment:
    """Return the deployment that the body of a PUT describes.

    Args:
        name: The name of the deployment.
        body: The body.
        registry: The deployments; one with this name keeps its spelling, and its engine if
            its model is the same.

    Raises:
        ConfigurationError: The body does not describe a deployment.
    """
    properties, sku = _table(body, "properties"), _table(body, "sku")
    model = _table(properties, "model", "properties.")
    model_name = _text(model, "name", "properties.model.")
    capacity_type = _text(sku, "name", "sku.")
    if not model_name or not capacity_type:
        missing = "sku.name" if model_name else "properties.model.name"
        raise ConfigurationError(f"{missing} is required")
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
        content_filter=registry.filter_by_name(
            _text(properties, "raiPolicyName", "properties.") or _DEFAULT_FILTER
        ),
        rate_limits=None,
        spillover=_text(properties, "spilloverDeploymentName", "properties.") or "",
    )


def patch_deployment(before: LocalDeployment, body: Json) -> LocalDeployment:
    """Return a deployment after the body of a PATCH, which changes its `sku`.

    Raises:
        ConfigurationError: The body would change more than a PATCH can.
    """
    for field in body:
        if field not in ("sku", "tags"):
            raise ConfigurationError(f"PATCH can change sku and tags, not {field}; use PUT")
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
    """Return the fields of a body that are only stored.

    Raises:
        ConfigurationError: A field has an invalid value.
    """
    kept: Json = {}
    if "tags" in body:
        tags = _table(body, "tags")
        kept["tags"] = {name: _text(tags, name, "tags.") for name in tags}
    upgrade = _text(_table(body, "properties"), "versionUpgradeOption", "properties.")
    if upgrade is not None:
        if upgrade not in _UPGRADES:
            raise ConfigurationError(
                f"properties.versionUpgradeOption must be one of {', '.join(_UPGRADES)}, "
                f"not {upgrade!r}"
            )
        kept["versionUpgradeOption"] = upgrade
    return kept


def _table(body: Mapping[str, Any], name: str, where: str = "") -> Json:
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        raise ConfigurationError(f"{where}{name} must be an object, not {value!r}")
    return value or {}


def _text(body: Mapping[str, Any], name: str, where: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(f"{where}{name} must be a text, not {value!r}")
    return value


def _capacity(sku: Mapping[str, Any]) -> int | None:
    value = sku.get("capacity")
    if value is not None and (type(value) is not int or value < 1):
        raise ConfigurationError(f"sku.capacity must be an integer of at least 1, not {value!r}")
    return value


def _time(seconds: float) -> str:
    time = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")
