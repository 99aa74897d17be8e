"""Calls: the span and the metrics of one call, which end once."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from opentelemetry._logs import Logger, LogRecord
from opentelemetry.context import Context
from opentelemetry.metrics import Histogram
from opentelemetry.trace import (
    INVALID_SPAN,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
)

from azinfer.core.completions import ChatCompletion
from azinfer.core.embeddings import Embeddings
from azinfer.core.errors import InferenceError
from azinfer.core.observation import Subject
from azinfer.core.routing import Routing
from azinfer.otel import contents
from azinfer.otel.conventions import (
    FIRST_CHUNK_ATTRIBUTE,
    OPERATIONS,
    OWN_FIRST_CHUNK_ATTRIBUTE,
    provider_of,
    request_attributes,
    server_attributes,
)
from azinfer.otel.frameworks import is_model_call


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorder:
    """Where telemetry is recorded, and what is recorded.

    Attributes:
        tracer: Creates the spans.
        logger: Records the events with contents, in version 1.36 of the conventions.
        duration: The seconds of calls.
        tokens: The tokens of calls.
        first_chunk: The seconds until the first chunk of a stream; None in version 1.36.
        latest: Whether names are those of the newest conventions.
        contents: Whether prompts and answers are recorded.
        counts_tokens: Whether tokens are recorded.
    """

    tracer: Tracer
    logger: Logger
    duration: Histogram
    tokens: Histogram
    first_chunk: Histogram | None
    latest: bool
    contents: bool
    counts_tokens: bool


class Call:
    """The span and the metrics of one call; a hedge belongs to the same call.

    Args:
        recorder: Where telemetry is recorded.
        subject: The request of the caller.
        context: Where the call was made.
        url: The URL of the endpoint; None if a route decides later.

    Attributes:
        context: The parent of the spans of requests.
        error: The error that ends the call, unless a hedge answers.
    """

    def __init__(
        self, recorder: Recorder, subject: Subject, context: Context, url: str | None
    ) -> None:
        self._recorder, self._subject = recorder, subject
        self.context = context
        self.error: BaseException | None = None
        self._url = url
        self._lock = threading.Lock()
        self._open = 0
        self._began: float | None = None
        self._is_over = self._has_chunk = False
        # A framework's span stands for the call, so that nothing is recorded twice.
        self._is_others = is_model_call(get_current_span(context))
        self.span: Span = INVALID_SPAN

    def begin(self) -> None:
        """Begin the span, unless it has begun."""
        with self._lock:
            if self._began is not None:
                return
            self._began = time.perf_counter()
        if self._is_others:
            return
        attributes = {**self._common(), **request_attributes(self._subject.options)}
        self.span = self._recorder.tracer.start_span(
            f"{attributes['gen_ai.operation.name']} {self._subject.model or ''}".strip(),
            self.context,
            SpanKind.CLIENT,
            attributes,
        )
        self.context = set_span_in_context(self.span, self.context)
        if self._recorder.contents and self._subject.messages:
            self._record_input()

    def _common(self) -> dict[str, Any]:
        """Return the attributes that the span and the metrics share."""
        provider = "gen_ai.provider.name" if self._recorder.latest else "gen_ai.system"
        common = {
            "gen_ai.operation.name": OPERATIONS[self._subject.operation],
            provider: provider_of(self._url or ""),
        }
        if self._subject.model:
            common["gen_ai.request.model"] = self._subject.model
        if self._url:
            common |= server_attributes(self._url)
        return common

    def _record_input(self) -> None:
        messages = self._subject.messages or ()
        if self._recorder.latest:
            self.span.set_attribute("gen_ai.input.messages", contents.input_messages(messages))
            return
        for name, body in contents.input_events(messages):
            self._emit(name, body)

    def _record_output(self, answer: ChatCompletion) -> None:
        if self._recorder.latest:
            self.span.set_attribute("gen_ai.output.messages", contents.output_messages(answer))
            return
        for name, body in contents.output_events(answer):
            self._emit(name, body)

    def _emit(self, name: str, body: dict[str, Any]) -> None:
        record = LogRecord(
            timestamp=time.time_ns(),
            context=self.context,
            event_name=name,
            body=body,
            attributes={"gen_ai.system": provider_of(self._url or ""), "event.name": name},
        )
        self._recorder.logger.emit(record)

    def locate(self, url: str) -> None:
        """Record where the first request of a route went."""
        if self._url is None:
            self._url = url
            self.span.set_attributes(self._common())

    def open(self) -> None:
        """Count a request, or its hedge, that may answer the call."""
        with self._lock:
            self._open += 1

    def receive_chunk(self) -> None:
        """Record when the first chunk of a stream came; further ones change nothing."""
        with self._lock:
            was_first, self._has_chunk = not self._has_chunk, True
        if not was_first or self._began is None:
            return
        seconds = time.perf_counter() - self._began
        latest = self._recorder.latest
        name = FIRST_CHUNK_ATTRIBUTE if latest else OWN_FIRST_CHUNK_ATTRIBUTE
        self.span.set_attribute(name, seconds)
        if self._recorder.first_chunk is not None and not self._is_others:
            self._recorder.first_chunk.record(seconds, self._common(), self.context)

    def succeed(self, value: Any) -> None:
        """End the call with its value; any other request under way is a hedge that lost."""
        if not self._end():
            return
        response = _response_attributes(value)
        if self._recorder.counts_tokens:
            response |= _usage_attributes(value, latest=self._recorder.latest)
        self.span.set_attributes(response)
        if self._recorder.contents and isinstance(value, ChatCompletion) and not self._is_others:
            self._record_output(value)
        self._finish({}, value)

    def close(self, partial: ChatCompletion | None = None) -> None:
        """Count a request that has ended; the last one ends the call.

        Args:
            partial: The answer so far, if the caller left the stream.
        """
        with self._lock:
            self._open -= 1
            last = self._open <= 0
        if not last or not self._end():
            return
        if self.error is None:
            self.span.set_attribute("azinfer.left_early", True)
            if partial is not None:
                self.span.set_attributes(_response_attributes(partial))
            self._finish({})
            return
        kind = type(self.error).__name__
        self.span.set_attribute("error.type", kind)
        # The text of an error may quote the prompt.
        text = str(self.error) if self._recorder.contents else getattr(self.error, "code", None)
        self.span.set_status(Status(StatusCode.ERROR, str(text or kind)))
        self._finish({"error.type": kind})

    def end(self, value: Any, error: BaseException | None) -> None:
        """End a call of several requests, of which some may still be under way after an error.

        Args:
            value: Its value; None if it failed.
            error: The error that ended it.
        """
        if value is not None:
            self.succeed(value)
            return
        with self._lock:
            self._open = 0
        self.error = error if isinstance(error, InferenceError) else None
        self.close()

    def _end(self) -> bool:
        """Return True once, when the call ends."""
        with self._lock:
            was_over, self._is_over = self._is_over, True
        return not was_over and self._began is not None

    def _finish(self, failure: dict[str, Any], value: Any = None) -> None:
        """End the span and record the metrics."""
        self.span.end()
        if self._is_others or self._began is None:
            return
        attributes = self._common()
        if model := getattr(value, "model", None):
            attributes["gen_ai.response.model"] = model
        seconds = time.perf_counter() - self._began
        self._recorder.duration.record(seconds, {**attributes, **failure}, self.context)
        usage = getattr(value, "usage", None)
        if usage is None or not self._recorder.counts_tokens:
            return
        kinds = {"input": usage.prompt_tokens, "output": usage.completion_tokens}
        for kind, count in kinds.items():
            if count or kind == "input":
                self._recorder.tokens.record(
                    count, {**attributes, "gen_ai.token.type": kind}, self.context
                )


def _response_attributes(value: Any) -> dict[str, Any]:
    """Return the attributes for an answer and its routing."""
    attributes: dict[str, Any] = {}
    if model := getattr(value, "model", None):
        attributes["gen_ai.response.model"] = model
    if isinstance(value, ChatCompletion):
        if value.id:
            attributes["gen_ai.response.id"] = value.id
        ends = [choice.finish_reason for choice in value.choices if choice.finish_reason]
        if ends:
            attributes["gen_ai.response.finish_reasons"] = ends
    routing: Routing | None = getattr(value, "routing", None)
    return attributes if routing is None else {**attributes, **_way(routing)}


def _way(routing: Routing) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "azinfer.attempts": len(routing.attempts),
        "azinfer.deployment": routing.deployment,
    }
    if (decision := routing.decision) is not None:
        attributes |= {
            "azinfer.route": decision.route,
            "azinfer.endpoint": decision.endpoint,
            "azinfer.tier": decision.tier,
            "azinfer.why": decision.why or None,
        }
    return {name: value for name, value in attributes.items() if value is not None}


def _usage_attributes(value: Any, *, latest: bool) -> dict[str, Any]:
    usage = getattr(value, "usage", None)
    attributes: dict[str, Any] = {}
    if usage is not None:
        attributes["gen_ai.usage.input_tokens"] = usage.prompt_tokens
        if not isinstance(value, Embeddings):
            attributes["gen_ai.usage.output_tokens"] = usage.completion_tokens
        if latest and usage.cached_tokens:
            attributes["gen_ai.usage.cache_read.input_tokens"] = usage.cached_tokens
        if latest and usage.reasoning_tokens:
            attributes["gen_ai.usage.reasoning.output_tokens"] = usage.reasoning_tokens
    if latest and isinstance(value, Embeddings) and value.vectors:
        attributes["gen_ai.embeddings.dimension.count"] = len(value.vectors[0])
    return attributes
