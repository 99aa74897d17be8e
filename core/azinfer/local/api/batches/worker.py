"""The worker of one batch: checks its lines, runs their requests, and writes the results.

Each result is stored at once, so a batch can continue after the process ended for any reason.
Lines use the same operations as requests over HTTP, with the same checks, filters and limits; a
line that a rate limit refuses is repeated later.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from azinfer.local.api.batches.lines import (
    LineCheck,
    LineError,
    error_entry,
    numbered_lines,
    parse_line,
)
from azinfer.local.api.chat.operation import chat
from azinfer.local.api.context import Operation, RequestContext
from azinfer.local.api.dispatch import respond
from azinfer.local.api.late_operations import late
from azinfer.local.resource.state import ResourceState
from azinfer.local.wire.body import Json
from azinfer.local.wire.errors import bad_request
from azinfer.local.wire.surfaces import V1

_AT_ONCE = 8
_log = logging.getLogger("azinfer.local")
_OPERATIONS: dict[str, Operation] = {
    "chat/completions": chat,
    "embeddings": late("embeddings.operation.embeddings"),
    "responses": late("responses.operation.create"),
}


class BatchWorker:
    """Processes one batch until it ends.

    Args:
        state: The state of the endpoint.
        batch: The batch.
        endpoint: The operation of its lines.
    """

    def __init__(self, state: ResourceState, batch: Json, endpoint: str) -> None:
        self._state, self._store = state, state.store
        self._batch = batch
        self._endpoint = endpoint
        self._input = self._store.path(batch["input_file_id"])
        self._stop = asyncio.Event()

    def cancel(self) -> Json:
        """Stop once the lines that run now are done, and return the batch."""
        self._update("cancelling", "cancelling_at")
        self._stop.set()
        return self._batch

    async def run(self) -> None:
        """Do all the work that remains."""
        try:
            if await self._prepare():
                await self._ask_until_done()
                await self._end(await self._final_status())
        except Exception:
            _log.exception("batch %s failed", self._batch["id"])
            error = LineError("server_error", "The endpoint failed to work on this batch.")
            await self._fail([error_entry(error, None)])

    async def _prepare(self) -> bool:
        """Return whether there is work to do; otherwise end the batch."""
        if self._store.file(self._batch["input_file_id"]) is None:
            error = LineError("input_modified", "The input file is gone.", "input_file_id")
            await self._fail([error_entry(error, None)])
            return False
        if self._batch["status"] == "cancelling":
            self._stop.set()
        return self._batch["status"] != "validating" or await self._check_lines()

    async def _final_status(self) -> str:
        """Return the status with which the batch ends."""
        if self._batch["status"] == "cancelling":
            return "cancelled"
        self._update("finalizing", "finalizing_at")
        return "expired" if self._is_expired() and self._expire_rest() else "completed"

    async def _check_lines(self) -> bool:
        """Return whether all lines are valid; otherwise the batch fails."""
        check = LineCheck(self._endpoint, self._state.registry, self._state.strict)
        for number, text in numbered_lines(self._input):
            check.add(number, text)
            await asyncio.sleep(0)  # requests go first
        check.end()
        if check.errors:
            await self._fail(check.errors)
            return False
        self._batch["request_counts"] = {"total": check.count, "completed": 0, "failed": 0}
        if not self._stop.is_set():
            self._update("in_progress", "in_progress_at")
        return True

    async def _fail(self, errors: list[Json]) -> None:
        self._batch["errors"] = {"object": "list", "data": errors}
        await self._end("failed")

    async def _ask_until_done(self) -> None:
        """Run the lines without a result, until all are done or the batch is cancelled."""
        stop = asyncio.ensure_future(self._stop.wait())
        asking = asyncio.ensure_future(self._ask_in_parallel())
        try:
            await asyncio.wait({stop, asking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            if not asking.done():
                asking.cancel()
                await asyncio.wait({asking})
        if not asking.cancelled():
            asking.result()

    async def _ask_in_parallel(self) -> None:
        lines = self._lines_left()
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(self._ask_some(lines))

    def _lines_left(self) -> Iterator[tuple[int, bytes]]:
        """Return the lines without a result."""
        finished_lines = self._store.finished_lines(self._batch["id"])
        return (each for each in numbered_lines(self._input) if each[0] not in finished_lines)

    async def _ask_some(self, lines: Iterator[tuple[int, bytes]]) -> None:
        for number, text in lines:
            if self._is_expired():
                return
            await self._ask(number, text)
            await asyncio.sleep(0)  # requests go first

    async def _ask(self, number: int, text: bytes) -> None:
        line = parse_line(text, self._endpoint)
        request_id, response = await self._ask_line(line.body)
        response_entry = {"request_id": request_id, "status_code": response.status_code}
        response_entry["body"] = json.loads(bytes(response.body))
        result = _result(line.custom_id, response_entry, None)
        self._store.add_result(self._batch["id"], number, response.status_code >= 400, result)

    async def _ask_line(self, body: Json) -> tuple[str, Response]:
        """Return the id of a line's request, and its response."""
        operation = _refuse_stream if body.get("stream") else _OPERATIONS[self._endpoint]
        while True:
            context = RequestContext(self._state, _request(body), V1, has_client=False)
            try:
                response = await respond(context, operation)
            finally:
                if context.admission is not None:
                    context.admission.over(None)
            wait = _retry_seconds(response)
            left = self._batch["expires_at"] - self._store.now()
            if response.status_code != 429 or not 0 < wait < left:
                return context.id, response
            await asyncio.sleep(wait)

    def _is_expired(self) -> bool:
        return bool(self._store.now() >= self._batch["expires_at"])

    def _expire_rest(self) -> bool:
        """Add an error for each line without a result; return whether there was one."""
        message = "This request could not be executed before the completion window expired."
        error = {"code": "batch_expired", "message": message}
        late = [(number, parse_line(text, self._endpoint)) for number, text in self._lines_left()]
        for number, line in late:
            result = _result(line.custom_id, None, error)
            self._store.add_result(self._batch["id"], number, True, result)
        return bool(late)

    async def _end(self, status: str) -> None:
        """Write the results to files, and end the batch."""
        batch_id = self._batch["id"]
        completed, failed = self._store.counts(batch_id)
        self._batch["request_counts"] |= {"completed": completed, "failed": failed}
        files: dict[str, Json] = {}
        for kind, some in (("output", completed), ("error", failed)):
            if some:
                file_id = await self._write_results(kind == "error")
                files[file_id] = self._file(f"{batch_id}_{kind}.jsonl")
                self._batch[f"{kind}_file_id"] = file_id
        self._batch |= {"status": status, f"{status}_at": int(self._store.now())}
        self._store.end_batch(self._batch, files)

    async def _write_results(self, failed: bool) -> str:
        """Return the id of a new file with the results that failed, or with the others."""
        file_id, part = self._store.begin_file()
        with part.open("wb") as file:
            async for text in _slowly(self._store.results(self._batch["id"], failed)):
                file.write(text.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        return file_id

    def _file(self, name: str) -> Json:
        facts: Json = {"filename": name, "purpose": "batch_output", "status": "processed"}
        if expiry := self._batch.get("output_expires_after"):
            facts["expires_after"] = expiry["seconds"]
        return facts

    def _update(self, status: str, at: str) -> None:
        self._batch |= {"status": status, at: int(self._store.now())}
        self._store.store_batch(self._batch)


def _retry_seconds(response: Response) -> float:
    """Return the seconds that a refusal asks to wait, as far as it says so; 0 if it does not."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        # An upstream may send anything, and servers do send floats.
        with contextlib.suppress(ValueError):
            return float(response.headers.get(name, "")) / unit
    return 0.0


async def _refuse_stream(context: RequestContext) -> Response:
    raise bad_request(context.surface, "'stream' cannot be used in a batch.", "stream")


async def _slowly(texts: Any) -> AsyncIterator[str]:
    for text in texts:
        yield text
        await asyncio.sleep(0)  # requests go first


def _result(custom_id: str, response: Json | None, error: Json | None) -> Json:
    result = {"id": f"batch_req_{uuid.uuid4().hex}", "custom_id": custom_id}
    return {**result, "response": response, "error": error}


def _request(body: Json) -> Request:
    """Return a request that did not come over HTTP."""
    data = json.dumps(body).encode()
    scope: Json = {"type": "http", "method": "POST", "path": "/", "query_string": b""}
    scope["headers"] = [(b"content-type", b"application/json")]

    async def receive() -> Json:
        return {"type": "http.request", "body": data, "more_body": False}

    return Request({**scope, "path_params": {}}, receive)
