"""The instrumentor that `opentelemetry-instrument` starts in a program without a line of code."""

from __future__ import annotations

from typing import Any

from azinfer.otel.instrumentation import instrument, uninstrument

_PROVIDERS = ("tracer_provider", "meter_provider", "logger_provider")


class Instrumentor:
    """Switches telemetry on and off, as the entry point `opentelemetry_instrumentor` expects.

    Source: "Instrumentation" of opentelemetry-python-contrib: an entry point of this group is
    called without arguments, and has `instrument(**options)`.
    """

    def instrument(self, **options: Any) -> None:
        """Record every call from now on.

        Args:
            **options: The providers; others are for instrumentations of other kinds.
        """
        instrument(**{name: options[name] for name in _PROVIDERS if name in options})

    def uninstrument(self, **options: Any) -> None:
        """Record nothing from now on."""
        uninstrument()
