"""Secrets in text: hidden where Python prints variables, and removed from what a service sent.

The only module that redacts.
"""

from __future__ import annotations

import json
import re
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from azinfer.core.errors import InferenceError

REDACTED = "[redacted]"
_SHORTEST_SECRET = 4  # replacing a shorter one would redact half of a sentence
# Characters by which a secret is found that is cut off; a whole secret with fewer may be a word.
_SHORTEST_START = 8
_BEFORE_SECRET = r"=|(?i:key|token|secret|password|authorization|bearer|basic)[\"':=\s]{0,4}"


class SecretText(str):
    """A secret; `repr`, and with it a traceback that shows variables, does not show it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "SecretText(…)"


class SecretBytes(bytes):
    """Bytes with a secret in them; `repr` does not show them."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"SecretBytes({len(self)} bytes)"


def hidden(value: Any) -> Any:
    """Return text as SecretText, and any other value as it is."""
    is_open = isinstance(value, str) and not isinstance(value, SecretText)
    return SecretText(value) if is_open else value


class HiddenEnvironment(ChainMap[str, str]):
    """Variables of the environment, and of files; `repr` does not show them."""

    def __repr__(self) -> str:
        return f"HiddenEnvironment({len(self)} variables)"


def redact(text: str, secret: str) -> str:
    """Return a text without a secret, in any quoting, also if only its beginning is there."""
    if len(secret) < _SHORTEST_SECRET:
        return text
    if len(secret) < _SHORTEST_START:
        return _redact_word(text, secret)
    for form in _forms(secret):
        text = text.replace(form, REDACTED)
    start = secret[:_SHORTEST_START]
    while len(secret) > _SHORTEST_START and (at := text.find(start)) >= 0:
        size = _SHORTEST_START
        while size < len(secret) and text[at + size : at + size + 1] == secret[size]:
            size += 1
        text = text[:at] + REDACTED + text[at + size :]
    return text


def _redact_word(text: str, secret: str) -> str:
    """Return a text without a secret that may be a word, as the keys of local servers are.

    It is replaced where it is the whole text or in quotes, after `=`, and after a name of secrets,
    for example in `Bearer chat` and `bad key chat`.
    """
    if text == secret:
        return REDACTED
    word = rf"(?:{'|'.join(map(re.escape, _forms(secret)))})(?!\w)"
    text = re.sub(rf"(?<=[\"']){word}(?=\\?[\"'])", REDACTED, text)
    return re.sub(rf"({_BEFORE_SECRET}){word}", rf"\1{REDACTED}", text)


def redact_headers(headers: Mapping[str, str], secret: str) -> Mapping[str, str]:
    """Return headers without a secret; the same object if none is in them."""
    if secret not in "\n".join(headers.values()):  # no secret has a line break
        return headers
    return {name: redact(value, secret) for name, value in headers.items()}


def redact_error(error: InferenceError, secret: str) -> None:
    """Remove a secret from everything that an error contains.

    The frames that read the response are removed too, since their variables have its bytes.
    """
    error.__traceback__ = None
    if error.__suppress_context__:
        error.__context__ = None
    for name in ("message", "code", "param", "request_id"):
        text = getattr(error, name)
        if text and redact(text, secret) != text:
            setattr(error, name, redact(text, secret))
    error.details = tuple(
        replace(
            detail,
            loc=tuple(redact(part, secret) for part in detail.loc),
            message=redact(detail.message, secret),
            input=_redact_value(detail.input, secret),
        )
        for detail in error.details
    )
    error.headers = {name: redact(value, secret) for name, value in error.headers.items()}
    if error.raw:
        error.raw = redact(error.raw.decode("latin-1"), secret).encode("latin-1")


def _redact_value(value: Any, secret: str) -> Any:
    """Return a JSON value without a secret."""
    if isinstance(value, str):
        return redact(value, secret)
    if isinstance(value, list | tuple):
        return [_redact_value(item, secret) for item in value]
    if isinstance(value, dict):
        return {
            redact(str(name), secret): _redact_value(item, secret) for name, item in value.items()
        }
    return value


def _forms(secret: str) -> set[str]:
    """Return a secret as URLs, JSON, HTML and Python write it."""
    import html  # slow to import, and only errors are redacted

    quoted = json.dumps(secret)[1:-1]
    return {
        secret,
        quoted,
        quoted.replace("/", "\\/"),
        quote(secret, safe=""),
        quote(secret),
        html.escape(secret),
        repr(str(secret))[1:-1],
    }
