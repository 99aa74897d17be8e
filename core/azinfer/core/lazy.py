"""Types that annotations name, each imported when an annotation is evaluated.

The client loads modules when they are used for the first time, but annotations are texts, which
`typing.get_type_hints` evaluates in the module of the function: a name that is imported only for
type checkers is undefined there. pydantic, FastAPI, typer and LangChain do so. An annotation
`lazy.Embeddings` can be evaluated, and costs no import before.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from azinfer.core.batches import AsyncBatches as AsyncBatches
    from azinfer.core.batches import Batches as Batches
    from azinfer.core.bulk.tasks import AsyncBulkResults as AsyncBulkResults
    from azinfer.core.bulk.threads import BulkResults as BulkResults
    from azinfer.core.bulk.values import OnProgress as OnProgress
    from azinfer.core.citations import Citation as Citation
    from azinfer.core.completions import ChatCompletion as ChatCompletion
    from azinfer.core.embeddings import Embeddings as Embeddings
    from azinfer.core.embeddings import Vector as Vector
    from azinfer.core.files import AsyncFiles as AsyncFiles
    from azinfer.core.files import Files as Files
    from azinfer.core.operations import Operations as Operations
    from azinfer.core.rerank import Reranking as Reranking
    from azinfer.core.routes.route import Route as Route
    from azinfer.core.routing import Attempt as Attempt
    from azinfer.core.stream_reader import StreamReader as StreamReader
    from azinfer.core.streams import AsyncChatStream as AsyncChatStream
    from azinfer.core.streams import ChatStream as ChatStream
else:
    _MODULES = {
        "AsyncBatches": "batches",
        "Batches": "batches",
        "AsyncBulkResults": "bulk.tasks",
        "BulkResults": "bulk.threads",
        "OnProgress": "bulk.values",
        "Citation": "citations",
        "ChatCompletion": "completions",
        "Embeddings": "embeddings",
        "Vector": "embeddings",
        "AsyncFiles": "files",
        "Files": "files",
        "Operations": "operations",
        "Reranking": "rerank",
        "Route": "routes.route",
        "Attempt": "routing",
        "StreamReader": "stream_reader",
        "AsyncChatStream": "streams",
        "ChatStream": "streams",
    }

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"azinfer.core.{_MODULES[name]}"), name)
