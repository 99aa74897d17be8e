"""Batches: many requests in one file, answered within a day at a lower price.

A batch is identified by its id, so another process can wait for it and read its results.

Source: "Getting started with Azure OpenAI batch deployments", and "Batch" of the REST reference.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from azinfer.core.arguments import is_iterable, refuse
from azinfer.core.batch_requests import describe_entry, write_lines
from azinfer.core.completions import ChatCompletion, Json
from azinfer.core.decoding import invalid_response
from azinfer.core.error_responses import from_response
from azinfer.core.errors import APITimeoutError, InferenceError
from azinfer.core.files import File, id_segment, list_all, list_all_async, resource_call
from azinfer.core.json_body import encode_json
from azinfer.core.json_fields import as_count, as_object, as_objects
from azinfer.core.retries import Timeout
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


@contextmanager
def _input_file(
    client: Any, requests: Requests, model: str | None, operation: str
) -> Iterator[tuple[File | str | Path, str]]:
    """Yield the input file of a batch, and the operation that its lines call."""
    if isinstance(requests, File | str | Path):
        yield requests, operation
        return
    if isinstance(requests, bytes | Mapping) or not is_iterable(requests):
        refuse("requests", requests, "a list of mappings, or the path of an input file")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "batch.jsonl")
        with path.open("wb") as lines:
            operation = write_lines(client, requests, model, lines)
        yield path, operation


def _end_of(client: Any, timeout: float) -> float:
    """Return the time at which a wait ends."""
    end: float = client._clock.monotonic() + Timeout(total=timeout).total
    return end


def _creation(file: File, operation: str, options: Mapping[str, Any]) -> Json:
    window = {"completion_window": "24h"}
    return {"input_file_id": file.id, "endpoint": f"/v1/{operation}", **window, **options}


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


class _Results:
    """Reads the files of an ended or a running batch; it does no I/O itself."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._seen: set[str] = set()
        self._rest = b""
        self._is_input = False

    def files(self) -> Iterator[str]:
        """Yield the ids of the files to read, one after the other.

        The last is the input of an ended batch, unless every request has a result by then. A batch
        that failed validation has a total of 0, whatever its input has.
        """
        raw, total = self._batch.raw, self._batch.total
        yield from filter(None, (raw.get("output_file_id"), raw.get("error_file_id")))
        self._is_input = True
        name = raw.get("input_file_id")
        if name and self._batch.ended and not 0 < total <= len(self._seen):
            yield name

    def feed(self, piece: bytes) -> Iterator[BatchResult]:
        """Yield the results in a piece of a file; a line feed ends the last line of a file."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            result = self._missing(line) if self._is_input else decode_result(line)
            if result is not None:
                self._seen.add(result.id)
                yield result

    def _missing(self, line: bytes) -> BatchResult | None:
        """Return the result of a request that no file has, as when the batch ended before it."""
        name = str(_decode_line(line).get("custom_id")) if line.strip() else None
        if name is None or name in self._seen:
            return None
        reason = f"the batch ended as {self._batch.status!r} before this request was answered"
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
        with _input_file(self._client, requests, model, endpoint) as (source, operation):
            if not isinstance(source, File):
                source = self._client.files.upload(source)
            return self._ask("", body=_creation(source, operation, options), creates=_LISTED)

    def list(self) -> Iterator[Batch]:
        """Yield the batches of the resource, page by page."""
        return list_all(self._client, BATCHES, decode_batch)

    def get(self, batch_id: str) -> Batch:
        """Return the current state of a batch."""
        return self._ask(f"/{id_segment('batch_id', batch_id)}")

    def cancel(self, batch_id: str) -> Batch:
        """Ask the service to cancel a batch; answers that exist already stay."""
        return self._ask(f"/{id_segment('batch_id', batch_id)}/cancel", method="POST")

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
        end = _end_of(self._client, timeout)
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
        results = _Results(self.get(batch_id))
        for file_id in results.files():
            for piece in self._client.files.content(file_id):
                yield from results.feed(piece)
            yield from results.feed(b"\n")

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
        with _input_file(self._client, requests, model, endpoint) as (source, operation):
            if not isinstance(source, File):
                source = await self._client.files.upload(source)
            return await self._ask("", body=_creation(source, operation, options), creates=_LISTED)

    def list(self) -> AsyncIterator[Batch]:
        """Yield the batches of the resource, page by page."""
        return list_all_async(self._client, BATCHES, decode_batch)

    async def get(self, batch_id: str) -> Batch:
        """Return the current state of a batch."""
        return await self._ask(f"/{id_segment('batch_id', batch_id)}")

    async def cancel(self, batch_id: str) -> Batch:
        """Ask the service to cancel a batch; answers that exist already stay."""
        return await self._ask(f"/{id_segment('batch_id', batch_id)}/cancel", method="POST")

    async def wait(
        self,
        batch_id: str,
        *,
        timeout: float = _LONGEST,
        on_progress: Callable[[Batch], None] | None = None,
    ) -> Batch:
        """Wait until a batch has ended; the same as `Batches.wait`, awaited."""
        clock = self._client._clock
        end = _end_of(self._client, timeout)
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
        results = _Results(await self.get(batch_id))
        for file_id in results.files():
            async for piece in self._client.files.content(file_id):
                for result in results.feed(piece):
                    yield result
            for result in results.feed(b"\n"):
                yield result

    async def _ask(self, path: str, **more: Any) -> Batch:
        call = resource_call(self._client, BATCHES, path, decode_batch, **more)
        batch: Batch = await self._client._run(call)
        return batch
