"""One request, ready to be sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from azinfer.core.network.upload import Upload
from azinfer.core.secret_names import without_secrets

Head: TypeAlias = tuple[int, dict[str, str]]  # status, and headers by lower-case name


REQUEST_ID = "x-ms-client-request-id"


class SharedHeaders:
    """Headers that many requests have in common, so that they are encoded only once.

    Args:
        pairs: Names and values, in the order in which they are sent.

    Attributes:
        names: The names in lower case.
        lines: The headers as they are sent; empty until they were checked.
    """

    __slots__ = ("lines", "names", "pairs")

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self.pairs = tuple(pairs)
        self.names = frozenset([name.lower() for name, _ in self.pairs])
        self.lines = b""

    def __repr__(self) -> str:
        return f"SharedHeaders({len(self.pairs)} headers)"  # one of them is a secret


@dataclass(slots=True, repr=False)
class Request:
    """One request, ready to be sent.

    Attributes:
        method: `"GET"`, `"POST"` or `"DELETE"`.
        url: The whole URL.
        headers: All headers but its id.
        body: The body, or what reads it while it is sent; empty for none.
        request_id: The value of `x-ms-client-request-id`, which services echo; empty for none. A
            header of that name in `headers` is sent instead.
    """

    method: str
    url: str
    headers: SharedHeaders
    body: bytes | Upload
    request_id: str

    @property
    def header_pairs(self) -> list[tuple[str, str]]:
        """Names and values of all headers."""
        is_sent = self.request_id and REQUEST_ID not in self.headers.names
        own = [(REQUEST_ID, self.request_id)] if is_sent else []
        return [*own, *self.headers.pairs]

    def __repr__(self) -> str:
        return f"Request({self.method!r}, {without_secrets(self.url)!r})"
