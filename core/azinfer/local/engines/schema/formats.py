"""Formats of JSON Schema: a pattern for grammars, and a check of values, for each.

All other formats are annotations, as in the specification.
"""

from __future__ import annotations

import base64
import functools
import ipaddress
import re
import uuid
from collections.abc import Callable
from datetime import date, datetime, time
from typing import Any
from urllib.parse import urlsplit

_HOST = r"[a-z0-9]{1,20}\.[a-z]{2,6}"
_DATE = r"(19|20)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z"
_EMAIL = rf"[a-z0-9]{{1,20}}(\.[a-z0-9]{{1,20}})?@{_HOST}"
_URI = rf"https://{_HOST}(/[a-z0-9]{{1,20}}){{0,3}}"
_HEX = "[0-9a-f]"
# Texts that a grammar may write; fewer than the format allows, and all of them valid.
PATTERNS = {
    name: f"^{pattern}$"
    for name, pattern in {
        "date": _DATE,
        "time": _TIME,
        "date-time": f"{_DATE}T{_TIME}",
        "duration": r"P([1-9][0-9]?D|T[1-9][0-9]?[HMS]|[1-9]DT[1-9][0-9]?H)",
        "email": _EMAIL,
        "idn-email": _EMAIL,
        "hostname": _HOST,
        "idn-hostname": _HOST,
        "ipv4": r"[1-9][0-9]?\.[1-9]?[0-9]\.[1-9]?[0-9]\.[1-9]?[0-9]",
        "ipv6": r"[1-9a-f][0-9a-f]{0,3}(:[1-9a-f][0-9a-f]{0,3}){7}",
        "uri": _URI,
        "iri": _URI,
        "url": _URI,
        "uri-reference": _URI,
        "multi-host-uri": _URI,
        "uuid": f"{_HEX}{{8}}-{_HEX}{{4}}-4{_HEX}{{3}}-[89ab]{_HEX}{{3}}-{_HEX}{{12}}",
        "base64": r"([A-Za-z0-9+/]{4}){1,15}",
        "json-pointer": r"(/[a-z0-9]{1,10}){1,3}",
    }.items()
}
_DURATION = re.compile(
    r"[-+]?P(?!$)(\d+Y)?(\d+M)?(\d+W)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?"
)
_HOSTNAME = re.compile(r"(?=.{1,253}$)[^\W_]([\w-]{0,61}[^\W_])?(\.[^\W_]([\w-]{0,61}[^\W_])?)*\.?")
_ADDRESS = re.compile(r"[^\s@]+@[^\s@]+")


def _is_uri(text: str) -> bool:
    parts = urlsplit(text)
    return bool(parts.scheme and (parts.netloc or parts.path)) and not re.search(r"[\s<>\"]", text)


def _is_uuid(text: str) -> bool:
    return str(uuid.UUID(text)) == text.lower()


_CHECKS: dict[str, Callable[[str], object]] = {
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "date-time": datetime.fromisoformat,
    "duration": _DURATION.fullmatch,
    "email": _ADDRESS.fullmatch,
    "idn-email": _ADDRESS.fullmatch,
    "hostname": _HOSTNAME.fullmatch,
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
    "uri": _is_uri,
    "iri": _is_uri,
    "url": _is_uri,
    "uuid": _is_uuid,
    "base64": functools.partial(base64.b64decode, validate=True),
}


def is_valid(name: Any, text: str) -> bool:
    """Return whether a text has a format; unknown formats allow every text."""
    check = _CHECKS.get(name) if isinstance(name, str) else None
    if check is None:
        return True
    try:
        result = check(text)
    except ValueError:
        return False
    return result is not None and result is not False
