"""One request, ready to be sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from azinfer.core.network.upload import Upload
from azinfer.core.secret_names import without_secrets

Head: TypeAlias = tuple[int, dict[str, str]]  # status, and headers by lower-case name


@dataclass(slots=True, repr=False)
class Request:
    """One request, ready to be sent.

    Attributes:
        method: `"GET"`, `"POST"` or `"DELETE"`.
        url: The whole URL.
        headers: Names and values, in the order in which they are sent.
        body: The body, or what reads it while it is sent; empty for none.
        request_id: The value of `x-ms-client-request-id`, which services echo.
    """

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: bytes | Upload
    request_id: str

    def __repr__(self) -> str:
        return f"Request({self.method!r}, {without_secrets(self.url)!r})"
