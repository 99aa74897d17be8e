"""The request log: what clients really sent, and what they were answered."""

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


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One request and its answer; an open stream has an entry that is replaced when it ends.

    Attributes:
        method: The HTTP method.
        path: The path, without doubled slashes and a project before it.
        raw_query: The query as it was sent.
        raw_headers: The headers as they were sent, without credentials.
        raw_body: The body as it was sent; of an upload, its first 64 KiB.
        form: The fields of an upload, with name, content type and bytes of its file; None for
            other requests.
        deployment: The deployment that it was routed to; None where none was.
        why: What named the deployment, for example `"the body's model"`.
        wire: The wire of a conversation: `"chat"`, `"responses"` or `"messages"`; else None.
        fault: What went wrong with it on purpose: the kind of the fault.
        status: The HTTP status of the answer.
        prompt_tokens: How many tokens were read; None where nobody counted.
        completion_tokens: How many tokens were written.
        raw_answer: The answer's body, its first 64 KiB.
        answer_size: How long the answer's body is, in bytes.
        open: Whether the answer still goes on.
        began: When it came, in seconds since 1970.
        first_seconds: How long its first byte took.
        seconds: How long all of it took.
        request_id: The answer's `apim-request-id`.
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
        """The body as JSON, or the fields of an upload; None where none could be read."""
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
        headers = sum(len(name) + len(value) for name, value in self.raw_headers)
        form = len(str(self.form))
        return len(self.raw_body) + len(self.raw_answer) + headers + form + 1000

    def to_wire(self) -> dict[str, Any]:
        """The entry as JSON, as the admin route gives it."""
        told = {name: getattr(self, name) for name in _TOLD}
        body = self.body
        if body is None and self.raw_body:
            body = self.raw_body.decode("utf-8", "replace")
        told |= {"query": self.query, "headers": self.headers, "body": body}
        if self.form is not None:
            told["raw_body"] = self.raw_body.decode("utf-8", "replace")
        return told


_TOLD = (
    *("request_id", "began", "method", "path", "deployment", "why", "wire", "fault"),
    *("status", "prompt_tokens", "completion_tokens", "open", "first_seconds", "seconds"),
    *("answer", "answer_size"),
)


class RequestLog(Sequence[LogEntry]):
    """The newest requests, oldest first; at most 1,000, and at most 64 MiB of them.

    May be read from any thread.

    Attributes:
        cleared: How often it was cleared.
    """

    def __init__(self) -> None:
        self._entries: OrderedDict[str, LogEntry] = OrderedDict()
        self._size = 0
        self.cleared = 0
        self._listening: set[LogListener] = set()
        self._lock = threading.Lock()

    @overload
    def __getitem__(self, index: int) -> LogEntry: ...

    @overload
    def __getitem__(self, index: slice) -> list[LogEntry]: ...

    def __getitem__(self, index: int | slice) -> LogEntry | list[LogEntry]:
        with self._lock:
            return list(self._entries.values())[index]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[LogEntry]:
        return iter(self[:])

    def __repr__(self) -> str:
        return f"RequestLog({self[:]!r})"

    def put(self, entry: LogEntry, cleared: int) -> None:
        """Write one more entry, or a newer state of one.

        Args:
            entry: The entry.
            cleared: How often the log had been cleared when the request came; what is older
                than the last time is forgotten already.
        """
        with self._lock:
            if cleared != self.cleared:
                return
            old = self._entries.get(entry.request_id)
            self._entries[entry.request_id] = entry
            self._size += entry.size - (old.size if old else 0)
            while len(self._entries) > _LONGEST or (
                self._size > _LARGEST and len(self._entries) > 1
            ):
                self._size -= self._entries.popitem(last=False)[1].size
            for each in self._listening:
                each._hear(entry)

    def clear(self) -> None:
        """Forget all requests, those too that are being answered."""
        with self._lock:
            self.cleared += 1
            self._entries.clear()
            self._size = 0

    def listen(self) -> LogListener:
        """What is written from now on, in the event loop that this is called in.

        An entry comes again when its stream has ended: `request_id` tells which.

        Example:
            async with endpoint.requests.listen() as entries:
                async for entry in entries:
                    print(entry.path, entry.status, entry.open)
        """
        listening = LogListener(self)
        with self._lock:
            self._listening.add(listening)
        return listening

    def _forget(self, listening: LogListener) -> None:
        with self._lock:
            self._listening.discard(listening)


class LogListener:
    """Entries of a request log as they are written; ends never, and is left by closing it.

    Who is more than 1,000 entries behind misses the oldest of them.
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
        """Listen no more."""
        self._log._forget(self)

    def _hear(self, entry: LogEntry) -> None:
        def take() -> None:
            self._entries.append(entry)
            self._heard.set()

        # A loop that is closed has nobody who listens.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(take)
