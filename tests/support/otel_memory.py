"""Telemetry in memory: what a program that has set up OpenTelemetry would see."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from azinfer.otel import instrument


class Telemetry:
    """The spans and metrics that were recorded."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self._logs = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
        self._metrics = InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meters = MeterProvider([self._metrics])
        self.loggers = LoggerProvider()
        self.loggers.add_log_record_processor(SimpleLogRecordProcessor(self._logs))

    def start(self, **options: Any) -> None:
        """Record from now on."""
        providers: dict[str, Any] = {
            "tracer_provider": self.tracers,
            "meter_provider": self.meters,
            "logger_provider": self.loggers,
        }
        instrument(**providers, **{"environ": {}, **options})

    @property
    def spans(self) -> list[ReadableSpan]:
        """All spans that ended, in the order of their ends."""
        return list(self._spans.get_finished_spans())

    @property
    def call(self) -> ReadableSpan:
        """The only span of a call."""
        (call,) = [each for each in self.spans if attributes(each).get("gen_ai.operation.name")]
        return call

    @property
    def requests(self) -> list[ReadableSpan]:
        """The spans of requests, in the order of their beginnings."""
        spans = [each for each in self.spans if attributes(each).get("http.request.method")]
        return sorted(spans, key=lambda each: each.start_time or 0)

    @property
    def events(self) -> list[Any]:
        """The events."""
        return [each.log_record for each in self._logs.get_finished_logs()]

    def points(self, name: str) -> list[Any]:
        """The points of a metric."""
        data = self._metrics.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """The attributes of a span."""
    return dict(span.attributes or {})
