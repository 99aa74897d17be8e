"""Which fields of a request exist on which wire; what a wire lacks is refused, never dropped.

Sources: "Create chat completion" and "Create response" of the Azure OpenAI v1 REST reference,
"Create a Message" of Anthropic's API reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from azinfer.core.completions import Json
from azinfer.core.errors import ConfigurationError

_CHAT = ("chat",)
_BUT_MESSAGES = ("chat", "responses")
_BUT_RESPONSES = ("chat", "messages")
_TITLES = {"chat": "chat completions", "responses": "Responses", "messages": "Messages"}

# The wires that have a field; fields that stand in no row go to every wire as they are.
_CARRIED_BY: Mapping[str, tuple[str, ...]] = {
    "audio": _CHAT,
    "data_sources": _CHAT,
    "frequency_penalty": _CHAT,
    "function_call": _CHAT,
    "functions": _CHAT,
    "logit_bias": _CHAT,
    "logprobs": _BUT_MESSAGES,
    "modalities": _CHAT,
    "n": _CHAT,
    "prediction": _CHAT,
    "presence_penalty": _CHAT,
    "seed": _CHAT,
    "stop": _BUT_RESPONSES,
    "top_logprobs": _BUT_MESSAGES,
    "user_security_context": _CHAT,
    "web_search_options": _CHAT,
}
# Values that ask for nothing: they are left out where the field does not exist.
_IDLE: Mapping[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "n": (1,),
    "presence_penalty": (0,),
    "stop": ([],),
    "top_logprobs": (0,),
}
_TOOLS = {"custom": _BUT_MESSAGES}
_FORMATS = {"json_object": _BUT_MESSAGES}


def check_carried(body: Json, wire: str) -> None:
    """Raise if a request has something that a wire has no field for.

    Raises:
        ConfigurationError: The text names the field and the wires that have it.
    """
    for what, param, wires in _demands(body):
        if wire not in wires:
            others = " or ".join(f"wire={name!r}" for name in wires)
            raise ConfigurationError(
                f"{what} has no counterpart on the {_TITLES[wire]} wire; use {others}, or leave "
                "it out",
                param=param,
            )


def is_carried(body: Json, wire: str) -> bool:
    """Return whether a wire has a field for everything in a request."""
    return all(wire in wires for _, _, wires in _demands(body))


def without_idle(body: Json, wire: str) -> Json:
    """Return a request without the fields that a wire lacks and that ask for nothing."""
    if _CARRIED_BY.keys().isdisjoint(body):
        return body  # as nearly all requests
    return {
        key: value
        for key, value in body.items()
        if wire in _CARRIED_BY.get(key, (wire,)) or not _is_idle(key, value)
    }


def _demands(body: Json) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield what a request needs: a description, its field, and the wires that have it."""
    for name in () if _CARRIED_BY.keys().isdisjoint(body) else body:
        if name in _CARRIED_BY and not _is_idle(name, body[name]):
            yield f"{name}={_short(body[name])}", name, _CARRIED_BY[name]
    for tool in body.get("tools") or ():
        if wires := _TOOLS.get(_type(tool)):
            yield f"a tool of type {_type(tool)!r}", "tools", wires
    if wires := _FORMATS.get(_type(body.get("response_format"))):
        yield "response_format='json_object'", "response_format", wires
    for at, message in enumerate(body["messages"]):
        if isinstance(parts := message.get("content"), list) and any(map(_is_sound, parts)):
            yield f"audio in messages[{at}]", "messages", _CHAT


def _is_idle(name: str, value: Any) -> bool:
    return value is None or value in _IDLE.get(name, ())


def _is_sound(part: Any) -> bool:
    return _type(part) in ("input_audio", "audio_url")


def _type(value: Any) -> str:
    return str(value.get("type")) if isinstance(value, Mapping) else ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
