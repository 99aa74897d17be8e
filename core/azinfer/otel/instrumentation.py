"""Switching telemetry on and off, for all clients of the process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from opentelemetry._logs import LoggerProvider, get_logger
from opentelemetry.context import get_current
from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.trace import TracerProvider, get_tracer

from azinfer.core.observation import Observer, Subject, observers
from azinfer.core.version import __version__
from azinfer.otel.attempts import ObservedAttempts
from azinfer.otel.call import Call, Recorder
from azinfer.otel.conventions import (
    DURATION,
    DURATION_BUCKETS,
    FIRST_CHUNK,
    OPERATIONS,
    TOKEN_BUCKETS,
    TOKENS,
    is_latest,
    wants_contents,
)
from azinfer.otel.frameworks import is_suppressed

_NAME = "azinfer"
_own: list[Observer] = []


def instrument(
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    logger_provider: LoggerProvider | None = None,
    contents: bool | None = None,
    tokens: bool = True,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Record every call of every client of this process from now on; a second call replaces this.

    Args:
        tracer_provider: The provider for spans; by default the one that the program has set. It
            is never set here.
        meter_provider: The provider for metrics.
        logger_provider: The provider for events with contents, in version 1.36 of the conventions.
        contents: Whether prompts, answers and the texts of errors are recorded. By default the
            variable OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT decides.
        tokens: Whether tokens are recorded: False if another instrumentation that does not make
            its span the current one counts them, for example callbacks of a framework.
        environ: The environment; None for that of the process.

    Example:
        >>> instrument(contents=False)
        >>> uninstrument()
    """
    uninstrument()
    environ = os.environ if environ is None else environ
    meter = get_meter(_NAME, __version__, meter_provider)
    latest = is_latest(environ)
    recorder = Recorder(
        tracer=get_tracer(_NAME, __version__, tracer_provider),
        logger=get_logger(_NAME, __version__, logger_provider),
        duration=meter.create_histogram(
            DURATION,
            "s",
            "How long calls of models take",
            explicit_bucket_boundaries_advisory=DURATION_BUCKETS,
        ),
        tokens=meter.create_histogram(
            TOKENS,
            "{token}",
            "Tokens of prompts and answers",
            explicit_bucket_boundaries_advisory=TOKEN_BUCKETS,
        ),
        first_chunk=meter.create_histogram(
            FIRST_CHUNK,
            "s",
            "How long streams take until their first chunk",
            explicit_bucket_boundaries_advisory=DURATION_BUCKETS,
        )
        if latest
        else None,
        latest=latest,
        contents=wants_contents(environ) if contents is None else contents,
        counts_tokens=tokens,
    )

    def observe(attempts: Any, subject: Subject) -> Any:
        context = get_current()
        if subject.operation not in OPERATIONS or is_suppressed(context):
            return attempts
        # The deployment of a route is not known yet.
        known = getattr(attempts, "call", None)
        url = known.target.endpoint.url if known is not None else None
        new = Call(recorder, subject, context, url)
        if (whole := subject.whole) is None:
            return ObservedAttempts(attempts, new, recorder.tracer)
        with whole.lock:
            call = whole.observed.setdefault(observe, new)
            if call is new:
                call.open()
                whole.ends.append(call.end)
        return ObservedAttempts(attempts, call, recorder.tracer, is_part=True)

    _own.append(observe)
    observers.append(observe)


def uninstrument() -> None:
    """Record nothing from now on.

    Example:
        >>> uninstrument()
    """
    while _own:
        observers.remove(_own.pop())
