"""The request log: what clients sent, and the responses."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, overload
from urllib.parse import parse_qsl

_LONGEST = 1000
_LARGEST = 64 * 1024 * 1024
# The fields that take most of an entry's memory, beside its headers.
_SIZED = ("path", "raw_query", "raw_body", "raw_answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One request and its response; the entry of an open stream is replaced when it ends.

    Attributes:
        method: The HTTP method.
        path: The path, without doubled slashes and a project before it.
        raw_query: The query as sent.
        raw_headers: The headers as sent, without credentials.
        raw_body: The body as sent; of an upload, its first 64 KiB.
        form: The fields of an upload, with name, content type and bytes of its file; None for
            other requests.
        deployment: The deployment that it was routed to; None if it was not routed.
        why: What named the deployment, for example `"the body's model"`.
        wire: The wire of a conversation: `"chat"`, `"responses"` or `"messages"`; else None.
        hint: What may be wrong with the request: the nearest route to a path without one, or the
            fields that are unknown; None for others.
        fault: The kind of the fault that was applied; None if none was.
        status: The HTTP status of the response.
        prompt_tokens: The tokens that were read; None if unknown.
        completion_tokens: The tokens that were written; None if unknown.
        raw_answer: The first 64 KiB of the response's body; 4 KiB while hundreds are being sent.
        answer_size: The size of the response's body in bytes.
        open: Whether the response is still being sent.
        began: When the request arrived, in seconds since 1970.
        first_seconds: The seconds until the first byte of the body.
        seconds: The seconds until the end.
        request_id: The response's `apim-request-id`.
    """

    method: str
    path: str
    raw_query: bytes
    raw_headers: Sequence[tuple[bytes, bytes]]
    raw_body: bytes = field(repr=False)
    form: Mapping[str, Any] | None
    deployment: str | None
    why: str | None
    wire: str | None
    hint: str | None
    fault: str | None
    status: int
    prompt_tokens: int | None
    completion_tokens: int | None
    raw_answer: bytes = field(repr=False, compare=False)
    answer_size: int = field(compare=False)
    open: bool
    began: float = field(compare=False)
    first_seconds: float = field(compare=False)
    seconds: float = field(compare=False)
    request_id: str = field(compare=False)

    @property
    def query(self) -> Mapping[str, str]:
        """The query."""
        return dict(parse_qsl(self.raw_query.decode("latin-1"), keep_blank_values=True))

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers by their names in lower case, without credentials."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self.raw_headers}

    @property
    def body(self) -> Any:
        """The body as JSON, or the fields of an upload; None if it cannot be read."""
        if self.form is not None:
            return self.form
        try:
            return json.loads(self.raw_body)
        except (ValueError, RecursionError):
            return None

    @property
    def answer(self) -> str:
        """The answer's body as text, its first 64 KiB."""
        return self.raw_answer.decode("utf-8", "replace")

    @property
    def size(self) -> int:
        """About how many bytes the entry takes."""
        return _size({name: getattr(self, name) for name in ("form", "raw_headers", *_SIZED)})

    def to_wire(self) -> dict[str, Any]:
        """Return the entry as the JSON of the admin API."""
        entry = {name: getattr(self, name) for name in _FIELDS}
        body = self.body
        if body is None and self.raw_body:
            body = self.raw_body.decode("utf-8", "replace")
        entry |= {"query": self.query, "headers": self.headers, "body": body}
        if self.form is not None:
            entry["raw_body"] = self.raw_body.decode("utf-8", "replace")
        return entry


_FIELDS = (
    *("request_id", "began", "method", "path", "deployment", "why", "wire", "hint", "fault"),
    *("status", "prompt_tokens", "completion_tokens", "open", "first_seconds", "seconds"),
    *("answer", "answer_size"),
)


def _size(fields: Mapping[str, Any]) -> int:
    """Return about how many bytes an entry takes."""
    size = sum([len(name) + len(value) for name, value in fields["raw_headers"]])
    if fields["form"] is not None:
        size += len(str(fields["form"]))
    for name in _SIZED:
        size += len(fields[name])
    return size + 1000


class RequestLog(Sequence[LogEntry]):
    """The newest requests, oldest first; at most 1,000, and at most 64 MiB of them.

    May be read from any thread.

    Attributes:
        cleared: How many times it was cleared.
        open_bytes: The bytes of responses that are recorded and still being sent.
    """

    def __init__(self) -> None:
        # The fields of each entry, and its size; most entries are never read.
        self._entries: OrderedDict[str, tuple[Mapping[str, Any] | LogEntry, int]] = OrderedDict()
        self._size = 0
        self.cleared = 0
        self.open_bytes = 0
        self._listening: set[LogListener] = set()
        self._lock = threading.Lock()

    @overload
    def __getitem__(self, index: int) -> LogEntry: ...

    @overload
    def __getitem__(self, index: slice) -> list[LogEntry]: ...

    def __getitem__(self, index: int | slice) -> LogEntry | list[LogEntry]:
        with self._lock:
            names = list(self._entries)[index]
            if isinstance(names, str):
                return self._entry(names)
            return [self._entry(name) for name in names]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[LogEntry]:
        return iter(self[:])

    def __repr__(self) -> str:
        return f"RequestLog({self[:]!r})"

    def put(self, fields: Mapping[str, Any], cleared: int) -> None:
        """Add an entry, or replace it by a newer state.

        Args:
            fields: The fields of the entry.
            cleared: How many times the log had been cleared when the request arrived; an older
                entry is ignored.
        """
        name, size = fields["request_id"], _size(fields)
        with self._lock:
            if cleared != self.cleared:
                return
            _, old_size = self._entries.get(name, (None, 0))
            self._entries[name] = fields, size
            self._size += size - old_size
            while len(self._entries) > _LONGEST or (
                self._size > _LARGEST and len(self._entries) > 1
            ):
                self._size -= self._entries.popitem(last=False)[1][1]
            for each in self._listening:
                each._notify(self._entry(name))

    def _entry(self, name: str) -> LogEntry:
        """Return an entry, which is made when it is first read."""
        entry, size = self._entries[name]
        if not isinstance(entry, LogEntry):
            entry = LogEntry(**entry)
            self._entries[name] = entry, size
        return entry

    def clear(self) -> None:
        """Remove all requests, including those that are being answered."""
        with self._lock:
            self.cleared += 1
            self._entries.clear()
            self._size = 0

    def listen(self) -> LogListener:
        """Return an iterator over new entries, for the running event loop.

        An entry appears again with the same `request_id` when its stream has ended.

        Example:
            async with endpoint.requests.listen() as entries:
                async for entry in entries:
                    print(entry.path, entry.status, entry.open)
        """
        listening = LogListener(self)
        with self._lock:
            self._listening.add(listening)
        return listening

    def _remove(self, listening: LogListener) -> None:
        with self._lock:
            self._listening.discard(listening)


class LogListener:
    """Entries of a request log as they are written; it never ends, and is left by closing it.

    A reader that is more than 1,000 entries behind misses the oldest ones.
    """

    def __init__(self, log: RequestLog) -> None:
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._entries: deque[LogEntry] = deque(maxlen=_LONGEST)
        self._heard = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LogEntry:
        while not self._entries:
            self._heard.clear()
            await self._heard.wait()
        return self._entries.popleft()

    async def aclose(self) -> None:
        """Stop listening."""
        self._log._remove(self)

    def _notify(self, entry: LogEntry) -> None:
        def take() -> None:
            self._entries.append(entry)
            self._heard.set()

        # Nobody listens in a closed loop.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(take)
