"""Batches: many requests in one file, answered within a day at a lower price.

A batch is identified by its id, so another process can wait for it and read its results.

Source: "Getting started with Azure OpenAI batch deployments", and "Batch" of the REST reference.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from azinfer.core.batch_requests import describe_entry, write_lines
from azinfer.core.completions import ChatCompletion, Json
from azinfer.core.decoding import invalid_response
from azinfer.core.endpoints import path_segment
from azinfer.core.error_responses import from_response
from azinfer.core.errors import APITimeoutError, InferenceError
from azinfer.core.files import File, next_page_of, resource_call
from azinfer.core.json_body import encode_json
from azinfer.core.json_fields import as_count, as_object, as_objects
from azinfer.core.surfaces import BATCHES
from azinfer.core.wires.wire import wire_named

Requests: TypeAlias = Iterable[Mapping[str, Any]] | str | Path | File
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_FIRST_WAIT, _LONGEST_WAIT, _LONGEST = 5.0, 60.0, 25 * 3600.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch, as it was when it was last read.

    Attributes:
        id: Its id, which `wait`, `results` and `cancel` take.
        status: `"validating"`, `"in_progress"`, `"finalizing"`, `"completed"`, `"failed"`,
            `"expired"`, `"cancelling"` or `"cancelled"`.
        total: How many requests it has, once that is known.
        completed: How many were answered.
        failed: How many ended with an error.
        errors: Why the batch itself failed, as when its file is not valid.
        raw: The object as the service sent it.
    """

    id: str
    status: str
    total: int
    completed: int
    failed: int
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @property
    def ended(self) -> bool:
        """Whether the batch has reached its end and cannot change any more."""
        return self.status in _ENDED

    @property
    def errors(self) -> tuple[str, ...]:
        """Why the batch failed, one sentence for each line of the input file that is the reason.

        Source: "Getting started with Azure OpenAI batch deployments", the object `errors`.
        """
        return tuple(map(describe_entry, as_objects(as_object(self.raw.get("errors")).get("data"))))


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The outcome of one request of a batch.

    Attributes:
        id: The request's `id`.
        completion: The answer; None where there is an error.
        error: Why there is no answer; an exception that is returned and not raised.
    """

    id: str
    completion: ChatCompletion | None = None
    error: InferenceError | None = None


def decode_batch(raw: Any) -> Batch:
    """Return the batch that an object describes.

    Raises:
        InvalidResponseError: It does not describe a batch.
    """
    if not isinstance(raw, dict) or not isinstance(raw.get("id"), str):
        raise invalid_response("no id of a batch", raw)
    counts = as_object(raw.get("request_counts"))
    total, completed, failed = (as_count(counts.get(n)) for n in ("total", "completed", "failed"))
    status = str(raw.get("status") or "").lower()  # a documented sample has a capital
    return Batch(
        id=raw["id"], status=status, total=total, completed=completed, failed=failed, raw=raw
    )


def decode_result(line: bytes) -> BatchResult | None:
    """Return the result in a line of an output or error file; None for an empty line.

    Raises:
        InvalidResponseError: It is not a JSON object, as where a file was cut.
    """
    if not line.strip():
        return None
    raw = _decode_line(line)
    response = as_object(raw.get("response"))
    status, body = as_count(response.get("status_code")), response.get("body")
    name = str(raw.get("custom_id") or "")
    if status != 200 or not isinstance(body, dict):
        reason = body or {"error": raw.get("error") or {"message": "no response"}}
        return BatchResult(name, None, from_response(status or 500, {}, encode_json(reason)))
    try:
        wire = "responses" if body.get("object") == "response" else "chat"
        return BatchResult(name, wire_named(wire).decode(body, {}, None, f"call_{name}_"))
    except InferenceError as error:
        return BatchResult(name, None, error)


def _decode_line(line: bytes) -> Json:
    with suppress(ValueError, RecursionError):
        if isinstance(raw := msgspec.json.decode(line), dict):
            return raw
    raise invalid_response("a line of a batch that is not a JSON object", line[:200])


_LISTED = "client.batches.list()"


def _creation(file_id: str, operation: str, options: Mapping[str, Any]) -> Json:
    window = {"completion_window": "24h"}
    return {"input_file_id": file_id, "endpoint": f"/v1/{operation}", **window, **options}


def _waits() -> Iterator[float]:
    """Yield the seconds to wait before each next request for the state of a batch."""
    wait = _FIRST_WAIT
    while True:
        yield wait
        wait = min(_LONGEST_WAIT, wait * 1.5)


def _too_late(batch: Batch, timeout: float) -> APITimeoutError:
    return APITimeoutError(
        f"batch {batch.id!r} did not end within {timeout:g} s; it continues: call wait() again"
    )


def _files_of(batch: Batch) -> list[str]:
    names = (batch.raw.get("output_file_id"), batch.raw.get("error_file_id"))
    return [name for name in names if name]


def _compared_files(batch: Batch, seen: set[str]) -> list[str]:
    """Return the input file of an ended batch, unless every request has a result.

    A batch that failed validation has a total of 0, whatever its input has.
    """
    name = batch.raw.get("input_file_id")
    is_whole = 0 < batch.total <= len(seen)
    return [name] if name and batch.ended and not is_whole else []


def _missing_result(batch: Batch, line: bytes, seen: set[str]) -> BatchResult | None:
    """Return the result of a request that no file has, as when the batch expired before it."""
    name = str(_decode_line(line).get("custom_id")) if line.strip() else None
    if name is None or name in seen:
        return None
    reason = f"the batch ended as {batch.status!r} before this request was answered"
    return BatchResult(name, None, InferenceError(reason))


class Batches:
    """`client.batches` of a sync client.

    Example:
        `batch = client.batches.wait(client.batches.create(requests, model="gpt-4o-batch").id)`
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def create(
        self,
        requests: Requests,
        *,
        model: str | None = None,
        endpoint: str = "chat/completions",
        **options: Any,
    ) -> Batch:
        """Upload requests and create a batch that answers them.

        Args:
            requests: Mappings with `messages`, an `id` of their own, and what `complete` takes
                besides; or a ready input file: its path, or the File if it is uploaded.
            model: The deployment, where a request names none.
            endpoint: The operation that the lines of a ready file call.
            **options: metadata, output_expires_after, …, sent as they are.

        Raises:
            ConfigurationError: There are no requests, two have the same id, one uses something
                that a batch lacks, or a name is a route or belongs to another endpoint.
        """
        files = self._client.files
        if isinstance(requests, File):
            return self._create(_creation(requests.id, endpoint, options))
        if isinstance(requests, str | Path):
            return self._create(_creation(files.upload(requests).id, endpoint, options))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "batch.jsonl")
            with path.open("wb") as lines:
                endpoint = write_lines(self._client, requests, model, lines)
            return self._create(_creation(files.upload(path).id, endpoint, options))

    def list(self) -> Iterator[Batch]:
        """Yield the batches of the resource, page by page."""
        path: str | None = ""
        while path is not None:
            page = self._client._run(resource_call(self._client, BATCHES, path, dict))
            yield from map(decode_batch, page.get("data") or ())
            path = next_page_of(page, path)

    def get(self, batch_id: str) -> Batch:
        """Return the current state of a batch."""
        return self._ask(f"/{path_segment(batch_id)}")

    def cancel(self, batch_id: str) -> Batch:
        """Ask the service to cancel a batch; answers that exist already stay."""
        return self._ask(f"/{path_segment(batch_id)}/cancel", method="POST")

    def wait(
        self,
        batch_id: str,
        *,
        timeout: float = _LONGEST,
        on_progress: Callable[[Batch], None] | None = None,
    ) -> Batch:
        """Wait until a batch has ended, however it ended.

        Args:
            batch_id: The batch.
            timeout: Seconds to wait at most.
            on_progress: Called with the batch each time its state is read.

        Raises:
            APITimeoutError: It has not ended in this time; it continues.
        """
        clock = self._client._clock
        end = clock.monotonic() + timeout
        waits = _waits()
        while True:
            batch = self.get(batch_id)
            if on_progress is not None:
                on_progress(batch)
            if batch.ended:
                return batch
            wait = next(waits)
            if clock.monotonic() + wait > end:
                raise _too_late(batch, timeout)
            clock.sleep(wait)

    def results(self, batch_id: str) -> Iterator[BatchResult]:
        """Yield the outcome of each request, in any order; errors are returned, not raised."""
        batch, seen = self.get(batch_id), set[str]()
        for file_id in _files_of(batch):
            for line in self._lines(file_id):
                if result := decode_result(line):
                    seen.add(result.id)
                    yield result
        for file_id in _compared_files(batch, seen):
            for line in self._lines(file_id):
                if result := _missing_result(batch, line, seen):
                    yield result

    def _lines(self, file_id: str) -> Iterator[bytes]:
        rest = b""
        for piece in self._client.files.content(file_id):
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines
        yield rest

    def _create(self, body: Json) -> Batch:
        return self._ask("", body=body, creates=_LISTED)

    def _ask(self, path: str, **more: Any) -> Batch:
        batch: Batch = self._client._run(
            resource_call(self._client, BATCHES, path, decode_batch, **more)
        )
        return batch


class AsyncBatches:
    """`client.batches` of an async client; the same, awaited."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def create(
        self,
        requests: Requests,
        *,
        model: str | None = None,
        endpoint: str = "chat/completions",
        **options: Any,
    ) -> Batch:
        """Upload requests and create a batch; the same as `Batches.create`, awaited."""
        files = self._client.files
        if isinstance(requests, File):
            return await self._create(_creation(requests.id, endpoint, options))
        if isinstance(requests, str | Path):
            file = await files.upload(requests)
            return await self._create(_creation(file.id, endpoint, options))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "batch.jsonl")
            with path.open("wb") as lines:
                endpoint = write_lines(self._client, requests, model, lines)
            file = await files.upload(path)
            return await self._create(_creation(file.id, endpoint, options))

    async def list(self) -> AsyncIterator[Batch]:
        """Yield the batches of the resource, page by page."""
        path: str | None = ""
        while path is not None:
            page = await self._client._run(resource_call(self._client, BATCHES, path, dict))
            for entry in page.get("data") or ():
                yield decode_batch(entry)
            path = next_page_of(page, path)

    async def get(self, batch_id: str) -> Batch:
        """Return the current state of a batch."""
        return await self._ask(f"/{path_segment(batch_id)}")

    async def cancel(self, batch_id: str) -> Batch:
        """Ask the service to cancel a batch; answers that exist already stay."""
        return await self._ask(f"/{path_segment(batch_id)}/cancel", method="POST")

    async def wait(
        self,
        batch_id: str,
        *,
        timeout: float = _LONGEST,
        on_progress: Callable[[Batch], None] | None = None,
    ) -> Batch:
        """Wait until a batch has ended; the same as `Batches.wait`, awaited."""
        clock = self._client._clock
        end = clock.monotonic() + timeout
        waits = _waits()
        while True:
            batch = await self.get(batch_id)
            if on_progress is not None:
                on_progress(batch)
            if batch.ended:
                return batch
            wait = next(waits)
            if clock.monotonic() + wait > end:
                raise _too_late(batch, timeout)
            await clock.asleep(wait)

    async def results(self, batch_id: str) -> AsyncIterator[BatchResult]:
        """Yield the outcome of each request; the same as `Batches.results`, awaited."""
        batch, seen = await self.get(batch_id), set[str]()
        for file_id in _files_of(batch):
            async for line in self._lines(file_id):
                if result := decode_result(line):
                    seen.add(result.id)
                    yield result
        for file_id in _compared_files(batch, seen):
            async for line in self._lines(file_id):
                if result := _missing_result(batch, line, seen):
                    yield result

    async def _lines(self, file_id: str) -> AsyncIterator[bytes]:
        rest = b""
        async for piece in self._client.files.content(file_id):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield line
        yield rest

    async def _create(self, body: Json) -> Batch:
        return await self._ask("", body=body, creates=_LISTED)

    async def _ask(self, path: str, **more: Any) -> Batch:
        call = resource_call(self._client, BATCHES, path, decode_batch, **more)
        batch: Batch = await self._client._run(call)
        return batch
