"""OpenTelemetry for all clients and adapters: `pip install 'azinfer[otel]'`, then `instrument()`.

Each call is one span with the names of the GenAI conventions, with a child for each request that
it sends, and two metrics: tokens and duration. Where a framework has a span of the same call
already (Agent Framework, Semantic Kernel), only the requests are added to it, and nothing is
counted twice. Prompts and answers are recorded only if you ask for it; keys never are.

    from azinfer.otel import instrument

    instrument()        # the providers that your program has set

The names are those of version 1.36 of the conventions. `OTEL_SEMCONV_STABILITY_OPT_IN` with
`gen_ai_latest_experimental` in it selects the newest ones, as in other instrumentations.
"""

from __future__ import annotations

import importlib.util

if importlib.util.find_spec("opentelemetry") is None:
    from azinfer.core import missing_extra

    raise missing_extra("otel", ModuleNotFoundError(name="opentelemetry"))

from azinfer.otel.instrumentation import instrument, uninstrument

__all__ = ["instrument", "uninstrument"]
