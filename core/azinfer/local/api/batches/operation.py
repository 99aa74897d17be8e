"""Batches: many requests in a file, answered in the background.

Source: "Getting started with Azure OpenAI batch deployments" and "Create batch" of the Azure
OpenAI REST API.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.responses import Response

from azinfer.local.api.batches.lines import ENDPOINTS, find_endpoint
from azinfer.local.api.context import RequestContext
from azinfer.local.api.pagination import page
from azinfer.local.resource.state import ResourceState
from azinfer.local.resource.storage.file_store import UNFINISHED
from azinfer.local.wire import errors
from azinfer.local.wire.body import Json
from azinfer.local.wire.errors import bad_request
from azinfer.local.wire.json import AsciiResponse

if TYPE_CHECKING:
    from azinfer.local.api.batches.worker import BatchWorker

_FIELDS = frozenset(
    ["input_file_id", "endpoint", "completion_window", "metadata", "output_expires_after"]
)
_WINDOW = 24 * 60 * 60
_TIMES = ("cancelled", "cancelling", "completed", "expired", "failed", "finalizing", "in_progress")


class Batches:
    """The batches of one endpoint, and the workers of unfinished ones.

    Args:
        state: The state of the endpoint.
    """

    def __init__(self, state: ResourceState) -> None:
        self._state = state
        self._works: dict[str, BatchWorker] = {}

    def resume(self) -> None:
        """Continue the batches that were unfinished when the endpoint ended."""
        for batch in self._state.store.batches() if self._state.store.lasting else ():
            if batch["status"] in UNFINISHED:
                self._begin(batch)

    async def create(self, context: RequestContext) -> Response:
        """Answer `POST batches`."""
        body = await context.read_body(_FIELDS)
        _check(context, body)
        created = int(context.state.store.now())
        batch = {
            "id": f"batch_{uuid.uuid4()}",
            "object": "batch",
            "endpoint": body["endpoint"],
            "errors": None,
            "input_file_id": body["input_file_id"],
            "completion_window": body["completion_window"],
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            "created_at": created,
            "expires_at": created + _WINDOW,
            **{f"{name}_at": None for name in _TIMES},
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            "metadata": body.get("metadata"),
        }
        if "output_expires_after" in body:
            batch["output_expires_after"] = body["output_expires_after"]
        context.state.store.store_batch(batch)
        self._begin(dict(batch))
        return AsciiResponse(batch)

    async def cancel(self, context: RequestContext) -> Response:
        """Answer `POST batches/{id}/cancel`."""
        batch = _find_batch(context)
        if batch["status"] not in ("validating", "in_progress", "cancelling"):
            message = f"Cannot cancel a batch with status '{batch['status']}'."
            raise bad_request(context.surface, message, "batch_id")
        return AsciiResponse(_with_counts(context, self._works[batch["id"]].cancel()))

    def _begin(self, batch: Json) -> None:
        batch_id, endpoint = batch["id"], find_endpoint(batch["endpoint"])
        assert endpoint is not None
        # It needs the operations of its lines, and most endpoints have no batches.
        from azinfer.local.api.batches.worker import BatchWorker

        self._works[batch_id] = work = BatchWorker(self._state, batch, endpoint)
        task = self._state.tasks.begin(work.run(), batch_id)
        task.add_done_callback(lambda task: self._works.pop(batch_id))


async def list_batches(context: RequestContext) -> Response:
    """Answer `GET batches`."""
    listing = page(context.state.store.batches(), context)
    listing["data"] = [_with_counts(context, each) for each in listing["data"]]
    return AsciiResponse(listing)


async def get(context: RequestContext) -> Response:
    """Answer `GET batches/{id}`."""
    return AsciiResponse(_with_counts(context, _find_batch(context)))


def _find_batch(context: RequestContext) -> Json:
    name = context.http.path_params["batch"]
    batch = context.state.store.batch(name)
    if batch is None:
        raise errors.unknown_id(f"No batch found with id '{name}'.", "batch_id")
    return batch


def _with_counts(context: RequestContext, batch: Json) -> Json:
    """Return a batch with the current counts of its results."""
    if batch["status"] not in UNFINISHED:
        return batch
    completed, failed = context.state.store.counts(batch["id"])
    counts = {**batch["request_counts"], "completed": completed, "failed": failed}
    return {**batch, "request_counts": counts}


def _check(context: RequestContext, body: Json) -> None:
    """Raise if a body does not describe a batch.

    Raises:
        ErrorResponse: A field is not valid; the error names it.
    """
    surface = context.surface
    name = body.get("input_file_id")
    file = context.state.store.file(name) if isinstance(name, str) else None
    if file is None:
        raise bad_request(surface, f"No such File object: {name}", "input_file_id")
    if file["purpose"] != "batch":
        message = f"The file {name} was uploaded for {file['purpose']!r}, not for 'batch'."
        raise bad_request(surface, message, "input_file_id")
    if find_endpoint(body.get("endpoint")) is None:
        supported = [f"/v1/{each}" for each in ENDPOINTS]
        message = f"Invalid value: {body.get('endpoint')!r}. Supported values are: {supported}."
        raise bad_request(surface, message, "endpoint")
    if body.get("completion_window") != "24h":
        message = f"Invalid value: {body.get('completion_window')!r}. Supported values are: '24h'."
        raise bad_request(surface, message, "completion_window")
    if not isinstance(body.get("metadata") or {}, Mapping):
        raise bad_request(surface, "Invalid type for 'metadata': expected an object.", "metadata")
    if (after := body.get("output_expires_after")) is not None:
        from azinfer.local.api.batches.files import read_expiry

        times = after if isinstance(after, Mapping) else {}
        field = "output_expires_after"
        read_expiry(times.get("seconds"), times.get("anchor"), field, surface)
