"""The work of one batch: its lines checked, asked one by one, their results put in files.

Each result is kept as soon as it is there, so that a batch goes on where it was after the
process ended, however it did. Lines take the same way as requests over HTTP, through the same
checks, filters and limits; one that a rate limit refuses waits and is asked again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from azinfer.local.api.batches.lines import LineCheck, LineError, line_of, numbered, told_of
from azinfer.local.api.chat.operation import chat
from azinfer.local.api.context import Operation, RequestContext
from azinfer.local.api.dispatch import respond
from azinfer.local.api.embeddings.operation import embeddings
from azinfer.local.api.responses import operation as responses
from azinfer.local.resource.state import ResourceState
from azinfer.local.wire.body import Json
from azinfer.local.wire.errors import bad_request
from azinfer.local.wire.surfaces import V1

_AT_ONCE = 8
_log = logging.getLogger("azinfer.local")
_OPERATIONS: dict[str, Operation] = {
    "chat/completions": chat,
    "embeddings": embeddings,
    "responses": responses.create,
}


class BatchWorker:
    """Works on one batch until it ends.

    Args:
        state: What answers its lines.
        told: What is told of the batch.
        endpoint: What it asks for.
    """

    def __init__(self, state: ResourceState, told: Json, endpoint: str) -> None:
        self._state, self._store = state, state.store
        self._told = told
        self._endpoint = endpoint
        self._input = self._store.path(told["input_file_id"])
        self._stop = asyncio.Event()

    def cancel(self) -> Json:
        """Ask no more lines, and end with the results that are there; what is told then."""
        self._keep("cancelling", "cancelling_at")
        self._stop.set()
        return self._told

    async def run(self) -> None:
        """Do all that is left to do."""
        try:
            if await self._can_begin():
                await self._ask_all()
                await self._end(await self._outcome())
        except Exception:
            _log.exception("batch %s failed", self._told["id"])
            error = LineError("server_error", "The endpoint failed to work on this batch.")
            await self._fail([told_of(error, None)])

    async def _can_begin(self) -> bool:
        """Whether there is something to do; else it ended here."""
        if self._store.file(self._told["input_file_id"]) is None:
            error = LineError("input_modified", "The input file is gone.", "input_file_id")
            await self._fail([told_of(error, None)])
            return False
        if self._told["status"] == "cancelling":
            self._stop.set()
        return self._told["status"] != "validating" or await self._valid()

    async def _outcome(self) -> str:
        """With which status it ends, now that all was asked that will be."""
        if self._told["status"] == "cancelling":
            return "cancelled"
        self._keep("finalizing", "finalizing_at")
        return "expired" if self._is_over() and self._expire_rest() else "completed"

    async def _valid(self) -> bool:
        """Whether the batch can begin; else it failed."""
        check = LineCheck(self._endpoint, self._state.registry, self._state.strict)
        for number, text in numbered(self._input):
            check.add(number, text)
            await asyncio.sleep(0)  # requests go first
        check.end()
        if check.errors:
            await self._fail(check.errors)
            return False
        self._told["request_counts"] = {"total": check.count, "completed": 0, "failed": 0}
        if not self._stop.is_set():
            self._keep("in_progress", "in_progress_at")
        return True

    async def _fail(self, errors: list[Json]) -> None:
        self._told["errors"] = {"object": "list", "data": errors}
        await self._end("failed")

    async def _ask_all(self) -> None:
        """Ask what has no result, until all is asked or the batch is cancelled."""
        stop = asyncio.ensure_future(self._stop.wait())
        asking = asyncio.ensure_future(self._asking())
        try:
            await asyncio.wait({stop, asking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            if not asking.done():
                asking.cancel()
                await asyncio.wait({asking})
        if not asking.cancelled():
            asking.result()

    async def _asking(self) -> None:
        lines = self._left()
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(self._ask_some(lines))

    def _left(self) -> Iterator[tuple[int, bytes]]:
        """The lines that have no result."""
        done = self._store.done(self._told["id"])
        return (each for each in numbered(self._input) if each[0] not in done)

    async def _ask_some(self, lines: Iterator[tuple[int, bytes]]) -> None:
        for number, text in lines:
            if self._is_over():
                return
            await self._ask(number, text)
            await asyncio.sleep(0)  # requests go first

    async def _ask(self, number: int, text: bytes) -> None:
        line = line_of(text, self._endpoint)
        request_id, response = await self._answered(line.body)
        told = {"request_id": request_id, "status_code": response.status_code}
        told["body"] = json.loads(bytes(response.body))
        result = _result(line.custom_id, told, None)
        self._store.add_result(self._told["id"], number, response.status_code >= 400, result)

    async def _answered(self, body: Json) -> tuple[str, Response]:
        """The id of the request that asked one line, and the answer."""
        operation = _refuse_stream if body.get("stream") else _OPERATIONS[self._endpoint]
        while True:
            context = RequestContext(self._state, _request(body), V1)
            try:
                response = await respond(context, operation)
            finally:
                if context.admission is not None:
                    context.admission.over(None)
            wait = int(response.headers.get("retry-after-ms", 0)) / 1000
            left = self._told["expires_at"] - self._store.now()
            if response.status_code != 429 or not 0 < wait < left:
                return context.id, response
            await asyncio.sleep(wait)

    def _is_over(self) -> bool:
        return bool(self._store.now() >= self._told["expires_at"])

    def _expire_rest(self) -> bool:
        """Tell of each line that was not asked that it was too late; whether there was one."""
        message = "This request could not be executed before the completion window expired."
        error = {"code": "batch_expired", "message": message}
        late = [(number, line_of(text, self._endpoint)) for number, text in self._left()]
        for number, line in late:
            result = _result(line.custom_id, None, error)
            self._store.add_result(self._told["id"], number, True, result)
        return bool(late)

    async def _end(self, status: str) -> None:
        """Put the results in files, and tell that the batch ended."""
        batch_id = self._told["id"]
        completed, failed = self._store.counts(batch_id)
        self._told["request_counts"] |= {"completed": completed, "failed": failed}
        files: dict[str, Json] = {}
        for kind, some in (("output", completed), ("error", failed)):
            if some:
                file_id = await self._written(kind == "error")
                files[file_id] = self._file(f"{batch_id}_{kind}.jsonl")
                self._told[f"{kind}_file_id"] = file_id
        self._told |= {"status": status, f"{status}_at": int(self._store.now())}
        self._store.end_batch(self._told, files)

    async def _written(self, failed: bool) -> str:
        """The id of a file with the results that failed, or with the others."""
        file_id, part = self._store.begin_file()
        with part.open("wb") as file:
            async for text in _unhurried(self._store.results(self._told["id"], failed)):
                file.write(text.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        return file_id

    def _file(self, name: str) -> Json:
        told: Json = {"filename": name, "purpose": "batch_output", "status": "processed"}
        if expiry := self._told.get("output_expires_after"):
            told["expires_after"] = expiry["seconds"]
        return told

    def _keep(self, status: str, at: str) -> None:
        self._told |= {"status": status, at: int(self._store.now())}
        self._store.keep_batch(self._told)


async def _refuse_stream(context: RequestContext) -> Response:
    raise bad_request(context.surface, "'stream' cannot be used in a batch.", "stream")


async def _unhurried(texts: Any) -> AsyncIterator[str]:
    for text in texts:
        yield text
        await asyncio.sleep(0)  # requests go first


def _result(custom_id: str, response: Json | None, error: Json | None) -> Json:
    told = {"id": f"batch_req_{uuid.uuid4().hex}", "custom_id": custom_id}
    return {**told, "response": response, "error": error}


def _request(body: Json) -> Request:
    """A request that came with a batch and not over HTTP."""
    data = json.dumps(body).encode()
    scope: Json = {"type": "http", "method": "POST", "path": "/", "query_string": b""}
    scope["headers"] = [(b"content-type", b"application/json")]

    async def receive() -> Json:
        return {"type": "http.request", "body": data, "more_body": False}

    return Request({**scope, "path_params": {}}, receive)
