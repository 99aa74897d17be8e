"""API versions: which `api-version` a surface accepts, and which one a feature needs.

Source: "Azure OpenAI in Microsoft Foundry Models API lifecycle", and errors quoted in public:
hotovo/aider-desk#460, ThinkInAIXYZ/deepchat#262, chatboxai/chatbox#1745, dotnet/extensions#6130.
"""

from __future__ import annotations

import re

from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.resource.model_families import reasons
from azinfer.local.wire.body import Json
from azinfer.local.wire.errors import bad_version, in_arm, not_found, too_old
from azinfer.local.wire.surfaces import ARM, DEPLOYMENTS, MODELS, V1

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:-preview)?")
_NAMES = ("v1", "preview", "latest")
_REASONING_SINCE = "2024-12-01-preview"
_SCHEMA_SINCE = "2024-08-01-preview"
_INFO_SINCE = "2025-04-01"


def check(version: str | None, surface: str, strict: bool) -> None:
    """Raise for an invalid version, and in strict mode for a missing one or another surface's.

    Raises:
        ErrorResponse: The version is not accepted.
    """
    if surface == ARM:
        _check_arm(version)
        return
    dated = version is not None and _DATE.fullmatch(version) is not None
    if version is not None and not dated and version not in _NAMES:
        raise bad_version()
    if strict and surface in (MODELS, DEPLOYMENTS):
        if version is None:
            raise not_found()
        if not dated:
            raise bad_version()
    if strict and surface == V1 and dated:
        raise bad_version()


def _check_arm(version: str | None) -> None:
    if version is None:
        message = "The api-version query parameter (?api-version=) is required for all requests."
        raise in_arm(400, "MissingApiVersionParameter", message)
    if not _DATE.fullmatch(version):
        message = f"The api-version '{version}' is invalid. It is a date, or a date and '-preview'."
        raise in_arm(400, "InvalidApiVersionParameter", message)


def check_info(version: str | None, surface: str, strict: bool) -> None:
    """Raise in strict mode if the version does not have `info`.

    Raises:
        ErrorResponse: The version is older.
    """
    if strict and surface == MODELS and (version or "") < _INFO_SINCE:
        raise not_found()


def check_chat(body: Json, deployment: LocalDeployment, version: str | None, surface: str) -> None:
    """Raise if a chat needs a newer version; for strict mode.

    Raises:
        ErrorResponse: The version is older.
    """
    if surface not in (MODELS, DEPLOYMENTS) or version is None:
        return
    if reasons(deployment) and version < _REASONING_SINCE:
        raise too_old(f"Model {deployment.model_name}", _REASONING_SINCE)
    wanted = body.get("response_format")
    schema = isinstance(wanted, dict) and wanted.get("type") == "json_schema"
    if schema and surface == DEPLOYMENTS and version < _SCHEMA_SINCE:
        raise too_old("response_format value as json_schema", _SCHEMA_SINCE)
