"""One request, ready to be sent, and when its answer must be here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Head: TypeAlias = tuple[int, dict[str, str]]  # an answer's status, and headers by lower-case name


@dataclass(frozen=True, slots=True)
class Request:
    """One request, ready to be sent."""

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: bytes
    request_id: str
