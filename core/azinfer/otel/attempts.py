"""Observed attempts: those of core, with a span for each request that they send."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, Status, StatusCode, Tracer

from azinfer.core.errors import InferenceError
from azinfer.core.stream_reader import StreamReader
from azinfer.otel.call import Call
from azinfer.otel.conventions import server_attributes


class ObservedAttempts:
    """The attempts of a call, which also record what they do.

    Args:
        attempts: The attempts.
        call: The call that they belong to.
        tracer: Creates the spans of requests.
        is_part: Whether the call has other requests, so that this one's answer is not its end.
    """

    def __init__(self, attempts: Any, call: Call, tracer: Tracer, *, is_part: bool = False) -> None:
        self._attempts, self._call, self._tracer = attempts, call, tracer
        self._request: Span = INVALID_SPAN
        self._reader: StreamReader | None = None
        self._is_part = is_part
        self._is_closed = False
        self._sent = 0
        call.open()

    def __getattr__(self, name: str) -> Any:
        if name == "_attempts":  # not yet there
            raise AttributeError(name)
        return getattr(self._attempts, name)

    def __del__(self) -> None:
        self.close()

    def ready(self) -> float:
        """Begin the call's span, and return the seconds to wait before a request can be sent."""
        self._call.begin()
        try:
            seconds: float = self._attempts.ready()
        except BaseException as error:
            self._call.error = error
            raise
        return seconds

    def handle_rejected_credential(self) -> None:
        """Continue after the credential had only the rejected secret."""
        self._do(self._attempts.handle_rejected_credential)

    def handle_failed_credential(self, error: InferenceError) -> None:
        """Continue after the credential returned no token, or raise its error."""
        self._do(self._attempts.handle_failed_credential, error)

    def wait_after(self, error: InferenceError) -> float:
        """End the span of a request that failed, and return the seconds before the next one."""
        self._end_request(error)
        self._reader = None
        seconds: float = self._do(self._attempts.wait_after, error)
        return seconds

    def _do(self, step: Any, *arguments: Any) -> Any:
        """Do a step, and record the error with which it ends the call."""
        try:
            return step(*arguments)
        except BaseException as error:
            self._call.error = error
            raise

    def request(self, secret: Any, stream: bool = False) -> Any:
        """Return the next request, and begin its span."""
        request, deadline = self._attempts.request(secret, stream)
        target = self._attempts.call.target
        self._call.locate(target.endpoint.url)
        url, _, _ = request.url.partition("?")  # parameters may be secrets
        attributes = {
            "http.request.method": request.method,
            "url.full": url,
            "azinfer.deployment": target.model or "",
            **server_attributes(url),
        }
        if self._sent:
            attributes["http.request.resend_count"] = self._sent
        decision = self._attempts.decision
        if decision is not None and decision.endpoint:
            attributes["azinfer.endpoint"] = decision.endpoint
        self._sent += 1
        self._request = self._tracer.start_span(
            request.method, self._call.context, SpanKind.CLIENT, attributes
        )
        return request, deadline

    def value_of(self, status: int, headers: Mapping[str, str], parts: list[bytes]) -> Any:
        """Return the value of a complete answer, which ends the call."""
        value = self._attempts.value_of(status, headers, parts)
        self._request.set_attribute("http.response.status_code", status)
        self._end_request()
        if not self._is_part:
            self._call.succeed(value)
        return value

    def reader(self, status: int, headers: Mapping[str, str], deadline: Any) -> StreamReader:
        """Return the reader of a stream, whose end ends the call."""
        self._request.set_attribute("http.response.status_code", status)
        reader: StreamReader = self._attempts.reader(status, headers, deadline)
        self._reader, feed, call = reader, reader.feed, self._call

        def feed_first(data: bytes) -> Iterator[Any]:
            for chunk in feed(data):
                vars(reader).pop("feed", None)  # this function was for the first chunk
                call.receive_chunk()
                yield chunk

        vars(reader)["feed"] = feed_first
        return reader

    def handle_interruption(self, error: InferenceError) -> InferenceError:
        """Return the error of a stream that broke, which ends the call."""
        failure: InferenceError = self._attempts.handle_interruption(error)
        self._call.error = failure
        self._end_request(failure)
        return failure

    def twin(self) -> ObservedAttempts | None:
        """Return the hedge of this call, observed as a part of the same call."""
        twin = self._attempts.twin()
        if twin is None:
            return None
        return ObservedAttempts(twin, self._call, self._tracer, is_part=self._is_part)

    def lose(self) -> None:
        """End these attempts because a hedge was answered first."""
        self._attempts.lose()
        self._request.set_attribute("azinfer.lost_to_hedge", True)
        self._end()

    def close(self) -> None:
        """End the call, however it ended; it can be called twice."""
        self._attempts.close()
        self._end()

    def _end(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        reader, call = self._reader, self._call
        if reader is None and call.error is None:
            error = sys.exc_info()[1]  # a step without a method here, such as one of a credential
            call.error = error if isinstance(error, InferenceError) else None
        self._end_request()
        if reader is not None and reader.done and call.error is None:
            call.succeed(reader.completion())
        partial = reader.completion() if reader is not None and call.error is None else None
        call.close(partial)

    def _end_request(self, error: InferenceError | None = None) -> None:
        """End the span of the request that was sent last."""
        span, self._request = self._request, INVALID_SPAN
        if error is not None:
            kind = str(error.status or type(error).__name__)
            if error.status is not None:
                span.set_attribute("http.response.status_code", error.status)
            span.set_attribute("error.type", kind)
            span.set_status(Status(StatusCode.ERROR, error.code or kind))
        span.end()
