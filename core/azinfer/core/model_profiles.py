"""What the models behind deployments accept, by the catalog, and how requests are adapted.

Sources of the families' parameters: "Azure OpenAI reasoning models" (parameters, developer
messages), "How to use embeddings" (2,048 inputs), Mistral's and Cohere's API references
(tool-call ids, 96 inputs).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from azinfer.core.model_catalog import family_of, parameters_of_families

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a family of models accepts.

    Attributes:
        family: Who makes it; empty where the model is unknown.
        token_limit: The field that limits the answer: `"max_tokens"` or
            `"max_completion_tokens"`; None where either may be right.
        developer: Whether it knows the role `developer`; None where unknown.
        text_parts: Whether a message that has only text may be sent as parts.
        streams_usage: Whether it accepts `stream_options` on every surface; None where unknown.
        short_call_ids: Whether tool-call ids must be 9 letters and digits.
        batch_size: Most texts in one embeddings request.
        batch_tokens: Most tokens in one embeddings request, estimated.
        base64: Whether it returns vectors as base64 on every surface.
    """

    family: str = ""
    token_limit: str | None = None
    developer: bool | None = None
    text_parts: bool = True
    streams_usage: bool | None = None
    short_call_ids: bool = False
    batch_size: int = 96
    batch_tokens: int = 250_000
    base64: bool = False


UNKNOWN = Profile()
# What other vendors' clients leave in a conversation; services with closed schemas refuse it.
_FOREIGN = frozenset(
    {
        "annotations",
        "cache_control",
        "function_call",
        "provider_specific_fields",
        "reasoning",
        "reasoning_content",
        "reasoning_details",
        "refusal",
        "thinking",
        "thinking_blocks",
    }
)
# Makers whose schemas of messages are closed and have no author.
# Source: Mistral's and Cohere's API references, chat completions, messages.
_NAMELESS = frozenset({"Mistral AI", "Cohere"})

# What names of authors must not contain, and how long they may be.
# Source: the service's refusal, "Expected a string that matches the pattern '^[^\\s<|\\\\/>]+$'".
_NOT_IN_NAMES = re.compile(r"[\s<|\\/>]+")
_LONGEST_NAME = 64

# Messages of text and nothing else, as most are, suit every model.
_PLAIN = frozenset({"role", "content"})

# What says nothing where there are no tools, and is refused there.
_OF_TOOLS = {"parallel_tool_calls": (True, False), "tool_choice": ("auto", "none")}


def profile_of(model: str | None, *, is_model_id: bool = True) -> Profile:
    """Return what a model accepts, for example `"gpt-4.1"` or `"openai/gpt-4.1"`.

    Args:
        model: The model's id.
        is_model_id: Whether it is certainly a model's id. Of a deployment's name only the parts
            that cannot be mistaken count.

    Example:
        >>> profile_of("text-embedding-3-small").batch_size
        2048
    """
    family = family_of(model, is_model_id=is_model_id)
    return UNKNOWN if family is None else _profile(family)


@cache
def _profile(family: str) -> Profile:
    return Profile(**parameters_of_families()[family])


def adapt(body: Json, profile: Profile) -> tuple[Json, tuple[str, ...]]:
    """Return a chat request as the model accepts it, and what was changed; nothing is lost.

    The caller's request stays as it is.
    """
    changes: dict[str, None] = {}
    body = _rename_token_limit(body, profile, changes)
    messages = [
        message
        if _PLAIN.issuperset(message) and isinstance(message.get("content"), str)
        else _clean_message(message, profile, changes)
        for message in body["messages"]
    ]
    if profile.developer is not None:
        messages = _fit_roles(messages, profile, changes)
    body = {**body, "messages": messages}
    if not body.get("tools"):
        for key, idle in _OF_TOOLS.items():
            if key in body and body[key] in idle:
                changes[f"without {key}, as there are no tools"] = None
                del body[key]
    return body, tuple(changes)


def rename_field(body: Json, name: str, new_name: str) -> Json:
    """Return a body with one field under another name, in the same place."""
    return {new_name if key == name else key: value for key, value in body.items()}


def _rename_token_limit(body: Json, profile: Profile, changes: dict[str, None]) -> Json:
    other = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
    right = profile.token_limit
    if right is None or right in body or other[right] not in body:
        return body
    changes[f"{other[right]} → {right}"] = None
    return rename_field(body, other[right], right)


def _fit_roles(messages: list[Json], profile: Profile, changes: dict[str, None]) -> list[Json]:
    roles = {message["role"] for message in messages}
    if not profile.developer and "developer" in roles:
        return _change_role(messages, "developer", "system", changes)
    if profile.developer and profile.token_limit and {"system", "developer"} <= roles:
        return _change_role(messages, "system", "developer", changes)
    return messages


def _change_role(messages: list[Json], role: str, new: str, changes: dict[str, None]) -> list[Json]:
    changes[f"role {role} → {new}"] = None
    return [{**each, "role": new} if each["role"] == role else each for each in messages]


def _clean_message(message: Json, profile: Profile, changes: dict[str, None]) -> Json:
    refused = _FOREIGN | {"name"} if profile.family in _NAMELESS else _FOREIGN
    if foreign := refused.intersection(message):
        changes.update(dict.fromkeys(f"messages without {key}" for key in sorted(foreign)))
        message = {key: value for key, value in message.items() if key not in foreign}
    if isinstance(name := message.get("name"), str):
        message = {**message, "name": _author(name, changes)}
    content = message.get("content")
    # null means "not set", and closed schemas refuse it.
    message = {
        key: value
        for key, value in message.items()
        if value is not None or (key == "content" and not message.get("tool_calls"))
    }
    if not profile.text_parts and isinstance(content, list) and all(map(_is_text, content)):
        changes["content parts → text"] = None
        message = {**message, "content": "".join(part["text"] for part in content)}
    if calls := message.get("tool_calls"):
        cleaned = [_clean_call(call, profile, changes) for call in calls]
        message = {**message, "tool_calls": cleaned}
    if profile.short_call_ids and isinstance(call_id := message.get("tool_call_id"), str):
        message = {**message, "tool_call_id": _short(call_id, changes)}
    return message


def _author(name: str, changes: dict[str, None]) -> str | None:
    """Return the name of an author as services accept it; None if nothing of it is left."""
    if not _NOT_IN_NAMES.search(name) and 0 < len(name) <= _LONGEST_NAME:
        return name
    changes["names of authors → without blanks and < | \\ / >, at most 64 characters"] = None
    return _NOT_IN_NAMES.sub("_", name).strip("_")[:_LONGEST_NAME] or None


def _clean_call(call: Json, profile: Profile, changes: dict[str, None]) -> Json:
    """Return a tool call with the fields that all services accept, and an id that this one does."""
    call = {key: value for key, value in call.items() if key != "index"}
    if profile.short_call_ids and isinstance(call.get("id"), str):
        call["id"] = _short(call["id"], changes)
    if isinstance(function := call.get("function"), Mapping):
        call["function"] = {key: value for key, value in function.items() if key != "call_id"}
    return call


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and part.keys() == {"type", "text"}


def _short(call_id: str, changes: dict[str, None]) -> str:
    if re.fullmatch("[A-Za-z0-9]{9}", call_id):
        return call_id
    changes["tool-call ids → 9 characters"] = None
    import hashlib  # slow to import, and only some models want short ids

    return hashlib.blake2b(call_id.encode(), digest_size=16).hexdigest()[:9]


TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")


def apply_correction(body: Json, name: str, new_name: str) -> tuple[Json, str]:
    """Return a body as the model accepts it after it refused a field, and what was changed."""
    if name == "tool_choice":
        return {**body, name: new_name}, "tool_choice by name → required"
    if new_name:
        return rename_field(body, name, new_name), f"{name} → {new_name}"
    return {key: value for key, value in body.items() if key != name}, f"without {name}"


def is_lossless(body: Json, name: str, new_name: str) -> bool:
    """Return True if a change loses nothing: a new name, or the only tool by its name."""
    if name == "tool_choice":
        return isinstance(body.get(name), dict) and len(body.get("tools") or ()) == 1
    return name in body and new_name not in body
