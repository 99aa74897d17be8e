"""The request log: what clients really sent, and what they were answered."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

_LONGEST = 1000
_SECRET = ("api-key", "authorization", "ocp-apim-subscription-key", "cookie")


@dataclass(frozen=True, slots=True)
class Logged:
    """One request and the beginning of its answer.

    Attributes:
        method: The HTTP method.
        path: The path, as routes are named by.
        query: The query.
        headers: The headers by their names in lower case, without credentials.
        body: The body as JSON; None where there was none that could be read.
        deployment: The deployment that it was routed to; None where none was.
        status: The HTTP status of the answer.
        request_id: The answer's `apim-request-id`.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    deployment: str | None
    status: int
    request_id: str = field(compare=False)

    @classmethod
    def of(cls, http: Any, body: Any, response: Any, request_id: str) -> Logged:
        """Make an entry of a request and its answer."""
        headers = {name: value for name, value in http.headers.items() if name not in _SECRET}
        deployment = response.headers.get("x-ms-deployment-name")
        return cls(
            http.method,
            http.url.path,
            dict(http.query_params),
            headers,
            body,
            deployment,
            response.status_code,
            request_id,
        )


class RequestLog(Sequence[Logged]):
    """The newest requests, oldest first; at most 1,000. May be read from any thread."""

    def __init__(self) -> None:
        self._entries: deque[Logged] = deque(maxlen=_LONGEST)
        self._lock = threading.Lock()

    @overload
    def __getitem__(self, index: int) -> Logged: ...

    @overload
    def __getitem__(self, index: slice) -> list[Logged]: ...

    def __getitem__(self, index: int | slice) -> Logged | list[Logged]:
        with self._lock:
            return list(self._entries)[index]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Logged]:
        return iter(self[:])

    def __repr__(self) -> str:
        return f"RequestLog({self[:]!r})"

    def add(self, entry: Logged) -> None:
        """Write one more entry."""
        with self._lock:
            self._entries.append(entry)

    def clear(self) -> None:
        """Forget all entries."""
        with self._lock:
            self._entries.clear()
