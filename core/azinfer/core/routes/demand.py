"""What a call asks of a route: tokens, a warm cache, and the resource that its state is from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from azinfer.core.errors import ConfigurationError
from azinfer.core.messages import messages_to_wire

_CHARACTERS = 4  # characters of English text
USUAL_ANSWER = 16  # tokens that count where a call sets no limit
_STATEFUL = "previous_response_id"
# Items that only repeat the message; others may refer to something stored on a resource.
_PLAIN = ("message", "function_call", "custom_tool_call", "text", "tool_use")
_BOUND = (
    "encrypted",
    "signature",
)  # beginnings of the names of fields that only one resource can read
_LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens")


def wire_messages(messages: Sequence[Any] | None) -> Sequence[Mapping[str, Any]]:
    """Return a conversation in the wire form."""
    return messages_to_wire(messages) if messages else ()


def estimated_tokens(messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> int:
    """Return about how many tokens a call uses, as the service estimates before it answers.

    Source: "Understanding rate limits" of Azure OpenAI: the tokens of the prompt, a quarter of
    its characters, and the most tokens of the answer.
    """
    characters = sum(map(len, _texts(message.get("content") for message in messages)))
    limit = answer_limit(options)
    return characters // _CHARACTERS + (USUAL_ANSWER if limit is None else limit)


def answer_limit(options: Mapping[str, Any]) -> int | None:
    """Return the most tokens of an answer; None if a call sets no limit."""
    limit = next((options[name] for name in _LIMITS if options.get(name)), None)
    return None if limit is None else int(limit)


def home_of(messages: Sequence[Any] | None, options: Mapping[str, Any]) -> str | None:
    """Return the resource that made the state in a conversation; None if there is no state.

    Encrypted reasoning, signatures of thoughts and answers that the service keeps can only be
    continued on the resource that made them. Texts and calls of functions go anywhere.

    Returns:
        The name of the resource, or `""` if the conversation does not say which it is.

    Raises:
        ConfigurationError: There is state of two resources.
    """
    homes = set()
    for message in messages or ():
        is_mapping = type(message) is dict or isinstance(message, Mapping)
        state = message.get("state") if is_mapping else getattr(message, "state", None)
        if state is not None and (home := _home(state)) is not None:
            homes.add(home)
    if len(homes) > 1:
        homes.discard("")
    if len(homes) > 1:
        raise ConfigurationError(
            f"the conversation has state of several resources ({', '.join(sorted(homes))}), "
            "and no resource can continue with the state of another; leave out all but one"
        )
    if homes:
        return homes.pop()
    return "" if options.get(_STATEFUL) else None


def _home(state: Any) -> str | None:
    """Return the resource of the state of a message; None if any resource can continue."""
    if not isinstance(state, Mapping) or all(map(_is_plain, state.get("items") or ())):
        return None
    return str(state.get("resource") or "")


def _is_plain(item: Any) -> bool:
    """Return whether any resource can continue after an item."""
    return isinstance(item, Mapping) and item.get("type") in _PLAIN and not _is_bound(item)


def _is_bound(value: Any) -> bool:
    """Return whether a JSON value has ciphertext or a signature somewhere inside."""
    if isinstance(value, Mapping):
        return any(
            str(name).startswith(_BOUND) or _is_bound(each) for name, each in value.items() if each
        )
    return isinstance(value, list | tuple) and any(map(_is_bound, value))


def _texts(contents: Iterable[Any]) -> Iterable[str]:
    for content in contents:
        if isinstance(content, str):
            yield content
        else:
            yield from (str(part.get("text") or "") for part in content or ())
