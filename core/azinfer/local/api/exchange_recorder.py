"""Recordings: answers on their way out, written down as they go."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from azinfer.local.resource.faults import Fault
from azinfer.local.resource.storage.request_log import LogEntry, RequestLog

_ANSWER = 64 * 1024
_SECRET = frozenset(
    [b"api-key", b"x-api-key", b"authorization", b"ocp-apim-subscription-key", b"cookie"]
)
_DONE = b"data: [DONE]\n\n"


@dataclass(slots=True)
class RequestTrace:
    """What is found out about a request while it is answered.

    Attributes:
        body: Its body; of an upload, its beginning.
        form: The fields of an upload.
        deployment: The deployment that it was routed to.
        why: What named the deployment.
        wire: The wire of a conversation, `"chat"`, `"responses"` or `"messages"`.
        usage: Tells what it cost, once that is known.
        fault: What goes wrong with it on purpose.
        secret: Whether its answer has a credential in it, and is not written down.
    """

    body: bytes = b""
    form: Mapping[str, Any] | None = None
    deployment: str | None = None
    why: str | None = None
    wire: str | None = None
    usage: Callable[[], Mapping[str, Any]] | None = None
    fault: Fault | None = None
    secret: bool = False


class ExchangeRecorder:
    """One answer on its way out, written down as it goes.

    Args:
        log: Where it is written down.
        scope: The request, as ASGI has it.
        trace: What is known about it.
        request_id: Its id.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        log: RequestLog,
        scope: Mapping[str, Any],
        trace: RequestTrace,
        request_id: str,
        clock: Callable[[], float],
    ) -> None:
        self._log, self._scope, self._trace, self._id = log, scope, trace, request_id
        self._clock, self._cleared = clock, log.cleared
        self._from, self._began = clock(), time.time()
        self._first: float | None = None
        self._status = 0
        self._answer = bytearray()
        self._size = 0
        self._open = True

    def record(self, message: Mapping[str, Any]) -> None:
        """Record a message of the response before it is sent."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            return
        body = message.get("body", b"")
        begins = self._first is None
        if begins:
            self._first = self._clock() - self._from
        self._size += len(body)
        if len(self._answer) < _ANSWER and not self._trace.secret:
            self._answer += body[: _ANSWER - len(self._answer)]
        if not message.get("more_body") or body.endswith(_DONE):
            self.finish()
        elif begins:
            self._write()

    def finish(self) -> None:
        """Record the end of the response; a second call does nothing."""
        if self._open:
            self._open = False
            self._write()

    def _write(self) -> None:
        scope, trace = self._scope, self._trace
        usage = trace.usage() if trace.usage is not None else {}
        seconds = self._clock() - self._from
        self._log.put(
            LogEntry(
                scope["method"],
                scope["path"],
                scope["query_string"],
                [each for each in scope["headers"] if each[0] not in _SECRET],
                trace.body,
                trace.form,
                trace.deployment,
                trace.why,
                trace.wire,
                trace.fault.kind if trace.fault else None,
                self._status,
                usage.get("prompt_tokens"),
                usage.get("completion_tokens"),
                bytes(self._answer),
                self._size,
                self._open,
                self._began,
                seconds if self._first is None else self._first,
                seconds,
                self._id,
            ),
            self._cleared,
        )
