"""Recording: writes requests and their responses to the request log while they are sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from azinfer.local.resource.faults import Fault
from azinfer.local.resource.storage.request_log import RequestLog

# The bytes of a response that are recorded, and those of all that are being sent, after which only
# a shorter beginning is recorded of further ones.
_ANSWER, _SHORT_ANSWER, _ALL_OPEN = 64 * 1024, 4 * 1024, 8 * 1024 * 1024
_SECRET = frozenset(
    [b"api-key", b"x-api-key", b"authorization", b"ocp-apim-subscription-key", b"cookie"]
)
_DONE = b"data: [DONE]\n\n"


@dataclass(slots=True, kw_only=True)
class RequestTrace:
    """Facts about a request that are collected while it is answered.

    Attributes:
        body: The body; of an upload, its beginning.
        form: The fields of an upload.
        deployment: The deployment that it was routed to.
        why: What named the deployment.
        wire: The wire of a conversation, `"chat"`, `"responses"` or `"messages"`.
        hint: What may be wrong with a request.
        usage: Returns the usage, once it is known.
        fault: The fault that is applied.
        secret: Whether the response contains a credential, and is not recorded.
    """

    body: bytes = b""
    form: Mapping[str, Any] | None = None
    deployment: str | None = None
    why: str | None = None
    wire: str | None = None
    hint: str | None = None
    usage: Callable[[], Mapping[str, Any]] | None = None
    fault: Fault | None = None
    secret: bool = False


class ExchangeRecorder:
    """Records one exchange in the request log.

    Args:
        log: The request log.
        scope: The ASGI scope of the request.
        trace: The facts about the request.
        request_id: The id of the request.
        clock: Returns monotonic seconds.
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
        self._start, self._start_time = clock(), time.time()
        self._first: float | None = None
        self._status = 0
        self._answer = bytearray()
        self._is_cut = False
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
            self._first = self._clock() - self._start
        self._size += len(body)
        if not self._is_cut:
            self._keep(body)
        if not message.get("more_body") or body.endswith(_DONE):
            self.finish()
        elif begins:
            self._write()

    def finish(self) -> None:
        """Record the end of the response; a second call does nothing."""
        if self._open:
            self._open = False
            self._write()
            self._log.open_bytes -= len(self._answer)

    def _keep(self, body: bytes) -> None:
        """Record a part of the body, unless enough of it is recorded."""
        largest = _ANSWER if self._log.open_bytes < _ALL_OPEN else _SHORT_ANSWER
        part = b"" if self._trace.secret else body[: max(0, largest - len(self._answer))]
        self._is_cut = len(part) < len(body)
        self._answer += part
        self._log.open_bytes += len(part)

    def _write(self) -> None:
        scope, trace = self._scope, self._trace
        usage = trace.usage() if trace.usage is not None else {}
        seconds = self._clock() - self._start
        self._log.put(
            {
                "method": scope["method"],
                "path": scope["path"],
                "raw_query": scope["query_string"],
                "raw_headers": [each for each in scope["headers"] if each[0] not in _SECRET],
                "raw_body": trace.body,
                "form": trace.form,
                "deployment": trace.deployment,
                "why": trace.why,
                "wire": trace.wire,
                "hint": trace.hint,
                "fault": trace.fault.kind if trace.fault else None,
                "status": self._status,
                "prompt_tokens": usage.get("prompt_tokens"),
                "completion_tokens": usage.get("completion_tokens"),
                "raw_answer": bytes(self._answer),
                "answer_size": self._size,
                "open": self._open,
                "began": self._start_time,
                "first_seconds": seconds if self._first is None else self._first,
                "seconds": seconds,
                "request_id": self._id,
            },
            self._cleared,
        )
