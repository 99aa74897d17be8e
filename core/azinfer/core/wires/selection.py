"""Which wire a conversation takes: declared, learned from a refusal, or known for the model.

Sources: "Azure OpenAI reasoning models" and "Use the Azure OpenAI Responses API" (models that
answer on one wire alone), and the refusals themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from azinfer.core.completions import Json
from azinfer.core.errors import APIStatusError, DeploymentNotFoundError, InferenceError
from azinfer.core.model_catalog import ModelFacts
from azinfer.core.surfaces import WIRES, WireName
from azinfer.core.wires.fields import is_carried

# Tools together with reasoning are refused on chat by newer models, mostly without a code.
_USE_RESPONSES = r"(?i)/v1/responses|responses api"
_NOT_THIS_OPERATION = r"(?i)the (\w+) operation does not work with"
_CHAT_OPERATION = "chatcompletion"
# The model lacks Responses; the same words may also be about one field or tool alone.
_NO_RESPONSES = (
    r"(?i)(?:not|n't) (?:supported|available|enabled) (?:by|in|on|with|for) (?:the )?responses|"
    r"(?:not|n't) support (?:the )?responses|responses api is (?:not|only|enabled only)"
)
_PART_OF_REQUEST = r"(?i)\b(?:parameter|argument|field|value|tool|input|item|content|include)s?\b"
# What Azure, its gateways and web frameworks answer for a path that they do not have. "Not found"
# within a sentence is about something else: an earlier response, a file, an item.
_NO_ROUTE = r"(?i)resource not found|api_not_supported|page not found|^\W*not found\W*(?:$|check)"
_NOT_SUPPORTED = ("api_not_supported", "OperationNotSupported")
# These fields name something stored for Responses, which no other wire can read.
_KEPT = ("previous_response_id", "conversation")
# What the OpenAI routes say of a Claude deployment, whatever its name is.
_UNKNOWN_MODEL = r"(?i)^unknown model\b"


class Choice(NamedTuple):
    """A wire, and how it was chosen.

    Attributes:
        wire: The wire's name.
        source: `"declared"`, `"learned"`, `"catalog"` or `"default"`.
    """

    wire: WireName | None
    source: str | None


NO_CHOICE = Choice(None, None)


def choose_wire(
    body: Json,
    has: Callable[[str], bool],
    *,
    declared: WireName | None = None,
    learned: WireName | None = None,
    facts: ModelFacts | None = None,
) -> Choice:
    """Return the wire that a request takes.

    Args:
        body: The request in our schema.
        has: Returns whether the endpoint has an address for an operation.
        declared: What the caller or the endpoint's URL says; it is taken as it is.
        learned: What this process learned of the deployment.
        facts: What is known about the model.
    """
    if declared is not None:
        return Choice(declared, "declared")
    if learned is not None and has(WIRES[learned]) and is_carried(body, learned):
        return Choice(learned, "learned")
    known = _known_wire(body, facts)
    if known is not None and has(WIRES[known]):
        return Choice(known, "catalog")
    return Choice("chat", "default")


def wire_after(
    error: InferenceError, wire: WireName | None, model: str | None, body: Json
) -> WireName | None:
    """Return the wire that a refusal points to, or None if it is about something else.

    Args:
        error: The refusal.
        wire: The wire that was refused.
        model: What is known about the model's name, or the deployment's.
        body: The request that was refused.
    """
    if not isinstance(error, APIStatusError) or error.status not in (400, 404, 405, 422, 424):
        return None
    if any(body.get(name) for name in _KEPT):
        return None
    message = error.message
    if operation := re.search(_NOT_THIS_OPERATION, message):
        is_chat = operation[1].casefold() == _CHAT_OPERATION
        return ("responses" if is_chat else "chat") if is_chat == (wire == "chat") else None
    if wire != "chat":
        return "chat" if is_missing(error) or _lacks_responses(error) else None
    if error.param in ("reasoning_effort", "tools") and re.search(_USE_RESPONSES, message):
        return "responses"
    if re.search(_UNKNOWN_MODEL, message):
        return "messages"
    is_unknown = isinstance(error, DeploymentNotFoundError) or "api_not_supported" in (
        f"{error.code} {message}"
    )
    return "messages" if is_unknown and "claude" in (model or "").casefold() else None


def is_missing(error: InferenceError) -> bool:
    """Return whether a refusal says that the whole operation does not exist there."""
    if not isinstance(error, APIStatusError):
        return False
    if error.code in _NOT_SUPPORTED or error.status == 410:
        return True
    return error.status == 404 and re.search(_NO_ROUTE, error.message) is not None


def _lacks_responses(error: APIStatusError) -> bool:
    """Return whether a refusal says that the model has no Responses API."""
    if error.param not in (None, "model") or re.search(_PART_OF_REQUEST, error.message):
        return False
    return re.search(_NO_RESPONSES, error.message) is not None


def _known_wire(body: Json, facts: ModelFacts | None) -> WireName | None:
    """Return the wire that a model is known to need for a request, or None."""
    if facts is None:
        return None
    if facts.wires and "chat" not in facts.wires:
        return next(wire for wire in WIRES if wire in facts.wires)
    needs = facts.tools_on_chat == "never" or (
        facts.tools_on_chat == "without reasoning" and body.get("reasoning_effort") != "none"
    )
    # A request with something that Responses lacks stays on chat: the service says why not.
    if needs and body.get("tools") and is_carried(body, "responses"):
        return "responses"
    return None
