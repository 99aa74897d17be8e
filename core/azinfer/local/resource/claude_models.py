"""Claude models: fields that only some of them accept, and what one hosting of Foundry lacks.

Sources: "Adaptive thinking", "Extended thinking" and "Errors" of Anthropic's documentation; the
refusals of the hosting on Azure as quoted in can1357/oh-my-pi#4679.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.wire.anthropic_errors import anthropic_error
from azinfer.local.wire.body import Json

_NAME = re.compile(r"(?i)(?:.*/)?claude-([a-z]+)-(\d)(?:-(\d))?(?!\d)")
_ALWAYS_THINKING = ("fable", "mythos")
_HOSTED_ON_AZURE = "2"  # the model version that says so


def check_message(body: Json, deployment: LocalDeployment) -> None:
    """Raise if the Claude model behind a deployment refuses a request; other models take all.

    Raises:
        ErrorResponse: The error has the service's own words.
    """
    match = _NAME.match(deployment.model_name)
    if match is None:
        return
    version = (int(match[2]), int(match[3] or 0))
    _check_hosting(body, deployment)
    _check_thinking(_table(body, "thinking").get("type"), match[1].lower(), version)
    _check_sampling(body, version)
    messages = body.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else {}
    if version >= (4, 6) and isinstance(last, Mapping) and last.get("role") == "assistant":
        raise anthropic_error(
            "This model does not support assistant message prefill. The conversation must end "
            "with a user message."
        )


def _check_hosting(body: Json, deployment: LocalDeployment) -> None:
    if deployment.model_version != _HOSTED_ON_AZURE:
        return
    tools = body.get("tools")
    tools = tools if isinstance(tools, list) else []
    strict = any(isinstance(tool, Mapping) and tool.get("strict") for tool in tools)
    if strict or "format" in _table(body, "output_config") or "output_format" in body:
        raise anthropic_error("structured_outputs not supported in your workspace.")


def _check_thinking(kind: Any, family: str, version: tuple[int, int]) -> None:
    if kind == "adaptive" and version < (4, 6):
        raise anthropic_error("adaptive thinking is not supported on this model")
    if kind == "enabled" and version >= (4, 7):
        raise anthropic_error(
            '"thinking.type.enabled" is not supported for this model. Use '
            '"thinking.type.adaptive" and "output_config.effort" to control thinking behavior.'
        )
    if kind == "disabled" and family in _ALWAYS_THINKING:
        raise anthropic_error('"thinking.type.disabled" is not supported for this model.')


def _check_sampling(body: Json, version: tuple[int, int]) -> None:
    if version >= (4, 5) and "temperature" in body and "top_p" in body:
        raise anthropic_error(
            "`temperature` and `top_p` cannot both be specified for this model. Please use only "
            "one."
        )
    for name in ("temperature", "top_p", "top_k"):
        if version >= (4, 7) and body.get(name, 1) != 1:
            raise anthropic_error(f"{name} is deprecated for this model.")


def _table(body: Json, name: str) -> Mapping[str, Any]:
    value = body.get(name)
    return value if isinstance(value, Mapping) else {}
